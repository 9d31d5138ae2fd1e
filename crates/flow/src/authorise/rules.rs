//! The rules in force, which can be replaced while runs walk.

use std::sync::{Arc, PoisonError, RwLock};

use execgate_policy::PolicySet;

/// The place where the rules in force hang. A decision is made under one whole set: whoever has taken it keeps it,
/// and the next decision sees the new one.
#[derive(Debug)]
pub struct Rules(RwLock<Arc<PolicySet>>);

impl Rules {
    /// These rules, until others take their place.
    #[must_use]
    pub fn new(rules: PolicySet) -> Self {
        Self(RwLock::new(Arc::new(rules)))
    }

    /// The rules that are in force now.
    #[must_use]
    pub fn now(&self) -> Arc<PolicySet> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts others in force.
    pub fn replace(&self, rules: PolicySet) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }
}
