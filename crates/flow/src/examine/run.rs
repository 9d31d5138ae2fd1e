//! One run: row, intent, receipt, answer, money and resolution held against each other.

use execgate_model::{Amount, RunId, Stage, Surface};
use execgate_receipt::{
    Kind, Predicate, ReceiptFile, Timestamp, VerifyingKey, digest_json, parse_strict, salted_digest, sha256,
    verify,
};
use execgate_store::{ExaminedRun, Record, SettlementWord};

use super::{Finding, Rule};
use crate::parking::never_started;
use crate::propose::NonceKey;
use crate::settle::due;
use crate::witness::Facts;

/// What a run that was looked at must have in the log, and what there is of it.
#[derive(Debug, Default)]
pub(super) struct Judged {
    pub(super) findings: Vec<Finding>,
    pub(super) has_receipt: bool,
}

/// Holds one run against itself.
pub(super) fn judge(run: &ExaminedRun, keys: &[VerifyingKey]) -> Judged {
    let mut judge = Judge { run: run.run, keys, upfront: run.upfront, judged: Judged::default() };
    match &run.record {
        Err(column) => judge.found(Rule::Unreadable, format!("`{column}` cannot be read")),
        Ok(record) => judge.record(run, record),
    }
    judge.judged
}

struct Judge<'k> {
    run: RunId,
    keys: &'k [VerifyingKey],
    upfront: bool,
    judged: Judged,
}

