//! The port to an identity service. It is never called during `execute`.

use execgate_model::{ActionName, BoxFuture, Caller, Digest, Effect};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What an identity service is asked.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Who wants it.
    pub caller: &'a Caller,
    /// What.
    pub action: &'a ActionName,
    /// For real, or simulated.
    pub effect: Effect,
    /// The arguments. What leaves this gateway of them is the service's contract.
    pub payload: &'a Value,
    /// SHA-256 over the JCS of the arguments.
    pub args_digest: Digest,
    /// The rules in force.
    pub policy: Digest,
}

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
    /// It has answered, neither yes nor no. What it was asked may be why, so that no switch lets that pass for real.
    Unreadable,
    /// It was not asked, because too many questions are under way here. That says nothing of the service.
    Overloaded,
}

/// An identity service.
pub trait Iam: Send + Sync {
    /// Asks about one request.
    fn check<'a>(&'a self, question: &'a Question<'a>) -> BoxFuture<'a, IamAnswer>;

    /// Whether what is live goes on, too, while the service cannot be reached: only where the operator has said so.
    fn is_open_unreached(&self) -> bool {
        false
    }
}

/// No identity service.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoIam;

impl Iam for NoIam {
    fn check<'a>(&'a self, _question: &'a Question<'a>) -> BoxFuture<'a, IamAnswer> {
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
    /// It could not be reached, and nothing could happen (dry-run), or the operator lets what is live go on.
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
