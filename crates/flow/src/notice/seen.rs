//! What is told of a walk. Every text in it is bounded, and none of it is a value that a caller has sent.

use execgate_model::{ActionName, Caller, Digest, Effect, Namespace, Outcome, RunId, Surface, UnixMs};
use execgate_receipt::salted_digest;
use execgate_store::{AuditDecision, AuditLine};
use execgate_tool::NotStarted;
use serde_json::Value;

use crate::approve::BLOCKED;
use crate::witness::Facts;
use crate::{Refusal, Room};

/// Names of arguments that are told of one call.
const KEYS_MAX: usize = 16;

/// The longest part of one name, in bytes of UTF-8.
const KEY_BYTES_MAX: usize = 64;

/// What stands behind the names that are told, where there are more.
const MORE: &str = "…";

/// How much a decision weighs: whether it belongs in the trail (CONTRACTS 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// It was claimed, and so has a row in the record: always.
    Run,
    /// It is an answer to somebody: where it is known to whom, up to a quota.
    Decision,
    /// It is counted, and no more.
    Count,
}

/// One walk, as it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// When it ended.
    pub at: UnixMs,
    /// Who asked.
    pub caller: Caller,
    /// Under which contract.
    pub surface: Surface,
    /// For what, as the caller wrote it: up to 128 letters, digits and `_ . : -`.
    pub action: ActionName,
    /// Whether there is such an action.
    pub is_known: bool,
    /// For real, or simulated.
    pub effect: Effect,
    /// The run, once it is claimed, or the earlier one that the answer is about.
    pub run: Option<RunId>,
    /// Whether the caller gave it a name of its own.
    pub has_nonce: bool,
    /// What was decided.
    pub decision: AuditDecision,
    /// Whether it belongs in the trail.
    pub weight: Weight,
    /// Whether it is a refusal that leaves a leaf, where it is known who asked.
    pub is_witnessed: bool,
    /// The room that decided.
    pub room: Room,
    /// The rule that decided. `shadow:` and a rule: that one would have refused it.
    pub rule: String,
    /// What became of the run, in one word.
    pub outcome: Option<String>,
    /// How the identity service was asked, where it was.
    pub iam: Option<&'static str>,
    /// The names of the arguments: at most 16, each cut to 64 bytes.
    pub argument_keys: Vec<String>,
    /// The salted digest of the arguments that the receipt of the run has.
    pub args_digest: Option<Digest>,
    /// The rules in force.
    pub policy: Digest,
    /// The rooms in the order in which they were left, with microseconds.
    pub laps: Vec<(Room, u64)>,
    /// Microseconds in all.
    pub total_us: u64,
}

impl Seen {
    /// A run whose process died, as recovery finds it.
    pub(crate) fn recovered(facts: &Facts, salt: &[u8; 32], at: UnixMs) -> Self {
        Self {
            at,
            caller: facts.caller.clone(),
            surface: facts.surface,
            action: facts.action.clone(),
            is_known: true,
            effect: facts.effect,
            run: Some(facts.run),
            has_nonce: facts.nonce.is_some(),
            decision: AuditDecision::Allowed,
            weight: Weight::Run,
            is_witnessed: false,
            room: Room::Authorise,
            rule: facts.rule.to_string(),
            outcome: Some(Outcome::Unknown.word()),
            iam: Some(facts.iam.as_str()),
            argument_keys: Vec::new(),
            args_digest: Some(salted_digest(salt, facts.args_digest)),
            policy: facts.policy,
            laps: Vec::new(),
            total_us: at.0.saturating_sub(facts.started.0).saturating_mul(1_000),
        }
    }

    /// The rule that would have refused it, were it not in shadow.
    #[must_use]
    pub fn shadow(&self) -> Option<&str> {
        self.rule.strip_prefix("shadow:")
    }

    /// The line of the trail.
    #[must_use]
    pub fn line(&self) -> AuditLine {
        AuditLine {
            at: self.at,
            tenant: self.caller.tenant.to_string(),
            caller: self.caller.label(),
            surface: self.surface.as_str().to_owned(),
            action: self.action.to_string(),
            effect: self.effect,
            run: self.run,
            has_nonce: self.has_nonce,
            decision: self.decision,
            room: self.room.as_str().to_owned(),
            rule: self.rule.clone(),
            outcome: self.outcome.clone(),
            iam: self.iam.map(str::to_owned),
            argument_keys: self.argument_keys.clone(),
            args_digest: self.args_digest,
            policy: Some(self.policy),
            rooms: self.laps.iter().map(|(room, us)| (room.as_str().to_owned(), *us)).collect(),
            total_us: self.total_us,
            omitted: 0,
        }
    }
}

/// The names of the arguments, without their values.
pub(super) fn argument_keys(payload: &Value) -> Vec<String> {
    let Value::Object(fields) = payload else { return Vec::new() };
    let mut keys: Vec<_> = fields.keys().take(KEYS_MAX).map(|name| cut(name)).collect();
    if fields.len() > KEYS_MAX {
        keys.push(MORE.to_owned());
    }
    keys
}

