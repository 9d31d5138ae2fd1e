//! What holds of a policy file, whatever is in it. A fuzz target and a property test call it.

use std::collections::BTreeSet;

use execgate_model::{ActionName, Amount, Caller, Digest, Effect, Identity, NO_LABELS, TenantId};
use serde_json::{Value, json};

use crate::{Decision, Kept, Policy, PolicySet, Request, Spent, decide, explain};

/// No text makes the reader panic; what is taken decides on any arguments, the same each time, explains what it
/// decides, and never allows what an allow-list beside it does not.
pub fn policy(bytes: &[u8]) {
    let Ok(policy) = Policy::read(bytes) else { return };
    let Ok(tenant) = TenantId::new("default") else { return };
    let caller = Caller { tenant, identity: Identity::Local };
    let odd = serde_json::from_slice(bytes).unwrap_or(Value::Null);
    let known: Vec<_> = policy.tools().filter_map(|(name, _)| ActionName::new(name).ok()).take(8).collect();
    let digest = Digest::from_bytes([0; 32]);
    let rules = PolicySet::new(None, digest).with_policy(policy.clone());
    let closed = PolicySet::new(Some(BTreeSet::new()), digest).with_policy(policy);
    for action in known.iter().chain(&ActionName::new("unlisted").ok()) {
        for arguments in [&odd, &json!({}), &json!({"code": "x", "amount": 1.5})] {
            let (effect, labels) = (Effect::Live, &NO_LABELS);
            let (price, own) = (Amount::ZERO, None);
            let request = Request { caller: &caller, action, effect, arguments, labels, price, own };
            let decision = decide(&request, &rules, &Spent::default());
            assert_eq!(decision, explain(&request, &rules, &Spent::default()).decision);
            assert!(decision.rule().starts_with('/') || decision.rule().starts_with("shadow:/"));
            assert!(matches!(decide(&request, &closed, &Spent::default()), Decision::Deny(_)));
            if let Decision::Allow(allow) = decision {
                let within =
                    |limit: &crate::Reservation| limit.amount <= limit.max || limit.kept == Kept::Shadow;
                assert!(allow.limits().iter().all(within));
            }
        }
    }
}

#[cfg(test)]
#[path = "../../../fuzz/near.rs"]
mod near;

#[cfg(test)]
mod tests {
    use super::{near, policy};

    #[test]
    fn no_policy_file_makes_a_decision_that_cannot_be() {
        near::holds("policy", policy);
    }
}
