//! `POST /execute`: `{action, payload?, nonce, approval_artifact?}`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use execgate_flow::Passage;
use execgate_model::{ActionName, BodyPlace, Caller, Effect, Nonce, Proposal, RunOptions, Surface};
use execgate_receipt::parse_strict;
use serde_json::{Map, Value};

use crate::body::Fields;
use crate::caller::identify;
use crate::figures::{Note, Service};
use crate::house::House;
use crate::http;
use crate::problem::Problem;

/// Runs an action once.
pub(crate) async fn execute(State(house): State<Arc<House>>, headers: HeaderMap, body: Body) -> Response {
    let visitor = match identify(&house, &headers) {
        Ok(visitor) => visitor,
        Err(problem) => return problem.into_response(),
    };
    let caller = visitor.caller.clone();
    let note = Note::new(Arc::clone(&house), Service::Execute);
    let response = match walk(&house, &headers, body, caller).await {
        Ok(passage) => http::passage(passage),
        Err(problem) => problem.into_response(),
    };
    let mut response = note.take(response);
    visitor.announce(response.headers_mut());
    response
}

async fn walk(house: &House, headers: &HeaderMap, body: Body, caller: Caller) -> Result<Passage, Problem> {
    let (fields, place) = house.bodies.json_object(headers, body).await?;
    let proposal = proposal(fields, place, caller)?;
    let words = Arc::clone(&house.execute_words);
    house.parts.corridor.walk(proposal, words).await.map_err(Problem::from)
}

pub(crate) fn proposal(
    fields: Map<String, Value>,
    place: BodyPlace,
    caller: Caller,
) -> Result<Proposal, Problem> {
    let mut fields = Fields::new(fields);
    let name = |pointer: &'static str| {
        move |error: execgate_model::IdError| Problem::bad_field(pointer, error.to_string())
    };
    let proposal = Proposal {
        surface: Surface::Execute,
        action: ActionName::new(fields.text("action")?).map_err(name("/action"))?,
        payload: payload(fields.any("payload"))?,
        effect: Effect::Live,
        options: RunOptions::default(),
        nonce: Some(Nonce::new(fields.text("nonce")?).map_err(name("/nonce"))?),
        caller,
        approval: fields.artifact()?,
        credential: None,
        watcher: None,
        place,
    };
    fields.finish()?;
    Ok(proposal)
}

/// An object, or a string that parses to one (function-calling models hand arguments over as a string).
fn payload(value: Option<Value>) -> Result<Value, Problem> {
    let wrong = |detail: &str| Problem::bad_field("/payload", format!("`payload` must be an object{detail}"));
    match value {
        None => Ok(Value::Object(Map::new())),
        Some(Value::Object(fields)) => Ok(Value::Object(fields)),
        Some(Value::String(text)) => match parse_strict(text.as_bytes()) {
            Ok(Value::Object(fields)) => Ok(Value::Object(fields)),
            Ok(_) => Err(wrong(", or a string that holds one")),
            Err(error) => Err(wrong(&format!(", or a string that holds one: {error}"))),
        },
        Some(_) => Err(wrong(", or a string that holds one")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::payload;

    #[test]
    fn a_payload_is_an_object_or_a_string_that_holds_one() {
        assert_eq!(payload(Some(json!("{\"a\": 1}"))).unwrap(), json!({"a": 1}));
        assert_eq!(payload(None).unwrap(), json!({}));
        for wrong in [json!([1]), json!("[1]"), json!("{"), json!(7), Value::Bool(true)] {
            assert_eq!(payload(Some(wrong)).unwrap_err().code(), "bad-field");
        }
    }
}
