//! The three routes. They differ in nothing but their offer.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use execgate_flow::Refusal;
use execgate_model::{ActionName, Offer, Proposal};

use super::accept::wants_stream;
use super::{live, proposal};
use crate::caller::{Visitor, identify};
use crate::figures::Service;
use crate::house::House;
use crate::http;
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
    let started = Instant::now();
    let visitor = match identify(&house, &headers) {
        Ok(visitor) => visitor,
        Err(problem) => return problem.into_response(),
    };
    let walked = walk(Arc::clone(&house), offer, &headers, body, &visitor).await;
    let mut response = walked.unwrap_or_else(IntoResponse::into_response);
    house.figures.note(Service::Code(offer), response.status().as_u16(), started.elapsed());
    visitor.announce(response.headers_mut());
    response
}

async fn walk(
    house: Arc<House>,
    offer: Offer,
    headers: &HeaderMap,
    body: Body,
    visitor: &Visitor,
) -> Result<Response, Problem> {
    let read = read(&house, offer, headers, body, visitor).await;
    let proposal = read.map_err(|problem| unpaid(&house, offer).unwrap_or(problem))?;
    let words = Arc::new(CodeWords { receipt: proposal.options.receipt });
    if wants_stream(headers) {
        return live::respond(house, proposal, words).await;
    }
    let passage = house.parts.corridor.walk(proposal, words).await.map_err(Problem::from)?;
    Ok(http::passage(passage))
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
    let proposal = proposal::read(fields, headers, offer, visitor.caller.clone(), &catalogue.names())?;
    Ok(Proposal { place, ..proposal })
}

/// What a request that cannot be read is told where it costs something: its price, whatever its body, since clients
/// probe with empty ones (CONTRACTS 1).
fn unpaid(house: &House, offer: Offer) -> Option<Problem> {
    let usual = ActionName::new(proposal::DEFAULT_LANGUAGE).ok()?;
    let price = house.parts.prices.of(&usual, Some(offer));
    (!price.is_zero()).then(|| Refusal::PaymentRequired { price }.into())
}
