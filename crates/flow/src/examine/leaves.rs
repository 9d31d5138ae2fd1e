//! Leaves: each is the digest of what stands behind it, and every run has those that it must have.

use execgate_model::{Digest, RunId, Stage};
use execgate_receipt::{KeyId, ReceiptFile, salted};
use execgate_store::{ExaminedLeaf, ExaminedRun, LeafKind};
use serde_json::Value;

use super::marks::Marks;
use super::own_keys::OwnKeys;
use super::{Finding, Rule};
use crate::parking::never_started;

/// What the runs must have in the log, and what they have.
#[derive(Debug, Default)]
pub(super) struct Leaves {
    intents: Kept,
    finals: Kept,
    resolutions: Kept,
    parked: Kept,
    /// The place of the last leaf.
    pub(super) last: u64,
    /// Intents that are no standing run's.
    pub(super) undone: u64,
    /// Leaves so far.
    pub(super) count: u64,
    /// What changes have said of the gateway's own keys.
    pub(super) own_keys: OwnKeys,
    /// Receipt keys that are retired, each with how many leaves the log had then.
    pub(super) retired: Vec<(KeyId, u64)>,
}

/// What must be there of one kind, and what is.
#[derive(Debug, Default)]
struct Kept {
    expected: Marks,
    seen: Marks,
}

impl Leaves {
    /// Takes note of what a run must have.
    pub(super) fn expect(&mut self, run: &ExaminedRun) {
        let Ok(record) = &run.record else {
            self.intents.expected.set(run.place);
            return;
        };
        if run.parked_with_leaf {
            self.parked.expected.set(run.place);
        }
        // What waits for people, or ended so, was never started: its intent has no leaf.
        if record.stage != Stage::Parked && !record.outcome.as_deref().is_some_and(never_started) {
            self.intents.expected.set(run.place);
        }
        match record.stage {
            Stage::Parked | Stage::Execute => {}
            Stage::Witness | Stage::Settled | Stage::Unknown => drop(self.finals.expected.set(run.place)),
        }
        if record.resolution.is_some() {
            self.resolutions.expected.set(run.place);
        }
    }

    /// Judges the next leaf.
    pub(super) fn judge(&mut self, leaf: &ExaminedLeaf) -> Option<Finding> {
        let before = core::mem::replace(&mut self.last, leaf.seq);
        self.count += 1;
        if leaf.seq != before + 1 {
            let what = format!("{} leaves before it are gone", leaf.seq - before - 1);
            return Some(Finding::at(Rule::LeafGap, leaf.seq, leaf.run, what));
        }
        let found = |rule, what: &str| Some(Finding::at(rule, leaf.seq, leaf.run, what));
        let Some(digest) = leaf.digest else { return found(Rule::LeafDiffers, "it is no digest") };
        let kind = match &leaf.kind {
            Ok(kind) => *kind,
            Err(word) => return found(Rule::LeafStray, &format!("no leaf is of the kind `{word}`")),
        };
        let is_right = behind(kind, leaf) == Some(digest);
        let kept = match kind {
            // An intent that is not that of its run is one of a claim that was taken back, and claimed anew.
            LeafKind::Intent if !is_right => {
                self.undone += 1;
                return None;
            }
            LeafKind::Intent => &mut self.intents,
            LeafKind::Final => &mut self.finals,
            LeafKind::Resolve => &mut self.resolutions,
            LeafKind::Parked => &mut self.parked,
            LeafKind::Change
            | LeafKind::Approval
            | LeafKind::Refusal
            | LeafKind::Vote
            | LeafKind::Settlement => {
                if let (LeafKind::Change, true, Some(statement)) = (kind, is_right, &leaf.behind) {
                    self.own_keys.hear(leaf.seq, statement);
                }
                let wrong = || found(Rule::LeafDiffers, "it is not that of what was said");
                return if is_right { None } else { wrong() };
            }
            // What it commits to is its owner's: nothing stands behind it here.
            LeafKind::Late => {
                let stray = || found(Rule::LeafStray, "there is no such run");
                return if leaf.place.is_some() { None } else { stray() };
            }
        };
        let Some(place) = leaf.place else { return found(Rule::LeafStray, "there is no such run") };
        let is_first = kept.seen.set(place);
        match (is_right, is_first) {
            (true, true) => self.overdue(leaf),
            (false, _) => found(Rule::LeafDiffers, "it is not that of what was said of the run"),
            (true, false) => found(Rule::LeafTwice, &format!("a second leaf `{}` of one run", kind.as_str())),
        }
    }

    /// A receipt counts where it stands before the end of its key (CONTRACTS 5).
    fn overdue(&self, leaf: &ExaminedLeaf) -> Option<Finding> {
        let late: Vec<_> = self.retired.iter().filter(|(_, size)| leaf.seq > *size).collect();
        let bytes = leaf.behind.as_deref().filter(|_| !late.is_empty())?;
        let file = ReceiptFile::from_json(bytes).ok()?;
        let signed = |(key, _): &&&(KeyId, u64)| file.envelope.signatures.iter().any(|by| by.keyid == *key);
        let (key, size) = late.iter().find(signed)?;
        let what =
            format!("its receipt is signed by the key {key}, which was retired at size {size} of the log");
        Some(Finding::at(Rule::ReceiptKey, leaf.seq, leaf.run, what))
    }

    /// Places of runs that lack a leaf so far.
    pub(super) fn lacking(&self) -> Vec<u64> {
        let mut places: Vec<_> = self.all().into_iter().flat_map(|(_, kept)| kept.lacking()).collect();
        places.sort_unstable();
        places.dedup();
        places
    }

    /// What a run that is still there lacks.
    pub(super) fn lacks(&self, place: u64, run: RunId) -> Vec<Finding> {
        let lacks =
            self.all().into_iter().filter(|(_, kept)| kept.expected.has(place) && !kept.seen.has(place));
        let tell = |kind: LeafKind| format!("it has no leaf `{}` of its digest", kind.as_str());
        lacks.map(|(kind, _)| Finding::of(Rule::LeafMissing, run, tell(kind))).collect()
    }

    fn all(&self) -> [(LeafKind, &Kept); 4] {
        [
            (LeafKind::Intent, &self.intents),
            (LeafKind::Final, &self.finals),
            (LeafKind::Resolve, &self.resolutions),
            (LeafKind::Parked, &self.parked),
        ]
    }
}

impl Kept {
    fn lacking(&self) -> impl Iterator<Item = u64> {
        self.expected.without(&self.seen)
    }
}

/// What a leaf must be: SHA-256(salt ‖ what stands behind it).
fn behind(kind: LeafKind, leaf: &ExaminedLeaf) -> Option<Digest> {
    let bytes = leaf.behind.as_deref()?;
    match kind {
        LeafKind::Intent
        | LeafKind::Change
        | LeafKind::Approval
        | LeafKind::Refusal
        | LeafKind::Vote
        | LeafKind::Settlement => Some(salted(&leaf.salt?, bytes)),
        LeafKind::Final | LeafKind::Resolve => {
            ReceiptFile::from_json(bytes).ok().filter(|file| Some(file.salt) == leaf.salt)?.leaf()
        }
        LeafKind::Parked => {
            // Of another run it would say nothing of this one.
            let said: Value = serde_json::from_slice(bytes).ok()?;
            let is_its = said["parked"].as_str() == leaf.run.map(|run| run.to_string()).as_deref();
            is_its.then(|| leaf.salt.map(|salt| salted(&salt, bytes))).flatten()
        }
        LeafKind::Late => None,
    }
}
