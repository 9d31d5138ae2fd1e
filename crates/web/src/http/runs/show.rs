//! `GET /runs/{id}`, for its owner and for auditors of its tenant. A foreign id answers like a missing one.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use execgate_flow::Refusal;
use execgate_flow::execute::owner;
use execgate_model::RunId;
use execgate_receipt::Timestamp;
use execgate_store::Record;
use serde_json::json;

use crate::caller::recognise;
use crate::house::House;
use crate::http;
use crate::problem::Problem;

/// The record of a run, for its owner.
pub(crate) async fn show(
    State(house): State<Arc<House>>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response {
    match owned(&house, &headers, &id).await {
        Ok(record) => http::json(
            StatusCode::OK,
            &json!({
                "id": record.run,
                "action": record.action,
                "effect": record.effect,
                "stage": record.stage,
                "outcome": record.outcome,
                "receipt": record.content,
                "settlement": record.settlement.as_str(),
                "price": record.price,
                "resolution": record.resolution,
                "created_at": Timestamp::new(record.created).ok(),
                "finished_at": record.finished.and_then(|at| Timestamp::new(at).ok()),
            }),
        ),
        Err(problem) => problem.into_response(),
    }
}

/// The record of a run that belongs to whoever asks, or to the tenant of an auditor.
pub(crate) async fn owned(house: &House, headers: &HeaderMap, id: &str) -> Result<Record, Problem> {
    let missing = || Problem::not_found("there is no such run, or it belongs to somebody else");
    let visitor = recognise(house, headers).await?;
    let scope = visitor.caller.scope().ok_or_else(missing)?;
    let run: RunId = id.parse().map_err(|_| missing())?;
    let record = house.parts.store.run(run).await.map_err(|error| Problem::from(Refusal::Store(error)))?;
    let is_shown = |record: &Record| record.owner == Some(owner(scope.as_str())) || visitor.audits(record);
    record.filter(is_shown).ok_or_else(missing)
}
