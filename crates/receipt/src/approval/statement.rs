//! `approval/v1`: one approver's word on one action, as the bytes that are signed.
//!
//! There is one spelling of a statement, its canonical JSON (RFC 8785). It must never be read from bytes whose
//! signature does not hold. Read on in `approver`, which opens envelopes, and `bind`.

use core::fmt;
use core::str::FromStr;

use execgate_model::{ActionName, Amount, ApprovalId, ApproverName, Digest, DigestError, TenantId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::approval::error::ApprovalError;
use crate::canonical::canonical;
use crate::envelope::Envelope;
use crate::key::SigningKey;
use crate::strict::parse_strict;
use crate::time::Timestamp;

/// The `payloadType` of the envelope.
pub const APPROVAL_PAYLOAD_TYPE: &str = "application/vnd.execgate.approval+json";

/// The `type` in a statement.
pub const APPROVAL_TYPE: &str = "approval/v1";

/// How long a statement may be, in bytes: its names are bounded, and a reason is a paragraph.
pub const MAX_APPROVAL_BYTES: usize = 16 * 1024;

/// What an approver says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// It may run, once.
    Approve,
    /// It may not.
    Deny,
}

/// A digest as a statement writes it: `sha256:` and 64 lowercase hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ActionDigest(pub Digest);

const DIGEST_PREFIX: &str = "sha256:";

impl fmt::Display for ActionDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{DIGEST_PREFIX}{}", self.0)
    }
}

impl FromStr for ActionDigest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        text.strip_prefix(DIGEST_PREFIX).ok_or(DigestError::Length)?.parse().map(Self)
    }
}

impl Serialize for ActionDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ActionDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|_| {
            serde::de::Error::custom("a digest is `sha256:` and 64 lowercase hexadecimal digits")
        })
    }
}

/// What one approver says of one action. All fields are always there; what does not hold is null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalStatement {
    /// [`APPROVAL_TYPE`].
    #[serde(rename = "type")]
    pub statement_type: String,
    /// What is used up by the run. Several people who approve the same run name the same.
    pub approval_id: ApprovalId,
    /// Yes or no.
    pub decision: Decision,
    /// The tenant of the caller.
    pub tenant: TenantId,
    /// The caller's scope (`Scope::as_str`); null for any caller of that tenant.
    pub scope: Option<String>,
    /// What may run.
    pub action: ActionName,
    /// The fingerprint of the request: SHA-256 over canonical `{action, payload, dryRun, options}`.
    pub action_digest: ActionDigest,
    /// The digest of the policy under which it was asked for; null for any.
    pub policy_digest: Option<ActionDigest>,
    /// The most that it may cost, in US dollars; null for any price.
    pub max_price: Option<Amount>,
    /// Why, in the approver's words. Nothing follows from it.
    pub reason: Option<String>,
    /// When it was signed.
    pub issued_at: Timestamp,
    /// From when on it is worth nothing.
    pub expires_at: Timestamp,
    /// Who signs, by the name in the operator's configuration.
    pub approver: ApproverName,
}

impl ApprovalStatement {
    /// The bytes that are signed.
    ///
    /// # Errors
    /// [`ApprovalError::TooLong`]; [`ApprovalError::Write`] and [`ApprovalError::Canonical`] never in practice.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ApprovalError> {
        let value = serde_json::to_value(self).map_err(ApprovalError::Write)?;
        let bytes = canonical(&value).map_err(ApprovalError::Canonical)?;
        if bytes.len() > MAX_APPROVAL_BYTES {
            return Err(ApprovalError::TooLong { max: MAX_APPROVAL_BYTES });
        }
        Ok(bytes)
    }

    /// Reads a statement whose signature holds.
    ///
    /// # Errors
    /// [`ApprovalError`] where the bytes are too many, no strict JSON, no statement, or spelt otherwise.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, ApprovalError> {
        if bytes.len() > MAX_APPROVAL_BYTES {
            return Err(ApprovalError::TooLong { max: MAX_APPROVAL_BYTES });
        }
        let value = parse_strict(bytes).map_err(ApprovalError::Json)?;
        let statement = Self::deserialize(&value).map_err(ApprovalError::Fields)?;
        if statement.statement_type != APPROVAL_TYPE {
            return Err(ApprovalError::Type);
        }
        // One spelling: what a tool shows and what was signed cannot differ, and nothing is left out.
        if statement.to_bytes()? == bytes { Ok(statement) } else { Err(ApprovalError::NotCanonical) }
    }

    /// Signs the statement. For an approver's own machine: the gateway holds no key of an approver.
    ///
    /// # Errors
    /// As [`Self::to_bytes`].
    pub fn sign(&self, key: &SigningKey) -> Result<Envelope, ApprovalError> {
        Ok(Envelope::sign(key, APPROVAL_PAYLOAD_TYPE, &self.to_bytes()?))
    }
}
