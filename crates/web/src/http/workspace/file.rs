//! `GET` and `DELETE /workspace/{path}`: one file. It is a guest's bytes: nothing that a browser would show or run.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use execgate_flow::Refusal;
use execgate_flow::parking::Lodging as _;
use serde_json::json;

use super::owner::{ask, missing, owner, path};
use crate::house::House;
use crate::http::{self, Pieces};
use crate::problem::{Problem, seal_headers};

/// What one file takes up in memory at the most, in bytes: as long as a body may be.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// What a file holds.
pub(crate) async fn show(
    State(house): State<Arc<House>>,
    headers: HeaderMap,
    Path(at): Path<String>,
) -> Response {
    match read(&house, &headers, &at).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn read(house: &House, headers: &HeaderMap, at: &str) -> Result<Response, Problem> {
    let owner = owner(house, headers).await?;
    let path = path(at)?;
    let reason = "too many large requests are held at once; try again shortly";
    let place = house.bodies.lodge(FILE_BYTES_MAX);
    let place = place.ok_or(Refusal::Busy { rule: "many-large-bodies", reason })?;
    let kept = house.parts.workspaces.clone();
    let content = ask(move || kept.read(owner, &path)).await?.ok_or_else(missing)?;
    let mut response = Response::new(Body::new(Pieces::new([content.into()], place)));
    seal_headers(&mut response, "application/octet-stream");
    let headers = response.headers_mut();
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'"));
    Ok(response)
}

/// Deletes a file of whoever asks.
pub(crate) async fn delete(
    State(house): State<Arc<House>>,
    headers: HeaderMap,
    Path(at): Path<String>,
) -> Response {
    match remove(&house, &headers, &at).await {
        Ok(()) => http::json(StatusCode::OK, &json!({"path": at, "deleted": true})),
        Err(problem) => problem.into_response(),
    }
}

async fn remove(house: &House, headers: &HeaderMap, at: &str) -> Result<(), Problem> {
    let owner = owner(house, headers).await?;
    let path = path(at)?;
    let kept = house.parts.workspaces.clone();
    if ask(move || kept.delete(owner, &path)).await? { Ok(()) } else { Err(missing()) }
}
