//! What an action costs, for real and simulated. Prices belong to actions, not to surfaces (CONTRACTS 4).

use std::collections::{BTreeMap, BTreeSet};

use execgate_model::{ActionName, Amount, Caller, Effect, Offer, Proposal};
use execgate_payment::Flow;

use super::Meter;

/// What the tools of `/exec/*` cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToolPrices {
    /// A dry-run. A simulation by `/exec/simulate` is free.
    pub dry_run: Amount,
    /// For real.
    pub live: Amount,
    /// The least that a batch costs.
    pub batch: Amount,
}

impl ToolPrices {
    /// The list prices (CONTRACTS 4): 0.01, 0.05 and 0.10 US dollars.
    pub const LISTED: Self = Self {
        dry_run: Amount::from_micros(10_000),
        live: Amount::from_micros(50_000),
        batch: Amount::from_micros(100_000),
    };
}

/// By which name an action is sold: that of its offer, where there is one.
fn sold_as(action: &ActionName, offer: Option<Offer>) -> &str {
    match offer {
        Some(offer) => offer.as_str(),
        None => action.as_str(),
    }
}

/// The prices in force.
#[derive(Debug, Clone, Default)]
pub struct Prices {
    by_action: BTreeMap<ActionName, Amount>,
    dry_runs: BTreeMap<ActionName, Amount>,
    by_offer: BTreeMap<Offer, Amount>,
    batch: Amount,
    upfront: BTreeSet<String>,
    meters: BTreeMap<String, Meter>,
    unsold: BTreeSet<Offer>,
    charges: bool,
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
        Self { by_action, charges: true, ..Self::default() }
    }

    /// The same, with prices of their own for what is asked for under an offer.
    #[must_use]
    pub fn with_offers(mut self, by_offer: BTreeMap<Offer, Amount>) -> Self {
        self.by_offer = by_offer;
        self
    }

    /// The same, with the prices of tools.
    #[must_use]
    pub fn with_tools(mut self, tools: impl IntoIterator<Item = ActionName>, prices: ToolPrices) -> Self {
        for tool in tools {
            self.dry_runs.insert(tool.clone(), prices.dry_run);
            self.by_action.insert(tool, prices.live);
        }
        self.batch = prices.batch;
        self
    }

    /// The same, and what is paid before it is done: offers and actions, by name.
    #[must_use]
    pub fn with_upfront(mut self, upfront: BTreeSet<String>) -> Self {
        self.upfront = upfront;
        self
    }

    /// The same, and what is paid by usage, its price the most: offers and actions, by name.
    #[must_use]
    pub fn with_meters(mut self, meters: BTreeMap<String, Meter>) -> Self {
        self.meters = meters;
        self
    }

    /// The same, with one price in the place of that of its kind.
    #[must_use]
    pub fn with_price(mut self, action: ActionName, price: Amount) -> Self {
        self.by_action.insert(action, price);
        self
    }

    /// Whether anything can cost something: not in free mode.
    #[must_use]
    pub fn charge(&self) -> bool {
        self.charges
    }

    /// The same, without an offer.
    #[must_use]
    pub fn without_offer(mut self, offer: Offer) -> Self {
        self.unsold.insert(offer);
        self
    }

    /// Whether an offer is sold here.
    #[must_use]
    pub fn is_sold(&self, offer: Offer) -> bool {
        !self.unsold.contains(&offer)
    }

    /// When the money for an action is taken, under an offer or not.
    #[must_use]
    pub fn flow(&self, action: &ActionName, offer: Option<Offer>) -> Flow {
        let name = sold_as(action, offer);
        // A tool of another's server has its name before it, and acts where nobody can take it back.
        let is_anothers = action.as_str().contains('.');
        if is_anothers || self.upfront.contains(name) {
            Flow::Upfront
        } else if self.meters.contains_key(name) {
            Flow::Metered
        } else {
            Flow::Authorization
        }
    }

    /// Whether what is asked for under an offer is paid by its usage.
    #[must_use]
    pub fn meters(&self, offer: Offer) -> bool {
        !self.upfront.contains(offer.as_str()) && self.meters.contains_key(offer.as_str())
    }

    /// What usage of an action comes to, under an offer or not, where it is paid so.
    #[must_use]
    pub fn meter(&self, action: &ActionName, offer: Option<Offer>) -> Option<Meter> {
        let is_metered = self.flow(action, offer) == Flow::Metered;
        self.meters.get(sold_as(action, offer)).copied().filter(|_| is_metered)
    }

    /// The price of an action, under an offer or not. A dry-run costs what the action does, where nothing else is said.
    #[must_use]
    pub fn of(&self, action: &ActionName, effect: Effect, offer: Option<Offer>) -> Amount {
        let offered = offer.and_then(|offer| self.by_offer.get(&offer));
        let simulated = || (effect == Effect::DryRun).then(|| self.dry_runs.get(action)).flatten();
        offered.or_else(simulated).or_else(|| self.by_action.get(action)).copied().unwrap_or(Amount::ZERO)
    }

    /// The same where the rules name a price for the action: it takes the place of every other, but a dry-run never costs
    /// more by it. In free mode nothing costs anything.
    #[must_use]
    pub fn ruled(
        &self,
        action: &ActionName,
        effect: Effect,
        offer: Option<Offer>,
        rule: Option<Amount>,
    ) -> Amount {
        let listed = self.of(action, effect, offer);
        match (rule, effect) {
            (Some(_), _) if !self.charges => Amount::ZERO,
            (None, _) => listed,
            (Some(rule), Effect::DryRun) if self.dry_runs.contains_key(action) => rule.min(listed),
            (Some(rule), Effect::DryRun | Effect::Live) => rule,
        }
    }

    /// What is asked for a proposal, where the rules name a price or not.
    #[must_use]
    pub fn asked(&self, proposal: &Proposal, rule: Option<Amount>) -> Amount {
        if proposal.surface.is_free() || !pays(&proposal.caller) {
            return Amount::ZERO;
        }
        self.ruled(&proposal.action, proposal.effect, proposal.options.offer, rule)
    }

    /// The price of a batch of one caller, of what is asked for each item: their sum, or the least that a batch costs.
    /// `None` beyond all money.
    #[must_use]
    pub fn of_batch(&self, caller: &Caller, asked: &[Amount]) -> Option<Amount> {
        if !pays(caller) {
            return Some(Amount::ZERO);
        }
        let sum = asked.iter().try_fold(Amount::ZERO, |sum, asked| sum.checked_add(*asked))?;
        Some(sum.max(self.batch))
    }

    /// The least that a batch costs.
    #[must_use]
    pub fn least_of_batch(&self) -> Amount {
        self.batch
    }
}

/// Whoever has proven to hold an internal grant does not pay. What a request says of itself never counts.
fn pays(caller: &Caller) -> bool {
    !caller.is_internal()
}

#[cfg(test)]
mod tests {
    use execgate_model::{ActionName, Amount, Effect};

    use super::{Prices, ToolPrices};

    #[test]
    fn a_tool_costs_by_its_effect_and_what_has_one_price_costs_that() {
        let name = |name: &str| ActionName::new(name).unwrap();
        let echo = Amount::from_micros(3);
        let prices = Prices::new([(name("echo"), echo)].into());
        let prices = prices.with_tools([name("http_get")], ToolPrices::LISTED);
        let of = |tool: &str, effect| prices.of(&name(tool), effect, None).to_string();
        assert_eq!(
            (of("http_get", Effect::DryRun), of("http_get", Effect::Live)),
            ("0.01".into(), "0.05".into())
        );
        assert_eq!(of("echo", Effect::DryRun), of("echo", Effect::Live));
        assert_eq!(
            (of("other", Effect::Live), Prices::free().least_of_batch()),
            ("0.00".into(), Amount::ZERO)
        );
    }
}
