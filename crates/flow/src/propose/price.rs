//! What an action costs. Prices belong to actions, not to surfaces (CONTRACTS 4).

use std::collections::BTreeMap;

use execgate_model::{ActionName, Amount, Offer};

/// The prices in force.
#[derive(Debug, Clone, Default)]
pub struct Prices {
    by_action: BTreeMap<ActionName, Amount>,
    by_offer: BTreeMap<Offer, Amount>,
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
        Self { by_action, by_offer: BTreeMap::new() }
    }

    /// The same, with prices of their own for what is asked for under an offer.
    #[must_use]
    pub fn with_offers(mut self, by_offer: BTreeMap<Offer, Amount>) -> Self {
        self.by_offer = by_offer;
        self
    }

    /// The price of an action, under an offer or not.
    #[must_use]
    pub fn of(&self, action: &ActionName, offer: Option<Offer>) -> Amount {
        let offered = offer.and_then(|offer| self.by_offer.get(&offer));
        offered.or_else(|| self.by_action.get(action)).copied().unwrap_or(Amount::ZERO)
    }
}
