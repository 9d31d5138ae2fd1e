//! What the administration refuses.

use axum::http::StatusCode;
use execgate_flow::Refusal;
use execgate_flow::administer::AdministerError;

use super::Problem;

impl Problem {
    /// The socket of the administration is for the user of the gateway, and for root.
    pub(crate) fn not_the_operator() -> Self {
        let detail = "only the user that this gateway runs as, and root, may administer it here";
        let problem = Self::new(StatusCode::FORBIDDEN, "not-the-operator", detail);
        Self { rule: Some("peer".to_owned()), ..problem }
    }

    /// The grant is of another tenant than the gateway.
    pub(crate) fn foreign_tenant() -> Self {
        let detail = "a gateway is administered by grants of its own tenant (`identity.tenant`)";
        let problem = Self::new(StatusCode::FORBIDDEN, "foreign-tenant", detail);
        Self { rule: Some("own-tenant".to_owned()), ..problem }
    }
}

impl From<AdministerError> for Problem {
    fn from(error: AdministerError) -> Self {
        let text = error.to_string();
        match error {
            AdministerError::NoGrant(_) | AdministerError::NoRun(_) | AdministerError::NoOwnKey(_) => {
                Self::new(StatusCode::NOT_FOUND, "not-found", text)
            }
            AdministerError::Revoked(_) => Self::new(StatusCode::CONFLICT, "grant-revoked", text),
            AdministerError::Taken(_) => Self::new(StatusCode::CONFLICT, "id-taken", text),
            AdministerError::Full => Self::new(StatusCode::CONFLICT, "grants-full", text),
            AdministerError::BadGrant { field, what } => Self {
                pointer: Some(format!("/{field}")),
                ..Self::new(StatusCode::BAD_REQUEST, "bad-field", format!("`{field}`: {what}"))
            },
            AdministerError::OperatorOnly { rule, .. } => Self {
                rule: Some(rule.to_owned()),
                ..Self::new(StatusCode::FORBIDDEN, "operator-only", text)
            },
            AdministerError::Known { .. } => Self::new(StatusCode::CONFLICT, "outcome-known", text),
            AdministerError::Resolved(_) => Self::new(StatusCode::CONFLICT, "resolved-already", text),
            AdministerError::KeySigns { .. } => Self::new(StatusCode::CONFLICT, "key-signs", text),
            AdministerError::KeyTooNew { .. } => Self::new(StatusCode::CONFLICT, "key-too-new", text),
            AdministerError::KeyRetired { .. } => Self::new(StatusCode::CONFLICT, "key-retired", text),
            AdministerError::KeysFull => Self::new(StatusCode::CONFLICT, "keys-full", text),
            AdministerError::Safe(error) => {
                tracing::error!(%error, "the gateway's own keys are not to be had");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "no-own-keys", text)
            }
            AdministerError::NoKey => Self::new(StatusCode::SERVICE_UNAVAILABLE, "no-receipt-key", text),
            AdministerError::NoLog => Self::new(StatusCode::SERVICE_UNAVAILABLE, "no-log", text),
            AdministerError::LogDamaged(_) => Self::new(StatusCode::CONFLICT, "log-damaged", text),
            AdministerError::LogNamed(_) | AdministerError::LogNameSeen { .. } => {
                Self::new(StatusCode::CONFLICT, "log-named", text)
            }
            AdministerError::LogName => Self::bad_field("/origin", text),
            AdministerError::Log(error) => error.into(),
            AdministerError::Statement(refusal) => refusal.into(),
            AdministerError::Store(error) => Refusal::Store(error).into(),
        }
    }
}
