//! What a witness refuses, with the statuses of its protocol (C2SP tlog-witness).

use axum::http::StatusCode;
use execgate_receipt::WitnessRefusal;

use super::Problem;
use crate::witness::WitnessError;

impl From<WitnessError> for Problem {
    fn from(error: WitnessError) -> Self {
        let text = error.to_string();
        let refusal = match error {
            WitnessError::Refused(refusal) => refusal,
            WitnessError::Unkept => {
                return Self::new(StatusCode::SERVICE_UNAVAILABLE, "witness-failed", text);
            }
        };
        let (status, code) = match refusal {
            WitnessRefusal::Form => (StatusCode::BAD_REQUEST, "bad-submission"),
            WitnessRefusal::Shrinks { .. } => (StatusCode::BAD_REQUEST, "log-shrinks"),
            WitnessRefusal::UnknownLog { .. } => (StatusCode::NOT_FOUND, "unknown-log"),
            WitnessRefusal::Unsigned => (StatusCode::FORBIDDEN, "not-the-log"),
            WitnessRefusal::Stale { .. } => (StatusCode::CONFLICT, "stale-size"),
            WitnessRefusal::Forked { .. } => (StatusCode::CONFLICT, "log-forked"),
            WitnessRefusal::Inconsistent(_) => (StatusCode::UNPROCESSABLE_ENTITY, "log-inconsistent"),
        };
        Self::new(status, code, text)
    }
}
