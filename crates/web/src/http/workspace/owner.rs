//! Whose workspace a request is about, and what goes wrong with one.

use axum::http::HeaderMap;
use execgate_flow::Refusal;
use execgate_flow::execute::owner as owner_of;
use execgate_model::Digest;
use execgate_tool::{WorkspaceError, WorkspacePath};
use tokio::task::spawn_blocking;

use crate::caller::recognise;
use crate::house::House;
use crate::problem::Problem;

/// The owner that whoever asks is. Whoever is not known has none, and finds nothing.
pub(super) async fn owner(house: &House, headers: &HeaderMap) -> Result<Digest, Problem> {
    let visitor = recognise(house, headers).await?;
    let scope = visitor.caller.scope().filter(|_| visitor.caller.is_identified());
    scope.map(|scope| owner_of(scope.as_str())).ok_or_else(missing)
}

pub(super) fn missing() -> Problem {
    Problem::not_found("there is no such file, or it belongs to somebody else")
}

/// A path that is none is no file's.
pub(super) fn path(text: &str) -> Result<WorkspacePath, Problem> {
    WorkspacePath::parse(text).map_err(|bad| Problem::bad_field("/path", format!("`path` {bad}")))
}

/// Does what blocks beside the others.
pub(super) async fn ask<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, WorkspaceError> + Send + 'static,
) -> Result<T, Problem> {
    let failed = |detail: String| Problem::from(Refusal::Receipt { detail });
    match spawn_blocking(work).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error @ (WorkspaceError::IsFolder(_) | WorkspaceError::NoFolder(_)))) => {
            Err(Problem::no_file(error.to_string()))
        }
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(panic) => Err(failed(panic.to_string())),
    }
}
