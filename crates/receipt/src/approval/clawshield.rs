//! `ClawShield`'s artifact, as `OpenExec` checks it: hash, expiry, signature, tenant, in this order and offline.
//!
//! What is signed are texts in a row with nothing between them, so that another split of them has the same signature. What
//! is used up is therefore the signed text and the id, both. Every change here needs a second reader.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use execgate_model::{Digest, UnixMs};
use serde_json::Value;

use crate::approval::naive_time::naive_utc;
use crate::approval::python_json::action_hash;
use crate::canonical::CanonicalError;
use crate::digest::sha256;
use crate::key::{KeyId, VerifyingKey};

/// The longest field of an artifact, in bytes: a tenant's name is the only one without a length of its own.
pub const MAX_FIELD_BYTES: usize = 512;

/// Part these uses of SHA-256 from all others.
const TEXT_DOMAIN: &str = "execgate clawshield text v1";
const ID_DOMAIN: &str = "execgate clawshield id v1";

/// The fields of an artifact as they came; what is missing fails the check that needs it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClawShieldArtifact {
    /// What is approved once.
    pub approval_id: Option<String>,
    /// Whose approval it is.
    pub tenant_id: Option<String>,
    /// SHA-256 over Python's JSON of `{action, payload}`, in hexadecimal.
    pub action_hash: Option<String>,
    /// When it was made, in UTC without a zone. It is signed, and not judged.
    pub issued_at: Option<String>,
    /// When it ends, in the same form.
    pub expires_at: Option<String>,
    /// Ed25519 over the five fields above in this order, in base64.
    pub signature: Option<String>,
}

/// Why an artifact approves nothing. Statuses and texts for the outside are the doors'.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClawShieldError {
    /// It is for another action or payload.
    #[error("the artifact's action hash is not that of this request")]
    HashMismatch,
    /// The payload cannot be hashed.
    #[error("the payload has no hash of its action")]
    Payload(#[source] CanonicalError),
    /// It does not say when it ends.
    #[error("the artifact has no expires_at")]
    NoExpiry,
    /// What it says of its end is no instant.
    #[error("the artifact's expires_at is no instant")]
    BadExpiry,
    /// It has ended.
    #[error("the artifact has expired")]
    Expired,
    /// There is no key to check it with.
    #[error("no key of ClawShield is configured")]
    NoKey,
    /// The key did not sign this.
    #[error("the artifact's signature does not match")]
    Signature,
    /// It is of another tenant.
    #[error("the artifact is for the tenant `{found}` and not for `{wanted}`")]
    Tenant {
        /// The configured tenant.
        wanted: String,
        /// The artifact's.
        found: String,
    },
}

/// What is configured: the key, and whose artifacts count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClawShield {
    /// The key that signs artifacts. Without it none is good.
    pub key: Option<VerifyingKey>,
    /// The only tenant whose artifacts count; nothing for all of that key.
    pub tenant: Option<String>,
}

/// An artifact that holds for a request. Only [`ClawShield::check`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cleared {
    approval_id: String,
    tenant: String,
    digest: Digest,
    key_id: KeyId,
    used: [Digest; 2],
}

impl Cleared {
    /// The artifact's own id.
    #[must_use]
    pub fn approval_id(&self) -> &str {
        &self.approval_id
    }

    /// Whose it is.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// The SHA-256 of the signed text.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The key that signed it.
    #[must_use]
    pub const fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// What a run uses up: the signed text, and the id. If either is used, the artifact is.
    #[must_use]
    pub const fn artifacts(&self) -> [Digest; 2] {
        self.used
    }
}

