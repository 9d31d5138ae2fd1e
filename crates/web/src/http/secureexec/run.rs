//! `POST /exec/tool`, and `POST /exec/simulate`, which is the same, never for real and never for money.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use execgate_flow::Passage;
use execgate_model::{ActionName, Amount, Effect, Proposal, Surface};
use execgate_payment::Flow;
use execgate_tool::TOOLS;

use super::call::{Common, read_call, seems};
use crate::caller::{Visitor, identify};
use crate::figures::{Note, Service};
use crate::headers::or_the_price;
use crate::house::{House, ToolSurface};
use crate::http;
use crate::payment::credential;
use crate::peer::Peer;
use crate::problem::{Asked, Problem};
use crate::render::ExecWords;

/// `POST /exec/tool`.
pub(crate) async fn tool(
    State(house): State<Arc<House>>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    answer(house, Surface::SecureExec, peer, headers, body).await
}

/// `POST /exec/simulate`.
pub(crate) async fn simulate(
    State(house): State<Arc<House>>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    answer(house, Surface::Simulate, peer, headers, body).await
}

async fn answer(
    house: Arc<House>,
    surface: Surface,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let visitor = match identify(&house, &headers).await {
        Ok(visitor) => Visitor { peer: peer.and_then(|Extension(peer)| peer.address()), ..visitor },
        Err(problem) => return problem.into_response(),
    };
    let service = if surface == Surface::Simulate { Service::Simulate } else { Service::Tool };
    let note = Note::new(Arc::clone(&house), service);
    let mut asked = Asked::default();
    let response = match walk(&house, surface, &headers, body, &visitor, &mut asked).await {
        Ok(passage) => http::passage(&house, passage),
        Err(problem) => problem.into_response(),
    };
    let mut response = note.take(response);
    response.extensions_mut().insert(asked);
    visitor.announce(response.headers_mut());
    response
}

async fn walk(
    house: &House,
    surface: Surface,
    headers: &HeaderMap,
    body: Body,
    visitor: &Visitor,
    asked: &mut Asked,
) -> Result<Passage, Problem> {
    let proposal = read(house, surface, headers, body, visitor, asked).await;
    let (price, flow) = base_price(house, surface);
    let base = (visitor.owes(price), flow);
    let proposal = proposal.map_err(|problem| or_the_price(problem, headers, base))?;
    let walked = house.walk(headers, proposal, Arc::new(ExecWords)).await;
    walked.map_err(|refusal| Problem::from(refusal).with_payload_at("/tool/args"))
}

async fn read(
    house: &House,
    surface: Surface,
    headers: &HeaderMap,
    body: Body,
    visitor: &Visitor,
    asked: &mut Asked,
) -> Result<Proposal, Problem> {
    let (fields, place) = house.bodies.json_object(headers, body).await?;
    if house.parts.tools == ToolSurface::Off {
        return Err(Problem::tools_are_off());
    }
    *asked = seems(&fields, surface);
    let caller = visitor.caller.clone();
    let proposal = read_call(fields, |fields| Common::read(fields, headers, surface, caller))?;
    let credential = if surface.is_free() { None } else { credential(house, Service::Tool, headers)? };
    Ok(Proposal { place, credential, peer: visitor.peer, ..proposal })
}

/// What the cheapest call of the route costs.
fn base_price(house: &House, surface: Surface) -> (Amount, Flow) {
    let usual = TOOLS.first().and_then(|name| ActionName::new(*name).ok());
    let prices = house.parts.corridor.prices();
    let price = usual.map(|usual| (prices.of(&usual, Effect::DryRun, None), prices.flow(&usual, None)));
    price.filter(|_| !surface.is_free()).unwrap_or_default()
}
