//! The three routes. They differ in nothing but their offer.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use execgate_model::{ActionName, Effect, Offer, Proposal};

use super::accept::wants_stream;
use super::{live, proposal};
use crate::caller::{Visitor, identify};
use crate::figures::{Note, Service};
use crate::headers::or_the_price;
use crate::house::House;
use crate::http;
use crate::payment::credential;
use crate::problem::Problem;
use crate::render::CodeWords;

/// `POST /api/code-run`.
pub(crate) async fn plain(State(house): State<Arc<House>>, headers: HeaderMap, body: Body) -> Response {
    answer(house, Offer::CodeRun, headers, body).await
}

/// `POST /api/code-run-pro`.
pub(crate) async fn pro(State(house): State<Arc<House>>, headers: HeaderMap, body: Body) -> Response {
    answer(house, Offer::CodeRunPro, headers, body).await
}

/// `POST /api/code/run`.
pub(crate) async fn basic(State(house): State<Arc<House>>, headers: HeaderMap, body: Body) -> Response {
    answer(house, Offer::CodeRunBasic, headers, body).await
}

async fn answer(house: Arc<House>, offer: Offer, headers: HeaderMap, body: Body) -> Response {
    let visitor = match identify(&house, &headers).await {
        Ok(visitor) => visitor,
        Err(problem) => return problem.into_response(),
    };
    let note = Note::new(Arc::clone(&house), Service::Code(offer));
    let mut response = walk(house, offer, &headers, body, &visitor, note).await;
    visitor.announce(response.headers_mut());
    response
}

async fn walk(
    house: Arc<House>,
    offer: Offer,
    headers: &HeaderMap,
    body: Body,
    visitor: &Visitor,
    note: Note,
) -> Response {
    let read = read(&house, offer, headers, body, visitor).await;
    let proposal = match read {
        Ok(proposal) => proposal,
        Err(problem) => return note.take(instead(&house, offer, headers, visitor, problem).into_response()),
    };
    let words = Arc::new(CodeWords);
    if wants_stream(headers) {
        return live::respond(house, proposal, words, note).await;
    }
    let walked = house.walk(headers, proposal, words).await.map_err(Problem::from);
    note.take(walked.map_or_else(IntoResponse::into_response, |passage| http::passage(&house, passage)))
}

/// The cheapest of them would undercut the others, so that the operator may have it off (CONTRACTS 4).
pub(crate) fn is_on(house: &House, offer: Offer) -> bool {
    house.parts.corridor.prices().is_sold(offer)
}

/// The proposal.
async fn read(
    house: &House,
    offer: Offer,
    headers: &HeaderMap,
    body: Body,
    visitor: &Visitor,
) -> Result<Proposal, Problem> {
    let (fields, place) = house.bodies.json_object(headers, body).await?;
    let Some(catalogue) = &house.parts.catalogue else { return Err(Problem::code_is_off()) };
    if !is_on(house, offer) {
        return Err(Problem::offer_is_off());
    }
    let proposal = proposal::read(fields, headers, offer, visitor.caller.clone(), &catalogue.names())?;
    let credential = credential(house, Service::Code(offer), headers)?;
    Ok(Proposal { place, credential, ..proposal })
}

/// What a request that cannot be read is told.
fn instead(house: &House, offer: Offer, headers: &HeaderMap, visitor: &Visitor, problem: Problem) -> Problem {
    // What is switched off has no price.
    if house.parts.catalogue.is_none() || !is_on(house, offer) {
        return problem;
    }
    let Ok(usual) = ActionName::new(proposal::DEFAULT_LANGUAGE) else { return problem };
    let prices = house.parts.corridor.prices();
    let price = visitor.owes(prices.of(&usual, Effect::Live, Some(offer)));
    or_the_price(problem, headers, (price, prices.flow(&usual, Some(offer))))
}
