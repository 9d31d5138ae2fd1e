//! `POST /execute`: `{action, payload?, nonce, approval_artifact?}`.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use execgate_flow::{Passage, Room};
use execgate_model::{ActionName, Caller, Effect, Nonce, Proposal, RunOptions, Surface};
use execgate_receipt::parse_strict;
use serde_json::{Map, Value};

use crate::body::{Fields, json_object};
use crate::caller::identify;
use crate::house::House;
use crate::problem::Problem;

/// Runs an action once.
pub(crate) async fn execute(State(house): State<Arc<House>>, headers: HeaderMap, body: Body) -> Response {
    let visitor = match identify(&house, &headers) {
        Ok(visitor) => visitor,
        Err(problem) => return problem.into_response(),
    };
    let caller = visitor.caller.clone();
    let mut response = match walk(&house, &headers, body, caller).await {
        Ok(passage) => written(passage),
        Err(problem) => problem.into_response(),
    };
    visitor.announce(response.headers_mut());
    response
}

async fn walk(house: &House, headers: &HeaderMap, body: Body, caller: Caller) -> Result<Passage, Problem> {
    let proposal = proposal(json_object(headers, body).await?, caller)?;
    let words = Arc::clone(&house.execute_words);
    house.parts.corridor.walk(proposal, words).await.map_err(Problem::from)
}

fn proposal(fields: Map<String, Value>, caller: Caller) -> Result<Proposal, Problem> {
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
        approval: fields.any("approval_artifact"),
        credential: None,
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

fn written(passage: Passage) -> Response {
    let mut response = crate::http::write(passage.answer);
    let headers = response.headers_mut();
    let mut insert = |name: &'static str, text: String| {
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(name, value);
        }
    };
    insert("execgate-run", passage.run.to_string());
    insert("execgate-receipt", passage.content.to_hex());
    if passage.replayed {
        insert("execgate-replayed", "true".to_owned());
    } else {
        insert("server-timing", timing(&passage.laps));
    }
    response
}

/// The rooms and their milliseconds (W3C Server Timing).
fn timing(laps: &[(Room, u64)]) -> String {
    let mut text = String::with_capacity(laps.len() * 24);
    for (at, (room, us)) in laps.iter().enumerate() {
        let comma = if at == 0 { "" } else { ", " };
        // Writing to a String cannot fail.
        let _infallible = write!(text, "{comma}{};dur={}.{:03}", room.as_str(), us / 1000, us % 1000);
    }
    text
}

#[cfg(test)]
mod tests {
    use execgate_flow::Room;
    use serde_json::{Value, json};

    use super::{payload, timing};

    #[test]
    fn a_payload_is_an_object_or_a_string_that_holds_one() {
        assert_eq!(payload(Some(json!("{\"a\": 1}"))).unwrap(), json!({"a": 1}));
        assert_eq!(payload(None).unwrap(), json!({}));
        for wrong in [json!([1]), json!("[1]"), json!("{"), json!(7), Value::Bool(true)] {
            assert_eq!(payload(Some(wrong)).unwrap_err().code(), "bad-field");
        }
    }

    #[test]
    fn timing_is_written_in_milliseconds_by_room() {
        let laps = [(Room::Propose, 12), (Room::Execute, 1_034)];
        assert_eq!(timing(&laps), "propose;dur=0.012, execute;dur=1.034");
    }
}
