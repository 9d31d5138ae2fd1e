//! What a request needs that no approval has come for.

use std::collections::BTreeSet;

use execgate_model::{IdError, RuleId};
use execgate_policy::ApprovalTerms;
use execgate_receipt::approval::Verified;

use crate::Refusal;

/// The rule that blocks a tool in every mode, on whatever surface it is asked for.
pub(crate) const BLOCKED: &str = "blocked-tool";

/// The rule of the mode in which everything needs an artifact.
pub(crate) const STRICT: &str = "clawshield-mode";

/// For how long an approval is waited for that no rule of a policy asks for, in seconds: as long as a policy's own where it
/// does not say.
const TTL_SECONDS: u64 = 300;

/// An approval that is needed: every one of its terms must be satisfied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What each rule asks that wants one; never empty.
    pub terms: Vec<ApprovalTerms>,
    /// One sentence for the caller.
    pub reason: String,
}

impl Wanted {
    /// The first rule that wants it.
    #[must_use]
    pub fn rule(&self) -> &str {
        self.terms.first().map_or(BLOCKED, |terms| terms.rule.as_str())
    }

    /// Whether anything but the gateway itself asks for it: the gateway's own terms are satisfied by `ClawShield`, too.
    pub(super) fn by_policy(&self) -> Option<&ApprovalTerms> {
        self.terms.iter().find(|terms| !matches!(terms.rule.as_str(), BLOCKED | STRICT))
    }

    /// Whether the gateway itself asks for it, whatever the policy: nothing waits then, since what unlocks it comes with the
    /// request.
    pub(crate) fn by_gateway(&self) -> bool {
        self.terms.iter().any(|terms| matches!(terms.rule.as_str(), BLOCKED | STRICT))
    }

    /// Whether these people are enough. People count, and not their names or keys.
    pub(super) fn satisfied_by(&self, approvals: &[Verified<'_>]) -> Result<(), Refusal> {
        for terms in &self.terms {
            let may = |approval: &&Verified<'_>| {
                let name = approval.approver().name.as_str();
                terms.approvers.is_empty() || terms.approvers.iter().any(|listed| listed == name)
            };
            let people: BTreeSet<_> =
                approvals.iter().filter(may).map(|approval| approval.approver().person.as_str()).collect();
            if u64::try_from(people.len()).unwrap_or(u64::MAX) < terms.min {
                let (found, min) = (people.len(), terms.min);
                let reason = format!("{found} of the {min} people that this rule asks for have approved");
                return Err(Refusal::ApprovalMissing { rule: terms.rule.to_string(), reason });
            }
        }
        Ok(())
    }
}

/// What the gateway itself asks, whatever the policy: any one approver.
pub(super) fn own_terms(rule: &'static str) -> Result<ApprovalTerms, IdError> {
    Ok(ApprovalTerms { rule: RuleId::new(rule)?, approvers: Vec::new(), min: 1, ttl_s: TTL_SECONDS })
}
