//! The room's work.

use std::sync::Arc;

use execgate_model::Stage;
use execgate_store::{Record, SettlementWord, Store};

use crate::Refusal;
use crate::execute::Ended;
use crate::notice::{Notice, Seen};
use crate::settle::{Held, Settle};
use crate::witness::{Facts, Render, Witness};

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
    /// Handles every run that a dead instance left open, and every hold that nobody let go of.
    ///
    /// # Errors
    /// Only if the record cannot be read; a single run that fails is counted and logged.
    pub async fn sweep(&self) -> Result<Recovered, Refusal> {
        let mut found = Recovered::default();
        for record in self.store.orphans().await? {
            let (count, result) = match record.stage {
                Stage::Execute => (&mut found.unknown, self.unknown(&record).await),
                Stage::Witness => (&mut found.settled, self.settle(&record).await),
                // Its process died before it let go of the hold: an unknown run is never charged.
                Stage::Unknown => (&mut found.settled, self.move_money(&record, false).await),
                Stage::Parked | Stage::Settled => continue,
            };
            match result {
                Ok(()) => *count += 1,
                Err(refusal) => {
                    found.left += 1;
                    tracing::error!(run = %record.run, rule = refusal.rule(), "a run could not be recovered");
                }
            }
        }
        Ok(found)
    }

    async fn unknown(&self, record: &Record) -> Result<(), Refusal> {
        let facts = Facts::from_bytes(&record.intent)?;
        let ended = Ended::lost(self.witness.clock.now());
        self.witness.record(&facts, &record.salt, &ended, self.render.as_ref(), Stage::Unknown).await?;
        self.notice.seen(&Seen::recovered(&facts, &record.salt, ended.at()));
        self.move_money(record, false).await
    }

    async fn settle(&self, record: &Record) -> Result<(), Refusal> {
        let charged = Facts::from_bytes(&record.intent)
            .map(|facts| crate::settle::is_charged_word(record.outcome.as_deref(), facts.surface))?;
        self.move_money(record, charged).await
    }

    async fn move_money(&self, record: &Record, charged: bool) -> Result<(), Refusal> {
        // What was tried already is the payer's to mend (unpaid) or the rail's to tell (pending).
        if record.settlement != SettlementWord::Held {
            return Ok(());
        }
        let Some(state) = &record.payment_state else { return Ok(()) };
        let held = Held { run: record.run, rail: &record.rail, amount: record.price, state };
        match self.settle.enter(held, charged).await {
            Ok(_) | Err(Refusal::Unpaid { .. } | Refusal::SettlementPending { .. }) => Ok(()),
            Err(refusal) => Err(refusal),
        }
    }
}
