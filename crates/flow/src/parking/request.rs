//! What a parked run is run from later, as it is stored: the request without its payload, which lies beside it, and what was
//! asked of people.
//!
//! It must hold nothing that opens anything: no key, no payment, no artifact.

use std::collections::BTreeSet;
use std::sync::Arc;

use execgate_model::{
    ActionName, Amount, BodyPlace, Caller, Digest, Effect, Hearsay, Identity, Labels, Nonce, Proposal,
    RuleId, RunOptions, Surface, UnixMs,
};
use execgate_policy::ApprovalTerms;
use execgate_store::{Vote, VoteWord};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Refusal;
use crate::approve::Wanted;
use crate::authorise::Authorised;
use crate::propose::Quote;

/// The version of the stored form.
const VERSION: u8 = 1;

const SECOND_MS: u64 = 1_000;

/// What one rule asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Term {
    /// The rule.
    pub rule: RuleId,
    /// Who may approve; empty: every approver.
    pub approvers: Vec<String>,
    /// How many people must.
    pub min: u64,
}

impl Term {
    /// Whether it asks this approver.
    pub(super) fn asks(&self, approver: &str) -> bool {
        self.approvers.is_empty() || self.approvers.iter().any(|name| name == approver)
    }

    /// Whether as many people have said yes as it asks for. Whether that still holds is for the approve room.
    pub(super) fn has_enough(&self, votes: &[Vote]) -> bool {
        let yes = votes.iter().filter(|vote| vote.word == VoteWord::Approve && self.asks(&vote.approver));
        let people: BTreeSet<_> = yes.map(|vote| vote.person.as_str()).collect();
        u64::try_from(people.len()).is_ok_and(|people| people >= self.min)
    }
}

/// The request of a parked run, but for its payload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParkedRequest {
    v: u8,
    /// The contract under which it came in.
    pub surface: Surface,
    /// What is to be run.
    pub action: ActionName,
    /// For real, or simulated.
    pub effect: Effect,
    /// What else was asked of the run.
    pub options: RunOptions,
    /// The caller's name for it.
    pub nonce: Option<Nonce>,
    /// Who asked.
    pub caller: Caller,
    /// What the operator called the caller then. Those of a grant are read anew.
    labels: Labels,
    /// The name that the caller gives itself.
    agent: Option<String>,
    /// SHA-256 over the JCS of the context that it gave.
    context: Option<Digest>,
    /// What it cost then.
    pub price: Amount,
    /// The rules that were in force then.
    pub policy: Digest,
    /// What they asked of people.
    pub terms: Vec<Term>,
}

impl ParkedRequest {
    /// What is kept of a quoted request for which the rules want people.
    pub(crate) fn new(quote: &Quote, authorised: &Authorised, wanted: &Wanted) -> Self {
        let proposal = quote.proposal();
        Self {
            v: VERSION,
            surface: proposal.surface,
            action: proposal.action.clone(),
            effect: proposal.effect,
            options: RunOptions { profile: None, ..proposal.options.clone() },
            nonce: proposal.nonce.clone(),
            caller: proposal.caller.clone(),
            labels: proposal.caller.labels().clone(),
            agent: proposal.hearsay.agent.clone(),
            context: proposal.hearsay.context,
            price: quote.terms().amount,
            policy: authorised.allow.policy(),
            terms: wanted.terms.iter().map(term).collect(),
        }
    }

    /// The stored form.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, Refusal> {
        serde_json::to_vec(self).map_err(|error| Refusal::Receipt { detail: error.to_string() })
    }

    /// Reads back the stored form.
    ///
    /// # Errors
    /// [`Refusal::Receipt`] if it was written by a version that is not known here.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Refusal> {
        let read: Result<Self, _> = serde_json::from_slice(bytes);
        let mut request = read.map_err(|error| Refusal::Receipt { detail: error.to_string() })?;
        if request.v != VERSION {
            let detail = format!("a parked request of version {} is not known here", request.v);
            return Err(Refusal::Receipt { detail });
        }
        if let Identity::Grant { labels, .. } | Identity::Subject { labels, .. } =
            &mut request.caller.identity
        {
            *labels = Arc::new(request.labels.clone());
        }
        Ok(request)
    }

    /// The request as it came, by the caller as it is known now. Nobody watches it, and nothing pays for it.
    pub(crate) fn into_proposal(self, caller: Caller, payload: Value, place: BodyPlace) -> Proposal {
        Proposal {
            surface: self.surface,
            action: self.action,
            payload,
            effect: self.effect,
            options: self.options,
            nonce: self.nonce,
            caller,
            approval: None,
            credential: None,
            watcher: None,
            place,
            hearsay: Hearsay { agent: self.agent, context: self.context },
            peer: None,
        }
    }
}

pub(super) fn term(terms: &ApprovalTerms) -> Term {
    Term { rule: terms.rule.clone(), approvers: terms.approvers.clone(), min: terms.min }
}

/// Until when a request waits: for as long as the most impatient of its rules says.
pub(super) fn expiry(wanted: &Wanted, now: UnixMs) -> UnixMs {
    let ttl_s = wanted.terms.iter().map(|terms| terms.ttl_s).min().unwrap_or_default();
    UnixMs(now.0.saturating_add(ttl_s.saturating_mul(SECOND_MS)))
}
