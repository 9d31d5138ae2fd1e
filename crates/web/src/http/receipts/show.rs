//! `GET /receipts/{id}`: the receipt file, as `execgate verify` reads it.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use execgate_store::Answer;

use crate::house::House;
use crate::http;
use crate::problem::Problem;

/// The receipt of a run, for its owner.
pub(crate) async fn show(
    State(house): State<Arc<House>>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response {
    let record = match http::runs::owned(&house, &headers, &id).await {
        Ok(record) => record,
        Err(problem) => return problem.into_response(),
    };
    match record.receipt {
        Some(body) => http::write(Answer { status: 200, content_type: "application/json".to_owned(), body }),
        None => Problem::not_found("this run has no receipt yet").into_response(),
    }
}