impl Judge<'_> {
    fn found(&mut self, rule: Rule, what: impl Into<String>) {
        self.judged.findings.push(Finding::of(rule, self.run, what));
    }

    fn ask(&mut self, holds: bool, rule: Rule, what: &str) {
        if !holds {
            self.found(rule, what);
        }
    }

    fn record(&mut self, run: &ExaminedRun, record: &Record) {
        self.stage(record);
        self.money(run, record);
        let Ok(facts) = Facts::from_bytes(&record.intent) else {
            return self.found(Rule::Unreadable, "the intent cannot be read");
        };
        self.claim(run, record, &facts);
        self.name(run, record, &facts);
        self.receipt(record, &facts);
        self.answer(record, &facts);
        self.resolution(run, record);
    }

    fn stage(&mut self, record: &Record) {
        let has_end = record.outcome.is_some() && record.content.is_some() && record.finished.is_some();
        let has_nothing = record.outcome.is_none() && record.receipt.is_none() && record.answer.is_none();
        match record.stage {
            Stage::Parked | Stage::Execute => {
                self.ask(has_nothing, Rule::Stage, "it has no end, and yet an outcome");
            }
            Stage::Witness | Stage::Settled | Stage::Unknown => {
                self.ask(has_end, Rule::Stage, "it has ended, and has no outcome");
                let is_unknown = record.outcome.as_deref() == Some("unknown");
                let fits = is_unknown == (record.stage == Stage::Unknown);
                self.ask(fits, Rule::Stage, "its stage and its outcome tell two ends");
            }
        }
    }

    fn claim(&mut self, run: &ExaminedRun, record: &Record, facts: &Facts) {
        let pairs = [
            (facts.run == record.run, "run"),
            (facts.action == record.action, "action"),
            (facts.effect == record.effect, "effect"),
            (facts.caller.label() == record.caller, "caller"),
            (facts.price == record.price, "price"),
            // A start after people were asked has a time of its own.
            (facts.started == record.created || run.has_waited, "created"),
        ];
        for (_, column) in pairs.into_iter().filter(|(holds, _)| !holds) {
            self.found(Rule::Claim, format!("`{column}` is not what it was claimed with"));
        }
    }

    /// A nonce names its run and is kept as a digest; where there is none, a payment may stand for it (CONTRACTS 2).
    fn name(&mut self, run: &ExaminedRun, record: &Record, facts: &Facts) {
        let named = facts.nonce.as_ref().zip(facts.caller.scope());
        let named = named.map(|(nonce, scope)| {
            (NonceKey::new(&scope, nonce), NonceKey::run(&scope, nonce, record.fingerprint))
        });
        let paid = || {
            let key = facts.payment.as_ref()?.parse().ok()?;
            Some((NonceKey::of_payment(key), NonceKey::payment_run(key, record.fingerprint)))
        };
        let named = named.or_else(paid);
        let key = named.map(|(key, _)| key.digest());
        self.ask(key == run.nonce_key, Rule::Name, "the nonce that is kept is not that of its claim");
        let names = named.is_none_or(|(_, name)| name == record.run);
        self.ask(names, Rule::Name, "its id is not that of its nonce and fingerprint");
    }

    fn receipt(&mut self, record: &Record, facts: &Facts) {
        let (Some(outcome), Some(content)) = (&record.outcome, record.content) else { return };
        let Some(bytes) = &record.receipt else {
            return self.found(Rule::ReceiptMissing, "it has ended, and has no receipt");
        };
        let Some((file, said)) = self.verified(bytes) else { return };
        let args = salted_digest(&file.salt, facts.args_digest);
        let pairs = [
            (file.exec_id == record.run, "run"),
            (file.receipt == content, "content receipt"),
            (file.salt == record.salt, "salt"),
            (file.nonce.as_deref() == facts.nonce.as_ref().map(|nonce| nonce.as_str()), "nonce"),
            (said.kind == Kind::Final, "kind"),
            (said.outcome == *outcome, "outcome"),
            (said.action == record.action, "action"),
            (said.effect == record.effect, "effect"),
            (said.args_digest == args, "arguments"),
            (said.instance == facts.instance, "instance"),
            (said.policy.digest == facts.policy && said.policy.rule == facts.rule, "rule"),
            (Timestamp::new(facts.started).ok() == Some(said.started_at), "start"),
            (is_charge(&said, record, facts, self.upfront), "charge"),
        ];
        let wrong: Vec<_> = pairs.into_iter().filter(|(holds, _)| !holds).collect();
        for (_, part) in &wrong {
            self.found(Rule::ReceiptDiffers, format!("the receipt tells another {part}"));
        }
        self.judged.has_receipt = wrong.is_empty();
    }

    fn verified(&mut self, bytes: &[u8]) -> Option<(ReceiptFile, Predicate)> {
        let file = match ReceiptFile::from_json(bytes) {
            Ok(file) => file,
            Err(error) => {
                self.found(Rule::ReceiptInvalid, error.to_string());
                return None;
            }
        };
        match verify(&file, self.keys) {
            Ok(verified) => Some((file, verified.statement().predicate.clone())),
            Err(error) => {
                self.found(Rule::ReceiptInvalid, error.to_string());
                None
            }
        }
    }

    /// The answers of `/execute` have everything in them that the content receipt is made of.
    fn answer(&mut self, record: &Record, facts: &Facts) {
        let (Some(answer), Some(outcome)) = (&record.answer, &record.outcome) else { return };
        if facts.surface != Surface::Execute || outcome == "unknown" || never_started(outcome) {
            return;
        }
        let body = parse_strict(&answer.body).ok();
        let result = body.as_ref().and_then(|body| digest_json(body.get("result")?).ok());
        let made = result.map(|result| facts.content(outcome, Some(result)));
        self.ask(made == record.content, Rule::Answer, "the answer that is kept does not make its receipt");
    }

    fn resolution(&mut self, run: &ExaminedRun, record: &Record) {
        let Some(note) = &record.resolution else { return };
        let fits = record.stage == Stage::Unknown;
        self.ask(fits, Rule::Resolution, "its end is known, and somebody has said what became of it");
        let Some((file, said)) = run.resolution.as_deref().and_then(|bytes| self.verified(bytes)) else {
            return;
        };
        let context = salted_digest(&file.salt, sha256(note.as_bytes()));
        let fits =
            file.exec_id == record.run && said.kind == Kind::Resolve && said.context_digest == Some(context);
        self.ask(fits, Rule::Resolution, "the note is not the one that was signed");
    }

    fn money(&mut self, run: &ExaminedRun, record: &Record) {
        let word = record.settlement;
        let is_free = word == SettlementWord::Free;
        self.ask(run.payment.is_none() == is_free, Rule::Money, "a payment and `free` exclude each other");
        let is_there = run.payment.is_some() == record.payment_state.is_some();
        self.ask(is_there, Rule::Money, "its payment is gone");
        let fits = match record.stage {
            Stage::Parked => is_free,
            Stage::Execute => match word {
                SettlementWord::Free | SettlementWord::Held => true,
                SettlementWord::Capturing
                | SettlementWord::Captured
                | SettlementWord::Released
                | SettlementWord::Reversed => run.upfront,
                SettlementWord::Unpaid | SettlementWord::Pending => false,
            },
            Stage::Witness => !word.is_end(),
            Stage::Settled => word.is_end(),
            // What is unknown is never charged (CONTRACTS 3): what was taken before it is a credit.
            Stage::Unknown => match word {
                SettlementWord::Free | SettlementWord::Held | SettlementWord::Released => true,
                SettlementWord::Captured | SettlementWord::Reversed => run.upfront,
                SettlementWord::Capturing | SettlementWord::Unpaid | SettlementWord::Pending => false,
            },
        };
        if !fits {
            let (word, stage) = (word.as_str(), record.stage.as_str());
            self.found(Rule::Money, format!("its money is `{word}`, and it stands in `{stage}`"));
        }
    }
}

/// Whether what the statement says of a charge is what its outcome costs, and where the money is.
fn is_charge(said: &Predicate, record: &Record, facts: &Facts, upfront: bool) -> bool {
    let due = record.finished.map_or(Amount::ZERO, |ended| due(record.outcome.as_deref(), facts, ended));
    let is_due = !due.is_zero();
    let amount = said.charged.as_ref().map(|charged| charged.amount);
    let fits = match record.settlement {
        // What was taken before work that is not charged is its payer's credit.
        SettlementWord::Captured | SettlementWord::Reversed => is_due || upfront,
        SettlementWord::Capturing | SettlementWord::Unpaid | SettlementWord::Pending => is_due,
        SettlementWord::Released => !is_due,
        SettlementWord::Free | SettlementWord::Held => true,
    };
    // What usage came to is what is taken, of the payment that it was said of.
    let is_metered = facts.meter.is_some() && record.payment_most == Some(facts.price);
    let is_taken = !is_metered || record.payment_amount == Some(due);
    fits && is_taken && amount == is_due.then_some(due)
}
