//! The decision. Must never do IO, read a clock or keep anything between two calls.

use execgate_model::{ActionName, Caller, Digest, Effect, RuleId};

use crate::PolicySet;

/// What is to be decided.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Who asks.
    pub caller: &'a Caller,
    /// For what.
    pub action: &'a ActionName,
    /// For real, or simulated.
    pub effect: Effect,
}

/// What the caller has used up of its limits, read before deciding and claimed for good in the claim.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spent;

/// Proof that the rules allow a request. Only [`decide`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allow {
    rule: String,
    policy: Digest,
}

impl Allow {
    /// The rule that allowed it.
    #[must_use]
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// The digest of the rules that were in force.
    #[must_use]
    pub fn policy(&self) -> Digest {
        self.policy
    }
}

/// The rule that refused a request, and why in words for the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The stable name of the rule.
    pub rule: String,
    /// One sentence for the caller.
    pub reason: String,
}

/// The rule that wants a person's approval first, and the `Allow` that the request has but for that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalDemand {
    /// The stable name of the rule.
    pub rule: RuleId,
    /// What holds once the approval is there.
    pub allow: Allow,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It may happen.
    Allow(Allow),
    /// It may happen once a person has said yes.
    RequireApproval(ApprovalDemand),
    /// It may not happen.
    Deny(Denial),
}

/// Decides one request under one set of rules.
///
/// An action that is not on an existing allow-list is denied; without an allow-list the restriction is
/// `open` (`reference: OpenExec health, restriction`), and the rule that allowed says so.
#[must_use]
pub fn decide(request: &Request<'_>, rules: &PolicySet, _spent: &Spent) -> Decision {
    let rule = match rules.allow_list() {
        Some(list) if !list.contains(request.action) => {
            return Decision::Deny(Denial {
                rule: "allow-list".to_owned(),
                reason: format!("Action '{}' is not in the execution allow-list", request.action),
            });
        }
        Some(_) => format!("allow-list/{}", request.action),
        None => "open".to_owned(),
    };
    Decision::Allow(Allow { rule, policy: rules.digest() })
}

#[cfg(test)]
mod tests {
    use execgate_model::{ActionName, Caller, Digest, Effect, Identity, TenantId};

    use super::{Decision, Request, Spent, decide};
    use crate::PolicySet;

    fn verdict(allowed: Option<&[&str]>, action: &str) -> Decision {
        let list = allowed.map(|names| names.iter().map(|n| ActionName::new(*n).unwrap()).collect());
        let caller = Caller { tenant: TenantId::new("default").unwrap(), identity: Identity::Local };
        let action = ActionName::new(action).unwrap();
        let request = Request { caller: &caller, action: &action, effect: Effect::Live };
        decide(&request, &PolicySet::new(list, Digest::from_bytes([1; 32])), &Spent)
    }

    #[test]
    fn without_an_allow_list_everything_is_open() {
        let Decision::Allow(allow) = verdict(None, "echo") else { panic!("not allowed") };
        assert_eq!((allow.rule(), allow.policy()), ("open", Digest::from_bytes([1; 32])));
    }

    #[test]
    fn an_action_off_the_list_is_denied_by_name() {
        let Decision::Deny(denial) = verdict(Some(&["add"]), "echo") else { panic!("not denied") };
        assert_eq!(denial.rule, "allow-list");
        assert_eq!(denial.reason, "Action 'echo' is not in the execution allow-list");
        assert!(matches!(verdict(Some(&["add"]), "add"), Decision::Allow(_)));
    }

    #[test]
    fn an_empty_list_allows_nothing() {
        assert!(matches!(verdict(Some(&[]), "add"), Decision::Deny(_)));
    }
}
