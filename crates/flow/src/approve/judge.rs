//! The room's work: what a request needs, and whether the artifact that came with it is that.
//!
//! [`Approve::judge`] is the one place that says `approved`, or what is wanted. It asks nobody and writes nothing: that an
//! artifact is used once is for the claim.

use std::collections::BTreeSet;
use std::sync::Arc;

use execgate_model::{ApprovalId, Clock, Digest, Proposal, Scope};
use execgate_receipt::approval::{ApprovalError, Artifact, ClawShield, ClawShieldArtifact, Demand, Verified};
use execgate_receipt::{Envelope, parse_strict};
use execgate_tool::Blocked;
use serde_json::Value;

use super::wanted::{STRICT, own_terms};
use super::{Approval, Approved, ApprovedBy, BLOCKED, People, Used, Wanted};
use crate::Refusal;
use crate::authorise::Authorised;
use crate::propose::Quote;

/// The rule by which no approval is needed.
const DEMO: &str = "demo-mode";

/// For how long a statement may last where the operator says nothing, in milliseconds: a day.
pub const LASTS_AT_MOST_MS: u64 = 24 * 60 * 60 * 1_000;

/// How this gateway treats requests for which no rule asks an approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ApprovalMode {
    /// None is needed (`demo`).
    #[default]
    Demo,
    /// Every run needs one (`clawshield`).
    Strict,
}

/// What the room needs.
#[derive(Clone)]
pub struct Approve {
    /// The mode of the gateway.
    pub mode: ApprovalMode,
    /// Whose `ClawShield` artifacts count.
    pub shield: ClawShield,
    /// Who may approve.
    pub people: Arc<People>,
    /// The time, which an approval may be past.
    pub clock: Arc<dyn Clock>,
    /// For how long a statement may last that is not for one run alone, in milliseconds.
    pub lasts_at_most_ms: u64,
}

/// What the room finds.
#[derive(Debug, Clone, PartialEq)]
pub enum Judgement {
    /// It may be claimed.
    Approved(Approval),
    /// It may not yet: no artifact came.
    Wanted(Wanted),
}

impl Approve {
    /// Whether this is refused for want of an artifact, so that its caller need not be asked to pay. Has no effect.
    ///
    /// # Errors
    /// A request that needs one, has none, and can be no replay either.
    pub fn precheck(&self, proposal: &Proposal) -> Result<(), Refusal> {
        // A replay is answered whatever comes with it.
        if proposal.approval.is_some() || proposal.nonce.is_some() || proposal.credential.is_some() {
            return Ok(());
        }
        match self.own_wish(proposal)? {
            None => Ok(()),
            Some(wanted) => Err(wanted.into()),
        }
    }

    /// Judges an authorised proposal: approved, or what is wanted.
    ///
    /// # Errors
    /// An artifact that came and does not approve this is refused by the check that it fails, and never passed over.
    pub fn judge(&self, quote: &Quote, authorised: &Authorised) -> Result<Judgement, Refusal> {
        let proposal = quote.proposal();
        let mut wanted = self.own_wish(proposal)?;
        if let Some(demand) = &authorised.demand {
            let reason = || "this action needs an approval: send one as approval_artifact".to_owned();
            let whole = wanted.get_or_insert_with(|| Wanted { terms: Vec::new(), reason: reason() });
            whole.terms.extend(demand.terms.iter().cloned());
        }
        let Some(wanted) = wanted else {
            return Ok(Judgement::Approved(Approval { rule: DEMO.to_owned(), used: None }));
        };
        let Some(text) = &proposal.approval else { return Ok(Judgement::Wanted(wanted)) };
        let unreadable = |detail: String| Refusal::ArtifactUnreadable { detail };
        let value = parse_strict(text.as_bytes()).map_err(|error| unreadable(error.to_string()))?;
        let used = match Artifact::read(&value).map_err(|error| unreadable(error.to_string()))? {
            Artifact::ClawShield(artifact) => self.by_shield(proposal, &artifact, &wanted)?,
            Artifact::Statements(envelopes) => self.by_people(quote, authorised, &envelopes, &wanted)?,
        };
        let used = Some(Box::new(used.with(value)));
        Ok(Judgement::Approved(Approval { rule: wanted.rule().to_owned(), used }))
    }

    /// As [`Self::judge`], where nothing waits: what is wanted and not there is refused.
    ///
    /// # Errors
    /// [`Refusal::ApprovalMissing`] names the rule; the others as [`Self::judge`].
    pub fn enter(&self, quote: &Quote, authorised: &Authorised) -> Result<Approval, Refusal> {
        match self.judge(quote, authorised)? {
            Judgement::Approved(approval) => Ok(approval),
            Judgement::Wanted(wanted) => Err(wanted.into()),
        }
    }

