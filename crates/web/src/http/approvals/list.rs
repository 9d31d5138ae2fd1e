//! `GET /approvals`: what waits. Approvers and auditors see all of their tenant; everybody else what is their own.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use execgate_flow::Refusal;
use execgate_flow::execute::owner;
use execgate_model::Effect;
use execgate_receipt::Timestamp;
use execgate_receipt::approval::ActionDigest;
use execgate_store::{Parked, ParkedPage};
use serde_json::{Value, json};

use super::show::told;
use crate::caller::recognise;
use crate::house::House;
use crate::http;
use crate::problem::Problem;
use crate::query::Query;

/// Runs of one page, where nothing else is said.
const PAGE: u32 = 50;

/// Runs of one page at the most.
const PAGE_MAX: u32 = 200;

/// What waits, newest first.
pub(crate) async fn list(
    State(house): State<Arc<House>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    match page(&house, &headers, query.as_deref()).await {
        Ok(parked) => http::json(StatusCode::OK, &parked.iter().map(describe).collect()),
        Err(problem) => problem.into_response(),
    }
}

async fn page(house: &House, headers: &HeaderMap, query: Option<&str>) -> Result<Vec<Parked>, Problem> {
    let visitor = recognise(house, headers).await?;
    let mut query = Query::new(query);
    let limit = |text: &str| text.parse::<u32>().ok().filter(|limit| (1..=PAGE_MAX).contains(limit));
    let limit = query.read("limit", limit, "a number from 1 to 200")?.unwrap_or(PAGE);
    let before = query.read("before", |text| text.parse().ok(), "the id of a run")?;
    query.finish()?;
    let tenant = visitor.caller.tenant.clone();
    let page = if visitor.reviews(&tenant) {
        ParkedPage { tenant: Some(tenant), owner: None, before, limit }
    } else {
        // Nobody in particular owns nothing.
        let Some(scope) = visitor.caller.scope() else { return Ok(Vec::new()) };
        ParkedPage { tenant: Some(tenant), owner: Some(owner(scope.as_str())), before, limit }
    };
    house.parts.store.parked_page(page).await.map_err(|error| Refusal::Store(error).into())
}

fn describe(parked: &Parked) -> Value {
    let record = &parked.record;
    json!({
        "id": record.run,
        "status": "pending",
        "action": record.action,
        "dryRun": record.effect == Effect::DryRun,
        "caller": record.caller,
        "tenant": parked.parking.tenant,
        "action_digest": ActionDigest(record.fingerprint).to_string(),
        "approvals": parked.votes.iter().map(told).collect::<Vec<_>>(),
        "created_at": Timestamp::new(record.created).ok(),
        "expires_at": Timestamp::new(parked.parking.expires).ok(),
    })
}
