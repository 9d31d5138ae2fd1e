//! `GET /workspace`: what is there, and how much more may be.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use execgate_model::UnixMs;
use execgate_receipt::Timestamp;
use execgate_tool::Workspaces;
use serde_json::{Value, json};

use super::owner::{ask, owner};
use crate::house::House;
use crate::http;
use crate::problem::Problem;

/// Every file of whoever asks.
pub(crate) async fn list(State(house): State<Arc<House>>, headers: HeaderMap) -> Response {
    match find(&house, &headers).await {
        Ok(told) => http::json(StatusCode::OK, &told),
        Err(problem) => problem.into_response(),
    }
}

async fn find(house: &House, headers: &HeaderMap) -> Result<Value, Problem> {
    let owner = owner(house, headers).await?;
    let kept = house.parts.workspaces.clone();
    let files = ask(move || kept.list(owner)).await?;
    let bytes: u64 = files.iter().map(|file| file.bytes).sum();
    let files: Vec<_> = files
        .iter()
        .map(|file| {
            let at = u64::try_from(file.modified_s).ok().map(|at| UnixMs(at.saturating_mul(1_000)));
            let at = at.and_then(|at| Timestamp::new(at).ok());
            json!({"path": file.path, "bytes": file.bytes, "written_at": at})
        })
        .collect();
    Ok(json!({"files": files, "bytes": bytes, "quota_bytes": Workspaces::quota_bytes()}))
}
