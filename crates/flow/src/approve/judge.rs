//! The room's work: an [`Approval`] for an authorised proposal.

use execgate_model::{Digest, Proposal};
use execgate_tool::{Behind, Blocked};

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

/// The rule that blocks a tool in every mode, on whatever surface it is asked for.
pub(crate) const BLOCKED: &str = "blocked-tool";

impl Approve {
    /// Whether no approval could let this pass, so that its caller need not be asked to pay. Has no effect.
    ///
    /// # Errors
    /// A blocked tool needs an artifact, for real and simulated, and none can be verified yet.
    pub fn precheck(&self, proposal: &Proposal) -> Result<(), Refusal> {
        let name = proposal.action.as_str();
        let Some(blocked) = Blocked::find(name, proposal.surface.namespace()) else { return Ok(()) };
        let reason = match blocked.behind {
            Behind::Handler(_) => {
                format!(
                    "`{name}` is blocked until an approval unlocks it, and this gateway cannot verify one"
                )
            }
            Behind::Nothing => {
                format!("`{name}` is blocked and has no handler here: no approval unlocks it")
            }
        };
        Err(Refusal::ApprovalMissing { rule: BLOCKED.to_owned(), reason })
    }

    /// Judges an authorised proposal.
    ///
    /// # Errors
    /// A rule that demands an approval is never satisfied by a mode; until artifacts can be verified, such
    /// a request is refused. So is a blocked tool.
    pub fn enter(&self, proposal: &Proposal, authorised: &Authorised) -> Result<Approval, Refusal> {
        self.precheck(proposal)?;
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
