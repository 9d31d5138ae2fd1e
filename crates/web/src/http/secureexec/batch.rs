//! `POST /exec/batch`: several calls in their order, each a run with a receipt of its own.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use execgate_flow::pay::Bought;
use execgate_flow::{AfterFailure, Batch, BatchRefusal, Batched, Passage, Refusal};
use execgate_model::{Effect, Proposal, Surface};
use execgate_payment::Flow;
use serde_json::{Value, json};

use super::call::{Common, read_batch};
use crate::caller::{Visitor, identify};
use crate::figures::{Note, Service};
use crate::headers::or_the_price;
use crate::house::{House, ToolSurface};
use crate::http;
use crate::payment::credential;
use crate::peer::Peer;
use crate::problem::{Asked, Problem, SCHEMA_VERSION, Took, seal};
use crate::render::ExecWords;

/// `POST /exec/batch`.
pub(crate) async fn batch(
    State(house): State<Arc<House>>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let visitor = match identify(&house, &headers).await {
        Ok(visitor) => Visitor { peer: peer.and_then(|Extension(peer)| peer.address()), ..visitor },
        Err(problem) => return problem.into_response(),
    };
    let note = Note::new(Arc::clone(&house), Service::Batch);
    let mut asked = Asked::default();
    let response = match walk(&house, &headers, body, &visitor, &mut asked).await {
        Ok((body, bought)) => {
            let mut response = http::json(StatusCode::OK, &body);
            if let Some(bought) = bought {
                house.tell(&bought, response.headers_mut());
            }
            response
        }
        Err(problem) => problem.into_response(),
    };
    let mut response = note.take(response);
    response.extensions_mut().insert(asked);
    visitor.announce(response.headers_mut());
    response
}

async fn walk(
    house: &House,
    headers: &HeaderMap,
    body: Body,
    visitor: &Visitor,
    asked: &mut Asked,
) -> Result<(Value, Option<Box<Bought>>), Problem> {
    let least = visitor.owes(house.parts.corridor.prices().least_of_batch());
    let read = read(house, headers, body, visitor).await;
    let batch = read.map_err(|problem| or_the_price(problem, headers, (least, Flow::Upfront)))?;
    let items: Vec<Asked> = batch.items.iter().map(of_item).collect();
    let after_failure = batch.after_failure;
    let batched = match house.parts.corridor.walk_batch(batch, Arc::new(ExecWords)).await {
        Ok(batched) => batched,
        Err(BatchRefusal { item, refusal }) => {
            let place = item.map(|at| format!("/calls/{at}"));
            if let Some(of) = item.and_then(|at| items.get(at)) {
                *asked = of.clone();
            }
            let problem = Problem::from(refusal).of_item(place.as_deref());
            return Err(problem);
        }
    };
    // Whatever the batch costs, its first call has brought.
    let bought = batched.items.first().and_then(|first| first.as_ref().ok()?.bought.clone());
    Ok((told(house, &items, after_failure, batched), bought))
}

async fn read(house: &House, headers: &HeaderMap, body: Body, visitor: &Visitor) -> Result<Batch, Problem> {
    let (fields, place) = house.bodies.json_object(headers, body).await?;
    if house.parts.tools == ToolSurface::Off {
        return Err(Problem::tools_are_off());
    }
    let caller = visitor.caller.clone();
    let mut batch = read_batch(fields, |fields| Common::read(fields, headers, Surface::SecureExec, caller))?;
    for item in &mut batch.items {
        item.place = place.clone();
    }
    batch.credential = credential(house, Service::Batch, headers)?;
    Ok(batch)
}

fn of_item(item: &Proposal) -> Asked {
    Asked { tool: Some(item.action.to_string()), effect: Some(item.effect), ..Asked::default() }
}

/// The answers of the items, and what they come to together. Times are the items' own, so that a batch whose items all
/// ran is answered in the same bytes when it is repeated.
fn told(house: &House, items: &[Asked], after_failure: AfterFailure, batched: Batched) -> Value {
    let mut results = Vec::with_capacity(batched.items.len());
    for (at, (asked, ended)) in items.iter().zip(batched.items).enumerate() {
        results.push(item_told(house, at, asked, ended));
    }
    let not_started = items.len() - results.len();
    let all = |holds: &dyn Fn(&Value) -> bool| not_started == 0 && results.iter().all(holds);
    let completed = all(&|result| result["status"] == "completed");
    let latency_ms: u64 = results.iter().filter_map(|result| result["latencyMs"].as_u64()).sum();
    seal(json!({
        "jobId": batched.id,
        "status": if completed { "completed" } else { "failed" },
        "dryRun": items.iter().all(|item| item.effect == Some(Effect::DryRun)),
        "stopOnError": after_failure == AfterFailure::Stop,
        "iamApproved": all(&|result| result["iamApproved"] == true),
        "notStarted": not_started,
        "paymentProtocol": results.first().map_or(Value::Null, |result| result["paymentProtocol"].clone()),
        "latencyMs": latency_ms,
        "timestamp": results.last().map_or(Value::Null, |result| result["timestamp"].clone()),
        "schemaVersion": SCHEMA_VERSION,
        "results": results,
    }))
}

/// One item in the words of a call of its own.
fn item_told(house: &House, at: usize, asked: &Asked, ended: Result<Passage, Refusal>) -> Value {
    match ended {
        // It was written by `ExecWords`, as JSON.
        Ok(passage) => serde_json::from_slice(&passage.answer.body).unwrap_or_default(),
        Err(refusal) => {
            let problem = Problem::from(refusal).of_item(Some(&format!("/calls/{at}")));
            problem.exec_body(asked, Took { at: house.parts.clock.now(), latency_ms: 0 })
        }
    }
}
