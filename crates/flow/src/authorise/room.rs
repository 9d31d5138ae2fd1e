//! The room's work: a `policy::Allow` for a proposal, or the rule that refuses it.

use std::collections::BTreeSet;
use std::sync::Arc;

use execgate_model::{ActionName, Amount, Caller, Digest, Effect, Proposal};
use execgate_policy::{Allow, ApprovalDemand, Decision, Own, Policy, PolicySet, Request, Spent, decide};

use super::{Grants, Iam, IamAnswer, IamWord, KeyError, OwnRules, Question, Rules, SimulationRate};
use crate::Refusal;

/// The rule of a no of the identity service.
pub(crate) const IAM_RULE: &str = "iam";

/// What the room needs.
#[derive(Clone)]
pub struct Authorise {
    /// The rules in force.
    pub rules: Arc<Rules>,
    /// The grants, some of which have rules of their own.
    pub grants: Arc<Grants>,
    /// The identity service.
    pub iam: Arc<dyn Iam>,
    /// How often something is simulated for nothing.
    pub simulations: Arc<SimulationRate>,
}

/// What the room found.
#[derive(Debug, Clone)]
pub struct Authorised {
    /// The rules' leave.
    pub allow: Allow,
    /// The rule that wants an approval beside it, where one does.
    pub demand: Option<ApprovalDemand>,
    /// How the identity service was asked.
    pub iam: IamWord,
}

impl Authorised {
    /// Under the rules as they are at the claim.
    pub(crate) fn rejudge(&mut self, now: Judged) {
        let Judged { allow, demand } = now;
        (self.allow, self.demand) = (allow, demand);
    }
}

impl Authorise {
    /// The rules that hold for a caller now: the gateway's, and those of its grant.
    ///
    /// # Errors
    /// A grant that was revoked, or has expired, since its key was shown; rules of its own that cannot be read.
    pub async fn rules_for(&self, caller: &Caller) -> Result<RulesFor, Refusal> {
        let own = self.grants.own_rules(caller).await.map_err(not_standing)?;
        let gateway = self.rules.now();
        let digest = match &own {
            None => gateway.digest(),
            Some(own) => {
                own.beside(gateway.digest()).map_err(|error| Refusal::Undigestible(error.to_string()))?
            }
        };
        Ok(RulesFor { gateway, own, digest })
    }

    /// A caller of an earlier day, as it is known now.
    ///
    /// # Errors
    /// A grant that was revoked, or has expired, since.
    pub(crate) async fn as_of_now(&self, caller: &Caller) -> Result<Caller, Refusal> {
        self.grants.as_of_now(caller).await.map_err(not_standing)
    }

    /// Asks the rules that hold for the caller now, and nobody else. Has no effect.
    ///
    /// # Errors
    /// [`Refusal::Denied`] names the rule, whatever the caller pays.
    pub async fn judge(&self, proposal: &Proposal, price: Amount) -> Result<Judged, Refusal> {
        self.rules_for(&proposal.caller).await?.judge(proposal, price)
    }

    /// Asks the rules, then the identity service.
    ///
    /// # Errors
    /// [`Refusal::Denied`] names the rule. An identity service that cannot be reached refuses what is live;
    /// a dry-run, in which nothing can happen, goes on and says so. [`Refusal::Busy`] where it is we who ask too much.
    pub async fn enter(
        &self,
        proposal: &Proposal,
        price: Amount,
        args_digest: Digest,
    ) -> Result<Authorised, Refusal> {
        let Judged { allow, demand } = self.judge(proposal, price).await?;
        prepared_under(&allow, proposal)?;
        let question = Question {
            caller: &proposal.caller,
            action: &proposal.action,
            effect: proposal.effect,
            payload: &proposal.payload,
            args_digest,
            policy: allow.policy(),
        };
        let iam = match (self.iam.check(&question).await, proposal.effect) {
            (IamAnswer::Overloaded, _) => {
                let reason = "too many questions to the identity service are under way; try again shortly";
                return Err(Refusal::Busy { rule: "iam-full", reason });
            }
            (IamAnswer::NotConfigured, _) => IamWord::NotConfigured,
            (IamAnswer::Approved, _) => IamWord::Approved,
            (IamAnswer::Refused(reason), _) => {
                return Err(Refusal::Denied { rule: IAM_RULE.to_owned(), reason });
            }
            (IamAnswer::Unreachable | IamAnswer::Unreadable, Effect::DryRun) => IamWord::UnreachableOpen,
            (IamAnswer::Unreachable, Effect::Live) if self.iam.is_open_unreached() => {
                IamWord::UnreachableOpen
            }
            (IamAnswer::Unreachable | IamAnswer::Unreadable, Effect::Live) => {
                return Err(Refusal::IamUnreachable);
            }
        };
        Ok(Authorised { allow, demand, iam })
    }
}

