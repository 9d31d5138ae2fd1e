//! What is said of a change: a small statement without a secret, and the leaf that commits to it.

use core::fmt;

use execgate_model::{Entropy, GrantId, UnixMs};
use execgate_receipt::{Timestamp, canonical, salted};
use execgate_store::{Change, Leaf, LeafKind};
use serde_json::{Value, json};

use super::AdministerError;
use crate::Refusal;

/// The version of the statement.
const VERSION: u8 = 1;

/// Who changes something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// Whoever may read the files of the record.
    Operator {
        /// The user id of the process that asked.
        uid: u32,
    },
    /// The holder of a grant.
    Grant(GrantId),
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator { uid } => write!(f, "operator:{uid}"),
            Self::Grant(id) => write!(f, "grant:{id}"),
        }
    }
}

/// Says that `by` did `change` at a time; `about` is what else there is to say.
pub(super) fn said(
    by: &By,
    change: &str,
    about: &Value,
    at: UnixMs,
    entropy: &dyn Entropy,
) -> Result<Change, AdministerError> {
    let statement = json!({
        "v": VERSION,
        "change": change,
        "by": by.to_string(),
        "at": Timestamp::new(at).ok(),
        "about": about,
    });
    let unwritten = |detail: String| AdministerError::Statement(Refusal::Receipt { detail });
    let statement = canonical(&statement).map_err(|error| unwritten(error.to_string()))?;
    let salt = entropy.thirty_two();
    let leaf = Leaf { kind: LeafKind::Change, digest: salted(&salt, &statement) };
    Ok(Change { statement, salt, leaf, at })
}
