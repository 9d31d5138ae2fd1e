//! The room's work: a [`Hold`] for a [`Quote`].

use core::time::Duration;

use execgate_payment::{Hold, HoldError, LookError, PaymentClaim, Rail, Rails, Unpaid, hold, observe};

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
    /// Verifies the credential of a quoted request, and names caller and run by it where nothing else does. Gives the
    /// claim, too, where nothing but that says who the caller is.
    ///
    /// # Errors
    /// The refusal says whether to pay, to pay otherwise, or to try later. A rail that does not answer in
    /// time is unavailable.
    pub async fn enter(&self, quote: &mut Quote) -> Result<(Hold, Option<PaymentClaim>), Refusal> {
        let (price, flow) = (quote.terms().amount, quote.terms().flow);
        let is_internal = quote.proposal().caller.is_internal();
        // Who does not pay is not charged for a credential that came along.
        let credential = quote.proposal().credential.as_ref().filter(|_| !is_internal && !price.is_zero());
        let refused = |reason| Refusal::PaymentRefused { price, flow, reason };
        let rail = match (credential, is_internal) {
            (_, true) => self.rails.named(Unpaid::INTERNAL.as_str()),
            (None, false) if price.is_zero() => self.rails.named(Unpaid::FREE.as_str()),
            (None, false) => Some(self.rails.first()),
            // Those rails are for those who do not pay; nobody can ask for them.
            (Some(credential), false) => self.rails.named(&credential.rail).filter(|rail| takes_money(*rail)),
        };
        let rail = rail.ok_or_else(|| refused("no such payment rail is offered here".to_owned()))?;
        let held = tokio::time::timeout(VERIFY_TIME, hold(rail, quote.terms(), credential));
        let held = held.await.unwrap_or(Err(HoldError::Unavailable { rail: rail.name() }));
        let name = credential.and_then(|credential| rail.name_of(credential));
        let held = held.map_err(|error| match error {
            HoldError::Required => Refusal::PaymentRequired { price, flow },
            HoldError::Refused(reason) => refused(reason),
            HoldError::Malformed(reason) => Refusal::PaymentUnreadable { reason },
            HoldError::Unavailable { rail } => Refusal::RailUnavailable { rail: rail.to_owned() },
        })?;
        let claim = held.paid().claim.clone();
        // Who is known by something else proves nothing by a payment.
        let is_known = quote.proposal().caller.is_identified();
        if let Some(claim) = &claim {
            quote.paid_by(claim, name);
        }
        Ok((held, claim.filter(|_| !is_known)))
    }

    /// Whether a payment buys a new run: it is good now, and whoever moves the money would take it. What it has bought already is answered
    /// without this.
    ///
    /// # Errors
    /// [`Refusal::PaymentRefused`] where it has lapsed, or would not be taken, [`Refusal::RailUnavailable`] where nobody can look.
    pub async fn look(&self, hold: Hold) -> Result<Hold, Refusal> {
        unless_lapsed(&hold)?;
        let unavailable = || Refusal::RailUnavailable { rail: hold.rail().to_owned() };
        let rail = self.rails.named(hold.rail()).ok_or_else(unavailable)?;
        let name = rail.name().to_owned();
        let (price, flow) = (hold.amount(), hold.paid().flow);
        match tokio::time::timeout(VERIFY_TIME, observe(rail, hold)).await {
            Ok(Ok(hold)) => Ok(hold),
            Ok(Err(LookError::Refused(reason))) => Err(Refusal::PaymentRefused { price, flow, reason }),
            Ok(Err(LookError::Unreachable(error))) => {
                tracing::warn!(rail = name, %error, "what a payer has could not be looked at");
                Err(Refusal::RailUnavailable { rail: name })
            }
            Err(_) => Err(Refusal::RailUnavailable { rail: name }),
        }
    }
}

fn takes_money(rail: &dyn Rail) -> bool {
    [Unpaid::FREE, Unpaid::INTERNAL].iter().all(|unpaid| unpaid.as_str() != rail.name())
}

/// A payment that has lapsed buys nothing new. What it has bought already is its payer's.
///
/// # Errors
/// [`Refusal::PaymentRefused`] says why.
pub(crate) fn unless_lapsed(hold: &Hold) -> Result<(), Refusal> {
    match &hold.paid().lapsed {
        Some(reason) => {
            let (price, flow) = (hold.amount(), hold.paid().flow);
            Err(Refusal::PaymentRefused { price, flow, reason: reason.clone() })
        }
        None => Ok(()),
    }
}
