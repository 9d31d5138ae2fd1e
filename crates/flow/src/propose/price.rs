//! What an action costs. Prices belong to actions, not to surfaces (CONTRACTS 4).

use std::collections::BTreeMap;

use execgate_model::{ActionName, Amount};

/// The prices in force.
#[derive(Debug, Clone, Default)]
pub struct Prices {
    by_action: BTreeMap<ActionName, Amount>,
}

impl Prices {
    /// Free mode: everything costs nothing.
    #[must_use]
    pub fn free() -> Self {
        Self::default()
    }

    /// Prices by action; what is not named costs nothing.
    #[must_use]
    pub fn new(by_action: BTreeMap<ActionName, Amount>) -> Self {
        Self { by_action }
    }

    /// The price of an action.
    #[must_use]
    pub fn of(&self, action: &ActionName) -> Amount {
        self.by_action.get(action).copied().unwrap_or(Amount::ZERO)
    }
}
