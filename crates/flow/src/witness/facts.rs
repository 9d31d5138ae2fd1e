//! What a receipt will say that is known when a run is claimed. It is stored with the intent, so that the
//! receipt of a run whose process died can still be made.

use execgate_model::{
    ActionName, Amount, Caller, Digest, Effect, IdError, Identity, InstanceId, Nonce, RuleId, RunId, Surface,
    UnixMs,
};
use execgate_payment::{Flow, Hold};
use execgate_receipt::Content;
use serde::{Deserialize, Serialize};

use crate::Refusal;
use crate::approve::{Approval, Approved, Wanted};
use crate::authorise::{Authorised, IamWord};
use crate::propose::{Meter, Quote};

/// The version of the stored form.
const VERSION: u8 = 1;

/// What is known at the claim.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Facts {
    v: u8,
    /// The run.
    pub run: RunId,
    /// The instance that claimed it.
    pub instance: InstanceId,
    /// The contract under which it came in.
    pub surface: Surface,
    /// What is run.
    pub action: ActionName,
    /// SHA-256 over the JCS of the payload.
    pub args_digest: Digest,
    /// The caller's name for it.
    pub nonce: Option<Nonce>,
    /// For real, or simulated.
    pub effect: Effect,
    /// Who asks.
    pub caller: Caller,
    /// The rules in force.
    pub policy: Digest,
    /// The rule that allowed it.
    pub rule: RuleId,
    /// How the identity service was asked.
    pub iam: IamWord,
    /// The rule by which it is approved.
    pub approval: RuleId,
    /// The rail.
    pub rail: String,
    /// The price.
    pub price: Amount,
    /// What makes its payment unique.
    pub payment: Option<String>,
    /// When it was claimed.
    pub started: UnixMs,
    /// By what it is approved, where that is an artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved: Option<Approved>,
    /// The name that the caller gives itself; nobody has checked it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed_agent: Option<String>,
    /// SHA-256 over the JCS of the context that the caller gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<Digest>,
    /// Whether the caller wants its receipt with the answer.
    #[serde(default, skip_serializing_if = "is_off")]
    pub wants_receipt: bool,
    /// Whether what is run reaches beyond the gateway and its jails.
    #[serde(default, skip_serializing_if = "is_off")]
    pub reaches_out: bool,
    /// What its usage comes to, where it is paid by that: its price is the most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meter: Option<Meter>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_off(switch: &bool) -> bool {
    !switch
}

impl Facts {
    /// Gathers what the rooms before found.
    ///
    /// # Errors
    /// [`IdError`] if the name of a rule cannot stand in a receipt.
    pub fn new(
        quote: &Quote,
        hold: &Hold,
        authorised: &Authorised,
        approval: &Approval,
        instance: InstanceId,
        started: UnixMs,
    ) -> Result<Self, IdError> {
        let facts = Self::gather(quote, hold, authorised, RuleId::new(approval.rule())?, instance, started)?;
        Ok(Self { approved: approval.approved().cloned(), ..facts })
    }

    /// The same of a run that is parked: the rule is the one that asks people.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn waiting(
        quote: &Quote,
        hold: &Hold,
        authorised: &Authorised,
        wanted: &Wanted,
        instance: InstanceId,
        started: UnixMs,
    ) -> Result<Self, IdError> {
        let facts = Self::gather(quote, hold, authorised, RuleId::new(wanted.rule())?, instance, started)?;
        Ok(Self { payment: None, ..facts })
    }

    fn gather(
        quote: &Quote,
        hold: &Hold,
        authorised: &Authorised,
        approval: RuleId,
        instance: InstanceId,
        started: UnixMs,
    ) -> Result<Self, IdError> {
        let proposal = quote.proposal();
        Ok(Self {
            v: VERSION,
            run: quote.run(),
            instance,
            surface: proposal.surface,
            action: proposal.action.clone(),
            args_digest: quote.args_digest(),
            nonce: proposal.nonce.clone(),
            effect: proposal.effect,
            caller: proposal.caller.clone(),
            policy: authorised.allow.policy(),
            rule: RuleId::new(authorised.allow.rule())?,
            iam: authorised.iam,
            approval,
            rail: hold.rail().to_owned(),
            price: hold.amount(),
            payment: hold.paid().claim.as_ref().map(|claim| claim.key.to_hex()),
            started,
            approved: None,
            claimed_agent: proposal.hearsay.agent.clone(),
            context: proposal.hearsay.context,
            wants_receipt: proposal.options.receipt,
            reaches_out: quote.reaches_out(),
            meter: quote.meter().filter(|_| hold.paid().flow == Flow::Metered && !hold.amount().is_zero()),
        })
    }

    /// Whether an identity service said yes, or, where none is configured, the grant or the authorization server by
    /// which the caller is known.
    #[must_use]
    pub fn is_iam_approved(&self) -> bool {
        match self.iam {
            IamWord::Approved => true,
            IamWord::NotConfigured => {
                matches!(self.caller.identity, Identity::Grant { .. } | Identity::Subject { .. })
            }
            IamWord::UnreachableOpen => false,
        }
    }

    /// The content receipt of this run for an outcome and the digest of its result.
    #[must_use]
    pub fn content(&self, outcome: &str, result_digest: Option<Digest>) -> Digest {
        let content = Content {
            exec_id: self.run,
            action: self.action.as_str(),
            args_digest: self.args_digest,
            nonce: self.nonce.as_ref().map(Nonce::as_str),
            outcome,
            result_digest,
        };
        content.receipt()
    }

    /// The stored form.
    ///
    /// # Errors
    /// [`Refusal::Receipt`] if it cannot be written, which its types rule out.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Refusal> {
        serde_json::to_vec(self).map_err(|error| Refusal::Receipt { detail: error.to_string() })
    }

    /// Reads back the stored form.
    ///
    /// # Errors
    /// [`Refusal::Receipt`] if it was written by a version that is not known here.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Refusal> {
        let facts: Self =
            serde_json::from_slice(bytes).map_err(|error| Refusal::Receipt { detail: error.to_string() })?;
        if facts.v == VERSION {
            Ok(facts)
        } else {
            Err(Refusal::Receipt { detail: format!("intent version {} is not known here", facts.v) })
        }
    }
}
