//! The port to an identity service. It is never called during `execute`.

use execgate_model::BoxFuture;
use execgate_policy::Request;
use serde::{Deserialize, Serialize};

/// What an identity service says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IamAnswer {
    /// There is none; the grant's own decision stands.
    NotConfigured,
    /// Yes.
    Approved,
    /// No, and why.
    Refused(String),
    /// It could not be asked.
    Unreachable,
}

/// An identity service.
pub trait Iam: Send + Sync {
    /// Asks about one request.
    fn check<'a>(&'a self, request: &'a Request<'a>) -> BoxFuture<'a, IamAnswer>;
}

/// No identity service.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoIam;

impl Iam for NoIam {
    fn check<'a>(&'a self, _request: &'a Request<'a>) -> BoxFuture<'a, IamAnswer> {
        Box::pin(async { IamAnswer::NotConfigured })
    }
}

/// How the question ended, as receipts write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IamWord {
    /// No service is configured.
    NotConfigured,
    /// The service said yes.
    Approved,
    /// It could not be reached, and nothing could happen (dry-run).
    UnreachableOpen,
}

impl IamWord {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotConfigured => "not-configured",
            Self::Approved => "approved",
            Self::UnreachableOpen => "unreachable-open",
        }
    }
}
