//! The room's work: a `policy::Allow` for a proposal, or the rule that refuses it.

use std::sync::Arc;

use execgate_model::{Digest, Effect, Proposal, RuleId};
use execgate_policy::{Allow, ApprovalDemand, Decision, Request, Spent, decide};

use super::{Iam, IamAnswer, IamWord, Question, Rules};
use crate::Refusal;

/// The rule of a no of the identity service.
pub(crate) const IAM_RULE: &str = "iam";

/// What the room needs.
#[derive(Clone)]
pub struct Authorise {
    /// The rules in force.
    pub rules: Arc<Rules>,
    /// The identity service.
    pub iam: Arc<dyn Iam>,
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

impl Authorise {
    /// Whether the rules refuse this caller whatever it pays. Has no effect and asks nobody else.
    ///
    /// # Errors
    /// [`Refusal::Denied`] names the rule.
    pub fn precheck(&self, proposal: &Proposal) -> Result<(), Refusal> {
        self.decide(proposal).map(drop)
    }

    /// The same, and names the rule that would want an approval.
    ///
    /// # Errors
    /// As [`Self::precheck`].
    pub fn judge(&self, proposal: &Proposal) -> Result<Option<RuleId>, Refusal> {
        self.decide(proposal).map(|(_, demand)| demand.map(|demand| demand.rule))
    }

    /// Asks the rules, then the identity service.
    ///
    /// # Errors
    /// [`Refusal::Denied`] names the rule. An identity service that cannot be reached refuses what is live;
    /// a dry-run, in which nothing can happen, goes on and says so. [`Refusal::Busy`] where it is we who ask too much.
    pub async fn enter(&self, proposal: &Proposal, args_digest: Digest) -> Result<Authorised, Refusal> {
        let (allow, demand) = self.decide(proposal)?;
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

    fn decide(&self, proposal: &Proposal) -> Result<(Allow, Option<ApprovalDemand>), Refusal> {
        // How much is left of a limit is for the claim to say, which alone counts exactly.
        match decide(&request(proposal), &self.rules.now(), &Spent::default()) {
            Decision::Allow(allow) => Ok((allow, None)),
            Decision::RequireApproval(demand) => Ok((demand.allow.clone(), Some(demand))),
            Decision::Deny(denial) => Err(Refusal::Denied { rule: denial.rule, reason: denial.reason }),
        }
    }
}

fn request(proposal: &Proposal) -> Request<'_> {
    Request {
        caller: &proposal.caller,
        action: &proposal.action,
        effect: proposal.effect,
        arguments: &proposal.payload,
        labels: proposal.caller.labels(),
    }
}
