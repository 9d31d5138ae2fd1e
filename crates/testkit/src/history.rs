//! What a history must look like from outside, whatever happened in it.
//!
//! It reads three things: the journal (what happened outside), the record (what the gateway believes), and the
//! answers that callers heard. It is to be asked when nothing runs any more and recovery has been through.

use std::collections::{BTreeMap, BTreeSet};

use execgate_flow::Passage;
use execgate_model::{RunId, Stage};
use execgate_receipt::{ReceiptFile, verify};
use execgate_store::{Answer, Record, SettlementWord};

use crate::{Event, World};

/// The answers that callers heard.
#[derive(Debug, Default)]
pub struct History {
    answers: Vec<(String, RunId, Answer)>,
}

impl History {
    /// Notes an answer to a request by the name under which it counts once (its nonce, or its payment).
    pub fn heard(&mut self, name: &str, passage: &Passage) {
        self.answers.push((name.to_owned(), passage.run, passage.answer.clone()));
    }

    /// How many answers were heard.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.answers.len()
    }

    /// Whether none was heard.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    /// Every promise that this history breaks; none if all is well.
    ///
    /// # Panics
    /// If the record cannot be read.
    pub async fn faults(&self, world: &World) -> Vec<String> {
        let records = world.runs().await;
        let events = world.journal().events();
        let mut faults = starts(&events);
        faults.extend(money(&events, &records, &loose(world, &records).await));
        for record in &records {
            faults.extend(end(record, world));
        }
        faults.extend(self.answers(&records));
        let (findings, _) = world.fsck().await;
        faults.extend(findings.iter().map(|finding| format!("fsck: {finding}")));
        faults
    }

    /// The same name, the same answer; it is the one in the record; and paid work is answered once it is paid.
    fn answers(&self, records: &[Record]) -> Vec<String> {
        let mut faults = Vec::new();
        let mut first: BTreeMap<&str, &Answer> = BTreeMap::new();
        for (name, run, answer) in &self.answers {
            if *first.entry(name).or_insert(answer) != answer {
                faults.push(format!("{name} was answered in two ways"));
            }
            let Some(record) = records.iter().find(|record| record.run == *run) else {
                faults.push(format!("{name} was answered and is not recorded"));
                continue;
            };
            if record.answer.as_ref() != Some(answer) {
                faults.push(format!("{name} was answered with what is not recorded"));
            }
            let is_due = !record.price.is_zero() && is_paid_work(record);
            if is_due && record.settlement != SettlementWord::Captured {
                faults.push(format!("{name} was answered and is {}", record.settlement.as_str()));
            }
        }
        faults
    }
}

/// At most once for each run, and for each request.
fn starts(events: &[Event]) -> Vec<String> {
    let (mut runs, mut marks) = (BTreeSet::new(), BTreeSet::new());
    let mut faults = Vec::new();
    for event in events {
        if let Event::Started { run, mark } = event {
            if !runs.insert(run) {
                faults.push(format!("run {run} started twice"));
            }
            if mark != "-" && !marks.insert(mark) {
                faults.push(format!("{mark} started twice"));
            }
        }
    }
    faults
}

/// The claims that no run stands by: those whose run was taken back when they were asked for, or were taken, and those that
/// moved late.
async fn loose(world: &World, records: &[Record]) -> BTreeSet<Vec<u8>> {
    let store = world.store();
    let open = store.open_payments(None).await.expect("the record can be read");
    let open = open.into_iter().filter(|open| open.stage.is_none()).map(|open| open.state);
    let earned = store.earned(0).await.expect("the record can be read");
    let earned = earned.into_iter().filter_map(|earned| {
        let claim = earned.reference?.strip_prefix("transfer-of-")?.as_bytes().to_vec();
        earned.is_credit.then_some(claim)
    });
    let stands = |claim: &Vec<u8>| records.iter().any(|record| record.payment_state.as_ref() == Some(claim));
    open.chain(earned).filter(|claim| !stands(claim)).collect()
}

