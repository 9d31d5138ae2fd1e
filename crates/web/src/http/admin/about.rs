//! `GET /health` and `GET /openapi.json` of the administration door.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use execgate_flow::Refusal;
use serde_json::json;

use crate::http;
use crate::office::Office;
use crate::openapi::admin_document;
use crate::problem::Problem;

/// `GET /health`: which process answers, of which record.
pub(crate) async fn health(State(office): State<Arc<Office>>) -> Response {
    let parts = &office.parts;
    match parts.store.paused().await {
        Ok(paused) => http::json(
            StatusCode::OK,
            &json!({
                "status": "ok",
                "service": "execgate",
                "version": parts.version,
                "instance": parts.store.instance(),
                "record": parts.record,
                "paused": paused,
            }),
        ),
        Err(error) => Problem::from(Refusal::Store(error)).into_response(),
    }
}

/// `GET /openapi.json`.
pub(crate) async fn openapi(State(office): State<Arc<Office>>) -> Response {
    http::json(StatusCode::OK, &admin_document(office.parts.version))
}
