//! The room's work: a `payment::Settlement` for a recorded run; and before the work, where that is agreed.

use core::time::Duration;
use std::sync::Arc;

use execgate_model::{Amount, Clock, CrashPoints, Digest, Entropy, RunId};
use execgate_payment::{Flow, Hold, Rail, Rails, Settlement, SettlementState, capture, release, resume};
use execgate_store::{
    Metered, NewPayment, Record, Repaid, Settled, SettlementWord, Settling, Store, StoreError,
};
use tokio::time::sleep;

use super::late::watch_until;
use super::round::Round;
use super::said::Movement;
use super::walking::Walking;
use crate::Refusal;
use crate::execute::{Claim, Left};
use crate::witness::Facts;

/// How long a rail may take to capture before nobody can tell.
const CAPTURE_TIME: Duration = Duration::from_secs(30);

/// How long a rail may take to let go. What it has not let go of by then stays held, and recovery asks again.
const RELEASE_TIME: Duration = Duration::from_secs(30);

/// How often the record is asked to write down where money is, and how long it is left alone between. It is known by
/// nobody else then.
const RECORD_TRIES: u32 = 8;
const RECORD_PAUSE: Duration = Duration::from_millis(250);

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
    /// Who of this process walks with a run.
    pub walking: Walking,
    /// How far the look for open payments has come.
    pub round: Round,
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
    /// What a new payment is asked for, should this one fail.
    pub asked: (Amount, Flow),
}

impl<'a> Held<'a> {
    /// What is held for a run that walks.
    #[must_use]
    pub fn by(claim: &'a Claim, hold: &'a Hold) -> Self {
        let paid = hold.paid();
        let payment = paid.claim.as_ref().map(|paid| paid.key);
        let (run, rail, amount) = (claim.run(), hold.rail(), hold.amount());
        let is_metered = claim.facts().meter.is_some();
        let asked = asked(amount, is_metered.then_some(claim.facts().price));
        Self { run, rail, amount, payment, state: &paid.state, salt: claim.salt(), asked }
    }

    /// What is held for a recorded run.
    #[must_use]
    pub fn of(record: &'a Record) -> Option<Self> {
        let (payment, state) = (record.payment_key, record.payment_state.as_deref()?);
        let (run, rail) = (record.run, record.rail.as_str());
        let amount = record.payment_amount.unwrap_or(record.price);
        let asked = asked(amount, record.payment_most);
        Some(Self { run, rail, amount, payment, state, salt: &record.salt, asked })
    }
}

/// What a new payment is asked for in the place of one of so much, of which at the most so much was signed for where it was
/// metered.
pub(super) fn asked(amount: Amount, most: Option<Amount>) -> (Amount, Flow) {
    most.map_or((amount, Flow::Authorization), |most| (most, Flow::Metered))
}

