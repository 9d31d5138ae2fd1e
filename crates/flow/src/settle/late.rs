//! Payments that were asked for and failed, and whose authorization is not over: what fails may still move, by whoever has
//! seen it. One that does is never lost to its payer: it pays for its run, or is a credit.
//!
//! What this costs is bounded: so many looks at a time, each later than the one before, and none once it is over.

use core::time::Duration;

use execgate_model::UnixMs;
use execgate_payment::{Rail, SettlementState, look};
use execgate_store::{Late, MovedLate, Watched};
use tokio::time::Instant;

use super::reconcile::LOOK_TIME;
use super::room::Settle;
use super::said::Movement;
use crate::Refusal;

/// Payments that are looked for in one go.
const LOOKS_AT_ONCE: u32 = 32;

/// How long one go may take together, but for its last look.
const LOOKS_TIME: Duration = Duration::from_secs(20);

/// How long after its end an authorization is looked for: blocks are late, and clocks differ.
const MARGIN_MS: u64 = 600_000;

/// The least, and the longest, between two looks for one payment; between them they wait a quarter of its age.
const PAUSE_MIN_MS: u64 = 30_000;
const PAUSE_MAX_MS: u64 = 3_600_000;

/// For how long a payment is watched whose rail cannot tell when it is over; and after how long one is not expected to move any
/// more that was left behind.
pub(super) const USUAL_MS: u64 = 86_400_000;

/// The longest that any is watched: who signs for years is not looked for that long.
const WATCHED_MAX_MS: u64 = 30 * 86_400_000;

/// Until when a payment is watched that fails now.
pub(super) fn watch_until(rail: Option<&dyn Rail>, state: &[u8], now: UnixMs) -> UnixMs {
    let ends = rail.and_then(|rail| rail.ends(state)).unwrap_or(UnixMs(now.0.saturating_add(USUAL_MS)));
    UnixMs(ends.0.min(now.0.saturating_add(WATCHED_MAX_MS)))
}

impl Settle {
    /// Looks for payments that failed and may have moved since. Returns how many had.
    pub(super) async fn look_for_late(&self) -> Result<u32, Refusal> {
        let (mut moved, begun) = (0, Instant::now());
        for watched in self.store.watched(self.clock.now(), LOOKS_AT_ONCE).await? {
            if begun.elapsed() > LOOKS_TIME {
                break;
            }
            // Before it is looked for: one that takes for ever holds up no other the next time.
            let now = self.clock.now();
            let pause = (now.0.saturating_sub(watched.since.0) / 4).clamp(PAUSE_MIN_MS, PAUSE_MAX_MS);
            let due = UnixMs(now.0.saturating_add(pause));
            self.store.watch_again(watched.key, Some(due)).await?;
            moved += u32::from(self.look_for(&watched).await?);
        }
        Ok(moved)
    }

    async fn look_for(&self, watched: &Watched) -> Result<bool, Refusal> {
        let looked = match self.rail(&watched.rail) {
            Ok(rail) => {
                let looked = look(rail, watched.amount, &watched.state);
                tokio::time::timeout(LOOK_TIME, looked).await.ok().and_then(Result::ok)
            }
            Err(_) => None,
        };
        let now = self.clock.now();
        let is_over = now.0 > watched.until.0.saturating_add(MARGIN_MS);
        match looked {
            Some(Some(settlement)) if settlement.state() == SettlementState::Captured => {
                self.moved_late(watched, settlement.reference(), now).await
            }
            Some(Some(_)) => {
                self.store.watch_again(watched.key, None).await?;
                Ok(false)
            }
            None | Some(None) if is_over => {
                if looked.is_none() {
                    let run = watched.run;
                    tracing::error!(%run, "nobody could tell whether a payment that failed has moved");
                }
                self.store.watch_again(watched.key, None).await?;
                Ok(false)
            }
            None | Some(None) => Ok(false),
        }
    }

    async fn moved_late(
        &self,
        watched: &Watched,
        reference: Option<&str>,
        at: UnixMs,
    ) -> Result<bool, Refusal> {
        let (run, payment, rail, amount) = (watched.run, watched.key, watched.rail.as_str(), watched.amount);
        let movement = Movement { run, payment, rail, amount, reference };
        let said = movement.taken(&self.entropy.thirty_two(), at)?;
        let may_go_back = self.may_go_back(rail, &watched.state);
        let late = Late { run, payment, reference: reference.map(str::to_owned), said, may_go_back, at };
        let came = self.store.moved_late(late).await?;
        self.crash.reached("late");
        match came {
            MovedLate::Paid => {
                tracing::warn!(%run, "a payment that had failed has moved, and pays for its run")
            }
            MovedLate::Credited => {
                tracing::warn!(%run, "a payment that had failed has moved, and is a credit of its payer");
            }
            MovedLate::Stands => {}
        }
        Ok(came != MovedLate::Stands)
    }
}
