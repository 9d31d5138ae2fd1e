//! What signs notes: the key of a log, and the key of a witness.
//!
//! One secret key must never serve both, nor two witnesses: a cosignature does not say who made it (C2SP
//! tlog-cosignature).

use std::sync::Arc;

use super::name::KeyName;
use super::signature::NoteSignature;
use super::signed::{NoteError, check_text};
use super::verifier::{NoteAlgorithm, VerifierKey};
use crate::key::SigningKey;

/// The latest time of a cosignature, in seconds since 1970 (C2SP tlog-cosignature).
pub(super) const LATEST_COSIGNATURE_S: u64 = (1 << 63) - 1;

/// The secret key of a log under the name that its notes bear: its origin.
#[derive(Debug)]
pub struct NoteKey {
    key: Arc<SigningKey>,
    verifier: VerifierKey,
}

impl NoteKey {
    /// A key under a name. A log that takes a new name goes on with the key that it has, so that it may be shared.
    #[must_use]
    pub fn new(name: KeyName, key: impl Into<Arc<SigningKey>>) -> Self {
        let key = key.into();
        let verifier = VerifierKey::new(name, NoteAlgorithm::Ed25519, key.verifying_key());
        Self { key, verifier }
    }

    /// What readers must know to verify.
    #[must_use]
    pub const fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Signs a text, which ends with a newline.
    ///
    /// # Errors
    /// [`NoteError::Text`] where the text cannot be that of a note.
    pub fn sign(&self, text: &str) -> Result<NoteSignature, NoteError> {
        check_text(text)?;
        Ok(signature(&self.verifier, self.key.sign(text.as_bytes()).to_vec()))
    }
}

/// The secret key of a witness under its name.
#[derive(Debug)]
pub struct CosignerKey {
    key: SigningKey,
    verifier: VerifierKey,
}

impl CosignerKey {
    /// A key under a name.
    #[must_use]
    pub fn new(name: KeyName, key: SigningKey) -> Self {
        let verifier = VerifierKey::new(name, NoteAlgorithm::CosignatureV1, key.verifying_key());
        Self { key, verifier }
    }

    /// What readers must know to verify.
    #[must_use]
    pub const fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Cosigns the text of a checkpoint. The caller has checked that it is consistent with all that it cosigned
    /// before, and that it is the largest; `unix_s` is now, in seconds since 1970.
    ///
    /// # Errors
    /// [`NoteError::Text`] where the text cannot be that of a note, and [`NoteError::Time`] for a time that has no
    /// form.
    pub fn cosign(&self, text: &str, unix_s: u64) -> Result<NoteSignature, NoteError> {
        check_text(text)?;
        if unix_s > LATEST_COSIGNATURE_S {
            return Err(NoteError::Time);
        }
        let signed = self.key.sign(&cosigned_message(text, unix_s));
        Ok(signature(&self.verifier, [unix_s.to_be_bytes().as_slice(), &signed].concat()))
    }
}

/// What a cosignature signs: the text under a head that no checkpoint has, so that it is never taken for a note.
pub(super) fn cosigned_message(text: &str, unix_s: u64) -> Vec<u8> {
    format!("cosignature/v1\ntime {unix_s}\n{text}").into_bytes()
}

fn signature(verifier: &VerifierKey, bytes: Vec<u8>) -> NoteSignature {
    NoteSignature { name: verifier.name().clone(), key_id: verifier.id(), bytes }
}