/// What is asked again for a run whose work is done and whose payment failed.
#[must_use]
pub fn unpaid(record: &Record) -> Refusal {
    let (price, flow) = asked(record.price, record.payment_most);
    Refusal::Unpaid { run: record.run, price, flow }
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
    /// What is held for a run whose usage comes to so much: as much of it as that, and what the record is told. All of it stays
    /// held where its price is what it costs, and where it is let go of.
    ///
    /// # Errors
    /// [`Refusal::RailUnavailable`] and [`Refusal::Receipt`] where that cannot be said, which leaves the run to recovery.
    pub(crate) fn metered(
        &self,
        facts: &Facts,
        hold: Hold,
        due: Amount,
    ) -> Result<(Hold, Option<Metered>), Refusal> {
        if facts.meter.is_none() || due.is_zero() {
            return Ok((hold, None));
        }
        let state = self.rail(hold.rail())?.taking(due, &hold.paid().state).ok_or_else(unstated)?;
        let metered = Metered { amount: due, state: state.clone() };
        Ok((hold.taking(due, state), Some(metered)))
    }

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

    /// Captures what is to be taken before the work, when the intent is durable. None where it is taken after it. What an
    /// earlier try of the same call has left is looked for before it is asked for again, and not where it was taken.
    ///
    /// # Errors
    /// [`Refusal::PaymentRefused`] where it surely was not taken, [`Refusal::RailUnavailable`] where that is no fault of its
    /// payer's, and [`Refusal::SettlementPending`] where nobody can
    /// tell: the claim is taken back, nothing has started, and the same call with the same payment is served later.
    pub async fn before(&self, claim: &Claim, hold: &Hold) -> Result<Option<Settlement>, Refusal> {
        let held = Held::by(claim, hold);
        let settlement = match claim.left() {
            Some(Left { word: SettlementWord::Captured, reference }) => {
                return Ok(Some(Settlement::recorded(reference.clone())));
            }
            Some(left) => {
                let rail = self.rail(held.rail)?;
                match resumed(rail, held).await {
                    Some(settlement) => settlement,
                    // It surely was not taken, so that whoever cannot look asks for it again.
                    None if left.word == SettlementWord::Released => taken(rail, held).await,
                    None => Settlement::pending(),
                }
            }
            None if hold.paid().flow != Flow::Upfront || held.amount.is_zero() => return Ok(None),
            None => taken(self.rail(held.rail)?, held).await,
        };
        self.crash.reached("taken");
        let refusal = match settlement.state() {
            SettlementState::Captured => {
                let (from, to) = (SettlementWord::Capturing, SettlementWord::Captured);
                match self.move_to(held, from, to, &settlement).await? {
                    Settled::Moved | Settled::Stands(SettlementWord::Captured) => {
                        self.crash.reached("prepaid");
                        return Ok(Some(settlement));
                    }
                    Settled::Stands(_) => Refusal::SettlementPending { run: held.run },
                }
            }
            SettlementState::Unpaid | SettlementState::Released | SettlementState::Free => {
                self.move_to(held, SettlementWord::Capturing, SettlementWord::Released, &settlement).await?;
                let reason = "it could not be taken, and nothing was run".to_owned();
                if settlement.is_blameless() {
                    // Whoever takes it was not asked, or does not take our word: the same payment is good later.
                    Refusal::RailUnavailable { rail: held.rail.to_owned() }
                } else {
                    Refusal::PaymentRefused { price: held.amount, flow: Flow::Upfront, reason }
                }
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
        let settlement = resumed(self.rail(held.rail)?, held).await;
        let settlement = settlement.unwrap_or_else(Settlement::pending);
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
            SettlementWord::Unpaid => {
                let (price, flow) = held.asked;
                Err(Refusal::Unpaid { run: held.run, price, flow })
            }
            SettlementWord::Pending | SettlementWord::Held | SettlementWord::Capturing => {
                Err(Refusal::SettlementPending { run: held.run })
            }
            SettlementWord::Free
            | SettlementWord::Captured
            | SettlementWord::Released
            | SettlementWord::Reversed => Ok(settlement),
        }
    }

    pub(super) async fn move_to(
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
        // What was asked for and failed may move all the same.
        let may_move =
            from != SettlementWord::Held && matches!(to, SettlementWord::Unpaid | SettlementWord::Released);
        let watch_until = may_move.then(|| watch_until(self.rails.named(held.rail), held.state, at));
        let may_go_back = is_taken && self.may_go_back(held.rail, held.state);
        let (run, blameless) = (held.run, settlement.is_blameless());
        let settling =
            Settling { run, payment, from, to, reference, said, watch_until, may_go_back, blameless, at };
        Ok(self.write(settling).await?)
    }

    /// Writes down where money is. One that was written and told to have failed stands where it was moved to.
    pub(super) async fn write(&self, settling: Settling) -> Result<Settled, StoreError> {
        for _ in 1..RECORD_TRIES {
            match self.store.settle(settling.clone()).await {
                Err(StoreError::Closed) => return Err(StoreError::Closed),
                Err(error) => {
                    let run = settling.run;
                    tracing::error!(%run, %error, "where money is could not be written; trying again");
                    sleep(RECORD_PAUSE).await;
                }
                Ok(settled) => return Ok(settled),
            }
        }
        self.store.settle(settling).await
    }

    /// Whether what was taken by that rail may be taken back by its chain, and somebody can be asked about it.
    pub(super) fn may_go_back(&self, rail: &str, state: &[u8]) -> bool {
        self.rails.named(rail).is_some_and(|rail| rail.may_go_back(state))
    }

    pub(super) fn rail(&self, name: &str) -> Result<&dyn Rail, Refusal> {
        self.rails.named(name).ok_or_else(|| Refusal::RailUnavailable { rail: name.to_owned() })
    }

    /// Captures a new payment for a run whose work is done and whose first payment failed, at the price for which it was
    /// signed. Runs nothing, and does nothing where another payment was faster: the record says then how that one ended.
    ///
    /// # Errors
    /// As [`Self::enter`]; and a request without a new payment is told to bring one.
    pub async fn again(&self, record: &Record, hold: &Hold) -> Result<(), Refusal> {
        let most = (hold.paid().flow == Flow::Metered).then_some(hold.amount());
        if record.payment_most.is_some() && most.is_none() {
            // What was paid by its usage is not taken whole, and of this no part can be.
            return Err(unpaid(record));
        }
        let asked = asked(hold.amount(), most);
        let refused = Refusal::Unpaid { run: record.run, price: asked.0, flow: asked.1 };
        let Some(claim) = &hold.paid().claim else { return Err(refused) };
        let rail = hold.rail();
        // What usage came to stands since the work was done.
        let came_to = record.payment_amount.unwrap_or(record.price).min(hold.amount());
        let amount = if most.is_some() { came_to } else { hold.amount() };
        let taken = most.map(|_| self.rail(rail)?.taking(amount, &hold.paid().state).ok_or_else(unstated));
        let taken = taken.transpose()?;
        let state = taken.as_deref().unwrap_or(&hold.paid().state);
        let payment = NewPayment {
            key: claim.key,
            payer: claim.payer.clone(),
            state: state.to_vec(),
            rail: rail.to_owned(),
            amount,
            most,
            upfront: false,
            funds: None,
            holds_max: OPEN_HOLDS_MAX,
            at: self.clock.now(),
            batch: false,
        };
        let _walks = self.walking.begin(record.run);
        match self.store.repay(record.run, payment).await? {
            Repaid::Held => {
                self.crash.reached("repaid");
                let (payment, salt) = (Some(claim.key), &record.salt);
                let held = Held { run: record.run, rail, amount, payment, state, salt, asked };
                self.enter(held, true).await.map(drop)
            }
            // The payment that failed is no new one; one that bought another run is refused as such.
            Repaid::PaymentSpent(run) if run == record.run => Err(refused),
            Repaid::PaymentSpent(_) => Err(Refusal::PaymentReused),
            Repaid::NotDue => Ok(()),
        }
    }
}

/// A rail cannot take a part of what it has taken for one that is metered.
fn unstated() -> Refusal {
    Refusal::Receipt { detail: "how much of a payment is taken cannot be said to its rail".to_owned() }
}

/// Asks a rail to take what is held, and waits for it as long as anybody can.
pub(super) async fn taken(rail: &dyn Rail, held: Held<'_>) -> Settlement {
    let captured = tokio::time::timeout(CAPTURE_TIME, capture(rail, held.amount, held.state)).await;
    captured.unwrap_or_else(|_| Settlement::pending())
}

/// Looks where money is that was asked for, and asks again only where it may still be taken. None where nobody could be asked,
/// and nothing was asked for.
async fn resumed(rail: &dyn Rail, held: Held<'_>) -> Option<Settlement> {
    match tokio::time::timeout(CAPTURE_TIME, resume(rail, held.amount, held.state)).await {
        Ok(Ok(settlement)) => Some(settlement),
        Ok(Err(error)) => {
            tracing::warn!(run = %held.run, %error, "nobody can tell yet what became of a payment");
            None
        }
        Err(_) => Some(Settlement::pending()),
    }
}