/// What the rules say to a proposal.
#[derive(Debug, Clone)]
pub struct Judged {
    /// Their leave.
    pub allow: Allow,
    /// The rule that wants an approval beside it, where one does.
    pub demand: Option<ApprovalDemand>,
}

/// The rules that hold for one caller.
#[derive(Debug, Clone)]
pub struct RulesFor {
    gateway: Arc<PolicySet>,
    own: Option<Arc<OwnRules>>,
    digest: Digest,
}

impl RulesFor {
    /// What names all of them.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Whether a tool is not to be shown.
    #[must_use]
    pub fn hides(&self, tool: &str) -> bool {
        self.policies().any(|policy| policy.hides(tool))
    }

    /// Whether every call of a tool is refused, whatever its arguments: it is hidden, denied, or not listed.
    #[must_use]
    pub fn bars(&self, tool: &str) -> bool {
        let listed = |list: &BTreeSet<ActionName>| list.iter().any(|name| name.as_str() == tool);
        !self.gateway.allow_list().is_none_or(listed) || self.policies().any(|policy| policy.bars(tool))
    }

    /// What the rules say that an action costs: the grant's own first.
    #[must_use]
    pub fn price(&self, tool: &str) -> Option<Amount> {
        self.policies().find_map(|policy| policy.price(tool))
    }

    /// The narrower first.
    fn policies(&self) -> impl Iterator<Item = &Policy> {
        self.own.as_deref().map(OwnRules::policy).into_iter().chain(self.gateway.policy())
    }

    /// Asks them.
    ///
    /// # Errors
    /// [`Refusal::Denied`] names the rule.
    pub fn judge(&self, proposal: &Proposal, price: Amount) -> Result<Judged, Refusal> {
        let request = Request {
            caller: &proposal.caller,
            action: &proposal.action,
            effect: proposal.effect,
            arguments: &proposal.payload,
            labels: proposal.caller.labels(),
            price,
            own: self.own.as_deref().map(|own| Own { policy: own.policy(), digest: self.digest }),
        };
        // How much is left of a limit is for the claim to say, which alone counts exactly.
        match decide(&request, &self.gateway, &Spent::default()) {
            Decision::Allow(allow) => Ok(Judged { allow, demand: None }),
            Decision::RequireApproval(demand) => {
                Ok(Judged { allow: demand.allow.clone(), demand: Some(demand) })
            }
            Decision::Deny(denial) => Err(Refusal::Denied { rule: denial.rule, reason: denial.reason }),
        }
    }
}

/// A call is prepared for the sandbox that the rules named then; under rules that name another it does not run.
pub(crate) fn prepared_under(allow: &Allow, proposal: &Proposal) -> Result<(), Refusal> {
    if allow.profile() == proposal.options.profile.as_deref() {
        return Ok(());
    }
    let reason = "the rules have changed while this request was under way; send it again";
    Err(Refusal::Busy { rule: "rules-changed", reason })
}

fn not_standing(error: KeyError) -> Refusal {
    match error {
        KeyError::Record(error) => Refusal::Store(error),
        KeyError::Rules => Refusal::Busy {
            rule: "grant-policy",
            reason: "the rules of this grant cannot be read; its operator has to mend them",
        },
        KeyError::Unknown | KeyError::Expired | KeyError::Replaced => Refusal::Denied {
            rule: "grant-ended".to_owned(),
            reason: "the grant of this caller was revoked, or has expired, meanwhile".to_owned(),
        },
    }
}
