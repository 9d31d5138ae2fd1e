//! `POST /execute`: `{action, payload?, nonce, approval_artifact?}`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use execgate_flow::Passage;
use execgate_model::{ActionName, BodyPlace, Caller, Effect, Hearsay, Nonce, Proposal, RunOptions, Surface};
use serde_json::{Map, Value};

use crate::body::{Fields, arguments};
use crate::caller::identify;
use crate::figures::{Note, Service};
use crate::house::House;
use crate::http;
use crate::problem::Problem;

/// Runs an action once.
pub(crate) async fn execute(State(house): State<Arc<House>>, headers: HeaderMap, body: Body) -> Response {
    let visitor = match identify(&house, &headers).await {
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
    house.walk(headers, proposal, words).await.map_err(Problem::from)
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
        payload: arguments("payload", fields.any("payload"))?,
        effect: Effect::Live,
        options: RunOptions::default(),
        nonce: Some(Nonce::new(fields.text("nonce")?).map_err(name("/nonce"))?),
        caller,
        approval: fields.artifact()?,
        credential: None,
        watcher: None,
        place,
        hearsay: Hearsay::default(),
        peer: None,
    };
    fields.finish()?;
    Ok(proposal)
}
