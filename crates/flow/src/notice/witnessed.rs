//! What is said of a refusal that leaves a leaf: by a rule, or for want of an approval, of somebody who is known (CONTRACTS 5).
//!
//! Nothing that a caller has sent stands in it but the name of the action. How many there are of one caller is the trail's
//! quota, which says how many it left out.

use execgate_model::Entropy;
use execgate_receipt::{Timestamp, canonical, salted};
use execgate_store::{AuditLine, Change, Leaf, LeafKind};
use serde_json::json;

use crate::Refusal;

/// The version of the statement.
const VERSION: u8 = 1;

/// Whether a refusal leaves a leaf. Those about form, price, limits and load only count.
pub(super) fn is_witnessed(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::Denied { .. }
            | Refusal::ApprovalMissing { .. }
            | Refusal::ClawShield(_)
            | Refusal::ApprovalInvalid(_)
            | Refusal::OwnApproval { .. }
            | Refusal::ApprovalReused
    )
}

/// The statement and its leaf. Nothing where it cannot be written, which its types rule out.
pub(super) fn said(line: &AuditLine, entropy: &dyn Entropy) -> Option<Change> {
    let statement = json!({
        "v": VERSION,
        "refusal": line.rule,
        "room": line.room,
        "tenant": line.tenant,
        "caller": line.caller,
        "surface": line.surface,
        "action": line.action,
        "effect": line.effect,
        "policy": line.policy,
        "at": Timestamp::new(line.at).ok(),
    });
    let statement = canonical(&statement).ok()?;
    let salt = entropy.thirty_two();
    let leaf = Leaf { kind: LeafKind::Refusal, digest: salted(&salt, &statement) };
    Some(Change { statement, salt, leaf, at: line.at })
}
