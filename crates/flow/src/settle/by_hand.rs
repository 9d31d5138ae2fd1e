//! A pending payment that an operator ends by hand, who has looked at its chain or its rail's own books.
//!
//! Nothing here asks a rail: what the operator says is recorded, with a leaf that says by whom. It ends nothing but what
//! is pending, and nothing that the record knows the end of.

use execgate_model::{Amount, Digest, RunId};
use execgate_payment::{SettlementState, movement};
use execgate_store::{OpenPayment, Settled, SettlementWord, Settling};

use super::late::watch_until;
use super::room::Settle;
use super::said::Movement;
use crate::Refusal;

/// The longest name of a movement, in bytes: a transaction hash has 66.
const REFERENCE_MAX: usize = 256;

/// What an operator has found out about a pending payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ByHand {
    /// It was taken.
    Taken {
        /// The rail's own name for the movement (a transaction hash): 1 to 256 visible ASCII characters.
        reference: String,
    },
    /// It was not taken, and is not going to be.
    Gone,
}

/// A payment that was ended by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedByHand {
    /// What makes the payment unique.
    pub payment: Digest,
    /// Who paid, or did not.
    pub payer: String,
    /// Which rail.
    pub rail: String,
    /// How much.
    pub amount: Amount,
    /// Where it ended: `Unpaid` where its run's result waits for a new payment, `Released` where no run stands behind it.
    pub state: SettlementState,
    /// Whether it is owed to its payer: it was taken, and its run was taken back.
    pub is_credit: bool,
    /// Why nobody could be asked whether it is so, where somebody was; none where nobody was, or could.
    pub unasked: Option<String>,
}

/// Why nothing was ended by hand.
#[derive(Debug, thiserror::Error)]
pub enum ByHandError {
    /// No payment of that run is pending, or not that one.
    #[error("no such payment of this run is pending")]
    NotPending,
    /// Several are, and none was named.
    #[error("{} payments of this run are pending: say which", .0.len())]
    Several(Vec<Digest>),
    /// The name of the movement is none, or no movement of that payment can be called so.
    #[error(
        "this reference is none of such a payment: it is the hash of its transaction (0x and 64 digits), the intent of its card \
        (pi_…), or 1 to {REFERENCE_MAX} visible ASCII characters"
    )]
    Reference,
    /// The record failed, or what is said of it could not be written.
    #[error(transparent)]
    Record(#[from] Refusal),
}

impl Settle {
    /// Ends a pending payment of a run as the operator says: the run is closed, or its result waits for a new payment;
    /// what was taken for a run that was taken back is a credit. `payment`: which, where several are pending.
    ///
    /// # Errors
    /// [`ByHandError`]. Nothing is recorded then.
    pub async fn end_by_hand(
        &self,
        run: RunId,
        payment: Option<Digest>,
        end: ByHand,
    ) -> Result<EndedByHand, ByHandError> {
        let open = self.store.open_payments_of(run).await.map_err(Refusal::from)?;
        let open = only(open, payment)?;
        let has_run = open.stage.is_some();
        let (to, reference) = match end {
            ByHand::Taken { reference } => {
                let reference = referred(&reference).and_then(|name| movement(&open.state, name));
                (SettlementWord::Captured, Some(reference.ok_or(ByHandError::Reference)?))
            }
            ByHand::Gone if has_run => (SettlementWord::Unpaid, None),
            ByHand::Gone => (SettlementWord::Released, None),
        };
        let at = self.clock.now();
        let movement = Movement {
            run,
            payment: open.key,
            rail: &open.rail,
            amount: open.amount,
            reference: reference.as_deref(),
        };
        let salt = open.salt.unwrap_or_else(|| self.entropy.thirty_two());
        let said = Some(movement.by_hand(&salt, at)?);
        // Who looks may be wrong: what is said to be gone is looked for like any other that failed.
        let watched = reference.is_none().then(|| watch_until(self.rails.named(&open.rail), &open.state, at));
        let settling = Settling {
            run,
            payment: open.key,
            from: SettlementWord::Pending,
            to,
            reference,
            said,
            watch_until: watched,
            // Nobody could be asked where it is, or whoever can has said that it is so.
            may_go_back: to == SettlementWord::Captured && self.may_go_back(&open.rail, &open.state),
            blameless: false,
            at,
        };
        match self.write(settling).await.map_err(Refusal::from)? {
            Settled::Moved => {}
            // Somebody has found out about it meanwhile.
            Settled::Stands(_) => return Err(ByHandError::NotPending),
        }
        let is_taken = to == SettlementWord::Captured;
        let state = match (is_taken, has_run) {
            (true, _) => SettlementState::Captured,
            (false, true) => SettlementState::Unpaid,
            (false, false) => SettlementState::Released,
        };
        let is_credit = is_taken && !has_run;
        let OpenPayment { key, payer, rail, amount, .. } = open;
        Ok(EndedByHand { payment: key, payer, rail, amount, state, is_credit, unasked: None })
    }
}

/// The one that is meant.
fn only(open: Vec<OpenPayment>, payment: Option<Digest>) -> Result<OpenPayment, ByHandError> {
    let mut meant: Vec<_> =
        open.into_iter().filter(|open| payment.is_none_or(|payment| payment == open.key)).collect();
    match (meant.pop(), meant.is_empty()) {
        (Some(open), true) => Ok(open),
        (None, _) => Err(ByHandError::NotPending),
        (Some(open), false) => {
            meant.push(open);
            Err(ByHandError::Several(meant.into_iter().map(|open| open.key).collect()))
        }
    }
}

fn referred(reference: &str) -> Option<&str> {
    let fits = (1..=REFERENCE_MAX).contains(&reference.len())
        && reference.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then_some(reference)
}
