//! What is signed: an in-toto Statement v1 whose predicate tells how a run came about and ended.
//!
//! It must never hold an argument, a result, a nonce or a caller's name in clear (only salted digests of them), a
//! log index, a link to an earlier receipt, or a transaction hash (CONTRACTS 5). Its fields are for building and
//! showing; what was signed are the payload's bytes, so a reader ignores fields that it does not know.
//! Read on in `facts`, which builds one, and `seal`, which signs it.

use execgate_model::{ActionName, Amount, Digest, Effect, InstanceId, RuleId, RunId, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::key::KeyId;
use crate::strict;
use crate::time::Timestamp;

/// The `_type` of a statement (in-toto attestation framework, Statement v1).
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

/// The `predicateType` of an execution receipt.
pub const PREDICATE_TYPE: &str = "https://execgate.dev/execution-receipt/v1";

/// The `payloadType` of the envelope around a statement (in-toto attestation framework, Envelope v1).
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// The `v` in a predicate.
pub const STATEMENT_VERSION: u32 = 1;

/// An in-toto Statement v1 about one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Statement {
    /// [`STATEMENT_TYPE`].
    #[serde(rename = "_type")]
    pub statement_type: String,
    /// One subject: the run.
    pub subject: Vec<Subject>,
    /// [`PREDICATE_TYPE`].
    #[serde(rename = "predicateType")]
    pub predicate_type: String,
    /// What is said of the run.
    pub predicate: Predicate,
}

/// The subject of a statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// `execgate:run:<exec_id>`, which [`subject_name`] gives.
    pub name: String,
    /// The commitment to the run's content receipt.
    pub digest: SubjectDigest,
}

/// The digests of a subject, by algorithm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubjectDigest {
    /// SHA-256(salt ‖ hexadecimal content receipt).
    pub sha256: Digest,
}

/// The name of a run as a subject.
#[must_use]
pub fn subject_name(exec_id: RunId) -> String {
    format!("execgate:run:{exec_id}")
}

/// What kind of leaf the statement is. Only `final` ones are signed today.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The run ended, and its end was observed or given up as unknown.
    Final,
    /// The run is about to start.
    Intent,
    /// The end of a run that had been taken for dead.
    Late,
    /// What a run was charged, bound to a transaction.
    Settlement,
    /// What an operator found out about a run with an unknown end.
    Resolve,
    /// Policy or approval turned the run away.
    Refusal,
}

/// What a statement says of a run. Every digest but `policy.digest` is salted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Predicate {
    /// [`STATEMENT_VERSION`].
    pub v: u32,
    /// What kind of leaf this is.
    pub kind: Kind,
    /// The run.
    pub exec_id: RunId,
    /// What ran.
    pub action: ActionName,
    /// The commitment to the arguments' digest.
    pub args_digest: Digest,
    /// The commitment to the result's digest; null where no result was observed.
    pub result_digest: Option<Digest>,
    /// The commitment to the nonce; null where there was none.
    pub nonce_digest: Option<Digest>,
    /// The outcome in one word (`Outcome::word`).
    pub outcome: String,
    /// What was charged; null for nothing.
    pub charged: Option<Charged>,
    /// The commitment to the payment credential's claim; null where none was used.
    pub payment_claim: Option<Digest>,
    /// Who asked.
    pub caller: CallerFact,
    /// Which policy allowed it, and by which rule.
    pub policy: PolicyFact,
    /// What the identity service said, in one word.
    pub iam: String,
    /// By which artifact it was approved, or by which rule none was needed.
    pub approval: ApprovalBasis,
    /// What was signed to approve it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<ApprovalFact>,
    /// For real, or simulated.
    pub effect: Effect,
    /// The commitment to the digest of the caller's context; null where there was none.
    pub context_digest: Option<Digest>,
    /// What confined the run, in the sandbox's words: texts, integers, truths, lists and objects of them.
    #[serde(deserialize_with = "strict::object")]
    pub enforced: Map<String, Value>,
    /// The process that ran it.
    pub instance: InstanceId,
    /// When the handler was started.
    pub started_at: Timestamp,
    /// When its end was observed; null where it was not.
    pub finished_at: Option<Timestamp>,
    /// Which gateway says all this.
    pub gateway: Gateway,
}

/// What a run was charged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charged {
    /// How much, as decimal text in units of the currency.
    pub amount: Amount,
    /// The currency, such as `USD` or `USDC`.
    pub currency: String,
    /// The payment rail's name.
    pub rail: String,
}

/// How the caller was identified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CallerKind {
    /// Somebody on the same machine.
    Local,
    /// Nobody in particular.
    Anonymous,
    /// The holder of a session's secret.
    Session,
    /// The holder of a grant's key.
    Grant,
    /// Whoever proved to hold a wallet's key.
    Wallet,
    /// The bearer of a token of an operator's authorization server.
    Subject,
}

/// Who asked, without a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallerFact {
    /// How the caller was identified.
    pub kind: CallerKind,
    /// The tenant that the caller belongs to.
    pub tenant: TenantId,
    /// The commitment to the session, grant, account, or issuer and subject; null for local and anonymous callers.
    pub id: Option<Digest>,
}

/// Which policy allowed a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyFact {
    /// The plain digest of the policy's canonical bytes; a policy is no secret of the caller.
    pub digest: Digest,
    /// The rule.
    pub rule: RuleId,
}

/// Why the run needed no further approval: `{"rule": …}` or `{"artifact": …}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ApprovalBasis {
    /// The rule by which none was needed.
    Rule(RuleId),
    /// The id of the artifact that approved it.
    Artifact(String),
}

/// One signature that approved a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalFact {
    /// The commitment to the digest of what was signed.
    pub digest: Digest,
    /// The key that signed it.
    pub key_id: KeyId,
}

/// The program that signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gateway {
    /// Its name, `execgate`.
    pub name: String,
    /// Its version.
    pub version: String,
}