/// One name in one line, of bounded length.
fn cut(name: &str) -> String {
    let plain = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    if name.len() <= KEY_BYTES_MAX {
        return name.chars().map(plain).collect();
    }
    let end = name.floor_char_boundary(KEY_BYTES_MAX);
    name[..end].chars().map(plain).chain(MORE.chars()).collect()
}

/// How a refusal is told.
pub(super) fn decision(refusal: &Refusal) -> AuditDecision {
    match refusal {
        Refusal::ApprovalMissing { rule, .. } if rule != BLOCKED => AuditDecision::ApprovalRequired,
        Refusal::Parked(_) => AuditDecision::ApprovalRequired,
        Refusal::NoSlot(NotStarted::Full) | Refusal::NotStarted(NotStarted::Full) => AuditDecision::Refused,
        Refusal::NoSlot(_)
        | Refusal::NotStarted(_)
        | Refusal::NotStartedPaid(_)
        | Refusal::Store(_)
        | Refusal::Receipt { .. }
        | Refusal::RailUnavailable { .. } => AuditDecision::Failed,
        Refusal::UnknownAction { .. }
        | Refusal::BadCall(_)
        | Refusal::Undigestible(_)
        | Refusal::BadId(_)
        | Refusal::PaymentRequired { .. }
        | Refusal::PaymentRefused { .. }
        | Refusal::PayerLimited { .. }
        | Refusal::PaymentUnreadable { .. }
        | Refusal::WatchedUnpaid
        | Refusal::PaymentReused
        | Refusal::Denied { .. }
        | Refusal::LimitReached { .. }
        | Refusal::IamUnreachable
        | Refusal::ApprovalMissing { .. }
        | Refusal::ArtifactUnreadable { .. }
        | Refusal::ClawShield(_)
        | Refusal::ApprovalInvalid(_)
        | Refusal::OwnApproval { .. }
        | Refusal::ApprovalReused
        | Refusal::NonceReused { .. }
        | Refusal::AnswerExpired { .. }
        | Refusal::Unpaid { .. }
        | Refusal::SettlementPending { .. }
        | Refusal::StillRunning { .. }
        | Refusal::Busy { .. } => AuditDecision::Refused,
    }
}

/// What a refusal weighs. Answers about the form, the price and the load say nothing of what a caller may do.
pub(super) fn weight(refusal: &Refusal, effect: Effect, namespace: Namespace) -> Weight {
    match refusal {
        Refusal::NotStarted(_) | Refusal::NotStartedPaid(_) | Refusal::Receipt { .. } => Weight::Run,
        Refusal::Denied { .. }
        | Refusal::LimitReached { .. }
        | Refusal::IamUnreachable
        | Refusal::ApprovalMissing { .. }
        | Refusal::ClawShield(_)
        | Refusal::ApprovalInvalid(_)
        | Refusal::OwnApproval { .. }
        | Refusal::Parked(_)
        | Refusal::ApprovalReused
        | Refusal::NonceReused { .. }
        | Refusal::PaymentReused
        | Refusal::Store(_) => Weight::Decision,
        Refusal::NoSlot(NotStarted::Full) => Weight::Count,
        // Answered all the same, as a stub.
        Refusal::NoSlot(_) if effect == Effect::DryRun && namespace == Namespace::Tools => Weight::Decision,
        Refusal::NoSlot(_)
        | Refusal::UnknownAction { .. }
        | Refusal::BadCall(_)
        | Refusal::Undigestible(_)
        | Refusal::BadId(_)
        | Refusal::ArtifactUnreadable { .. }
        | Refusal::PaymentRequired { .. }
        | Refusal::PaymentRefused { .. }
        | Refusal::PayerLimited { .. }
        | Refusal::PaymentUnreadable { .. }
        | Refusal::WatchedUnpaid
        | Refusal::RailUnavailable { .. }
        | Refusal::AnswerExpired { .. }
        | Refusal::Unpaid { .. }
        | Refusal::SettlementPending { .. }
        | Refusal::StillRunning { .. }
        | Refusal::Busy { .. } => Weight::Count,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::{KEYS_MAX, argument_keys};

    #[test]
    fn names_of_arguments_are_told_and_no_value() {
        assert_eq!(argument_keys(&json!({"a": 1, "b\n": {"inner": 2}})), ["a", "b\u{fffd}"]);
        assert_eq!(argument_keys(&json!([{"a": 1}])), Vec::<String>::new());
        let long = argument_keys(&json!({"ü".repeat(100): 1}));
        assert_eq!(long, [format!("{}…", "ü".repeat(32))]);
    }

    #[test]
    fn however_many_names_there_are_few_are_told() {
        let fields: Map<String, Value> = (0..40).map(|name| (format!("k{name}"), Value::Null)).collect();
        let keys = argument_keys(&Value::Object(fields));
        assert_eq!((keys.len(), keys.last().map(String::as_str)), (KEYS_MAX + 1, Some("…")));
    }
}
