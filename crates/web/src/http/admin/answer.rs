//! What a request asks for, and what came of it.

use axum::body::Body;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};

use crate::body::Fields;
use crate::office::Office;
use crate::problem::Problem;

/// The answer of a handler, or its problem.
pub(super) async fn answer(work: impl Future<Output = Result<Response, Problem>>) -> Response {
    work.await.unwrap_or_else(|problem| problem.into_response())
}

/// What a body asks for, all of it: a field that nobody reads is refused.
pub(super) async fn asked<T>(
    office: &Office,
    headers: &HeaderMap,
    body: Body,
    read: impl FnOnce(&mut Fields) -> Result<T, Problem>,
) -> Result<T, Problem> {
    let (fields, _place) = office.bodies.json_object(headers, body).await?;
    let mut fields = Fields::new(fields);
    let asked = read(&mut fields)?;
    fields.finish()?;
    Ok(asked)
}
