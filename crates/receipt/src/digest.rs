//! Everything that is hashed with SHA-256: texts, values, salted commitments, and the name of a run.
//!
//! It must never make a salt (bytes come in), and never hash two parts so that another split of them has the same
//! digest. Read on in `content` and `facts`, which say what is committed to.

use execgate_model::{Digest, RunId};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::canonical::{CanonicalError, canonical};

/// The bytes of a salt.
pub const SALT_BYTES: usize = 32;

/// Parts this use of SHA-256 from all others; the version changes when the derivation does.
const RUN_ID_DOMAIN: &[u8] = b"execgate/run-id/v1\0";

/// The SHA-256 of some bytes (FIPS 180-4).
#[must_use]
pub fn sha256(bytes: &[u8]) -> Digest {
    Digest::from_bytes(Sha256::digest(bytes).into())
}

/// The SHA-256 of a value's canonical bytes (RFC 8785).
///
/// # Errors
/// [`CanonicalError`] where the value has no canonical form.
pub fn digest_json(value: &Value) -> Result<Digest, CanonicalError> {
    canonical(value).map(|bytes| sha256(&bytes))
}

/// SHA-256(salt ‖ bytes): a commitment that nobody can guess at without the salt (CONTRACTS 5).
///
/// The salt has one length, so the parts cannot be split otherwise. It is no message authentication code: whoever
/// has the salt may commit to anything.
#[must_use]
pub fn salted(salt: &[u8; SALT_BYTES], bytes: &[u8]) -> Digest {
    Digest::from_bytes(Sha256::new().chain_update(salt).chain_update(bytes).finalize().into())
}

/// The commitment to something that itself is a digest: [`salted`] over its 64 hexadecimal digits.
///
/// This is how a statement commits to arguments, results and the content receipt, so that whoever keeps only their
/// digests can build and check it.
#[must_use]
pub fn salted_digest(salt: &[u8; SALT_BYTES], digest: Digest) -> Digest {
    salted(salt, digest.to_hex().as_bytes())
}

/// The name of a run that has a nonce: the same on every retry, on every replica (CONTRACTS 2).
///
/// The first 16 bytes of SHA-256(domain ‖ SHA-256(scope) ‖ SHA-256(nonce) ‖ fingerprint), as a version 8 UUID. All
/// parts have a fixed length, so no other scope and nonce share its preimage.
#[must_use]
pub fn run_id(scope: &str, nonce: &str, fingerprint: Digest) -> RunId {
    let digest: [u8; 32] = Sha256::new()
        .chain_update(RUN_ID_DOMAIN)
        .chain_update(sha256(scope.as_bytes()).as_bytes())
        .chain_update(sha256(nonce.as_bytes()).as_bytes())
        .chain_update(fingerprint.as_bytes())
        .finalize()
        .into();
    let mut sixteen = [0; 16];
    sixteen.copy_from_slice(&digest[..16]);
    RunId::from_entropy(sixteen)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{digest_json, run_id, salted, salted_digest, sha256};

    #[test]
    fn sha256_is_that_of_fips_180_4() {
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(b"abc").to_hex(), hex);
    }

    #[test]
    fn a_value_has_the_digest_of_its_canonical_bytes() {
        assert_eq!(digest_json(&json!({"b": 1.0, "a": "x"})), Ok(sha256(br#"{"a":"x","b":1}"#)));
    }

    #[test]
    fn a_salted_digest_is_that_of_salt_and_bytes_in_a_row() {
        let mut row = [7; 35];
        row[32..].copy_from_slice(b"abc");
        assert_eq!(salted(&[7; 32], b"abc"), sha256(&row));
        assert_ne!(salted(&[7; 32], b"abc"), salted(&[8; 32], b"abc"));
        let digest = sha256(b"abc");
        assert_eq!(salted_digest(&[7; 32], digest), salted(&[7; 32], digest.to_hex().as_bytes()));
    }

    #[test]
    fn a_run_is_named_by_scope_nonce_and_fingerprint_together() {
        let print = sha256(b"{}");
        let named = run_id("acme\nlocal", "n1", print);
        // Fixed for ever: a stored run must be found again.
        assert_eq!(named.to_string(), "a4e3a4e6-0a68-8603-af77-a1eb656365e7");
        assert_eq!(named, run_id("acme\nlocal", "n1", print));
        for other in [
            run_id("acme\nlocaln", "1", print),
            run_id("acme\nloca", "ln1", print),
            run_id("acme\nlocal", "n2", print),
            run_id("acme\nlocal", "n1", sha256(b"[]")),
        ] {
            assert_ne!(named, other);
        }
    }
}
