//! What the holder of a grant is there for.

use serde::{Deserialize, Serialize};

/// One role of a grant. A grant may have several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Asks for runs, and reads its own.
    Caller,
    /// Reads every run and receipt of its tenant.
    Auditor,
    /// Says yes or no to parked calls.
    Approver,
    /// Changes rules.
    PolicyManager,
    /// Administers the gateway.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] =
        [Self::Caller, Self::Auditor, Self::Approver, Self::PolicyManager, Self::Admin];

    /// The word that is stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Auditor => "auditor",
            Self::Approver => "approver",
            Self::PolicyManager => "policy-manager",
            Self::Admin => "admin",
        }
    }

    /// Reads back what [`Self::as_str`] gave.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }
}
