//! The room's work: a `payment::Settlement` for a recorded run.

use core::time::Duration;
use std::sync::Arc;

use execgate_model::{Amount, CrashPoints, RunId};
use execgate_payment::{PaymentClaim, Rails, Settlement, SettlementState, capture, release};
use execgate_store::{NewPayment, Record, Repaid, SettlementWord, Store};

use crate::Refusal;

/// How long a rail may take to capture before nobody can tell.
const CAPTURE_TIME: Duration = Duration::from_secs(30);

/// How long a rail may take to let go. What it has not let go of by then stays held, and recovery asks again.
const RELEASE_TIME: Duration = Duration::from_secs(30);

/// What the room needs.
#[derive(Clone)]
pub struct Settle {
    /// The rails that this gateway takes.
    pub rails: Rails,
    /// The record.
    pub store: Arc<dyn Store>,
    /// Where a test may let the process die.
    pub crash: Arc<dyn CrashPoints>,
}

/// Money that was held for a run.
#[derive(Debug, Clone, Copy)]
pub struct Held<'a> {
    /// The run.
    pub run: RunId,
    /// The rail.
    pub rail: &'a str,
    /// How much.
    pub amount: Amount,
    /// What the rail needs to move it.
    pub state: &'a [u8],
}

/// The word of the record for a settlement.
fn word(settlement: &Settlement) -> SettlementWord {
    match settlement.state() {
        SettlementState::Free => SettlementWord::Free,
        SettlementState::Captured => SettlementWord::Captured,
        SettlementState::Released => SettlementWord::Released,
        SettlementState::Unpaid => SettlementWord::Unpaid,
        SettlementState::Pending => SettlementWord::Pending,
    }
}

impl Settle {
    /// Captures (`charged`) or releases what was held, and records it. Free runs are closed already.
    ///
    /// # Errors
    /// [`Refusal::Unpaid`] and [`Refusal::SettlementPending`] withhold the result; [`Refusal::Store`], and
    /// [`Refusal::RailUnavailable`] from a rail that does not let go in time, leave the run to recovery.
    pub async fn enter(&self, held: Held<'_>, charged: bool) -> Result<Settlement, Refusal> {
        let rail = self
            .rails
            .named(held.rail)
            .ok_or_else(|| Refusal::RailUnavailable { rail: held.rail.to_owned() })?;
        let settlement = if charged {
            let captured = tokio::time::timeout(CAPTURE_TIME, capture(rail, held.amount, held.state)).await;
            captured.unwrap_or_else(|_| Settlement::pending())
        } else {
            let released = tokio::time::timeout(RELEASE_TIME, release(rail, held.amount, held.state)).await;
            released.map_err(|_| Refusal::RailUnavailable { rail: held.rail.to_owned() })?
        };
        if settlement.state() == SettlementState::Free {
            return Ok(settlement);
        }
        self.crash.reached("moved");
        let reference = settlement.reference().map(str::to_owned);
        self.store.settle(held.run, word(&settlement), reference, None).await?;
        self.crash.reached("settled");
        match settlement.state() {
            SettlementState::Unpaid => Err(Refusal::Unpaid { run: held.run, price: held.amount }),
            SettlementState::Pending => Err(Refusal::SettlementPending { run: held.run }),
            SettlementState::Free | SettlementState::Captured | SettlementState::Released => Ok(settlement),
        }
    }

    /// Captures a new payment for a run whose work is done and whose first payment failed. Runs nothing, and does
    /// nothing where another payment was faster: the record says then how that one ended.
    ///
    /// # Errors
    /// As [`Self::enter`]; and a request without a new payment is told to bring one.
    pub async fn again(
        &self,
        record: &Record,
        rail: &'static str,
        claim: Option<(&PaymentClaim, &[u8])>,
    ) -> Result<(), Refusal> {
        let unpaid = Refusal::Unpaid { run: record.run, price: record.price };
        let Some((claim, state)) = claim else { return Err(unpaid) };
        let payment = NewPayment {
            key: claim.key,
            payer: claim.payer.clone(),
            state: state.to_vec(),
            rail: rail.to_owned(),
            amount: record.price,
        };
        match self.store.repay(record.run, payment).await? {
            Repaid::Held => {
                self.crash.reached("repaid");
                let held = Held { run: record.run, rail, amount: record.price, state };
                self.enter(held, true).await.map(drop)
            }
            // The payment that failed is no new one; one that bought another run is refused as such.
            Repaid::PaymentSpent(run) if run == record.run => Err(unpaid),
            Repaid::PaymentSpent(_) => Err(Refusal::PaymentReused),
            Repaid::NotDue => Ok(()),
        }
    }
}