/// The bank's books against the gateway's, once nothing is pending and nothing that failed moves any more: every claim that
/// was taken is in them once, at what was taken, and no other is.
///
/// # Panics
/// If the record cannot be read.
pub async fn books(world: &World) -> Vec<String> {
    let mut faults = Vec::new();
    let mut taken: BTreeMap<String, u64> = BTreeMap::new();
    for event in world.journal().events() {
        if let Event::Captured { claim, micros } = event {
            *taken.entry(claim).or_default() += micros;
        }
    }
    let sum: u64 = taken.values().sum();
    let store = world.store();
    let open = store.open_payments(None).await.expect("the record can be read");
    if !open.is_empty() {
        faults.push(format!("{} payments are pending for ever", open.len()));
    }
    for earned in store.earned(0).await.expect("the record can be read") {
        let claim = earned.reference.as_deref().and_then(|name| name.strip_prefix("transfer-of-"));
        let micros = claim.and_then(|claim| taken.remove(claim));
        if micros != Some(earned.amount.micros()) {
            faults
                .push(format!("{:?} is in our books, and {micros:?} in those of the bank", earned.reference));
        }
    }
    faults.extend(taken.keys().map(|claim| format!("{claim} was taken, and is not in our books")));
    let sums = store.sums().await.expect("the record can be read");
    if sums.captured_micros != sum {
        faults.push(format!("our books sum up to {}, and those of the bank to {sum}", sums.captured_micros));
    }
    faults
}

/// Captured at most once, never captured and let go of, and holds = captures + releases + open.
fn money(events: &[Event], records: &[Record], loose: &BTreeSet<Vec<u8>>) -> Vec<String> {
    let (mut taken, mut free) = (BTreeMap::new(), BTreeSet::new());
    let mut faults = Vec::new();
    for event in events {
        match event {
            Event::Captured { claim, micros } => {
                if taken.insert(claim.as_bytes(), *micros).is_some() {
                    faults.push(format!("{claim} was captured twice"));
                }
            }
            Event::Released { claim } => drop(free.insert(claim.as_bytes())),
            Event::Reserved { .. }
            | Event::Started { .. }
            | Event::Cancelled { .. }
            | Event::Verified { .. } => {}
        }
    }
    for claim in taken.keys().filter(|claim| free.contains(*claim)) {
        faults.push(format!("{} was captured and let go of", String::from_utf8_lossy(claim)));
    }
    taken.retain(|claim, _| !loose.contains(*claim));
    let paid: Vec<_> = records.iter().filter_map(|r| Some((r, r.payment_state.as_deref()?))).collect();
    for (record, claim) in &paid {
        let is_taken = taken.get(claim).is_some_and(|micros| *micros == record.price.micros());
        let fits = match record.settlement {
            // What was taken before work that is not charged is a credit.
            SettlementWord::Captured => is_taken && (is_paid_work(record) || claim.ends_with(b"^")),
            SettlementWord::Released => free.contains(claim) && !is_paid_work(record),
            SettlementWord::Unpaid => !taken.contains_key(claim) && is_paid_work(record),
            SettlementWord::Pending => is_paid_work(record),
            SettlementWord::Held
            | SettlementWord::Capturing
            | SettlementWord::Free
            | SettlementWord::Reversed => false,
        };
        if !fits {
            let word = (record.settlement.as_str(), record.outcome.as_deref());
            faults.push(format!("the money of {} does not stand as {word:?}", record.run));
        }
    }
    let open = paid.iter().filter(|(_, claim)| !taken.contains_key(claim) && !free.contains(claim)).count();
    if paid.len() != taken.len() + free.len() + open {
        let moved = (taken.len(), free.len(), open);
        faults.push(format!("{} holds are not (captures, releases, open) {moved:?}", paid.len()));
    }
    faults
}

/// Whether a run has an outcome that is charged (CONTRACTS 3, `/execute`).
fn is_paid_work(record: &Record) -> bool {
    record.outcome.as_deref().is_some_and(|outcome| outcome != "unknown")
}

/// A recorded run is at an end, and its receipt verifies.
fn end(record: &Record, world: &World) -> Vec<String> {
    let mut faults = Vec::new();
    let waits = matches!(record.settlement, SettlementWord::Unpaid | SettlementWord::Pending);
    let fits = match record.stage {
        Stage::Parked | Stage::Execute => false,
        Stage::Witness => waits,
        Stage::Settled => !waits && is_paid_work(record),
        Stage::Unknown => record.outcome.as_deref() == Some("unknown"),
    };
    if !fits {
        faults.push(format!("run {} was left in {}", record.run, record.stage.as_str()));
    }
    let file = record.receipt.as_deref().and_then(|bytes| ReceiptFile::from_json(bytes).ok());
    let verified = file.as_ref().and_then(|file| verify(file, &[world.key()]).ok());
    let said = verified.as_ref().map(|verified| &verified.statement().predicate);
    if !said.is_some_and(|said| said.exec_id == record.run && Some(&said.outcome) == record.outcome.as_ref())
    {
        faults.push(format!("run {} has no good receipt", record.run));
    }
    let charged = said.is_some_and(|said| said.charged.is_some());
    if charged != (is_paid_work(record) && !record.price.is_zero()) {
        faults.push(format!("the receipt of {} says charged: {charged}", record.run));
    }
    faults
}
