//! What approvers sign, as a test thinks of it. `ClawShield` artifacts are signed by `ring`, which has no part in judging them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use execgate_flow::approve::Person;
use execgate_model::{Digest, Proposal, TenantId, UnixMs};
use execgate_receipt::approval::{
    APPROVAL_TYPE, ActionDigest, ApprovalStatement, Approver, ClawShield, Decision, action_hash,
};
use execgate_receipt::{SigningKey, Timestamp};
use ring::signature::Ed25519KeyPair;
use serde_json::{Value, json};

use crate::Ask;
use crate::ask::tenant;

/// The seed of the key that signs artifacts of `ClawShield`.
const SHIELD_SEED: [u8; 32] = [5; 32];

/// How long what is signed here lasts, in milliseconds: as long as `ClawShield`'s.
const LASTS_MS: u64 = 300_000;

/// The only tenant whose artifacts [`shield`] takes.
pub const SHIELD_TENANT: &str = "tenant-001";

/// What takes the artifacts that [`Minted`] makes.
#[must_use]
pub fn shield() -> ClawShield {
    let key = SigningKey::from_seed(&SHIELD_SEED).verifying_key();
    ClawShield { key: Some(key), tenant: Some(SHIELD_TENANT.to_owned()) }
}

/// A `ClawShield` artifact in the making.
#[derive(Debug, Clone)]
pub struct Minted {
    /// The fields but for the signature.
    pub fields: Value,
}

impl Minted {
    /// An artifact for an action and its payload, good from a time on.
    ///
    /// # Panics
    /// If the payload has no hash.
    #[must_use]
    pub fn of(id: &str, action: &str, payload: &Value, now: UnixMs) -> Self {
        let hash = action_hash(action, payload).expect("a payload with a hash").to_hex();
        let fields = json!({
            "approval_id": id, "tenant_id": SHIELD_TENANT, "action_hash": hash,
            "issued_at": naive(now.0), "expires_at": naive(now.0 + LASTS_MS),
        });
        Self { fields }
    }

    /// With another field, before it is signed.
    #[must_use]
    pub fn with(mut self, field: &str, text: &str) -> Self {
        self.fields[field] = text.into();
        self
    }

    /// Signs it.
    ///
    /// # Panics
    /// If a field is no text.
    #[must_use]
    pub fn signed(self) -> Value {
        let pair = Ed25519KeyPair::from_seed_unchecked(&SHIELD_SEED).expect("a key of 32 bytes");
        let names = ["approval_id", "tenant_id", "action_hash", "issued_at", "expires_at"];
        let text: String = names.map(|name| self.fields[name].as_str().expect("a text")).concat();
        let mut artifact = self.fields;
        artifact["signature"] = STANDARD.encode(pair.sign(text.as_bytes())).into();
        artifact
    }
}

/// An instant as Python's `datetime.utcnow().isoformat()` writes it.
fn naive(ms: u64) -> String {
    let text = Timestamp::new(UnixMs(ms)).expect("an instant").to_string();
    format!("{}000", text.trim_end_matches('Z'))
}

/// An approver of this name, whose only key is made of 32 bytes of a number.
///
/// # Panics
/// If no approver can have such a name.
#[must_use]
pub fn approver(name: &str, number: u8) -> Person {
    let keys = vec![SigningKey::from_seed(&[number; 32]).verifying_key()];
    let approver = Approver {
        name: name.parse().expect("a name of an approver"),
        person: name.to_owned(),
        tenant: None,
        keys,
    };
    Person { approver, asks_as: Vec::new() }
}

/// What an approver says of a request in a world: yes, from a time on, to whoever asks.
///
/// # Panics
/// If no approver can have such a name.
#[must_use]
pub fn yes(name: &str, id: u8, ask: &Ask, now: UnixMs) -> ApprovalStatement {
    let proposal = Proposal::from(ask.clone());
    statement(name, id, proposal.action.as_str(), ask.digest(), &tenant(), now)
}

/// The same of a request that is not a world's own.
///
/// # Panics
/// If a name is none.
#[must_use]
pub fn statement(
    name: &str,
    id: u8,
    action: &str,
    digest: Digest,
    tenant: &TenantId,
    now: UnixMs,
) -> ApprovalStatement {
    let at = |ms| Timestamp::new(UnixMs(ms)).expect("an instant");
    ApprovalStatement {
        statement_type: APPROVAL_TYPE.to_owned(),
        approval_id: format!("00000000-0000-8000-8000-0000000000{id:02x}").parse().expect("a UUID"),
        decision: Decision::Approve,
        tenant: tenant.clone(),
        scope: None,
        action: action.parse().expect("a name of an action"),
        action_digest: ActionDigest(digest),
        policy_digest: None,
        max_price: None,
        reason: None,
        issued_at: at(now.0),
        expires_at: at(now.0 + LASTS_MS),
        approver: name.parse().expect("a name of an approver"),
    }
}

/// Signs a statement with the key that is made of 32 bytes of a number.
///
/// # Panics
/// If the statement is too long.
#[must_use]
pub fn signed(said: &ApprovalStatement, number: u8) -> Value {
    let envelope = said.sign(&SigningKey::from_seed(&[number; 32])).expect("a statement");
    serde_json::to_value(envelope).expect("an envelope")
}
