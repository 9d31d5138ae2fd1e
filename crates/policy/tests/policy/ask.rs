//! Short ways to ask a policy.

use std::sync::Arc;

use execgate_model::{ActionName, Caller, Digest, Effect, GrantId, Identity, Labels, NO_LABELS, TenantId};
use execgate_policy::{Decision, Policy, PolicySet, Request, Spent, decide};
use serde_json::Value;

/// The digest of every set here.
pub(crate) const DIGEST: Digest = Digest::from_bytes([3; 32]);

#[track_caller]
pub(crate) fn policy(file: &Value) -> PolicySet {
    PolicySet::new(None, DIGEST).with_policy(Policy::read(file.to_string().as_bytes()).unwrap())
}

pub(crate) fn caller(grant: &str) -> Caller {
    let identity =
        Identity::Grant { id: GrantId::new(grant).unwrap(), internal: false, labels: Arc::default() };
    Caller { tenant: TenantId::new("acme").unwrap(), identity }
}

pub(crate) fn as_caller(
    rules: &PolicySet,
    caller: &Caller,
    tool: &str,
    arguments: &Value,
    labels: &Labels,
) -> Decision {
    let action = ActionName::new(tool).unwrap();
    let request = Request { caller, action: &action, effect: Effect::Live, arguments, labels };
    decide(&request, rules, &Spent::default())
}

pub(crate) fn ask(rules: &PolicySet, tool: &str, arguments: &Value) -> Decision {
    as_caller(rules, &caller("g1"), tool, arguments, &NO_LABELS)
}

/// The word and the rule of a decision.
pub(crate) fn said(rules: &PolicySet, tool: &str, arguments: &Value) -> (&'static str, String) {
    let decision = ask(rules, tool, arguments);
    (decision.word(), decision.rule().to_owned())
}
