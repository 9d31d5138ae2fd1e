//! Payments that were taken, until they are final: a chain may take back the block that had one.
//!
//! Many are one look, and so many looks are one go; each waits longer than the one before. What was taken back is asked for
//! again as long as it may be taken, by the very bytes that were signed; what never can be is recorded as reversed, with a leaf
//! that says so. What was answered for it stays.

use core::time::Duration;
use std::collections::BTreeMap;

use execgate_model::{Digest, UnixMs};
use execgate_payment::{Endurance, Rail, SettlementState, Taken, capture};
use execgate_store::{Revised, Revision, Unfinal};
use tokio::time::{Instant, timeout};

use super::reconcile::LOOK_TIME;
use super::room::Settle;
use super::said::Movement;
use crate::Refusal;

/// Payments of one look, and looks of one go.
const PAYMENTS_AT_ONCE: u32 = 200;
const LOOKS_AT_ONCE: u32 = 10;

/// How long one go may take together, but for its last question.
const LOOKS_TIME: Duration = Duration::from_secs(20);

/// The least, and the longest, between two looks at one payment; between them they wait half of its age. The least is short
/// beside the minutes for which what was signed can be taken again.
const PAUSE_MIN_MS: u64 = 20_000;
const PAUSE_MAX_MS: u64 = 300_000;

/// For how long a payment is looked at of which nobody can tell: no node is down for so long.
const LOOKED_AT_MAX_MS: u64 = 30 * 86_400_000;

/// What was found of payments that were taken.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Looked {
    pub(super) taken_back: u32,
    pub(super) reversed: u32,
}

impl Settle {
    /// Looks whether what was taken is final, and asks again for what was taken back.
    pub(super) async fn look_whether_final(&self) -> Result<Looked, Refusal> {
        let (mut looked, begun) = (Looked::default(), Instant::now());
        for _ in 0..LOOKS_AT_ONCE {
            let page = self.store.unfinal(self.clock.now(), PAYMENTS_AT_ONCE).await?;
            if page.is_empty() || begun.elapsed() > LOOKS_TIME {
                break;
            }
            // Before they are looked at: a rail that takes for ever holds up no other the next time.
            let due = page.iter().map(|one| (one.key, self.next_look(one))).collect();
            self.store.look_again(due).await?;
            let mut by_rail: BTreeMap<&str, Vec<&Unfinal>> = BTreeMap::new();
            for one in &page {
                by_rail.entry(&one.rail).or_default().push(one);
            }
            for (rail, taken) in by_rail {
                let Ok(rail) = self.rail(rail) else { continue };
                self.look_at(rail, &taken, &mut looked, begun).await?;
            }
        }
        Ok(looked)
    }

    /// When a payment is looked at again; none where nobody could tell for too long.
    fn next_look(&self, one: &Unfinal) -> Option<UnixMs> {
        let now = self.clock.now().0;
        let age = now.saturating_sub(one.since.0);
        if age > LOOKED_AT_MAX_MS {
            tracing::error!(run = %one.run, "nobody could tell whether a payment that was taken is final");
            return None;
        }
        Some(UnixMs(now.saturating_add((age / 2).clamp(PAUSE_MIN_MS, PAUSE_MAX_MS))))
    }

    /// One look at payments of one rail.
    async fn look_at(
        &self,
        rail: &dyn Rail,
        taken: &[&Unfinal],
        looked: &mut Looked,
        begun: Instant,
    ) -> Result<(), Refusal> {
        let asked: Vec<_> = taken
            .iter()
            .map(|one| Taken { state: &one.state, reference: one.reference.as_deref() })
            .collect();
        let told = match timeout(LOOK_TIME, rail.endurance(&asked)).await {
            Ok(Ok(told)) if told.len() == taken.len() => told,
            Ok(Err(error)) => {
                tracing::warn!(payments = taken.len(), %error, "nobody can tell yet whether payments are final");
                return Ok(());
            }
            Ok(Ok(_)) | Err(_) => return Ok(()),
        };
        let mut sealed: Vec<(Digest, Option<UnixMs>)> = Vec::new();
        for (one, endurance) in taken.iter().zip(told) {
            match endurance {
                Endurance::Final { reference } if one.reference.as_ref() == Some(&reference) => {
                    sealed.push((one.key, None));
                }
                Endurance::Final { reference } => {
                    self.revise(one, Revision::MovedBy(reference)).await?;
                }
                Endurance::Undecided => {}
                Endurance::TakenBack => {
                    looked.taken_back += 1;
                    if begun.elapsed() < LOOKS_TIME {
                        self.take_again(rail, one).await;
                    }
                }
                Endurance::Gone => looked.reversed += u32::from(self.revise(one, Revision::Reversed).await?),
            }
        }
        if !sealed.is_empty() {
            self.store.look_again(sealed).await?;
        }
        Ok(())
    }

    /// Asks again for what was taken back. What comes of it the next look sees.
    async fn take_again(&self, rail: &dyn Rail, one: &Unfinal) {
        let run = one.run;
        tracing::warn!(%run, "its chain has taken back a payment, which is asked for again");
        let captured = timeout(LOOK_TIME, capture(rail, one.amount, &one.state)).await;
        match captured.map(|settlement| settlement.state()) {
            Ok(SettlementState::Captured) => {
                tracing::info!(%run, "a payment that was taken back was taken again")
            }
            Ok(
                SettlementState::Free
                | SettlementState::Released
                | SettlementState::Unpaid
                | SettlementState::Pending,
            )
            | Err(_) => tracing::warn!(%run, "a payment that was taken back is not taken again yet"),
        }
    }

    /// Records what has become of a payment whose movement was taken back.
    async fn revise(&self, one: &Unfinal, revision: Revision) -> Result<bool, Refusal> {
        let (run, payment, at) = (one.run, one.key, self.clock.now());
        let reference = match &revision {
            Revision::MovedBy(reference) => Some(reference.as_str()),
            Revision::Reversed => one.reference.as_deref(),
        };
        let movement = Movement { run, payment, rail: &one.rail, amount: one.amount, reference };
        let salt = self.entropy.thirty_two();
        let said = match &revision {
            Revision::MovedBy(_) => movement.moved_again(&salt, at)?,
            Revision::Reversed => movement.reversed(&salt, at)?,
        };
        let is_reversed = revision == Revision::Reversed;
        let recorded = self.store.revise(Revised { run, payment, revision, said, at }).await?;
        if recorded && is_reversed {
            tracing::error!(%run, "its chain has taken back a payment, which can never be taken again");
        }
        Ok(recorded)
    }
}
