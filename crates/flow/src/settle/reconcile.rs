//! Captures that nobody has heard the end of: looked for until they are found.
//!
//! A rail is asked where the money is before anything else, and asked to take it again only where it says that it was not
//! taken and the work is done. Payments whose run was taken back buy nothing by themselves: they are only looked for.

use core::time::Duration;

use execgate_model::{RunId, UnixMs};
use execgate_payment::{Rail, Settlement, SettlementState, look};
use execgate_store::{OpenPayment, SettlementWord, Settling};

use super::late::{USUAL_MS, watch_until};
use super::room::{Held, Settle, asked, taken};
use super::said::Movement;
use crate::Refusal;

/// How long a rail may look for money.
pub(super) const LOOK_TIME: Duration = Duration::from_secs(15);

/// How long one go through what is open may take, but for its last look; in microseconds.
const ROUND_US: u64 = 20_000_000;

/// What was found of captures that nobody had heard the end of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reconciled {
    /// Payments that were taken.
    pub captured: u32,
    /// Payments that never will be: the result of their run waits for a new one.
    pub unpaid: u32,
    /// Payments without a run that never will be taken.
    pub released: u32,
    /// Payments of which nobody can tell yet.
    pub left: u32,
    /// Payments that had failed, and have moved since.
    pub late: u32,
    /// Payments that were taken, and that their chain has taken back: asked for again.
    pub taken_back: u32,
    /// Payments that were taken, and that their chain has taken back for good.
    pub reversed: u32,
}

impl Reconciled {
    fn count(&mut self, found: Option<SettlementState>) {
        let count = match found {
            Some(SettlementState::Captured) => &mut self.captured,
            Some(SettlementState::Unpaid) => &mut self.unpaid,
            Some(SettlementState::Released | SettlementState::Free) => &mut self.released,
            Some(SettlementState::Pending) | None => &mut self.left,
        };
        *count += 1;
    }
}

impl Settle {
    /// Looks for every payment whose capture nobody has heard the end of, or for those of one run; without one, for those
    /// that failed and may have moved since, too, and for those that were taken and are not final. Where that takes too long, the
    /// next time goes on from there.
    ///
    /// # Errors
    /// Only if the record cannot be read or written.
    pub async fn reconcile(&self, only: Option<RunId>) -> Result<Reconciled, Refusal> {
        let mut found = Reconciled::default();
        match only {
            Some(run) => {
                for open in self.store.open_payments_of(run).await? {
                    found.count(self.find(&open).await?);
                }
            }
            None => {
                self.go_round(&mut found).await?;
                found.late = self.look_for_late().await?;
                let looked = self.look_whether_final().await?;
                (found.taken_back, found.reversed) = (looked.taken_back, looked.reversed);
            }
        }
        Ok(found)
    }

    /// Looks for all that is open, a page at a time, as far as the time of one go reaches. One that goes on where another was
    /// cut short begins anew at the end.
    async fn go_round(&self, found: &mut Reconciled) -> Result<(), Refusal> {
        let begun = self.clock.monotonic_us();
        let mut goes_on = self.round.place().is_some();
        loop {
            let page = self.store.open_payments(self.round.place()).await?;
            if page.is_empty() {
                self.round.leave(None);
                if !goes_on {
                    return Ok(());
                }
                goes_on = false;
                continue;
            }
            for open in page {
                if self.clock.monotonic_us().saturating_sub(begun) > ROUND_US {
                    return Ok(());
                }
                // Before it is looked for: one that takes for ever holds up no other the next time.
                self.round.leave(Some(open.place()));
                found.count(self.find(&open).await?);
            }
        }
    }

    /// Finds out about one payment; none where nobody can tell.
    async fn find(&self, open: &OpenPayment) -> Result<Option<SettlementState>, Refusal> {
        let Ok(rail) = self.rail(&open.rail) else {
            tracing::error!(run = %open.run, rail = open.rail, "a payment is pending on a rail that is not served");
            return Ok(None);
        };
        let looked = tokio::time::timeout(LOOK_TIME, look(rail, open.amount, &open.state)).await;
        let looked = match looked {
            Ok(Ok(looked)) => looked,
            Ok(Err(error)) => {
                tracing::warn!(run = %open.run, %error, "nobody can tell yet what became of a payment");
                return Ok(None);
            }
            Err(_) => return Ok(None),
        };
        let (Some(_), Some(salt)) = (open.stage, open.salt.as_ref()) else {
            return match looked {
                None if !self.is_past(rail, open) => Ok(None),
                looked => self.close_loose(open, looked.as_ref()).await.map(Some),
            };
        };
        let (payment, state) = (Some(open.key), open.state.as_slice());
        let asked = asked(open.amount, None);
        let held = Held { run: open.run, rail: &open.rail, amount: open.amount, payment, state, salt, asked };
        let settlement = match looked {
            Some(settlement) if open.is_unasked => settlement.excused(),
            Some(settlement) => settlement,
            None => taken(rail, held).await,
        };
        let state = settlement.state();
        if state == SettlementState::Pending {
            if open.is_unasked && !settlement.is_blameless() {
                // From now on somebody has it, and its payer answers for how it ends.
                self.move_to(held, SettlementWord::Pending, SettlementWord::Pending, &settlement).await?;
            }
            return Ok(None);
        }
        match self.end(held, SettlementWord::Pending, settlement).await {
            Ok(_) | Err(Refusal::Unpaid { .. } | Refusal::SettlementPending { .. }) => Ok(Some(state)),
            Err(refusal) => Err(refusal),
        }
    }

    /// Whether a payment that was not taken is so old that nothing is expected of it, though its rail tells no end.
    fn is_past(&self, rail: &dyn Rail, open: &OpenPayment) -> bool {
        let is_old = |since: UnixMs| self.clock.now().0 > since.0.saturating_add(USUAL_MS);
        rail.ends(&open.state).is_none() && open.since.is_some_and(is_old)
    }

    /// Takes down what became of a payment whose run was taken back: a credit, or nothing. None: nobody has seen that it is
    /// over.
    async fn close_loose(
        &self,
        open: &OpenPayment,
        settlement: Option<&Settlement>,
    ) -> Result<SettlementState, Refusal> {
        let is_captured = settlement.is_some_and(|found| found.state() == SettlementState::Captured);
        let (to, state) = if is_captured {
            (SettlementWord::Captured, SettlementState::Captured)
        } else {
            (SettlementWord::Released, SettlementState::Released)
        };
        let (from, at) = (SettlementWord::Pending, self.clock.now());
        let reference = settlement.and_then(Settlement::reference);
        let movement =
            Movement { run: open.run, payment: open.key, rail: &open.rail, amount: open.amount, reference };
        let is_taken = to == SettlementWord::Captured;
        let said = is_taken.then(|| movement.taken(&self.entropy.thirty_two(), at)).transpose()?;
        let reference = reference.map(str::to_owned);
        let rail = self.rails.named(&open.rail);
        let watch_until = settlement.is_none().then(|| watch_until(rail, &open.state, at));
        let may_go_back = is_taken && self.may_go_back(&open.rail, &open.state);
        let (run, payment) = (open.run, open.key);
        let blameless = settlement.is_some_and(Settlement::is_blameless);
        self.write(Settling {
            run,
            payment,
            from,
            to,
            reference,
            said,
            watch_until,
            may_go_back,
            blameless,
            at,
        })
        .await?;
        Ok(state)
    }
}
