//! A line of the trail as JSON: the same on the command line and on the administration door.

use execgate_model::{Effect, UnixMs};
use execgate_receipt::Timestamp;
use execgate_store::{AuditDecision, AuditEntry};
use serde_json::{Map, Value, json};

/// A line as JSON. `place` is where it stands, to ask for what is behind it.
#[must_use]
pub fn told(entry: &AuditEntry) -> Value {
    let line = &entry.line;
    let at = time(line.at);
    if line.decision == AuditDecision::Omitted {
        return json!({
            "at": at,
            "place": entry.place.to_string(),
            "decision": line.decision.as_str(),
            "tenant": or_none(&line.tenant),
            "caller": or_none(&line.caller),
            "rule": line.rule,
            "omitted": line.omitted,
        });
    }
    let rooms: Map<_, _> = line.rooms.iter().map(|(room, us)| (room.clone(), json!(us))).collect();
    json!({
        "at": at,
        "place": entry.place.to_string(),
        "decision": line.decision.as_str(),
        "room": line.room,
        "rule": line.rule,
        "tenant": line.tenant,
        "caller": line.caller,
        "surface": line.surface,
        "action": line.action,
        "dry_run": line.effect == Effect::DryRun,
        "run": line.run,
        "nonce": line.has_nonce,
        "outcome": line.outcome,
        "iam": line.iam,
        "argument_keys": line.argument_keys,
        "args_digest": line.args_digest,
        "policy": line.policy,
        "rooms_us": rooms,
        "total_us": line.total_us,
    })
}

fn time(at: UnixMs) -> Option<String> {
    Timestamp::new(at).ok().map(|at| at.to_string())
}

fn or_none(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}
