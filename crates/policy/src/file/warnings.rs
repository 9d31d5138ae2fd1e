//! What a policy may say and its author hardly means. Each is allowed, and told by `execgate policy check`.

use serde::Serialize;

use super::entry::{Entry, Mode};
use super::limits::LimitScope;
use super::policy::Policy;
use crate::condition::{Condition, Subject, Test};

/// Something in a file that is worth a second look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// The rule.
    pub rule: String,
    /// What is surprising about it.
    pub what: &'static str,
}

const LABEL_EVADED: &str = "a caller without a key has no labels, and so is not refused by this: ask by `require`, or set \
    `identity.require_grant`";
const LABEL_UNASKED: &str = "a caller without a key has no labels, and so needs no approval by this: set \
    `identity.require_grant`";
const ABSENT_PASSES: &str =
    "what is not there fires no `deny_if`, this one neither: ask by `require` that it is, or is in";
const LOOSE_PATTERN: &str =
    "this pattern is found anywhere in the text: bind it by `^`, or more passes than is meant";
const PROBE_REFUSED: &str =
    "an empty call, by which clients find out the price, is refused by this with 403 and not told it";
const SESSION_SCOPE: &str =
    "anybody can begin a new session with each call: this keeps the honest apart, and nobody out";
const NO_APPROVAL: &str =
    "only the approvers of the configuration can approve; where it has none, what needs one is refused";
const ALL_SHADOW: &str = "nothing that this file refuses is refused";
const ALL_OPEN: &str = "tools that are not listed may be called, and there is no rule for all of them";

impl Policy {
    /// What is worth a second look, in the order of the file.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        let mut found = Vec::new();
        let mut warn = |rule: &str, what| found.push(Warning { rule: rule.to_owned(), what });
        if self.mode == Mode::Shadow {
            warn("/mode", ALL_SHADOW);
        } else if self.is_open() && self.all_tools.is_none() {
            warn("/default", ALL_OPEN);
        }
        let priced = self.entries.iter().any(|entry| entry.price.is_some());
        for entry in self.all_tools.iter().chain(&self.entries) {
            let shared = !self.entries.iter().any(|other| other.name == entry.name);
            look(entry, entry.price.is_some() || priced && shared, &mut warn);
        }
        found
    }
}

fn look(entry: &Entry, priced: bool, warn: &mut impl FnMut(&str, &'static str)) {
    for condition in &entry.require {
        if is_loose(condition) {
            warn(&condition.rule, LOOSE_PATTERN);
        }
        if priced && matches!(condition.subject, Subject::Argument(_)) {
            warn(&condition.rule, PROBE_REFUSED);
        }
    }
    for condition in &entry.deny_if {
        match condition.subject {
            Subject::Label(_) => warn(&condition.rule, LABEL_EVADED),
            Subject::Argument(_) if matches!(condition.test, Test::NotEqual(_) | Test::NotIn(_)) => {
                warn(&condition.rule, ABSENT_PASSES);
            }
            Subject::Argument(_) => {}
        }
    }
    for limit in entry.limits.iter().filter(|limit| limit.scope == LimitScope::Session) {
        warn(&limit.rule, SESSION_SCOPE);
    }
    if let Some(approval) = &entry.approval {
        warn(&approval.rule, NO_APPROVAL);
        for condition in approval.when.iter().filter(|when| matches!(when.subject, Subject::Label(_))) {
            warn(&condition.rule, LABEL_UNASKED);
        }
    }
}

/// A pattern in a `require` lets pass whatever has it somewhere. One that is bound at the start alone is often meant so.
fn is_loose(condition: &Condition) -> bool {
    let Test::Matches(pattern) = &condition.test else { return false };
    !pattern.as_str().starts_with('^')
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{
        ABSENT_PASSES, ALL_OPEN, ALL_SHADOW, LABEL_EVADED, LABEL_UNASKED, LOOSE_PATTERN, NO_APPROVAL,
        PROBE_REFUSED, SESSION_SCOPE,
    };
    use crate::Policy;

    fn warned(file: &Value) -> Vec<(String, &'static str)> {
        let policy = Policy::read(file.to_string().as_bytes()).unwrap();
        policy.warnings().into_iter().map(|warning| (warning.rule, warning.what)).collect()
    }

    #[track_caller]
    fn one(entry: &Value, rule: &str, what: &'static str) {
        let file = json!({"version": "1", "default": "deny", "tools": {"t": entry}});
        assert!(warned(&file).contains(&(format!("/tools/t/{rule}"), what)), "{:?}", warned(&file));
    }

    #[test]
    fn what_is_easily_meant_otherwise_is_told() {
        let label = json!({"path": "labels.env", "op": "eq", "value": "ci"});
        one(&json!({"deny_if": [label]}), "deny_if/0", LABEL_EVADED);
        one(&json!({"require_approval": {"when": [label]}}), "require_approval/when/0", LABEL_UNASKED);
        one(&json!({"require_approval": {}}), "require_approval", NO_APPROVAL);
        let absent = json!({"path": "args.x", "op": "neq", "value": 1});
        one(&json!({"deny_if": [absent]}), "deny_if/0", ABSENT_PASSES);
        let loose = json!({"path": "args.to", "op": "regex", "value": "example\\.org"});
        one(&json!({"require": [loose]}), "require/0", LOOSE_PATTERN);
        one(&json!({"require": [loose], "price": "0.01"}), "require/0", PROBE_REFUSED);
        let limit = json!({"counter": "c", "window": "day", "max": 1, "scope": "session"});
        one(&json!({"limits": [limit]}), "limits/0", SESSION_SCOPE);
    }

    #[test]
    fn a_file_that_refuses_nothing_is_told() {
        let open = json!({"version": "1", "default": "allow"});
        assert_eq!(warned(&open), [("/default".to_owned(), ALL_OPEN)]);
        let shadow = json!({"version": "1", "default": "deny", "mode": "shadow"});
        assert_eq!(warned(&shadow), [("/mode".to_owned(), ALL_SHADOW)]);
    }

    #[test]
    fn rules_that_do_what_they_say_are_not() {
        let file = json!({"version": "1", "default": "deny",
            "all_tools": {"require": [{"path": "labels.env", "op": "eq", "value": "ci"}],
                          "rate_limit": {"max": 1, "window": "day"}},
            "tools": {"t": {"require": [{"path": "args.to", "op": "regex", "value": "^a$"}],
                            "deny_if": [{"path": "args.to", "op": "eq", "value": "b"}]}}});
        assert_eq!(warned(&file), []);
    }
}
