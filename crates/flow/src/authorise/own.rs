//! The rules of a grant's own: a policy file that its operator gave it, beside the gateway's.
//!
//! They never take the place of the gateway's rules. A text that cannot be read allows nothing.

use execgate_model::Digest;
use execgate_policy::{Policy, PolicyError};
use execgate_receipt::{CanonicalError, StrictError, digest_json, parse_strict};
use execgate_store::GRANT_POLICY_BYTES_MAX;
use serde_json::json;

/// Why a text holds no rules for a grant.
#[derive(Debug, thiserror::Error)]
pub enum OwnRulesError {
    /// It is longer than what is kept.
    #[error("the rules of a grant are at most {GRANT_POLICY_BYTES_MAX} bytes long")]
    TooLong,
    /// It is no JSON, or JSON that means one thing to this reader and another to that.
    #[error(transparent)]
    Json(#[from] StrictError),
    /// It is no policy.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// It has a number that cannot be digested exactly.
    #[error(transparent)]
    Digest(#[from] CanonicalError),
}

/// The rules of a grant, compiled.
#[derive(Debug, Clone)]
pub struct OwnRules {
    policy: Policy,
    digest: Digest,
}

impl OwnRules {
    /// Reads and compiles the text of a policy file.
    ///
    /// # Errors
    /// [`OwnRulesError`] says what is wrong, and where.
    pub fn read(text: &str) -> Result<Self, OwnRulesError> {
        if text.len() > GRANT_POLICY_BYTES_MAX {
            return Err(OwnRulesError::TooLong);
        }
        // Strictly first, so that the digest means one thing only.
        let json = parse_strict(text.as_bytes())?;
        let policy = Policy::read_for_grant(text.as_bytes())?;
        Ok(Self { policy, digest: digest_json(&json)? })
    }

    /// The rules.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// SHA-256 over the JCS of the file.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What names these rules beside those of a gateway: SHA-256 over the JCS of `{"gateway": …, "grant": …}`, so that
    /// anybody who has both can make it.
    ///
    /// # Errors
    /// None that two digests could cause.
    pub fn beside(&self, gateway: Digest) -> Result<Digest, CanonicalError> {
        digest_json(&json!({"gateway": gateway, "grant": self.digest}))
    }
}

#[cfg(test)]
mod tests {
    use execgate_model::Digest;
    use execgate_receipt::sha256;
    use execgate_store::GRANT_POLICY_BYTES_MAX;

    use super::OwnRules;

    const OPEN: &str = "{\"version\": \"1\", \"default\": \"allow\"}";

    #[test]
    fn a_text_is_read_strictly_and_within_bounds() {
        let error = |text: &str| OwnRules::read(text).err().map_or_else(String::new, |e| e.to_string());
        assert_eq!(error(OPEN), "");
        assert_eq!(error(&format!("{OPEN:<0$}", GRANT_POLICY_BYTES_MAX)), "");
        assert!(error(&format!("{OPEN:<0$}", GRANT_POLICY_BYTES_MAX + 1)).contains("at most 8192 bytes"));
        assert!(error("{\"version\": \"1\",\n \"defalt\": \"deny\"}").contains("line 1 column 1"));
        assert!(error("{\"version\": \"1\", \"version\": \"1\"}").contains("twice"));
    }

    #[test]
    fn the_digest_beside_a_gateways_can_be_made_by_anybody() {
        let (own, gateway) = (OwnRules::read(OPEN).unwrap(), Digest::from_bytes([1; 32]));
        assert_eq!(own.digest(), sha256(b"{\"default\":\"allow\",\"version\":\"1\"}"));
        let jcs = format!("{{\"gateway\":\"{gateway}\",\"grant\":\"{}\"}}", own.digest());
        assert_eq!(own.beside(gateway).unwrap(), sha256(jcs.as_bytes()));
    }
}
