//! What is looked at again and again while a gateway serves: runs of dead processes, those that wait for people, and what is past its retention. All of
//! it in small transactions, one thing after the other, so that claims do not notice.

use std::sync::Arc;
use std::time::Duration;

use execgate_flow::log::Log;
use execgate_flow::notice::Trail;
use execgate_flow::recover::{Recover, Recovered};
use execgate_flow::settle::{Reconciled, Settle};
use execgate_model::{Clock as _, UnixMs};
use execgate_store::Store;
use execgate_web::House;
use tokio::time::{MissedTickBehavior, interval};

use crate::config::{AnswersKept, AuditKept};
use crate::disk::DiskWatch;
use crate::ports::SystemClock;

/// How often runs of dead processes and answers past their retention are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// How often payments are looked for whose capture nobody has heard the end of: some blocks.
const RECONCILE_EVERY: Duration = Duration::from_secs(10);

/// Sweeps between two looks at how large all answers are: that reads some 20 bytes for each.
const SWEEPS_A_MEASURE: u32 = 12;

/// How often the space is looked at: what runs write in this time must fit below the watermark.
const SPACE_EVERY: Duration = Duration::from_secs(1);

/// How long counters of limits are kept after their window, in milliseconds: clocks of processes differ by less.
const KEEP_COUNTERS_MS: u64 = 60_000;

const DAY_MS: u64 = 86_400_000;

/// What is maintained.
pub(crate) struct Maintenance {
    pub(crate) log: Arc<Log>,
    pub(crate) recover: Recover,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) trail: Trail,
    pub(crate) house: Arc<House>,
    pub(crate) kept: AnswersKept,
    pub(crate) audit: AuditKept,
}

impl Maintenance {
    /// Goes on until it is aborted.
    pub(crate) async fn forever(self) {
        let clock = SystemClock::new();
        let mut every = interval(SWEEP_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for sweep in 0_u32.. {
            every.tick().await;
            // A record that is not the one that was seen signs nothing of its runs: they may have ended otherwise.
            if !self.log.is_closed() {
                recover(&self.recover).await;
                if let Err(error) = self.house.tend_parked().await {
                    tracing::error!(%error, "parked runs could not be looked after");
                }
            }
            self.forget(clock.now().0, sweep.is_multiple_of(SWEEPS_A_MEASURE)).await;
        }
    }

    async fn forget(&self, now: u64, measure: bool) {
        let store = &self.store;
        if let Err(error) = store.forget_limits(UnixMs(now.saturating_sub(KEEP_COUNTERS_MS))).await {
            tracing::error!(%error, "limits of windows that are over could not be forgotten");
        }
        self.trail.tell_quotas();
        let old = UnixMs(now.saturating_sub(u64::from(self.audit.days) * DAY_MS));
        if let Err(error) = store.forget_audit(old, self.audit.lines).await {
            tracing::error!(%error, "the audit trail could not be cut");
        }
        let before = UnixMs(now.saturating_sub(u64::from(self.kept.days) * DAY_MS));
        if let Err(error) = store.forget_answers(before).await {
            tracing::error!(%error, "answers past their retention could not be forgotten");
        }
        if measure {
            match store.forget_answers_beyond(self.kept.bytes).await {
                Ok(0) => {}
                Ok(answers) => tracing::info!(answers, "the oldest answers were forgotten, for their size"),
                Err(error) => tracing::error!(%error, "answers beyond their size could not be forgotten"),
            }
        }
    }
}

/// Mends what dead processes left.
pub(crate) async fn recover(recover: &Recover) {
    match recover.sweep().await {
        Ok(found) if found == Recovered::default() => {}
        Ok(found) => tracing::warn!(
            unknown = found.unknown,
            settled = found.settled,
            left = found.left,
            "runs of a dead process were recovered"
        ),
        Err(error) => tracing::error!(%error, "recovery could not read the record"),
    }
}

/// Looks again and again for payments whose capture nobody has heard the end of, and whether what was taken is final. Beside everything else: a node that is slow
/// holds nothing up.
pub(crate) async fn reconcile(log: Arc<Log>, settle: Settle) {
    let mut every = interval(RECONCILE_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        if log.fault().is_some() {
            continue;
        }
        match settle.reconcile(None).await {
            Ok(found) if found == Reconciled { left: found.left, ..Reconciled::default() } => {}
            Ok(found) => tracing::info!(
                captured = found.captured,
                unpaid = found.unpaid,
                released = found.released,
                left = found.left,
                late = found.late,
                taken_back = found.taken_back,
                reversed = found.reversed,
                "payments were found"
            ),
            Err(error) => tracing::error!(%error, "pending payments could not be looked for"),
        }
    }
}

/// Looks how much space there is, again and again.
pub(crate) async fn watch_space(space: Arc<DiskWatch>) {
    let mut every = interval(SPACE_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let space = Arc::clone(&space);
        if let Err(error) = tokio::task::spawn_blocking(move || space.look()).await {
            tracing::error!(%error, "the space could not be looked at");
        }
    }
}
