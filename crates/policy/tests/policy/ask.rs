//! Short ways to ask a policy.

use std::sync::Arc;

use execgate_model::{
    ActionName, Amount, Caller, Digest, Effect, GrantId, Identity, Labels, NO_LABELS, TenantId,
};
use execgate_policy::{Decision, Own, Policy, PolicySet, Request, Spent, decide};
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
    let (effect, price, own) = (Effect::Live, Amount::ZERO, None);
    let request = Request { caller, action: &action, effect, arguments, labels, price, own };
    decide(&request, rules, &Spent::default())
}

/// The rules of a grant.
#[track_caller]
pub(crate) fn own(file: &Value) -> Policy {
    Policy::read_for_grant(file.to_string().as_bytes()).unwrap()
}

/// The digest of a gateway's rules and a grant's together.
pub(crate) const BOTH: Digest = Digest::from_bytes([4; 32]);

/// Asks for the holder of a grant with rules of its own, at a price.
pub(crate) fn as_holder(
    rules: &PolicySet,
    own: &Policy,
    grant: &str,
    tool: &str,
    arguments: &Value,
    price: Amount,
) -> Decision {
    let (action, caller) = (ActionName::new(tool).unwrap(), caller(grant));
    let (effect, labels) = (Effect::Live, &NO_LABELS);
    let own = Some(Own { policy: own, digest: BOTH });
    let request = Request { caller: &caller, action: &action, effect, arguments, labels, price, own };
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
