//! The room's work.

use std::sync::Arc;

use execgate_model::{RunId, Stage, UnixMs};
use execgate_payment::Settlement;
use execgate_store::{Record, SettlementWord, Store};

use crate::execute::Ended;
use crate::notice::{Notice, Seen};
use crate::settle::{Held, Settle};
use crate::witness::{Facts, Recording, Render, Witness};
use crate::{Refusal, Thread};

/// How old a run of this instance is before it is looked at whether anybody walks with it, in milliseconds. It spares the
/// record those that come and go; who walks is known by itself.
const LEFT_AFTER_MS: u64 = 30_000;

/// What the room needs.
#[derive(Clone)]
pub struct Recover {
    /// The record.
    pub store: Arc<dyn Store>,
    /// Writes the receipt of an unknown run.
    pub witness: Witness,
    /// Moves money that was left open.
    pub settle: Settle,
    /// How an unknown run is answered, whatever its surface.
    pub render: Arc<dyn Render>,
    /// Is told of runs that are unknown now.
    pub notice: Arc<dyn Notice>,
}

/// What a sweep found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Runs that are `unknown` now.
    pub unknown: u32,
    /// Runs whose money was moved.
    pub settled: u32,
    /// Runs that could not be handled; they are tried again at the next sweep.
    pub left: u32,
}

impl Recover {
    /// Handles every run that a dead instance left open, every hold that nobody let go of, and every run of this instance
    /// that nobody walks with any more: the record had failed when its end was to be written.
    ///
    /// # Errors
    /// Only if the record cannot be read; a single run that fails is counted and logged.
    pub async fn sweep(&self) -> Result<Recovered, Refusal> {
        let mut found = Recovered::default();
        for record in self.store.orphans().await? {
            self.mend(&record, &mut found).await;
        }
        let now = self.witness.clock.now();
        for record in self.store.own_unended(UnixMs(now.0.saturating_sub(LEFT_AFTER_MS))).await? {
            if let Some(record) = self.left_alone(record.run).await? {
                self.mend(&record, &mut found).await;
            }
        }
        Ok(found)
    }

    /// A run of this instance, as it stands now, where nobody walks with it. Whoever began to before this was asked is seen
    /// here, and whoever has ended since left its end in the record.
    async fn left_alone(&self, run: RunId) -> Result<Option<Record>, Refusal> {
        let walking = &self.settle.walking;
        if walking.has(run) {
            return Ok(None);
        }
        let record = self.store.run(run).await?;
        Ok(record.filter(|record| record.instance == self.store.instance() && !walking.has(run)))
    }

    async fn mend(&self, record: &Record, found: &mut Recovered) {
        let (count, result) = match (record.stage, record.settlement) {
            // What is paid before the work starts when the record says that it is paid, and not before.
            (Stage::Execute, SettlementWord::Capturing | SettlementWord::Released) => {
                (&mut found.settled, self.take_back(record).await)
            }
            (Stage::Execute, _) => (&mut found.unknown, self.unknown(record).await),
            (Stage::Witness, SettlementWord::Capturing) => (&mut found.settled, self.resume(record).await),
            // Its process died before it let go of the hold: that of work which is not charged, or of an unknown run.
            (Stage::Witness | Stage::Unknown, SettlementWord::Held) => {
                (&mut found.settled, self.release(record).await)
            }
            (Stage::Witness | Stage::Unknown | Stage::Parked | Stage::Settled, _) => return,
        };
        match result {
            Ok(()) => *count += 1,
            Err(refusal) => {
                found.left += 1;
                tracing::error!(run = %record.run, rule = refusal.rule(), "a run could not be recovered");
            }
        }
    }

    async fn unknown(&self, record: &Record) -> Result<(), Refusal> {
        let facts = Facts::from_bytes(&record.intent)?;
        let ended = Ended::lost(self.witness.clock.now());
        let (salt, render) = (&record.salt, self.render.as_ref());
        let recording = Recording { stage: Stage::Unknown, metered: None, thread: Thread::Shared };
        self.witness.record(&facts, salt, &ended, render, recording).await?;
        self.notice.seen(&Seen::recovered(&facts, &record.salt, ended.at()));
        if record.settlement == SettlementWord::Held { self.release(record).await } else { Ok(()) }
    }

    async fn take_back(&self, record: &Record) -> Result<(), Refusal> {
        self.store.undo(record.run, record.instance).await?;
        Ok(())
    }

    async fn resume(&self, record: &Record) -> Result<(), Refusal> {
        match Held::of(record) {
            Some(held) => unless_open(self.settle.resume(held).await),
            None => Ok(()),
        }
    }

    async fn release(&self, record: &Record) -> Result<(), Refusal> {
        match Held::of(record) {
            Some(held) => unless_open(self.settle.enter(held, false).await),
            None => Ok(()),
        }
    }
}

/// What was tried is the payer's to mend (unpaid) or the rail's to tell (pending).
fn unless_open(settled: Result<Settlement, Refusal>) -> Result<(), Refusal> {
    match settled {
        Ok(_) | Err(Refusal::Unpaid { .. } | Refusal::SettlementPending { .. }) => Ok(()),
        Err(refusal) => Err(refusal),
    }
}
