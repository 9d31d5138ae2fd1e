//! `GET /approvals/{id}`: everything that is signed, as it is, so that the digest can be computed from it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use execgate_flow::execute::owner;
use execgate_flow::parking::ParkedRequest;
use execgate_flow::witness::Facts;
use execgate_flow::{Refusal, parking};
use execgate_model::{Effect, RunId, Scope, Stage};
use execgate_receipt::Timestamp;
use execgate_receipt::approval::ActionDigest;
use execgate_store::{Parked, Record, StoreError, Vote};
use serde_json::{Value, json};

use super::page;
use crate::caller::{Visitor, recognise};
use crate::house::House;
use crate::http::{self, Pieces};
use crate::problem::{Problem, seal_headers};

/// What waits, or what became of it.
pub(crate) async fn show(
    State(house): State<Arc<House>>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response {
    if let Some(run) = id.parse().ok().filter(|_| page::is_wanted(&headers)) {
        return page::page(run);
    }
    match find(&house, &headers, &id).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn find(house: &House, headers: &HeaderMap, id: &str) -> Result<Response, Problem> {
    let run = visible(house, headers, id).await?;
    let store = &house.parts.store;
    match store.parked(run).await.map_err(failed)? {
        Some(parked) => waiting(house, &parked).await,
        None => {
            let record = store.run(run).await.map_err(failed)?.ok_or_else(missing)?;
            let votes = store.votes(run).await.map_err(failed)?;
            over(&record, &votes).map(|told| http::json(StatusCode::OK, &told)).ok_or_else(missing)
        }
    }
}

/// The id of a run that whoever asks may see: its owner, and approvers and auditors of its tenant. Foreign ones answer like
/// missing ones.
pub(super) async fn visible(house: &House, headers: &HeaderMap, id: &str) -> Result<RunId, Problem> {
    let visitor = recognise(house, headers).await?;
    let run: RunId = id.parse().map_err(|_| missing())?;
    let record = house.parts.store.run(run).await.map_err(failed)?.ok_or_else(missing)?;
    if is_shown(&visitor, &record) { Ok(run) } else { Err(missing()) }
}

fn is_shown(visitor: &Visitor, record: &Record) -> bool {
    let owns = |scope: Scope| record.owner == Some(owner(scope.as_str()));
    visitor.caller.scope().is_some_and(owns)
        || Facts::from_bytes(&record.intent).is_ok_and(|facts| visitor.reviews(&facts.caller.tenant))
}

pub(super) fn missing() -> Problem {
    Problem::not_found("there is no such approval, or it belongs to somebody else")
}

fn failed(error: StoreError) -> Problem {
    Refusal::Store(error).into()
}

/// All that is signed. What the run asks for is neither read nor copied: it goes out as it is stored, and takes a place among
/// the large bodies until it is sent.
async fn waiting(house: &House, parked: &Parked) -> Result<Response, Problem> {
    let corridor = &house.parts.corridor;
    let request = ParkedRequest::from_bytes(&parked.parking.head)?;
    // As the rules are today: what is signed has to hold when it is handed in.
    let today = corridor.today(parked, &request).await?;
    let refused = today.refused.map(|(rule, reason)| json!({"rule": rule, "reason": reason}));
    let told = json!({
        "id": parked.record.run,
        "approval_id": parked.record.run,
        "status": "pending",
        "action_digest": ActionDigest(parked.record.fingerprint).to_string(),
        "tenant": request.caller.tenant,
        "scope": request.caller.scope().map(|scope| scope.as_str().to_owned()),
        "caller": request.caller.label(),
        "surface": request.surface.as_str(),
        "nonce": request.nonce,
        "price": today.price,
        "policy_digest": ActionDigest(today.policy).to_string(),
        "terms": today.terms,
        // What would end it, whoever says yes.
        "refused": refused,
        "approvals": parked.votes.iter().map(told).collect::<Vec<_>>(),
        "created_at": Timestamp::new(parked.record.created).ok(),
        "expires_at": Timestamp::new(parked.parking.expires).ok(),
    });
    // What the digest is over, and nothing else, in the place of `request`.
    let (action, options) = (json!(request.action), json!(request.options));
    let (payload, place) = corridor.payload_of(parked).await?;
    let before = format!("{{\"request\":{{\"action\":{action},\"payload\":");
    let is_dry = request.effect == Effect::DryRun;
    let told = told.to_string();
    let fields = told.strip_prefix('{').unwrap_or_default();
    let behind = format!(",\"dryRun\":{is_dry},\"options\":{options}}},{fields}");
    let pieces = Pieces::new([before.into(), payload.into(), behind.into()], place);
    let mut response = Response::new(Body::new(pieces));
    seal_headers(&mut response, "application/json");
    Ok(response)
}

/// What is left of one that waits no more; none where it never did.
fn over(record: &Record, votes: &[Vote]) -> Option<Value> {
    let outcome = record.outcome.as_deref();
    let never_started = outcome.is_some_and(parking::never_started);
    if votes.is_empty() && !never_started {
        return None;
    }
    let status = match (record.stage, outcome) {
        (_, Some(word)) if never_started => word,
        (Stage::Execute, _) => "running",
        (Stage::Unknown, _) => "unknown",
        (Stage::Parked | Stage::Witness | Stage::Settled, _) => "ended",
    };
    Some(json!({
        "id": record.run,
        "approval_id": record.run,
        "status": status,
        "outcome": outcome,
        "receipt": record.content,
        "action_digest": ActionDigest(record.fingerprint).to_string(),
        "approvals": votes.iter().map(told).collect::<Vec<_>>(),
        "created_at": Timestamp::new(record.created).ok(),
        "finished_at": record.finished.and_then(|at| Timestamp::new(at).ok()),
    }))
}

/// What a person has said, without the signature, which is in its artifact.
pub(super) fn told(vote: &Vote) -> Value {
    json!({
        "approver": vote.approver,
        "person": vote.person,
        "decision": vote.word.as_str(),
        "at": Timestamp::new(vote.at).ok(),
    })
}
