//! The decision. Must never do IO, read a clock or keep anything between two calls.

use std::collections::BTreeMap;

use execgate_model::{ActionName, Amount, Caller, Digest, Effect, Labels, RuleId};
use serde_json::Value;

use crate::weigh::{Ground, Watch, weigh};
use crate::{Policy, PolicySet, Window};

/// What is to be decided.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Who asks.
    pub caller: &'a Caller,
    /// For what.
    pub action: &'a ActionName,
    /// For real, or simulated.
    pub effect: Effect,
    /// With which arguments.
    pub arguments: &'a Value,
    /// What the operator has called the caller.
    pub labels: &'a Labels,
    /// What is asked for it.
    pub price: Amount,
    /// The rules of the caller's own grant, where it has some. They come beside the gateway's, never instead of them.
    pub own: Option<Own<'a>>,
}

/// The rules of a grant.
#[derive(Debug, Clone, Copy)]
pub struct Own<'a> {
    /// The rules.
    pub policy: &'a Policy,
    /// What names the gateway's rules and these together.
    pub digest: Digest,
}

/// What the caller has used up of its limits, by the keys of [`Reservation`]; what is not in it is unspent.
///
/// The count that holds is the claim's: what is handed in here only lets a request be refused early.
#[derive(Debug, Clone, Default)]
pub struct Spent(BTreeMap<String, u64>);

impl Spent {
    /// The same, and so much of one counter.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, used: u64) -> Self {
        self.0.insert(key.into(), used);
        self
    }

    pub(crate) fn of(&self, key: &str) -> u64 {
        self.0.get(key).copied().unwrap_or_default()
    }
}

/// Whether a limit refuses, or is only told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Beyond it nothing is claimed.
    Enforced,
    /// It is counted, and whoever claims tells the operator where it would have refused.
    Shadow,
}

/// What a run will use up of a limit, to be reserved in the transaction that claims it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The limit, as a JSON pointer into the file.
    pub rule: String,
    /// What names the counter: entry, counter, scope, window and whose it is.
    pub key: String,
    /// How much.
    pub amount: u64,
    /// How much there is in one window.
    pub max: u64,
    /// The window.
    pub window: Window,
    /// Whether it refuses.
    pub kept: Kept,
}

/// Proof that the rules allow a request. Only [`decide`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allow {
    pub(crate) rule: String,
    pub(crate) policy: Digest,
    pub(crate) profile: Option<String>,
    pub(crate) limits: Vec<Reservation>,
}

impl Allow {
    /// The rule that allowed it. `shadow:` and a rule: that one would have refused it, and does not yet.
    #[must_use]
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// The digest of the rules that were in force.
    #[must_use]
    pub fn policy(&self) -> Digest {
        self.policy
    }

    /// The profile of the sandbox that it has to run in, where a rule says so.
    #[must_use]
    pub fn profile(&self) -> Option<&str> {
        self.profile.as_deref()
    }

    /// What is to be reserved with the claim.
    #[must_use]
    pub fn limits(&self) -> &[Reservation] {
        &self.limits
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

/// One rule that wants an approval, and what it asks of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalTerms {
    /// The rule.
    pub rule: RuleId,
    /// Who may approve; empty: every approver that the operator has named.
    pub approvers: Vec<String>,
    /// How many of them must.
    pub min: u64,
    /// For how long the request waits, in seconds.
    pub ttl_s: u64,
}

/// The rule that wants a person's approval first, and the `Allow` that the request has but for that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalDemand {
    /// The stable name of the first rule that wants it.
    pub rule: RuleId,
    /// What every rule asks that wants one: all of it must be there.
    pub terms: Vec<ApprovalTerms>,
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

impl Decision {
    /// The decision in one word.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Allow(_) => "allow",
            Self::RequireApproval(_) => "require_approval",
            Self::Deny(_) => "deny",
        }
    }

    /// The rule that decided.
    #[must_use]
    pub fn rule(&self) -> &str {
        match self {
            Self::Allow(allow) => &allow.rule,
            Self::RequireApproval(demand) => demand.rule.as_str(),
            Self::Deny(denial) => &denial.rule,
        }
    }
}

/// Decides one request under one set of rules.
///
/// An action must pass the allow-list, the policy file and the rules of the caller's own grant, in this order, where there
/// are these. Without either the
/// restriction is `open` (`reference: OpenExec health, restriction`), and the rule that allowed says so.
#[must_use]
pub fn decide(request: &Request<'_>, rules: &PolicySet, spent: &Spent) -> Decision {
    judge(request, rules, spent, &mut ())
}

/// The decision, while somebody watches how it comes about.
pub(crate) fn judge(
    request: &Request<'_>,
    rules: &PolicySet,
    spent: &Spent,
    watch: &mut impl Watch,
) -> Decision {
    let listed = match rules.allow_list() {
        Some(list) if !list.contains(request.action) => {
            watch.saw("allow-list", || "refuses: the action is not in it".to_owned());
            return Decision::Deny(Denial {
                rule: "allow-list".to_owned(),
                reason: format!("Action '{}' is not in the execution allow-list", request.action),
            });
        }
        Some(_) => format!("allow-list/{}", request.action),
        None => "open".to_owned(),
    };
    watch.saw(&listed, || "lets it pass".to_owned());
    let digest = request.own.map_or_else(|| rules.digest(), |own| own.digest);
    let files = rules.policy().into_iter().chain(request.own.map(|own| own.policy));
    weigh(request, files, Ground { listed: &listed, digest }, spent, watch)
}

#[cfg(test)]
mod tests {
    use execgate_model::{ActionName, Amount, Caller, Digest, Effect, Identity, NO_LABELS, TenantId};
    use serde_json::json;

    use super::{Decision, Request, Spent, decide};
    use crate::PolicySet;

    fn verdict(allowed: Option<&[&str]>, action: &str) -> Decision {
        let list = allowed.map(|names| names.iter().map(|n| ActionName::new(*n).unwrap()).collect());
        let caller = Caller { tenant: TenantId::new("default").unwrap(), identity: Identity::Local };
        let (action, arguments) = (ActionName::new(action).unwrap(), json!({}));
        let (effect, labels) = (Effect::Live, &NO_LABELS);
        let (price, own) = (Amount::ZERO, None);
        let arguments = &arguments;
        let request = Request { caller: &caller, action: &action, effect, arguments, labels, price, own };
        decide(&request, &PolicySet::new(list, Digest::from_bytes([1; 32])), &Spent::default())
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
