//! What a payment has bought already, and what is told of how it ended.

use core::fmt;

use execgate_model::{Amount, Digest, UnixMs};
use execgate_payment::{Header, Hold, Rails, Settled, Settlement, SettlementState};
use execgate_store::{Record, SettlementWord, Store};

use crate::Refusal;
use crate::propose::Quote;

use super::hold::unless_lapsed;

/// What the record knows of a payment already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// Nothing: it buys a new run, or none.
    New,
    /// It may be of the very run that is asked for.
    Perhaps,
}

/// Turns away whoever is known by nothing but a payment that has bought another run. What moves a token is for everybody to
/// read on its chain from then on, so that it proves no more than what it has bought: one that buys nothing here, because it
/// is to somebody else or over, proves nothing.
pub(crate) async fn only_its_own(
    store: &dyn Store,
    quote: &Quote,
    payment: Digest,
    hold: &Hold,
) -> Result<Known, Refusal> {
    match store.by_payment(payment).await? {
        Some(run) if run != quote.run() => Err(Refusal::PaymentReused),
        Some(_) => Ok(Known::Perhaps),
        // What its session has been answered is its own, whatever came with it now; it is looked at before it buys anything.
        None if quote.session_nonce().is_some() => Ok(Known::New),
        None => unless_lapsed(hold).map(|()| Known::New),
    }
}

/// How the payment of an answered run has ended.
#[derive(Clone, PartialEq, Eq)]
pub struct Bought {
    rail: String,
    amount: Amount,
    state: SettlementState,
    reference: Option<String>,
    kept: Vec<u8>,
    at: UnixMs,
}

impl Bought {
    /// That of a run that has just been settled; none where nothing was to be paid.
    pub(crate) fn now(hold: &Hold, settlement: &Settlement, at: UnixMs) -> Option<Box<Self>> {
        let (rail, amount, state) = (hold.rail().to_owned(), hold.amount(), settlement.state());
        let reference = settlement.reference().map(str::to_owned);
        let kept = || hold.paid().state.clone();
        (state != SettlementState::Free)
            .then(|| Box::new(Self { rail, amount, state, reference, kept: kept(), at }))
    }

    /// That of a recorded run; none where nothing was to be paid.
    #[must_use]
    pub fn of(record: &Record) -> Option<Box<Self>> {
        let state = match record.settlement {
            SettlementWord::Free => return None,
            SettlementWord::Captured => SettlementState::Captured,
            SettlementWord::Released => SettlementState::Released,
            // What was answered stays; of what its chain has taken back for good nobody is told that it was taken.
            SettlementWord::Unpaid | SettlementWord::Reversed => SettlementState::Unpaid,
            SettlementWord::Held | SettlementWord::Capturing | SettlementWord::Pending => {
                SettlementState::Pending
            }
        };
        Some(Box::new(Self {
            rail: record.rail.clone(),
            amount: record.payment_amount.unwrap_or(record.price),
            state,
            reference: record.settlement_reference.clone(),
            kept: record.payment_state.clone().unwrap_or_default(),
            at: record.created,
        }))
    }

    /// Whether its money was taken.
    pub(crate) fn is_taken(&self) -> bool {
        self.state == SettlementState::Captured
    }

    /// What its rail tells of it.
    #[must_use]
    pub fn told(&self, rails: &Rails) -> Vec<Header> {
        let settled = Settled {
            amount: self.amount,
            state: self.state,
            reference: self.reference.as_deref(),
            kept: &self.kept,
            at: self.at,
        };
        rails.named(&self.rail).map(|rail| rail.tell(&settled)).unwrap_or_default()
    }
}

impl fmt::Debug for Bought {
    /// What a rail has kept is money.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bought").field("rail", &self.rail).field("state", &self.state).finish_non_exhaustive()
    }
}