    /// What the gateway itself asks, whatever the policy.
    pub(crate) fn own_wish(&self, proposal: &Proposal) -> Result<Option<Wanted>, Refusal> {
        let name = proposal.action.as_str();
        let mut terms = Vec::new();
        let mut reason = None;
        if self.mode == ApprovalMode::Strict {
            terms.push(own_terms(STRICT)?);
            // OpenExec's own words, which its clients look for.
            reason = Some("ClawShield mode requires an approval artifact".to_owned());
        }
        if Blocked::find(name, proposal.surface.namespace()).is_some() {
            terms.push(own_terms(BLOCKED)?);
            let say =
                || format!("`{name}` is blocked until an approval unlocks it: send one as approval_artifact");
            reason.get_or_insert_with(say);
        }
        Ok(reason.map(|reason| Wanted { terms, reason }))
    }

    fn by_shield(
        &self,
        proposal: &Proposal,
        artifact: &ClawShieldArtifact,
        wanted: &Wanted,
    ) -> Result<Signed, Refusal> {
        let (action, payload, now) = (proposal.action.as_str(), &proposal.payload, self.clock.now());
        let cleared = self.shield.check(artifact, action, payload, now).map_err(Refusal::ClawShield)?;
        if let Some(terms) = wanted.by_policy() {
            let reason =
                "this rule asks for the approvers of this gateway, and ClawShield is none".to_owned();
            return Err(Refusal::ApprovalMissing { rule: terms.rule.to_string(), reason });
        }
        let by = ApprovedBy { digest: cleared.digest(), key_id: cleared.key_id() };
        let approved = Approved { id: cleared.approval_id().to_owned(), by: vec![by] };
        Ok(Signed { approved, keys: cleared.artifacts().to_vec() })
    }

    fn by_people(
        &self,
        quote: &Quote,
        authorised: &Authorised,
        envelopes: &[Envelope],
        wanted: &Wanted,
    ) -> Result<Signed, Refusal> {
        let proposal = quote.proposal();
        let scope = proposal.caller.scope();
        let demand = demand(quote, scope.as_ref(), authorised);
        let invalid = |error: ApprovalError| Refusal::ApprovalInvalid(Box::new(error));
        let now = self.clock.now();
        let mut approvals = Vec::with_capacity(envelopes.len());
        for envelope in envelopes {
            let verified = self.open(envelope).map_err(invalid)?;
            verified.approves(&demand, now).map_err(invalid)?;
            // What is for this very run ends with it.
            if verified.statement().approval_id != ApprovalId::from(quote.run()) {
                verified.lasts_at_most(self.lasts_at_most_ms).map_err(invalid)?;
            }
            if self.is_own(&verified, &proposal.caller) {
                return Err(Refusal::OwnApproval { approver: verified.approver().name.clone() });
            }
            approvals.push(verified);
        }
        wanted.satisfied_by(&approvals)?;
        Ok(Signed::by(&approvals))
    }
}

/// What a statement of an approver must match. `scope` is that of the caller.
pub(super) fn demand<'a>(quote: &'a Quote, scope: Option<&'a Scope>, authorised: &Authorised) -> Demand<'a> {
    let proposal = quote.proposal();
    Demand {
        tenant: &proposal.caller.tenant,
        scope: scope.map(Scope::as_str),
        action: &proposal.action,
        action_digest: quote.terms().fingerprint,
        policy_digest: authorised.allow.policy(),
        price: quote.terms().amount,
    }
}

/// What holds of an artifact, whatever it was.
struct Signed {
    approved: Approved,
    keys: Vec<Digest>,
}

impl Signed {
    fn by(approvals: &[Verified<'_>]) -> Self {
        let ids: BTreeSet<_> =
            approvals.iter().map(|approval| approval.statement().approval_id.to_string()).collect();
        let keys: BTreeSet<_> = approvals.iter().map(|approval| *approval.artifact().as_bytes()).collect();
        let by =
            |approval: &Verified<'_>| ApprovedBy { digest: approval.digest(), key_id: approval.key_id() };
        let id = ids.into_iter().collect::<Vec<_>>().join(",");
        Self {
            approved: Approved { id, by: approvals.iter().map(by).collect() },
            keys: keys.into_iter().map(Digest::from_bytes).collect(),
        }
    }

    fn with(self, artifact: Value) -> Used {
        Used { approved: self.approved, keys: self.keys, artifact }
    }
}

impl From<Wanted> for Refusal {
    fn from(wanted: Wanted) -> Self {
        Self::ApprovalMissing { rule: wanted.rule().to_owned(), reason: wanted.reason }
    }
}
