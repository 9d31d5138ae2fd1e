//! What came of a request, as its answer.

use axum::response::{IntoResponse as _, Response};

use crate::problem::Problem;

/// The answer of a handler, or its problem.
pub(super) async fn answer(work: impl Future<Output = Result<Response, Problem>>) -> Response {
    work.await.unwrap_or_else(|problem| problem.into_response())
}
