//! What the administration refuses.

use axum::http::StatusCode;
use execgate_flow::Refusal;
use execgate_flow::administer::AdministerError;
use execgate_flow::settle::{ByHandError, WordError};

use super::Problem;

impl Problem {
    /// The socket of the administration is for the user of the gateway, and for root.
    pub(crate) fn not_the_operator() -> Self {
        let detail = "only the user that this gateway runs as, and root, may administer it here";
        let problem = Self::new(StatusCode::FORBIDDEN, "not-the-operator", detail);
        Self { rule: Some("peer".to_owned()), ..problem }
    }

    /// No rail is at hand that money could be looked for by.
    pub(crate) fn no_rails() -> Self {
        let detail = "no rail is at hand here: ask where the gateway's [payment] is configured";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "no-rails", detail)
    }

    /// The grant is of another tenant than the gateway.
    pub(crate) fn foreign_tenant() -> Self {
        let detail = "a gateway is administered by grants of its own tenant (`identity.tenant`)";
        let problem = Self::new(StatusCode::FORBIDDEN, "foreign-tenant", detail);
        Self { rule: Some("own-tenant".to_owned()), ..problem }
    }
}

impl From<WordError> for Problem {
    fn from(error: WordError) -> Self {
        let text = error.to_string();
        match error {
            WordError::Contradicted(_) => Self::new(StatusCode::CONFLICT, "contradicted", text),
            WordError::Unasked(_) => Self::new(StatusCode::CONFLICT, "unasked", text),
            WordError::ByHand(ByHandError::NotPending) => {
                Self::new(StatusCode::CONFLICT, "not-pending", text)
            }
            WordError::ByHand(ByHandError::Several(payments)) => {
                let named: Vec<_> = payments.iter().map(ToString::to_string).collect();
                let detail = format!("{text}: {}", named.join(", "));
                Self::new(StatusCode::CONFLICT, "several-payments", detail)
            }
            WordError::ByHand(ByHandError::Reference) => Self::bad_field("/transaction", text),
            WordError::ByHand(ByHandError::Record(refusal)) => refusal.into(),
        }
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
