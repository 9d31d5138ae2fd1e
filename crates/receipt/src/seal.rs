//! The evidence that the witness room did its work: a signed statement.
//!
//! Nobody else may build a [`Seal`], and none may hold a fraction or bytes that are not canonical.
//! Read on in `flow`, where a run without a seal cannot be settled.

use execgate_model::{Digest, RunId};
use serde_json::Value;

use crate::canonical::{CanonicalError, canonical};
use crate::digest::{SALT_BYTES, salted, sha256};
use crate::envelope::Envelope;
use crate::key::SigningKey;
use crate::statement::{PAYLOAD_TYPE, Statement};

/// Why a statement cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The statement could not be written as JSON.
    #[error("failed to write the statement as JSON")]
    Write(#[source] serde_json::Error),
    /// A number is a fraction. Statements hold texts and integers, so that every reader agrees on them.
    #[error("the statement holds the number {number}, which is not an integer")]
    Fraction {
        /// The number.
        number: String,
    },
    /// The statement has no canonical form.
    #[error("failed to make the statement canonical")]
    Canonical(#[source] CanonicalError),
}

/// A signed statement. Only [`seal()`] makes one:
///
/// ```compile_fail,E0451
/// fn forge(genuine: execgate_receipt::Seal, other: execgate_model::Digest) -> execgate_receipt::Seal {
///     execgate_receipt::Seal { digest: other, ..genuine }
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a seal that is dropped leaves its run without a receipt"]
pub struct Seal {
    exec_id: RunId,
    envelope: Envelope,
    payload: Vec<u8>,
    digest: Digest,
    leaf: Digest,
}

impl Seal {
    /// The run that the statement is about.
    #[must_use]
    pub const fn exec_id(&self) -> RunId {
        self.exec_id
    }

    /// The DSSE envelope.
    #[must_use]
    pub const fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// The canonical bytes that were signed (inside the pre-authentication encoding).
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The SHA-256 of the payload.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// What the public log holds: SHA-256(salt ‖ payload), which says nothing once the salt is erased.
    #[must_use]
    pub const fn leaf(&self) -> Digest {
        self.leaf
    }

    /// Gives up the seal for its envelope.
    #[must_use]
    pub fn into_envelope(self) -> Envelope {
        self.envelope
    }
}

/// Signs a statement. The salt must be the one that the statement was built with.
///
/// # Errors
/// [`SealError`]: in practice only a fraction, a huge integer or deep nesting in `enforced`.
pub fn seal(key: &SigningKey, statement: &Statement, salt: &[u8; SALT_BYTES]) -> Result<Seal, SealError> {
    let value = serde_json::to_value(statement).map_err(SealError::Write)?;
    // Canonical bytes come first: they bound the depth to which the next check descends.
    let payload = canonical(&value).map_err(SealError::Canonical)?;
    refuse_fractions(&value)?;
    Ok(Seal {
        exec_id: statement.predicate.exec_id,
        envelope: Envelope::sign(key, PAYLOAD_TYPE, &payload),
        digest: sha256(&payload),
        leaf: salted(salt, &payload),
        payload,
    })
}

fn refuse_fractions(value: &Value) -> Result<(), SealError> {
    match value {
        Value::Number(number) if number.is_f64() => Err(SealError::Fraction { number: number.to_string() }),
        Value::Array(items) => items.iter().try_for_each(refuse_fractions),
        Value::Object(map) => map.values().try_for_each(refuse_fractions),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}
