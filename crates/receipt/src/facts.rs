//! From the plain facts of a run to its content receipt and its statement, so that nobody salts by hand.
//!
//! It must never let a plain digest of arguments, result, nonce, claim, context or caller into the statement.
//! Read on in `statement` and `seal`.

use execgate_model::{
    ActionName, Caller, Digest, Effect, Identity, InstanceId, Nonce, RuleId, RunId, UnixMs,
};
use serde_json::{Map, Value};

use crate::content::Content;
use crate::digest::{SALT_BYTES, salted, salted_digest};
use crate::key::KeyId;
use crate::statement::{
    ApprovalBasis, ApprovalFact, CallerFact, CallerKind, Charged, Gateway, Kind, PREDICATE_TYPE, PolicyFact,
    Predicate, STATEMENT_TYPE, STATEMENT_VERSION, Statement, Subject, SubjectDigest, subject_name,
};
use crate::time::{TimeError, Timestamp};

/// What is known of a run when it is witnessed. All digests in it are plain.
#[derive(Debug, Clone)]
pub struct RunFacts<'a> {
    /// What kind of leaf this becomes.
    pub kind: Kind,
    /// The run.
    pub exec_id: RunId,
    /// What ran.
    pub action: &'a ActionName,
    /// [`crate::digest_json`] of the arguments.
    pub args_digest: Digest,
    /// [`crate::digest_json`] of the result, or nothing where none was observed.
    pub result_digest: Option<Digest>,
    /// The caller's nonce.
    pub nonce: Option<&'a Nonce>,
    /// The outcome in one word (`Outcome::word`).
    pub outcome: &'a str,
    /// What was charged.
    pub charged: Option<Charged>,
    /// The claim by which a payment credential is used once.
    pub payment_claim: Option<&'a str>,
    /// Who asked.
    pub caller: &'a Caller,
    /// The digest of the policy's canonical bytes.
    pub policy_digest: Digest,
    /// The rule that allowed the run.
    pub rule: &'a RuleId,
    /// What the identity service said, in one word.
    pub iam: &'a str,
    /// By which artifact the run was approved, or by which rule none was needed.
    pub approval: ApprovalBasis,
    /// The SHA-256 of what was signed to approve it, and the keys.
    pub approvals: Vec<(Digest, KeyId)>,
    /// For real, or simulated.
    pub effect: Effect,
    /// [`crate::digest_json`] of the caller's context.
    pub context_digest: Option<Digest>,
    /// What confined the run: no fractions, they make [`crate::seal()`] fail.
    pub enforced: Map<String, Value>,
    /// The process that ran it.
    pub instance: InstanceId,
    /// When the handler was started.
    pub started_at: UnixMs,
    /// When its end was observed.
    pub finished_at: Option<UnixMs>,
    /// Which gateway says all this.
    pub gateway: Gateway,
}

impl RunFacts<'_> {
    /// The content receipt: `receipt` on the wire, and `proofHash` after `0x`.
    #[must_use]
    pub fn receipt(&self) -> Digest {
        let content = Content {
            exec_id: self.exec_id,
            action: self.action.as_str(),
            args_digest: self.args_digest,
            nonce: self.nonce.map(Nonce::as_str),
            outcome: self.outcome,
            result_digest: self.result_digest,
        };
        content.receipt()
    }

    /// The statement that commits to all of this under the salt, which must be fresh for every run.
    ///
    /// # Errors
    /// [`TimeError`] where a time lies beyond the year 9999.
    pub fn into_statement(self, salt: &[u8; SALT_BYTES]) -> Result<Statement, TimeError> {
        let receipt = self.receipt();
        let predicate = Predicate {
            v: STATEMENT_VERSION,
            kind: self.kind,
            exec_id: self.exec_id,
            action: self.action.clone(),
            args_digest: salted_digest(salt, self.args_digest),
            result_digest: self.result_digest.map(|digest| salted_digest(salt, digest)),
            nonce_digest: self.nonce.map(|nonce| salted(salt, nonce.as_str().as_bytes())),
            outcome: self.outcome.to_owned(),
            charged: self.charged,
            payment_claim: self.payment_claim.map(|claim| salted(salt, claim.as_bytes())),
            caller: caller_fact(self.caller, salt),
            policy: PolicyFact { digest: self.policy_digest, rule: self.rule.clone() },
            iam: self.iam.to_owned(),
            approval: self.approval,
            approvals: self.approvals.iter().map(|approval| approval_fact(approval, salt)).collect(),
            effect: self.effect,
            context_digest: self.context_digest.map(|digest| salted_digest(salt, digest)),
            enforced: self.enforced,
            instance: self.instance,
            started_at: Timestamp::new(self.started_at)?,
            finished_at: self.finished_at.map(Timestamp::new).transpose()?,
            gateway: self.gateway,
        };
        let digest = SubjectDigest { sha256: salted_digest(salt, receipt) };
        Ok(Statement {
            statement_type: STATEMENT_TYPE.to_owned(),
            subject: vec![Subject { name: subject_name(predicate.exec_id), digest }],
            predicate_type: PREDICATE_TYPE.to_owned(),
            predicate,
        })
    }
}

fn approval_fact(&(digest, key_id): &(Digest, KeyId), salt: &[u8; SALT_BYTES]) -> ApprovalFact {
    ApprovalFact { digest: salted_digest(salt, digest), key_id }
}

fn caller_fact(caller: &Caller, salt: &[u8; SALT_BYTES]) -> CallerFact {
    let (kind, id) = match &caller.identity {
        Identity::Local => (CallerKind::Local, None),
        Identity::Anonymous => (CallerKind::Anonymous, None),
        Identity::Session { id, .. } => (CallerKind::Session, Some(id.clone())),
        Identity::Grant { id, .. } => (CallerKind::Grant, Some(id.to_string())),
        Identity::Wallet { account } => (CallerKind::Wallet, Some(account.clone())),
        // No issuer holds a line break.
        Identity::Subject { issuer, subject, .. } => {
            (CallerKind::Subject, Some(format!("{issuer}\n{subject}")))
        }
    };
    CallerFact { kind, tenant: caller.tenant.clone(), id: id.map(|id| salted(salt, id.as_bytes())) }
}
