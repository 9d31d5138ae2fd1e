//! From what is said of a run to the signed file that its owner keeps. The only place that signs.

use execgate_model::{Amount, Digest, Outcome, UnixMs};
use execgate_receipt::{ApprovalBasis, Charged, Kind, ReceiptFile, RunFacts, seal};
use serde_json::{Map, Value};

use super::{Facts, Witness};
use crate::Refusal;

/// The currency of every price.
const CURRENCY: &str = "USD";

/// What is said of a run beyond its [`Facts`].
pub(super) struct Said<'a> {
    pub(super) kind: Kind,
    pub(super) outcome: &'a str,
    pub(super) result_digest: Option<Digest>,
    pub(super) context_digest: Option<Digest>,
    /// How much is taken.
    pub(super) charged: Amount,
    pub(super) enforced: Map<String, Value>,
    pub(super) finished: Option<UnixMs>,
}

/// A signed statement, ready to be recorded.
pub(super) struct Signed {
    pub(super) content: Digest,
    pub(super) leaf: Digest,
    pub(super) file: Vec<u8>,
    /// Which key made it.
    pub(super) signer: [u8; 32],
}

impl Witness {
    /// Signs what is said of a run.
    pub(super) fn sign(&self, facts: &Facts, salt: &[u8; 32], said: Said<'_>) -> Result<Signed, Refusal> {
        let detail = |error: &dyn core::fmt::Display| Refusal::Receipt { detail: error.to_string() };
        let run_facts = RunFacts {
            kind: said.kind,
            exec_id: facts.run,
            action: &facts.action,
            args_digest: facts.args_digest,
            result_digest: said.result_digest,
            nonce: facts.nonce.as_ref(),
            outcome: said.outcome,
            charged: (!said.charged.is_zero()).then(|| Charged {
                amount: said.charged,
                currency: CURRENCY.to_owned(),
                rail: facts.rail.clone(),
            }),
            payment_claim: facts.payment.as_deref(),
            caller: &facts.caller,
            policy_digest: facts.policy,
            rule: &facts.rule,
            iam: facts.iam.as_str(),
            approval: match &facts.approved {
                Some(approved) => ApprovalBasis::Artifact(approved.id.clone()),
                None => ApprovalBasis::Rule(facts.approval.clone()),
            },
            approvals: facts
                .approved
                .iter()
                .flat_map(|approved| &approved.by)
                .map(|by| (by.digest, by.key_id))
                .collect(),
            effect: facts.effect,
            context_digest: said.context_digest,
            enforced: said.enforced,
            instance: facts.instance,
            started_at: facts.started,
            finished_at: said.finished,
            gateway: self.gateway.clone(),
        };
        let content = run_facts.receipt();
        let statement = run_facts.into_statement(salt).map_err(|error| detail(&error))?;
        let key = self.key.now();
        let seal = seal(&key, &statement, salt).map_err(|error| detail(&error))?;
        let leaf = seal.leaf();
        let file = ReceiptFile {
            exec_id: facts.run,
            receipt: content,
            salt: *salt,
            envelope: seal.into_envelope(),
            args: None,
            result: None,
            nonce: facts.nonce.as_ref().map(ToString::to_string),
            public_key: None,
            log_proof: None,
            log_key: None,
        };
        let file = file.to_json().map_err(|error| detail(&error))?.into_bytes();
        Ok(Signed { content, leaf, file, signer: *key.verifying_key().as_bytes() })
    }
}

/// What confined a run, for its statement.
pub(super) fn enforced(outcome: &Outcome) -> Map<String, Value> {
    match outcome {
        Outcome::Done { product } => product.enforced.as_object().cloned().unwrap_or_default(),
        Outcome::Unknown => Map::new(),
    }
}
