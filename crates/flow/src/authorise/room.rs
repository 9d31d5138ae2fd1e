//! The room's work: a `policy::Allow` for a proposal, or the rule that refuses it.

use std::sync::Arc;

use execgate_model::{Effect, Proposal};
use execgate_policy::{Allow, ApprovalDemand, Decision, NO_LABELS, Request, Spent, decide};

use super::{Iam, IamAnswer, IamWord, Rules};
use crate::Refusal;

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

    /// Asks the rules, then the identity service.
    ///
    /// # Errors
    /// [`Refusal::Denied`] names the rule. An identity service that cannot be reached refuses what is live;
    /// a dry-run, in which nothing can happen, goes on and says so.
    pub async fn enter(&self, proposal: &Proposal) -> Result<Authorised, Refusal> {
        let (allow, demand) = self.decide(proposal)?;
        let iam = match (self.iam.check(&request(proposal)).await, proposal.effect) {
            (IamAnswer::NotConfigured, _) => IamWord::NotConfigured,
            (IamAnswer::Approved, _) => IamWord::Approved,
            (IamAnswer::Refused(reason), _) => {
                return Err(Refusal::Denied { rule: "iam".to_owned(), reason });
            }
            (IamAnswer::Unreachable, Effect::DryRun) => IamWord::UnreachableOpen,
            (IamAnswer::Unreachable, Effect::Live) => return Err(Refusal::IamUnreachable),
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
        labels: &NO_LABELS,
    }
}