impl ClawShield {
    /// Holds an artifact against a request.
    ///
    /// # Errors
    /// [`ClawShieldError`] names the first check that fails, in the order of the module's first line.
    pub fn check(
        &self,
        artifact: &ClawShieldArtifact,
        action: &str,
        payload: &Value,
        now: UnixMs,
    ) -> Result<Cleared, ClawShieldError> {
        let hash = action_hash(action, payload).map_err(ClawShieldError::Payload)?.to_hex();
        if artifact.action_hash.as_ref() != Some(&hash) {
            return Err(ClawShieldError::HashMismatch);
        }
        let expires_at = artifact.expires_at.as_deref().ok_or(ClawShieldError::NoExpiry)?;
        if naive_utc(expires_at).ok_or(ClawShieldError::BadExpiry)? <= now {
            return Err(ClawShieldError::Expired);
        }
        let key = self.key.as_ref().ok_or(ClawShieldError::NoKey)?;
        let signed = artifact.signed().ok_or(ClawShieldError::Signature)?;
        let signature = artifact.signature.as_ref().and_then(|text| STANDARD.decode(text).ok());
        let signature = signature.and_then(|bytes| <[u8; 64]>::try_from(bytes).ok());
        if !signature.is_some_and(|signature| key.verifies(signed.as_bytes(), &signature)) {
            return Err(ClawShieldError::Signature);
        }
        let found = artifact.tenant_id.clone().unwrap_or_default();
        match self.tenant.as_ref().filter(|wanted| **wanted != found) {
            Some(wanted) => Err(ClawShieldError::Tenant { wanted: wanted.clone(), found }),
            None => Ok(artifact.cleared(&signed, found, key.key_id())),
        }
    }
}

impl ClawShieldArtifact {
    /// What was signed: five fields in a row. Nothing where one is missing.
    fn signed(&self) -> Option<String> {
        let fields =
            [&self.approval_id, &self.tenant_id, &self.action_hash, &self.issued_at, &self.expires_at];
        fields.into_iter().map(Option::as_deref).collect()
    }

