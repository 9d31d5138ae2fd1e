//! What an earlier run of the same nonce means for a request that comes now.

use execgate_model::{Digest, Stage};
use execgate_store::{Record, SettlementWord};

use super::Bought;
use crate::{Passage, Refusal};

/// What to do about an earlier run.
#[derive(Debug)]
pub enum Earlier {
    /// Answer what was answered.
    Answered(Passage),
    /// Turn the request away.
    Refused(Refusal),
    /// Wait: it still goes on, here or in another process.
    Running,
    /// It waits for people.
    Parked,
    /// Its result is withheld until a payment is captured.
    Unpaid(Box<Record>),
}

impl Earlier {
    /// Reads an earlier run in the light of a new request's fingerprint.
    #[must_use]
    pub fn read(record: Record, fingerprint: Digest) -> Self {
        if record.fingerprint != fingerprint {
            return Self::Refused(Refusal::NonceReused { run: record.run });
        }
        match (record.stage, record.settlement) {
            // Whatever becomes of its hold: it is never charged.
            (Stage::Unknown, _) => Self::answer(record),
            (Stage::Parked, _) => Self::Parked,
            (Stage::Execute, _) | (Stage::Witness, SettlementWord::Held | SettlementWord::Capturing) => {
                Self::Running
            }
            (_, SettlementWord::Unpaid) => Self::Unpaid(Box::new(record)),
            (_, SettlementWord::Pending) => Self::Refused(Refusal::SettlementPending { run: record.run }),
            (Stage::Witness | Stage::Settled, _) => Self::answer(record),
        }
    }

    fn answer(record: Record) -> Self {
        let bought = Bought::of(&record);
        match (record.answer, record.content) {
            (Some(answer), Some(content)) => {
                let outcome = record.outcome.unwrap_or_default();
                let (run, laps) = (record.run, Vec::new());
                let passage = Passage { run, content, outcome, answer, replayed: true, laps, bought };
                Self::Answered(passage)
            }
            (_, content) => Self::Refused(Refusal::AnswerExpired { run: record.run, content }),
        }
    }
}
