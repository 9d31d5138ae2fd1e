//! The room's work: an [`Approval`] for an authorised proposal.

use execgate_model::Digest;

use crate::Refusal;
use crate::authorise::Authorised;

/// How this gateway treats requests for which no rule asks an approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApprovalMode {
    /// None is needed (`demo`).
    Demo,
}

/// Proof that a run is approved or in no need of it. Only this room makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    rule: String,
    artifact: Option<Digest>,
}

impl Approval {
    /// The rule that is satisfied, or by which no approval is needed.
    #[must_use]
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// What makes the artifact unique, where one is used up.
    #[must_use]
    pub fn artifact(&self) -> Option<Digest> {
        self.artifact
    }
}

/// What the room needs.
#[derive(Debug, Clone, Copy)]
pub struct Approve {
    /// The mode of the gateway.
    pub mode: ApprovalMode,
}

impl Approve {
    /// Judges an authorised proposal.
    ///
    /// # Errors
    /// A rule that demands an approval is never satisfied by a mode; until artifacts can be verified, such
    /// a request is refused.
    pub fn enter(&self, authorised: &Authorised) -> Result<Approval, Refusal> {
        if let Some(demand) = &authorised.demand {
            return Err(Refusal::ApprovalMissing {
                rule: demand.rule.to_string(),
                reason: "this action needs an approval, and this gateway cannot verify one".to_owned(),
            });
        }
        match self.mode {
            ApprovalMode::Demo => Ok(Approval { rule: "demo-mode".to_owned(), artifact: None }),
        }
    }
}
