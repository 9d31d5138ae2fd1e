//! What makes two requests the same, and what makes a nonce unique (CONTRACTS 2).

use execgate_model::{Digest, Effect, Nonce, Proposal, RunId, Scope};
use execgate_receipt::{CanonicalError, digest_json, run_id, sha256};
use serde_json::json;

/// SHA-256 of JCS `{action, payload, dryRun, options}`. Approvals, payments and headers are not part of it.
///
/// # Errors
/// [`CanonicalError`] if the payload holds a number that has no exact canonical form.
pub fn fingerprint(proposal: &Proposal) -> Result<Digest, CanonicalError> {
    digest_json(&json!({
        "action": proposal.action,
        "payload": proposal.payload,
        "dryRun": matches!(proposal.effect, Effect::DryRun),
        "options": proposal.options,
    }))
}

/// A nonce within its scope, as the record keeps it for ever: a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NonceKey(Digest);

impl NonceKey {
    /// The key of a nonce in a scope. Neither part can hold the line break pair that joins them.
    #[must_use]
    pub fn new(scope: &Scope, nonce: &Nonce) -> Self {
        Self(sha256(format!("execgate nonce v1\n\n{}\n\n{nonce}", scope.as_str()).as_bytes()))
    }

    /// The key of a payment that stands for a nonce.
    pub(crate) fn of_payment(payment: Digest) -> Self {
        Self(sha256(format!("execgate payment nonce v1\n\n{payment}").as_bytes()))
    }

    /// The run that such a payment names.
    pub(crate) fn payment_run(payment: Digest, fingerprint: Digest) -> RunId {
        run_id("payment", &payment.to_hex(), fingerprint)
    }

    /// The digest that the record holds.
    #[must_use]
    pub fn digest(self) -> Digest {
        self.0
    }

    /// The run that this nonce names, the same on every retry.
    #[must_use]
    pub fn run(scope: &Scope, nonce: &Nonce, fingerprint: Digest) -> RunId {
        run_id(scope.as_str(), nonce.as_str(), fingerprint)
    }
}
