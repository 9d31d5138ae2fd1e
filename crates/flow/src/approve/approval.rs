//! The evidence of the room, and what a run uses up of it.

use execgate_model::{Digest, Entropy, RunId, UnixMs};
use execgate_receipt::{KeyId, Timestamp, canonical, salted};
use execgate_store::{ApprovalClaim, Change, Leaf, LeafKind};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Refusal;

/// The version of what is said of an approval that was used.
const VERSION: u8 = 1;

/// Proof that a run is approved or in no need of it. Only this room makes one.
#[derive(Debug, Clone, PartialEq)]
pub struct Approval {
    pub(super) rule: String,
    pub(super) used: Option<Box<Used>>,
}

/// What is used up.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Used {
    /// What the receipt says of it.
    pub(crate) approved: Approved,
    /// What makes it unique.
    pub(crate) keys: Vec<Digest>,
    /// As it came.
    pub(crate) artifact: Value,
}

/// By what a run was approved: part of what a receipt says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approved {
    /// The id of the artifact; of several, separated by a comma.
    pub id: String,
    /// What was signed, and by which keys.
    pub by: Vec<ApprovedBy>,
}

/// One signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovedBy {
    /// The SHA-256 of what was signed.
    pub digest: Digest,
    /// The key that signed it.
    pub key_id: KeyId,
}

impl Approval {
    /// The rule that is satisfied, or by which no approval is needed.
    #[must_use]
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// By what it is approved, where that is an artifact.
    #[must_use]
    pub fn approved(&self) -> Option<&Approved> {
        self.used.as_ref().map(|used| &used.approved)
    }

    /// What the claim is to use up, and to say of it.
    pub(crate) fn claim(
        &self,
        run: RunId,
        at: UnixMs,
        entropy: &dyn Entropy,
    ) -> Result<Option<ApprovalClaim>, Refusal> {
        let Some(used) = &self.used else { return Ok(None) };
        let statement = json!({
            "v": VERSION,
            "approval": "used",
            "run": run.to_string(),
            "rule": self.rule,
            "artifact": used.artifact,
            "at": Timestamp::new(at).ok(),
        });
        let statement =
            canonical(&statement).map_err(|error| Refusal::Receipt { detail: error.to_string() })?;
        let salt = entropy.thirty_two();
        let leaf = Leaf { kind: LeafKind::Approval, digest: salted(&salt, &statement) };
        let change = Change { statement, salt, leaf, at };
        Ok(Some(ApprovalClaim { keys: used.keys.clone(), change }))
    }
}
