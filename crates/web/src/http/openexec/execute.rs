//! `POST /execute`: `{action, payload?, nonce, approval_artifact?}`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use execgate_flow::Passage;
use execgate_model::{
    ActionName, Amount, BodyPlace, Caller, Effect, Hearsay, Nonce, Proposal, RunOptions, Surface,
};
use execgate_payment::Flow;
use serde_json::{Map, Value};

use crate::body::{Fields, arguments};
use crate::caller::identify;
use crate::figures::{Note, Service};
use crate::headers::or_the_price;
use crate::house::House;
use crate::http;
use crate::payment::credential;
use crate::problem::Problem;

/// The action whose price is told to whoever names none.
const USUAL: &str = "echo";

/// Runs an action once.
pub(crate) async fn execute(State(house): State<Arc<House>>, headers: HeaderMap, body: Body) -> Response {
    let visitor = match identify(&house, &headers).await {
        Ok(visitor) => visitor,
        Err(problem) => return problem.into_response(),
    };
    let caller = visitor.caller.clone();
    let note = Note::new(Arc::clone(&house), Service::Execute);
    let response = match walk(&house, &headers, body, caller).await {
        Ok(passage) => http::passage(&house, passage),
        Err(problem) => problem.into_response(),
    };
    let mut response = note.take(response);
    visitor.announce(response.headers_mut());
    response
}

async fn walk(house: &House, headers: &HeaderMap, body: Body, caller: Caller) -> Result<Passage, Problem> {
    let base = base_price(house, &caller);
    let proposal = read(house, headers, body, caller).await;
    let proposal = proposal.map_err(|problem| or_the_price(problem, headers, base))?;
    let words = Arc::clone(&house.execute_words);
    house.walk(headers, proposal, words).await.map_err(Problem::from)
}

async fn read(house: &House, headers: &HeaderMap, body: Body, caller: Caller) -> Result<Proposal, Problem> {
    let (fields, place) = house.bodies.json_object(headers, body).await?;
    let proposal = proposal(fields, place, caller)?;
    Ok(Proposal { credential: credential(house, Service::Execute, headers)?, ..proposal })
}

/// What is asked of somebody who does not say for what: the price of the action that is listed for this path.
fn base_price(house: &House, caller: &Caller) -> (Amount, Flow) {
    let prices = house.parts.corridor.prices();
    let Ok(usual) = ActionName::new(USUAL) else { return Default::default() };
    let price = if caller.is_internal() { Amount::ZERO } else { prices.of(&usual, Effect::Live, None) };
    (price, prices.flow(&usual, None))
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
