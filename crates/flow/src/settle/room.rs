//! The room's work: a `payment::Settlement` for a recorded run; and before the work, where that is agreed.

use core::time::Duration;
use std::sync::Arc;

use execgate_model::{Amount, Clock, CrashPoints, Digest, Entropy, RunId};
use execgate_payment::{
    Flow, Hold, PaymentClaim, Rail, Rails, Settlement, SettlementState, capture, release, resume,
};
use execgate_store::{NewPayment, Record, Repaid, Settled, SettlementWord, Settling, Store};

use super::said::Movement;
use crate::Refusal;
use crate::execute::Claim;

/// How long a rail may take to capture before nobody can tell.
const CAPTURE_TIME: Duration = Duration::from_secs(30);

/// How long a rail may take to let go. What it has not let go of by then stays held, and recovery asks again.
const RELEASE_TIME: Duration = Duration::from_secs(30);

/// How many holds of one payer may be open: more than anybody has in flight, and what one who never pays can cost.
pub(crate) const OPEN_HOLDS_MAX: u32 = 16;

/// What the room needs.
#[derive(Clone)]
pub struct Settle {
    /// The rails that this gateway takes.
    pub rails: Rails,
    /// The record.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Salts of what is said of money that no run stands behind.
    pub entropy: Arc<dyn Entropy>,
    /// Where a test may let the process die.
    pub crash: Arc<dyn CrashPoints>,
}

/// Money that was held for a run.
#[derive(Clone, Copy)]
pub struct Held<'a> {
    /// The run.
    pub run: RunId,
    /// The rail.
    pub rail: &'a str,
    /// How much.
    pub amount: Amount,
    /// What makes the payment unique; none where nothing is paid.
    pub payment: Option<Digest>,
    /// What the rail needs to move it. It may be money.
    pub state: &'a [u8],
    /// The salt of the run.
    pub salt: &'a [u8; 32],
}

impl<'a> Held<'a> {
    /// What is held for a run that walks.
    #[must_use]
    pub fn by(claim: &'a Claim, hold: &'a Hold) -> Self {
        let paid = hold.paid();
        let payment = paid.claim.as_ref().map(|paid| paid.key);
        let (run, rail, amount) = (claim.run(), hold.rail(), hold.amount());
        Self { run, rail, amount, payment, state: &paid.state, salt: claim.salt() }
    }

