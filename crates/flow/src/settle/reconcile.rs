//! Captures that nobody has heard the end of: looked for until they are found.
//!
//! A rail is asked where the money is before anything else, and asked to take it again only where it says that it was not
//! taken and the work is done. Payments whose run was taken back buy nothing by themselves: they are only looked for.

use core::time::Duration;

use execgate_model::RunId;
use execgate_payment::{Settlement, SettlementState, look};
use execgate_store::{OpenPayment, SettlementWord, Settling};

use super::room::{Held, Settle, taken};
use super::said::Movement;
use crate::Refusal;

/// How long a rail may look for money.
pub(super) const LOOK_TIME: Duration = Duration::from_secs(15);

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

impl Settle {
    /// Looks for every payment whose capture nobody has heard the end of, or for those of one run; without one, for those
    /// that failed and may have moved since, too, and for those that were taken and are not final.
    ///
    /// # Errors
    /// Only if the record cannot be read or written.
    pub async fn reconcile(&self, only: Option<RunId>) -> Result<Reconciled, Refusal> {
        let mut found = Reconciled::default();
        let open = match only {
            Some(run) => self.store.open_payments_of(run).await?,
            None => self.store.open_payments().await?,
        };
        for open in open {
            match self.find(&open).await? {
                Some(SettlementState::Captured) => found.captured += 1,
                Some(SettlementState::Unpaid) => found.unpaid += 1,
                Some(SettlementState::Released | SettlementState::Free) => found.released += 1,
                Some(SettlementState::Pending) | None => found.left += 1,
            }
        }
        if only.is_none() {
            found.late = self.look_for_late().await?;
            let looked = self.look_whether_final().await?;
            (found.taken_back, found.reversed) = (looked.taken_back, looked.reversed);
        }
        Ok(found)
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
                Some(settlement) => self.close_loose(open, &settlement).await.map(Some),
                None => Ok(None),
            };
        };
        let (payment, state) = (Some(open.key), open.state.as_slice());
        let held = Held { run: open.run, rail: &open.rail, amount: open.amount, payment, state, salt };
        let settlement = match looked {
            Some(settlement) => settlement,
            None => taken(rail, held).await,
        };
        let state = settlement.state();
        if state == SettlementState::Pending {
            return Ok(None);
        }
        match self.end(held, SettlementWord::Pending, settlement).await {
            Ok(_) | Err(Refusal::Unpaid { .. } | Refusal::SettlementPending { .. }) => Ok(Some(state)),
            Err(refusal) => Err(refusal),
        }
    }

    /// Takes down what became of a payment whose run was taken back: a credit, or nothing.
    async fn close_loose(
        &self,
        open: &OpenPayment,
        settlement: &Settlement,
    ) -> Result<SettlementState, Refusal> {
        let (to, state) = if settlement.state() == SettlementState::Captured {
            (SettlementWord::Captured, SettlementState::Captured)
        } else {
            (SettlementWord::Released, SettlementState::Released)
        };
        let (from, at, reference) = (SettlementWord::Pending, self.clock.now(), settlement.reference());
        let movement =
            Movement { run: open.run, payment: open.key, rail: &open.rail, amount: open.amount, reference };
        let is_taken = to == SettlementWord::Captured;
        let said = is_taken.then(|| movement.taken(&self.entropy.thirty_two(), at)).transpose()?;
        let reference = reference.map(str::to_owned);
        // It was looked for, and is over.
        let (run, payment, watch_until) = (open.run, open.key, None);
        let may_go_back = is_taken && self.may_go_back(&open.rail, &open.state);
        self.write(Settling { run, payment, from, to, reference, said, watch_until, may_go_back, at })
            .await?;
        Ok(state)
    }
}
