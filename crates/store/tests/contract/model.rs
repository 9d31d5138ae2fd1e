//! The smallest thing that keeps the promises: a record in memory, to hold a back end against.

use std::collections::BTreeMap;

use execgate_model::{Digest, InstanceId, RunId, Stage};
use execgate_store::{
    Claim, Claimed, Finish, Finished, Leaf, LeafKind, NewPayment, Record, Repaid, Resolution, Settled,
    SettlementWord, Settling, Undone,
};

use super::runs::{held, recorded};

/// What one run holds beside its record.
#[derive(Debug)]
struct Run {
    record: Record,
    nonce: Option<Digest>,
    approval: Vec<Digest>,
}

/// The record, in memory.
#[derive(Debug, Default)]
pub(super) struct Model {
    runs: BTreeMap<RunId, Run>,
    payments: BTreeMap<Digest, RunId>,
    leaves: BTreeMap<RunId, Vec<Leaf>>,
    pub(super) paused: bool,
}

impl Model {
    pub(super) fn claim(&mut self, claim: &Claim) -> Claimed {
        if let Some(run) = claim.nonce_key.and_then(|nonce| self.by_nonce(nonce)) {
            return Claimed::Taken(Box::new(run));
        }
        if self.paused {
            return Claimed::Paused;
        }
        let approval: Vec<_> = claim.approval.iter().flat_map(|approval| approval.keys.clone()).collect();
        if let Some(run) = claim.payment.as_ref().and_then(|payment| self.payments.get(&payment.key)) {
            return Claimed::PaymentSpent(*run);
        }
        if let Some(run) =
            self.runs.values().find(|run| run.approval.iter().any(|key| approval.contains(key)))
        {
            return Claimed::ApprovalSpent(run.record.run);
        }
        self.payments.extend(claim.payment.as_ref().map(|payment| (payment.key, claim.run)));
        if let Some(approval) = &claim.approval {
            self.leaf(claim.run, approval.change.leaf);
        }
        self.leaf(claim.run, claim.leaf);
        let run = Run { record: held(claim), nonce: claim.nonce_key, approval };
        assert!(self.runs.insert(claim.run, run).is_none());
        Claimed::Fresh
    }

    pub(super) fn undo(&mut self, run: RunId, instance: InstanceId) -> Undone {
        let Some(standing) = self.in_execute(run, instance).map(|run| run.record.settlement) else {
            return Undone::TooLate;
        };
        self.runs.remove(&run);
        // A payment of which its rail was told something is nobody else's.
        if matches!(standing, SettlementWord::Free | SettlementWord::Held) {
            self.payments.retain(|_, bought| *bought != run);
        }
        Undone::Undone
    }

    pub(super) fn finish(&mut self, finish: &Finish) -> Finished {
        let Some(run) = self.in_execute(finish.run, finish.instance) else {
            self.leaf(finish.run, Leaf { kind: LeafKind::Late, digest: finish.leaf.digest });
            return Finished::Late;
        };
        run.record = recorded(run.record.clone(), finish);
        self.leaf(finish.run, finish.leaf);
        Finished::Recorded
    }

    /// None where no money is held, or none goes that way.
    pub(super) fn settle(&mut self, settling: &Settling) -> Option<Settled> {
        let is_paid = |run: &&mut Run| run.record.payment_key.is_some();
        let found = self.runs.get_mut(&settling.run).filter(is_paid);
        let found = found.filter(|_| settling.from.may_become(settling.to))?;
        let record = &mut found.record;
        if record.payment_key != Some(settling.payment) || record.settlement != settling.from {
            return Some(Settled::Stands(record.settlement));
        }
        record.settlement = settling.to;
        record.settlement_reference.clone_from(&settling.reference);
        if settling.to.is_end() && record.stage == Stage::Witness {
            record.stage = Stage::Settled;
        }
        if let Some(said) = &settling.said {
            self.leaf(settling.run, said.leaf);
        }
        Some(Settled::Moved)
    }

    pub(super) fn repay(&mut self, run: RunId, mine: InstanceId, payment: &NewPayment) -> Repaid {
        let due = |run: &&mut Run| {
            run.record.stage == Stage::Witness && run.record.settlement == SettlementWord::Unpaid
        };
        let Some(found) = self.runs.get_mut(&run).filter(due) else { return Repaid::NotDue };
        if let Some(other) = self.payments.get(&payment.key) {
            return Repaid::PaymentSpent(*other);
        }
        found.record.settlement = SettlementWord::Capturing;
        found.record.settlement_reference = None;
        found.record.rail.clone_from(&payment.rail);
        found.record.payment_state = Some(payment.state.clone());
        found.record.payment_key = Some(payment.key);
        found.record.payer = Some(payment.payer.clone());
        found.record.instance = mine;
        self.payments.insert(payment.key, run);
        Repaid::Held
    }

    pub(super) fn resolve(&mut self, resolution: &Resolution) -> bool {
        let unknown = |run: &&mut Run| run.record.stage == Stage::Unknown && run.record.resolution.is_none();
        let Some(run) = self.runs.get_mut(&resolution.run).filter(unknown) else { return false };
        run.record.resolution = Some(resolution.note.clone());
        self.leaf(resolution.run, resolution.leaf);
        true
    }

    pub(super) fn run(&self, run: RunId) -> Option<Record> {
        self.runs.get(&run).map(|run| run.record.clone())
    }

    pub(super) fn by_nonce(&self, nonce: Digest) -> Option<Record> {
        self.runs.values().find(|run| run.nonce == Some(nonce)).map(|run| run.record.clone())
    }

    pub(super) fn by_payment(&self, payment: Digest) -> Option<RunId> {
        self.payments.get(&payment).copied()
    }

    pub(super) fn leaves(&self, run: RunId) -> Vec<Leaf> {
        self.leaves.get(&run).cloned().unwrap_or_default()
    }

    /// As `Store::list` gives them, all of them; the tests claim in the order of their times.
    pub(super) fn list(&self) -> Vec<Record> {
        let mut all: Vec<_> = self.runs.values().map(|run| run.record.clone()).collect();
        all.sort_by_key(|record| core::cmp::Reverse(record.created));
        all.into_iter().map(|record| Record { answer: None, receipt: None, ..record }).collect()
    }

    fn in_execute(&mut self, run: RunId, instance: InstanceId) -> Option<&mut Run> {
        let open = |run: &&mut Run| run.record.stage == Stage::Execute && run.record.instance == instance;
        self.runs.get_mut(&run).filter(open)
    }

    fn leaf(&mut self, run: RunId, leaf: Leaf) {
        self.leaves.entry(run).or_default().push(leaf);
    }
}
