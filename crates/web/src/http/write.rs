//! Writing an answer.

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use execgate_store::Answer;
use serde_json::Value;

use crate::problem::seal_headers;

/// A stored answer as a response, byte for byte.
pub(crate) fn write(answer: Answer) -> Response {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    seal_headers(&mut response, &answer.content_type);
    response
}

/// A JSON value as a response.
pub(crate) fn json(status: StatusCode, value: &Value) -> Response {
    let content_type = "application/json".to_owned();
    write(Answer { status: status.as_u16(), content_type, body: value.to_string().into_bytes() })
}