    /// What is held for a recorded run.
    #[must_use]
    pub fn of(record: &'a Record) -> Option<Self> {
        let (payment, state) = (record.payment_key, record.payment_state.as_deref()?);
        let (run, rail, amount) = (record.run, record.rail.as_str(), record.price);
        Some(Self { run, rail, amount, payment, state, salt: &record.salt })
    }
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
        let rail = self.rail(held.rail)?;
        if charged {
            let settlement = taken(rail, held).await;
            return self.end(held, SettlementWord::Capturing, settlement).await;
        }
        let released = tokio::time::timeout(RELEASE_TIME, release(rail, held.amount, held.state)).await;
        let released = released.map_err(|_| Refusal::RailUnavailable { rail: held.rail.to_owned() })?;
        self.end(held, SettlementWord::Held, released).await
    }

    /// Captures what is to be taken before the work, when the intent is durable. None where it is taken after it.
    ///
    /// # Errors
    /// [`Refusal::PaymentRefused`] where it surely was not taken, and [`Refusal::SettlementPending`] where nobody can
    /// tell: the claim is taken back, nothing has started, and the same call with the same payment is served later.
    pub async fn before(&self, claim: &Claim, hold: &Hold) -> Result<Option<Settlement>, Refusal> {
        let held = Held::by(claim, hold);
        if hold.paid().flow != Flow::Upfront || held.amount.is_zero() {
            return Ok(None);
        }
        let settlement = taken(self.rail(held.rail)?, held).await;
        self.crash.reached("taken");
        let refusal = match settlement.state() {
            SettlementState::Captured => {
                self.move_to(held, SettlementWord::Capturing, SettlementWord::Captured, &settlement).await?;
                self.crash.reached("prepaid");
                return Ok(Some(settlement));
            }
            SettlementState::Unpaid | SettlementState::Released | SettlementState::Free => {
                self.move_to(held, SettlementWord::Capturing, SettlementWord::Released, &settlement).await?;
                let reason = "it could not be taken, and nothing was run".to_owned();
                Refusal::PaymentRefused { price: held.amount, flow: Flow::Upfront, reason }
            }
            SettlementState::Pending => Refusal::SettlementPending { run: held.run },
        };
        self.store.undo(held.run, claim.facts().instance).await?;
        Err(refusal)
    }

    /// Goes on with a capture that a dead process had asked for: looks first, and asks again only where it may still
    /// happen.
    ///
    /// # Errors
    /// As [`Self::enter`].
    pub async fn resume(&self, held: Held<'_>) -> Result<Settlement, Refusal> {
        let rail = self.rail(held.rail)?;
        let resumed = tokio::time::timeout(CAPTURE_TIME, resume(rail, held.amount, held.state)).await;
        let settlement = match resumed {
            Ok(Ok(settlement)) => settlement,
            Ok(Err(error)) => {
                tracing::warn!(run = %held.run, %error, "nobody can tell yet what became of a payment");
                Settlement::pending()
            }
            Err(_) => Settlement::pending(),
        };
        self.end(held, SettlementWord::Capturing, settlement).await
    }

    /// Records where the money of a run has ended, and says what that is to its caller.
    pub(super) async fn end(
        &self,
        held: Held<'_>,
        from: SettlementWord,
        settlement: Settlement,
    ) -> Result<Settlement, Refusal> {
        if settlement.state() == SettlementState::Free {
            return Ok(settlement);
        }
        self.crash.reached("moved");
        let settled = self.move_to(held, from, word(&settlement), &settlement).await?;
        self.crash.reached("settled");
        // Somebody else was faster, and has recorded what stands.
        let stands = match settled {
            Settled::Moved => word(&settlement),
            Settled::Stands(word) => word,
        };
        match stands {
            SettlementWord::Unpaid => Err(Refusal::Unpaid { run: held.run, price: held.amount }),
            SettlementWord::Pending | SettlementWord::Held | SettlementWord::Capturing => {
                Err(Refusal::SettlementPending { run: held.run })
            }
            SettlementWord::Free | SettlementWord::Captured | SettlementWord::Released => Ok(settlement),
        }
    }

    async fn move_to(
        &self,
        held: Held<'_>,
        from: SettlementWord,
        to: SettlementWord,
        settlement: &Settlement,
    ) -> Result<Settled, Refusal> {
        let detail = "money is moved for a run that holds none".to_owned();
        let payment = held.payment.ok_or(Refusal::Receipt { detail })?;
        let at = self.clock.now();
        let is_taken = to == SettlementWord::Captured;
        let reference = settlement.reference();
        let movement = Movement { run: held.run, payment, rail: held.rail, amount: held.amount, reference };
        let said = is_taken.then(|| movement.taken(held.salt, at)).transpose()?;
        let reference = reference.map(str::to_owned);
        let settling = Settling { run: held.run, payment, from, to, reference, said, at };
        Ok(self.store.settle(settling).await?)
    }

    pub(super) fn rail(&self, name: &str) -> Result<&dyn Rail, Refusal> {
        self.rails.named(name).ok_or_else(|| Refusal::RailUnavailable { rail: name.to_owned() })
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
            upfront: false,
            funds: None,
            holds_max: OPEN_HOLDS_MAX,
        };
        match self.store.repay(record.run, payment).await? {
            Repaid::Held => {
                self.crash.reached("repaid");
                let (payment, salt) = (Some(claim.key), &record.salt);
                let held = Held { run: record.run, rail, amount: record.price, payment, state, salt };
                self.enter(held, true).await.map(drop)
            }
            // The payment that failed is no new one; one that bought another run is refused as such.
            Repaid::PaymentSpent(run) if run == record.run => Err(unpaid),
            Repaid::PaymentSpent(_) => Err(Refusal::PaymentReused),
            Repaid::NotDue => Ok(()),
        }
    }
}

/// Asks a rail to take what is held, and waits for it as long as anybody can.
pub(super) async fn taken(rail: &dyn Rail, held: Held<'_>) -> Settlement {
    let captured = tokio::time::timeout(CAPTURE_TIME, capture(rail, held.amount, held.state)).await;
    captured.unwrap_or_else(|_| Settlement::pending())
}
