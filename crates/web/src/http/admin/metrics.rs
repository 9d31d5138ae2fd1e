//! `GET /metrics`: figures for a monitoring system.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};

use crate::metrics::OPENMETRICS;
use crate::office::Office;
use crate::problem::{Problem, seal_headers};

/// `GET /metrics`.
pub(crate) async fn metrics(State(office): State<Arc<Office>>) -> Response {
    let Some(metrics) = &office.parts.metrics else {
        return Problem::not_found("no gateway counts anything here").into_response();
    };
    office.money.look().await;
    metrics.look().await;
    let mut response = Response::new(Body::from(metrics.text()));
    seal_headers(&mut response, OPENMETRICS);
    response
}