    fn cleared(&self, signed: &str, tenant: String, key_id: KeyId) -> Cleared {
        let approval_id = self.approval_id.clone().unwrap_or_default();
        let used = [
            sha256(format!("{TEXT_DOMAIN}\n{signed}").as_bytes()),
            sha256(format!("{ID_DOMAIN}\n{}\n{tenant}\n{approval_id}", tenant.len()).as_bytes()),
        ];
        Cleared { approval_id, tenant, digest: sha256(signed.as_bytes()), key_id, used }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use execgate_model::UnixMs;
    use serde_json::{Value, json};

    use super::{ClawShield, ClawShieldArtifact, ClawShieldError, Cleared};
    use crate::approval::python_json::action_hash;
    use crate::key::SigningKey;

    /// 2026-11-20T10:00:00.123Z.
    const NOW: UnixMs = UnixMs(1_795_168_800_123);

    fn key() -> SigningKey {
        SigningKey::from_seed(&[5; 32])
    }

    fn payload() -> Value {
        json!({"msg": "hello"})
    }

    fn sign(mut artifact: ClawShieldArtifact, key: &SigningKey) -> ClawShieldArtifact {
        artifact.signature = artifact.signed().map(|text| STANDARD.encode(key.sign(text.as_bytes())));
        artifact
    }

    fn minted() -> ClawShieldArtifact {
        let artifact = ClawShieldArtifact {
            approval_id: Some("a1".to_owned()),
            tenant_id: Some("tenant-001".to_owned()),
            action_hash: action_hash("echo", &payload()).ok().map(|hash| hash.to_hex()),
            issued_at: Some("2026-11-20T10:00:00.000000".to_owned()),
            expires_at: Some("2026-11-20T10:05:00.000000".to_owned()),
            signature: None,
        };
        sign(artifact, &key())
    }

    fn shield() -> ClawShield {
        ClawShield { key: Some(key().verifying_key()), tenant: Some("tenant-001".to_owned()) }
    }

    fn check(shield: &ClawShield, artifact: &ClawShieldArtifact) -> Result<Cleared, ClawShieldError> {
        shield.check(artifact, "echo", &payload(), NOW)
    }

    #[test]
    fn an_artifact_clears_the_request_that_it_was_minted_for() {
        let cleared = check(&shield(), &minted()).unwrap();
        assert_eq!((cleared.approval_id(), cleared.tenant()), ("a1", "tenant-001"));
        assert!(check(&ClawShield { tenant: None, ..shield() }, &minted()).is_ok());
    }

    #[test]
    fn the_first_check_that_fails_is_named_in_openexecs_order() {
        let with = |change: fn(&mut ClawShieldArtifact)| {
            let mut bad = minted();
            change(&mut bad);
            check(&shield(), &bad).unwrap_err()
        };
        // Each of these has a bad signature, too, and those that come first are named.
        assert_eq!(with(|a| a.action_hash = None), ClawShieldError::HashMismatch);
        assert_eq!(
            with(|a| a.action_hash = a.action_hash.as_ref().map(|hex| hex.to_uppercase())),
            ClawShieldError::HashMismatch
        );
        assert_eq!(with(|a| a.expires_at = None), ClawShieldError::NoExpiry);
        assert_eq!(with(|a| a.expires_at = Some("soon".to_owned())), ClawShieldError::BadExpiry);
        let past = |a: &mut ClawShieldArtifact| a.expires_at = Some("2026-11-20T10:00:00.123999".to_owned());
        assert_eq!(with(past), ClawShieldError::Expired);
        assert_eq!(check(&ClawShield { key: None, ..shield() }, &minted()), Err(ClawShieldError::NoKey));
        let changes: [fn(&mut ClawShieldArtifact); 8] = [
            |a| a.approval_id = Some("a2".to_owned()),
            |a| a.approval_id = None,
            |a| a.tenant_id = Some("tenant-002".to_owned()),
            |a| a.issued_at = Some("2026-11-20T10:00:00.000001".to_owned()),
            |a| a.expires_at = Some("2026-11-20T10:05:00.000001".to_owned()),
            |a| a.signature = None,
            |a| a.signature = Some("AAAA".to_owned()),
            |a| a.signature = a.signature.as_ref().map(|text| format!("{text}\n")),
        ];
        for change in changes {
            assert_eq!(with(change), ClawShieldError::Signature);
        }
        let foreign = sign(minted(), &SigningKey::from_seed(&[6; 32]));
        assert_eq!(check(&shield(), &foreign), Err(ClawShieldError::Signature));
        let other = ClawShield { tenant: Some("wrong-tenant".to_owned()), ..shield() };
        let (wanted, found) = ("wrong-tenant".to_owned(), "tenant-001".to_owned());
        assert_eq!(check(&other, &minted()), Err(ClawShieldError::Tenant { wanted, found }));
    }

    #[test]
    fn an_artifact_clears_no_other_action_or_payload() {
        for (action, payload) in
            [("add", payload()), ("echo", json!({"msg": "tampered"})), ("echo", json!(null))]
        {
            let refused = shield().check(&minted(), action, &payload, NOW);
            assert_eq!(refused, Err(ClawShieldError::HashMismatch), "{action} {payload}");
        }
    }

    #[test]
    fn another_split_of_the_signed_text_uses_up_the_same_artifact() {
        let any_tenant = ClawShield { tenant: None, ..shield() };
        let mut split = minted();
        split.approval_id = Some("a1tenant".to_owned());
        split.tenant_id = Some("-001".to_owned());
        let (first, second) = (check(&any_tenant, &minted()).unwrap(), check(&any_tenant, &split).unwrap());
        assert_eq!(first.artifacts()[0], second.artifacts()[0]);
        assert_eq!(check(&shield(), &split).unwrap_err().to_string(), {
            "the artifact is for the tenant `-001` and not for `tenant-001`"
        });
    }

    #[test]
    fn a_second_artifact_of_the_same_id_uses_up_the_same_id() {
        let mut again = minted();
        again.issued_at = Some("2026-11-20T10:00:00.100000".to_owned());
        let again = sign(again, &key());
        let (first, second) = (check(&shield(), &minted()).unwrap(), check(&shield(), &again).unwrap());
        assert_ne!(first.artifacts()[0], second.artifacts()[0]);
        assert_eq!(first.artifacts()[1], second.artifacts()[1]);
    }
}
