//! The room's work: statement, signature, and the second durable point.

use core::time::Duration;
use std::sync::Arc;

use execgate_model::{Clock, CrashPoints, Digest, Outcome, Stage};
use execgate_receipt::{Gateway, Kind, SigningKey};
use execgate_store::{Answer, Finish, Finished, Leaf, LeafKind, Metered, Store, StoreError};
use tokio::time::sleep;

use super::sign::{Said, enforced};
use super::{Facts, InForce, Render, Summary};
use crate::execute::Ended;
use crate::settle::due;
use crate::ticket::{Settled, Ticket};
use crate::{Laps, Passage, Refusal, Thread};

/// How often an outcome that could not be written is tried again: the run has happened, so it must not be
/// lost to a disk that is full for a moment.
const RECORD_TRIES: u32 = 40;

/// How long to wait between two tries.
const RECORD_PAUSE: Duration = Duration::from_millis(250);

/// What the room needs.
#[derive(Clone)]
pub struct Witness {
    /// The receipt key.
    pub key: Arc<InForce<SigningKey>>,
    /// Which gateway speaks.
    pub gateway: Gateway,
    /// The record.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where a test may let the process die.
    pub crash: Arc<dyn CrashPoints>,
}

/// How the end of a run is recorded.
#[derive(Debug)]
pub struct Recording {
    /// As what.
    pub stage: Stage,
    /// What is taken for it, where usage says so.
    pub metered: Option<Metered>,
    /// The thread that polls this.
    pub thread: Thread,
}

/// Proof that outcome and receipt are durable. Only this room makes one.
#[derive(Debug)]
pub struct Witnessed {
    content: Digest,
    outcome: String,
    answer: Answer,
}

impl Witnessed {
    /// Gives the answer to a run whose money is settled.
    pub(crate) fn into_passage(self, ticket: Ticket<Settled>, laps: Laps) -> Passage {
        Passage {
            run: ticket.run(),
            content: self.content,
            outcome: self.outcome,
            answer: self.answer,
            replayed: false,
            laps: laps.into_laps(),
            bought: None,
        }
    }
}

impl Witness {
    /// Records the end of a claimed run.
    ///
    /// # Errors
    /// [`Refusal::Store`] if the record fails for long, [`Refusal::Receipt`] if no receipt can be made. The run
    /// stays claimed, and recovery calls it unknown once this process is gone.
    pub async fn record(
        &self,
        facts: &Facts,
        salt: &[u8; 32],
        ended: &Ended,
        render: &dyn Render,
        recording: Recording,
    ) -> Result<Witnessed, Refusal> {
        let Recording { stage, metered, thread } = recording;
        let mut finish = Finish { metered, ..self.finish(facts, salt, ended, render, stage)? };
        self.crash.reached("sealed");
        let mut finished = self.write(&finish, thread).await;
        for _ in 1..RECORD_TRIES {
            if !matches!(finished, Err(StoreError::KeyRetired)) {
                break;
            }
            // This process has slept through the end of its key. It takes up the next one within moments.
            tracing::warn!(run = %finish.run, "the key of a receipt was retired meanwhile; signing it anew");
            sleep(RECORD_PAUSE).await;
            let metered = finish.metered;
            finish = Finish { metered, ..self.finish(facts, salt, ended, render, stage)? };
            finished = self.write(&finish, thread).await;
        }
        let finished = finished?;
        self.crash.reached("recorded");
        match finished {
            Finished::Recorded => {
                let Finish { content, outcome, answer, .. } = finish;
                Ok(Witnessed { content, outcome, answer })
            }
            Finished::Late => {
                Err(Refusal::Receipt { detail: "the run had been declared unknown meanwhile".to_owned() })
            }
        }
    }

    async fn write(&self, finish: &Finish, thread: Thread) -> Result<Finished, StoreError> {
        for _ in 1..RECORD_TRIES {
            let finished = match thread {
                Thread::Shared => self.store.finish(finish.clone()),
                Thread::Own => self.store.finish_here(finish.clone()),
            };
            match finished.await {
                Err(error @ (StoreError::Closed | StoreError::KeyRetired)) => return Err(error),
                Err(error) => {
                    tracing::error!(run = %finish.run, %error, "an outcome could not be written; trying again");
                    sleep(RECORD_PAUSE).await;
                }
                finished => return finished,
            }
        }
        self.store.finish(finish.clone()).await
    }

    fn finish(
        &self,
        facts: &Facts,
        salt: &[u8; 32],
        ended: &Ended,
        render: &dyn Render,
        stage: Stage,
    ) -> Result<Finish, Refusal> {
        let outcome = ended.outcome();
        let stage = if *outcome == Outcome::Unknown { Stage::Unknown } else { stage };
        let word = outcome.word();
        let due = due(Some(&word), facts, ended.at());
        let said = Said {
            kind: Kind::Final,
            outcome: &word,
            result_digest: ended.result_digest(),
            context_digest: facts.context,
            charged: due,
            enforced: enforced(outcome),
            finished: (*outcome != Outcome::Unknown).then_some(ended.at()),
        };
        let signed = self.sign(facts, salt, said)?;
        let summary = Summary {
            run: facts.run,
            surface: facts.surface,
            action: &facts.action,
            effect: facts.effect,
            iam: facts.iam,
            iam_approved: facts.is_iam_approved(),
            rail: &facts.rail,
            started: facts.started,
            ended: ended.at(),
            outcome,
            content: signed.content,
            receipt: &signed.file,
            wants_receipt: facts.wants_receipt,
        };
        let answer = render.answer(&summary);
        Ok(Finish {
            run: facts.run,
            instance: facts.instance,
            stage,
            content: signed.content,
            receipt: signed.file,
            signer: signed.signer,
            answer,
            outcome: word,
            leaf: Leaf { kind: LeafKind::Final, digest: signed.leaf },
            charged: !due.is_zero(),
            metered: None,
            at: ended.at(),
        })
    }
}
