//! The rules in force, parsed and digested elsewhere.

use std::collections::BTreeSet;

use execgate_model::{ActionName, Digest};

/// The rules that one decision is made under.
#[derive(Debug, Clone)]
pub struct PolicySet {
    allow_list: Option<BTreeSet<ActionName>>,
    digest: Digest,
}

impl PolicySet {
    /// Rules with an optional allow-list of actions (`OPENEXEC_ALLOWED_ACTIONS`), named by their digest.
    #[must_use]
    pub fn new(allow_list: Option<BTreeSet<ActionName>>, digest: Digest) -> Self {
        Self { allow_list, digest }
    }

    /// The allow-list, where there is one.
    #[must_use]
    pub fn allow_list(&self) -> Option<&BTreeSet<ActionName>> {
        self.allow_list.as_ref()
    }

    /// What names these rules in a receipt.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }
}
