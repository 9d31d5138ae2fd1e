//! What is told of a run that waits for people, and how one ends that never starts.

use std::collections::BTreeSet;

use execgate_model::{ActionName, Amount, Digest, Effect, RunId, Surface, UnixMs};
use execgate_store::{Parked, Vote, VoteWord};

use super::{ParkedRequest, Term, Today};

/// A run that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The run, which is the approval's id too.
    pub run: RunId,
    /// What is to be run.
    pub action: ActionName,
    /// For real, or simulated.
    pub effect: Effect,
    /// What people sign: SHA-256 of JCS `{action, payload, dryRun, options}`.
    pub action_digest: Digest,
    /// What the rules ask for.
    pub terms: Vec<Term>,
    /// People who have said yes so far.
    pub approved_by: usize,
    /// What it costs; nothing of it is taken yet.
    pub price: Amount,
    /// Until when it waits.
    pub expires: UnixMs,
}

impl Waiting {
    /// What is told of a parked run as the rules are now.
    pub(super) fn of(parked: &Parked, request: ParkedRequest, today: Today) -> Self {
        let (run, digest) = (parked.record.run, parked.record.fingerprint);
        let told = Self::told(run, digest, request, parked.parking.expires).approved(&parked.votes);
        Self { terms: today.terms, price: today.price, ..told }
    }

    pub(super) fn told(run: RunId, action_digest: Digest, request: ParkedRequest, expires: UnixMs) -> Self {
        let ParkedRequest { action, effect, terms, price, .. } = request;
        Self { run, action, effect, action_digest, terms, approved_by: 0, price, expires }
    }

    fn approved(self, votes: &[Vote]) -> Self {
        let yes = votes.iter().filter(|vote| vote.word == VoteWord::Approve);
        let people: BTreeSet<_> = yes.map(|vote| vote.person.as_str()).collect();
        Self { approved_by: people.len(), ..self }
    }

    /// The rule that asked first.
    #[must_use]
    pub fn rule(&self) -> &str {
        self.terms.first().map_or("approval", |term| term.rule.as_str())
    }
}

/// Why a parked run is never started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closing {
    /// An approver has said no.
    Denied {
        /// Who, by the operator's name.
        approver: String,
        /// Why, in the approver's words.
        reason: Option<String>,
    },
    /// Nobody approved it in time.
    Expired,
    /// Whoever has called it has taken it back.
    Withdrawn,
    /// It was approved, and the rules of that day did not let it pass.
    Refused {
        /// The rule.
        rule: String,
        /// One sentence.
        reason: String,
    },
}

impl Closing {
    /// The outcome in one word, as receipts and the record have it.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Denied { .. } => "denied",
            Self::Expired => "expired",
            Self::Refused { .. } | Self::Withdrawn => "refused",
        }
    }
}

/// Whether an outcome is that of a run that never started.
#[must_use]
pub fn never_started(outcome: &str) -> bool {
    matches!(outcome, "denied" | "expired" | "refused")
}

/// All that a surface may say of a run that never starts.
#[derive(Debug, Clone, Copy)]
pub struct Closed<'a> {
    /// The run.
    pub run: RunId,
    /// The contract under which it came in.
    pub surface: Surface,
    /// What was to be run.
    pub action: &'a ActionName,
    /// For real, or simulated.
    pub effect: Effect,
    /// The rail that would have paid.
    pub rail: &'a str,
    /// Why.
    pub why: &'a Closing,
    /// Its content receipt.
    pub content: Digest,
    /// When it was parked.
    pub started: UnixMs,
    /// When it ended.
    pub ended: UnixMs,
}
