//! `POST /pause` and `POST /resume`: the kill switch. It is a row of the record, so it holds for every gateway of it.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::json;

use crate::admit::Administrator;
use crate::http;
use crate::http::admin::{answer, asked};
use crate::office::Office;

/// `POST /pause`: no new run is claimed.
pub(crate) async fn pause(
    State(office): State<Arc<Office>>,
    Extension(administrator): Extension<Administrator>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    switch(&office, &administrator, true, &headers, body).await
}

/// `POST /resume`: runs are claimed again.
pub(crate) async fn resume(
    State(office): State<Arc<Office>>,
    Extension(administrator): Extension<Administrator>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    switch(&office, &administrator, false, &headers, body).await
}

async fn switch(
    office: &Office,
    administrator: &Administrator,
    paused: bool,
    headers: &HeaderMap,
    body: Body,
) -> Response {
    answer(async {
        asked(office, headers, body, |_| Ok(())).await?;
        let changed = office.administer.pause(&administrator.by(), paused).await?;
        Ok(http::json(StatusCode::OK, &json!({"paused": paused, "changed": changed})))
    })
    .await
}
