//! The rules in force, parsed and digested elsewhere.

use std::collections::BTreeSet;

use execgate_model::{ActionName, Digest};

use crate::Policy;

/// The rules that one decision is made under: an allow-list, a policy file, or both, and then both must pass.
#[derive(Debug, Clone)]
pub struct PolicySet {
    allow_list: Option<BTreeSet<ActionName>>,
    policy: Option<Policy>,
    digest: Digest,
}

impl PolicySet {
    /// Rules with an optional allow-list of actions (`OPENEXEC_ALLOWED_ACTIONS`), named by their digest.
    #[must_use]
    pub fn new(allow_list: Option<BTreeSet<ActionName>>, digest: Digest) -> Self {
        Self { allow_list, policy: None, digest }
    }

    /// The same with a policy file. The digest that was given must be over both.
    #[must_use]
    pub fn with_policy(self, policy: Policy) -> Self {
        Self { policy: Some(policy), ..self }
    }

    /// The allow-list, where there is one.
    #[must_use]
    pub fn allow_list(&self) -> Option<&BTreeSet<ActionName>> {
        self.allow_list.as_ref()
    }

    /// The policy file, where there is one.
    #[must_use]
    pub fn policy(&self) -> Option<&Policy> {
        self.policy.as_ref()
    }

    /// What names these rules in a receipt.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }
}
