//! The walk through a whole record. [`Examination::run`] is the list of what is checked; a new part is a line there.

use std::sync::Arc;

use execgate_model::{KeyPurpose, Stage};
use execgate_receipt::VerifyingKey;
use execgate_store::{
    ExaminedLeaf, ExaminedPayment, ExaminedRun, Examiner, Extent, LeafKind, SettlementWord, Store, StoreError,
};
use tokio::sync::mpsc::Sender;
use tokio::task::{JoinError, spawn_blocking};

use super::leaves::Leaves;
use super::marks::Marks;
use super::money::{Moved, Says, is_reversed, must_be_said, payment_fault, was_taken};
use super::run::{Judged, judge};
use super::waiting::{judge_parked, judge_vote};
use super::{Finding, Report, Rule, Step, Told};
use crate::log::{Audited, audit};

/// Why a record could not be checked to its end. What was told until then stands.
#[derive(Debug, thiserror::Error)]
pub enum ExamineError {
    /// The record failed.
    #[error("the record cannot be read")]
    Store(#[from] StoreError),
    /// Our own fault.
    #[error("the check broke off")]
    Fault(#[from] JoinError),
    /// Nobody listens any more.
    #[error("nobody wants to know any more")]
    Unheard,
}

/// A record under examination.
pub struct Examination {
    record: Arc<dyn Examiner>,
    keys: Arc<[VerifyingKey]>,
    told: Sender<Told>,
    extent: Extent,
    leaves: Leaves,
    /// Payments of which the log says that they were taken, and that they were taken back for good.
    money: Marks,
    reversed: Marks,
    report: Report,
}

impl Examination {
    /// Checks a record: its receipts under these keys. What is found is told as it is found.
    ///
    /// # Errors
    /// [`ExamineError`] where it did not come to the end.
    pub async fn run(
        store: &dyn Store,
        keys: Arc<[VerifyingKey]>,
        told: Sender<Told>,
    ) -> Result<Report, ExamineError> {
        let record = store.examiner();
        let extent = record.extent().await?;
        let (leaves, money, report) = (Leaves::default(), Marks::default(), Report::default());
        let reversed = Marks::default();
        let mut walk = Self { record, keys, told, extent, leaves, money, reversed, report };
        walk.file().await?;
        // Runs before leaves: a leaf is written with what it stands for, so that every end that is seen has its leaf then.
        walk.runs().await?;
        walk.leaves(store).await?;
        walk.changes(store).await?;
        walk.parked().await?;
        walk.payments().await?;
        walk.limits().await?;
        walk.log(store).await?;
        Ok(walk.report)
    }

    async fn tell(&self, told: Told) -> Result<(), ExamineError> {
        self.told.send(told).await.map_err(|_| ExamineError::Unheard)
    }

    async fn at(&self, step: Step, done: u64, of: u64) -> Result<(), ExamineError> {
        self.tell(Told::At { step, done, of }).await
    }

    async fn found(&mut self, finding: Finding) -> Result<(), ExamineError> {
        self.report.findings += 1;
        self.tell(Told::Found(finding)).await
    }

    async fn file(&mut self) -> Result<(), ExamineError> {
        self.at(Step::File, 0, 1).await?;
        for what in self.record.file().await? {
            self.found(Finding::plain(Rule::File, what)).await?;
        }
        self.at(Step::File, 1, 1).await
    }

    async fn runs(&mut self) -> Result<(), ExamineError> {
        let of = self.extent.runs;
        let mut after = 0;
        self.at(Step::Runs, after, of).await?;
        loop {
            let page = self.record.runs(after).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.place;
            for (run, judged) in self.judged(page).await? {
                self.count(&run, &judged);
                self.leaves.expect(&run);
                for finding in judged.findings {
                    self.found(finding).await?;
                }
            }
            self.at(Step::Runs, after, of.max(after)).await?;
        }
    }

    /// Signatures are verified where they hold up nobody.
    async fn judged(&self, page: Vec<ExaminedRun>) -> Result<Vec<(ExaminedRun, Judged)>, JoinError> {
        let keys = Arc::clone(&self.keys);
        let judged = move |run: ExaminedRun| {
            let judged = judge(&run, &keys);
            (run, judged)
        };
        spawn_blocking(|| page.into_iter().map(judged).collect()).await
    }

    fn count(&mut self, run: &ExaminedRun, judged: &Judged) {
        let counts = &mut self.report.counts;
        counts.runs += 1;
        counts.receipts += u64::from(judged.has_receipt);
        let Ok(record) = &run.record else { return };
        counts.answers += u64::from(record.answer.is_some());
        match record.stage {
            Stage::Parked | Stage::Execute => counts.open += 1,
            Stage::Unknown => counts.unknown += 1,
            Stage::Witness | Stage::Settled => {}
        }
        match record.settlement {
            SettlementWord::Free => {}
            SettlementWord::Captured => counts.captured += 1,
            SettlementWord::Released => counts.released += 1,
            SettlementWord::Reversed => counts.reversed += 1,
            SettlementWord::Held
            | SettlementWord::Capturing
            | SettlementWord::Unpaid
            | SettlementWord::Pending => counts.held += 1,
        }
    }

    async fn leaves(&mut self, store: &dyn Store) -> Result<(), ExamineError> {
        self.at(Step::Leaves, 0, self.extent.leaves).await?;
        // What is retired from now on counts for all that is there by now.
        let keys = store.own_keys().await?.into_iter().filter(|key| key.purpose == KeyPurpose::Receipt);
        self.leaves.retired = keys
            .filter_map(|key| {
                let id = VerifyingKey::from_bytes(&key.public).ok()?.key_id();
                Some((id, key.retired?.size))
            })
            .collect();
        self.more_leaves().await?;
        let lacking = self.leaves.lacking();
        if !lacking.is_empty() {
            // Claims that were taken back since, and ends that came since: both are looked at once more.
            let mut standing = Vec::new();
            for place in lacking {
                standing.extend(self.record.run(place).await?.map(|run| (place, run.run)));
            }
            self.more_leaves().await?;
            for (place, run) in standing {
                for finding in self.leaves.lacks(place, run) {
                    self.found(finding).await?;
                }
            }
        }
        self.report.counts.leaves = self.leaves.count;
        self.report.counts.undone = self.leaves.undone;
        Ok(())
    }

    /// Judges leaves up to the newest.
    async fn more_leaves(&mut self) -> Result<(), ExamineError> {
        loop {
            let page = self.record.leaves(self.leaves.last).await?;
            if page.is_empty() {
                return Ok(());
            }
            for leaf in page {
                let found = self.leaves.judge(&leaf);
                // What is missing before it says nothing of it.
                let is_sound = found.as_ref().is_none_or(|finding| finding.rule == Rule::LeafGap);
                if let Some(finding) = found {
                    self.found(finding).await?;
                }
                if is_sound
                    && leaf.kind == Ok(LeafKind::Settlement)
                    && let Some(finding) = self.settlement(&leaf).await?
                {
                    self.found(finding).await?;
                }
            }
            self.at(Step::Leaves, self.leaves.last, self.extent.leaves.max(self.leaves.last)).await?;
        }
    }

    /// What the log says of money, held against the payment that it names.
    async fn settlement(&mut self, leaf: &ExaminedLeaf) -> Result<Option<Finding>, ExamineError> {
        let wrong = |what: &str| Some(Finding::at(Rule::Money, leaf.seq, leaf.run, what));
        let Some(moved) = leaf.behind.as_deref().and_then(Moved::read) else {
            return Ok(wrong("what it says of money cannot be read"));
        };
        let Some(payment) = self.record.payment(moved.payment).await? else {
            return Ok(wrong("it speaks of a payment that is not there"));
        };
        if let Some(what) = moved.fault(leaf, &payment) {
            return Ok(wrong(what));
        }
        let is_first = match moved.says() {
            Says::Taken => self.money.set(payment.place),
            Says::Reversed => self.reversed.set(payment.place),
            Says::Gone | Says::MovedAgain => true,
        };
        Ok(if is_first { None } else { wrong("it says again what was said of a payment already") })
    }

    async fn changes(&mut self, store: &dyn Store) -> Result<(), ExamineError> {
        self.at(Step::Changes, 0, 1).await?;
        for leaf in self.record.bare_changes().await? {
            let what = "a change stands in the record, and no leaf stands for it";
            self.found(Finding::at(Rule::Change, leaf, None, what)).await?;
        }
        let mut wrong = self.leaves.own_keys.judge(&store.own_keys().await?);
        if !wrong.is_empty() {
            // One that has come or gone since the leaves were read.
            self.more_leaves().await?;
            wrong = self.leaves.own_keys.judge(&store.own_keys().await?);
        }
        for what in wrong {
            self.found(Finding::plain(Rule::Change, what)).await?;
        }
        self.at(Step::Changes, 1, 1).await
    }

    /// What waits for people, and what they have said.
    async fn parked(&mut self) -> Result<(), ExamineError> {
        self.at(Step::Parked, 0, 1).await?;
        for run in self.record.unprepared().await? {
            self.found(Finding::of(Rule::Parked, run, "it waits, and nothing is kept to start it with"))
                .await?;
        }
        let mut after = 0;
        loop {
            let page = self.record.parked(after).await?;
            let Some(last) = page.last() else { break };
            after = last.place;
            for finding in page.iter().flat_map(judge_parked) {
                self.found(finding).await?;
            }
        }
        for leaf in self.record.bare_votes().await? {
            let what = "a vote stands in the log, and is not kept";
            self.found(Finding::at(Rule::Vote, leaf, None, what)).await?;
        }
        let mut after = 0;
        loop {
            let page = self.record.votes(after).await?;
            let Some(last) = page.last() else { break };
            after = last.leaf;
            for finding in page.iter().filter_map(judge_vote) {
                self.found(finding).await?;
            }
        }
        self.at(Step::Parked, 1, 1).await
    }

    /// Holds = captures + releases + open + replaced: every payment is that of a run, and every run's is there; what was
    /// taken, the log says.
    async fn payments(&mut self) -> Result<(), ExamineError> {
        let of = self.extent.payments;
        let mut after = 0;
        loop {
            let page = self.record.payments(after).await?;
            let Some(last) = page.last() else { break };
            after = last.place;
            for payment in page {
                self.report.counts.payments += 1;
                let is_current = payment.newest == Some(payment.place);
                self.report.counts.replaced += u64::from(!is_current);
                if let Some(what) = payment_fault(&payment, is_current) {
                    self.found(Finding::of(Rule::Money, payment.run, what)).await?;
                }
                if must_be_said(&payment) && !self.is_said(&payment) {
                    // One that was taken, or taken back, since the leaves were read.
                    self.more_leaves().await?;
                    if !self.is_said(&payment) {
                        let what = "a payment was taken or taken back, and the log does not say so";
                        self.found(Finding::of(Rule::Money, payment.run, what)).await?;
                    }
                }
            }
            self.at(Step::Payments, after, of.max(after)).await?;
        }
        Ok(())
    }

    /// Whether the log has said of a payment what it must.
    fn is_said(&self, payment: &ExaminedPayment) -> bool {
        (!was_taken(payment) || self.money.has(payment.place))
            && (!is_reversed(payment) || self.reversed.has(payment.place))
    }

    async fn limits(&mut self) -> Result<(), ExamineError> {
        self.at(Step::Limits, 0, 1).await?;
        for drift in self.record.limits().await? {
            let (key, used, reserved) = (drift.key, drift.used, drift.reserved);
            let what = format!("the counter {key} says {used}, and its runs have reserved {reserved}");
            self.found(Finding::plain(Rule::Limit, what)).await?;
        }
        self.at(Step::Limits, 1, 1).await
    }

    /// Stored hashes and the newest root, computed anew from the leaves.
    async fn log(&mut self, store: &dyn Store) -> Result<(), ExamineError> {
        self.at(Step::Log, 0, 1).await?;
        match audit(store).await? {
            Audited::Sound { .. } => {}
            Audited::Changed { index } => {
                let what = "what is kept of it in the tree is not its hash";
                self.found(Finding::at(Rule::Log, index + 1, None, what)).await?;
            }
            Audited::Faulty(fault) => self.found(Finding::plain(Rule::Log, fault.to_string())).await?,
        }
        self.at(Step::Log, 1, 1).await
    }
}
