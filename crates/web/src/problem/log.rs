//! What the log refuses, and how it fails.

use axum::http::StatusCode;
use execgate_flow::Refusal;
use execgate_flow::log::LogError;
use execgate_receipt::ReadingError;

use super::Problem;

impl From<LogError> for Problem {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Store(error) => Refusal::Store(error).into(),
            LogError::Reading(error @ ReadingError::Beyond { .. }) => {
                Self::new(StatusCode::NOT_FOUND, "not-found", error.to_string())
            }
            LogError::Reading(ReadingError::Count { .. }) | LogError::Note(_) | LogError::Outside { .. } => {
                tracing::error!(error = &error as &dyn core::error::Error, "the log failed");
                Self::fault()
            }
        }
    }
}
