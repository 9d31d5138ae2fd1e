//! The room's work: a [`Hold`] for a [`Quote`].

use core::time::Duration;

use execgate_payment::{Hold, HoldError, Rail, Rails, Unpaid, hold, observe};

use crate::Refusal;
use crate::propose::Quote;

/// How long a rail may think about a credential. A wallet's own patience is about that long.
const VERIFY_TIME: Duration = Duration::from_secs(10);

/// What the room needs.
#[derive(Clone)]
pub struct Pay {
    /// The rails that this gateway takes.
    pub rails: Rails,
}

impl Pay {
    /// Verifies the credential of a quoted request, and names a run without a nonce by its payment.
    ///
    /// # Errors
    /// The refusal says whether to pay, to pay otherwise, or to try later. A rail that does not answer in
    /// time is unavailable.
    pub async fn enter(&self, quote: &mut Quote) -> Result<Hold, Refusal> {
        let price = quote.terms().amount;
        let is_internal = quote.proposal().caller.is_internal();
        // Who does not pay is not charged for a credential that came along.
        let credential = quote.proposal().credential.as_ref().filter(|_| !is_internal);
        let name = credential.map(|credential| credential.rail.as_str());
        let offered = self.rail(name.or(is_internal.then_some(Unpaid::INTERNAL.as_str())));
        // That rail is for those who have proven to be internal; nobody can ask for it.
        let rail = offered.filter(|rail| is_internal || rail.name() != Unpaid::INTERNAL.as_str());
        let rail = rail.ok_or_else(|| Refusal::PaymentRefused {
            price,
            reason: "no such payment rail is offered here".to_owned(),
        })?;
        let held = tokio::time::timeout(VERIFY_TIME, hold(rail, quote.terms(), credential));
        let held = held.await.unwrap_or(Err(HoldError::Unavailable { rail: rail.name() }));
        let held = held.map_err(|error| match error {
            HoldError::Required => Refusal::PaymentRequired { price },
            HoldError::Refused(reason) => Refusal::PaymentRefused { price, reason },
            HoldError::Unavailable { rail } => Refusal::RailUnavailable { rail: rail.to_owned() },
        })?;
        if let Some(claim) = &held.paid().claim {
            quote.name_by_payment(claim.key);
        }
        Ok(held)
    }

    /// Whether a payment buys a new run: it is good now, and its payer was looked at. What it has bought already is answered
    /// without this.
    ///
    /// # Errors
    /// [`Refusal::PaymentRefused`] where it has lapsed, [`Refusal::RailUnavailable`] where nobody can look.
    pub async fn look(&self, hold: Hold) -> Result<Hold, Refusal> {
        unless_lapsed(&hold)?;
        let unavailable = || Refusal::RailUnavailable { rail: hold.rail().to_owned() };
        let rail = self.rails.named(hold.rail()).ok_or_else(unavailable)?;
        let name = rail.name().to_owned();
        match tokio::time::timeout(VERIFY_TIME, observe(rail, hold)).await {
            Ok(Ok(hold)) => Ok(hold),
            Ok(Err(error)) => {
                tracing::warn!(rail = name, %error, "what a payer has could not be looked at");
                Err(Refusal::RailUnavailable { rail: name })
            }
            Err(_) => Err(Refusal::RailUnavailable { rail: name }),
        }
    }

    fn rail(&self, name: Option<&str>) -> Option<&dyn Rail> {
        match name {
            Some(name) => self.rails.named(name),
            None => Some(self.rails.first()),
        }
    }
}

/// A payment that has lapsed buys nothing new.
///
/// # Errors
/// [`Refusal::PaymentRefused`] says why.
pub(crate) fn unless_lapsed(hold: &Hold) -> Result<(), Refusal> {
    match &hold.paid().lapsed {
        Some(reason) => Err(Refusal::PaymentRefused { price: hold.amount(), reason: reason.clone() }),
        None => Ok(()),
    }
}
