//! Ed25519 keys (RFC 8032) as the files that `openssl pkey` reads and writes (RFC 8410).
//!
//! A secret must never reach a log, a `Debug` text or freed memory: it is wiped when the key is dropped.
//! Read on in `envelope`, the only place that signs.

use core::fmt;

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::spki::der::zeroize::Zeroizing;
use ed25519_dalek::pkcs8::{
    self, DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, KeypairBytes,
};
use ed25519_dalek::{Signature, Signer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::sha256;

/// A secret text, which is wiped when it is dropped and does not print itself.
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// The text, to be written to a file and nowhere else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(..)")
    }
}

/// Why a text is no usable key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The text is no PKCS#8 PEM file of an Ed25519 key.
    #[error("the private key is not an Ed25519 key in PKCS#8 PEM form")]
    PrivatePem(#[source] pkcs8::Error),
    /// The text is no SPKI PEM file of an Ed25519 key.
    #[error("the public key is not an Ed25519 key in SPKI PEM form")]
    PublicPem(#[source] pkcs8::spki::Error),
    /// The 32 bytes are no point of the curve.
    #[error("the public key is not an Ed25519 key")]
    PublicBytes,
    /// The point has a small order, so that a signature can be made without a secret (RFC 8032, section 8.9).
    #[error("the public key is weak")]
    Weak,
    /// The key could not be written as a file.
    #[error("failed to write the key as PEM")]
    Write(#[source] pkcs8::Error),
}

/// The short name of a public key: the first 8 bytes of SHA-256 of its 32 raw bytes, as 16 hexadecimal digits.
///
/// It only helps to find a key. Which keys are trusted is never decided by it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl Serialize for KeyId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Sixteen lowercase hexadecimal digits, and nothing else.
impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let id = u64::from_str_radix(&text, 16).map(|number| Self(number.to_be_bytes())).ok();
        id.filter(|id| id.to_string() == text)
            .ok_or_else(|| serde::de::Error::custom("a key id has 16 lowercase hexadecimal digits"))
    }
}

/// The secret half of a receipt key.
pub struct SigningKey {
    secret: ed25519_dalek::SigningKey,
    key_id: KeyId,
}

impl SigningKey {
    /// The key of a 32-byte seed (RFC 8032, section 5.1.5), which must come from a random source.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self::wrap(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// Reads a PKCS#8 PEM file (`openssl genpkey -algorithm ed25519`).
    ///
    /// # Errors
    /// [`KeyError::PrivatePem`].
    pub fn from_pkcs8_pem(pem: &str) -> Result<Self, KeyError> {
        ed25519_dalek::SigningKey::from_pkcs8_pem(pem.trim()).map(Self::wrap).map_err(KeyError::PrivatePem)
    }

    /// Writes a PKCS#8 PEM file. Version 1, without the public key, because OpenSSL 3.0 reads no other (RFC 5208).
    ///
    /// # Errors
    /// [`KeyError::Write`].
    pub fn to_pkcs8_pem(&self) -> Result<SecretText, KeyError> {
        let mut pair = KeypairBytes::from(&self.secret);
        pair.public_key = None;
        pair.to_pkcs8_pem(LineEnding::LF).map(SecretText).map_err(KeyError::Write)
    }

    /// The public half.
    #[must_use]
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey { public: self.secret.verifying_key(), key_id: self.key_id }
    }

    /// The short name of the public half.
    #[must_use]
    pub const fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// Signs bytes as they are. Callers outside this crate sign envelopes, which say what the bytes are.
    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.secret.sign(message).to_bytes()
    }

    fn wrap(secret: ed25519_dalek::SigningKey) -> Self {
        let key_id = key_id(&secret.verifying_key());
        Self { secret, key_id }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// The public half of a receipt key.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifyingKey {
    public: ed25519_dalek::VerifyingKey,
    key_id: KeyId,
}

impl VerifyingKey {
    /// Reads an SPKI PEM file (`openssl pkey -pubout`).
    ///
    /// # Errors
    /// [`KeyError::PublicPem`] and [`KeyError::Weak`].
    pub fn from_spki_pem(pem: &str) -> Result<Self, KeyError> {
        ed25519_dalek::VerifyingKey::from_public_key_pem(pem.trim())
            .map_err(KeyError::PublicPem)
            .and_then(Self::wrap)
    }

    /// Reads the 32 raw bytes (RFC 8032, section 5.1.5).
    ///
    /// # Errors
    /// [`KeyError::PublicBytes`] and [`KeyError::Weak`].
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::PublicBytes).and_then(Self::wrap)
    }

    /// Writes an SPKI PEM file, byte for byte as `openssl pkey -pubout` does.
    ///
    /// # Errors
    /// [`KeyError::PublicPem`].
    pub fn to_spki_pem(&self) -> Result<String, KeyError> {
        self.public.to_public_key_pem(LineEnding::LF).map_err(KeyError::PublicPem)
    }

    /// The short name of this key.
    #[must_use]
    pub const fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The 32 raw bytes (RFC 8032, section 5.1.5), for a key directory.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.public.as_bytes()
    }

    /// True where the signature is this key's, in the one spelling that a signer makes (RFC 8032, section 8.4).
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.public.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }

    fn wrap(public: ed25519_dalek::VerifyingKey) -> Result<Self, KeyError> {
        if public.is_weak() {
            return Err(KeyError::Weak);
        }
        Ok(Self { public, key_id: key_id(&public) })
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({})", self.key_id)
    }
}

fn key_id(public: &ed25519_dalek::VerifyingKey) -> KeyId {
    let mut eight = [0; 8];
    eight.copy_from_slice(&sha256(public.as_bytes()).as_bytes()[..8]);
    KeyId(eight)
}

#[cfg(test)]
mod tests {
    use super::{KeyError, KeyId, SigningKey, VerifyingKey};

    /// RFC 8032, section 7.1, TEST 2.
    const SEED: [u8; 32] = [
        0x4c, 0xcd, 0x08, 0x9b, 0x28, 0xff, 0x96, 0xda, 0x9d, 0xb6, 0xc3, 0x46, 0xec, 0x11, 0x4e, 0x0f, 0x5b,
        0x8a, 0x31, 0x9f, 0x35, 0xab, 0xa6, 0x24, 0xda, 0x8c, 0xf6, 0xed, 0x4f, 0xb8, 0xa6, 0xfb,
    ];

    #[test]
    fn a_seed_gives_the_key_and_signature_of_rfc_8032() {
        let key = SigningKey::from_seed(&SEED);
        let public = key.verifying_key();
        assert_eq!(public.as_bytes()[..4], [0x3d, 0x40, 0x17, 0xc3]);
        let signature = key.sign(&[0x72]);
        assert_eq!(signature[..4], [0x92, 0xa0, 0x09, 0xa9]);
        assert!(public.verifies(&[0x72], &signature));
        assert!(!public.verifies(&[0x73], &signature));
    }

    #[test]
    fn keys_read_back_from_their_files() {
        let key = SigningKey::from_seed(&SEED);
        let read = SigningKey::from_pkcs8_pem(key.to_pkcs8_pem().unwrap().expose()).unwrap();
        assert_eq!(read.verifying_key(), key.verifying_key());
        let public = VerifyingKey::from_spki_pem(&key.verifying_key().to_spki_pem().unwrap()).unwrap();
        assert_eq!(public, key.verifying_key());
        assert!(matches!(SigningKey::from_pkcs8_pem("nonsense"), Err(KeyError::PrivatePem(_))));
        let other = key.to_pkcs8_pem().unwrap();
        assert!(matches!(VerifyingKey::from_spki_pem(other.expose()), Err(KeyError::PublicPem(_))));
    }

    #[test]
    fn a_private_key_file_with_a_public_key_that_is_not_its_own_is_refused() {
        use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
        use ed25519_dalek::pkcs8::{EncodePrivateKey, KeypairBytes, PublicKeyBytes};
        let foreign = SigningKey::from_seed(&[1; 32]);
        let pair = KeypairBytes {
            secret_key: SEED,
            public_key: Some(PublicKeyBytes(*foreign.verifying_key().as_bytes())),
        };
        let pem = pair.to_pkcs8_pem(LineEnding::LF).unwrap();
        assert!(matches!(SigningKey::from_pkcs8_pem(&pem), Err(KeyError::PrivatePem(_))));
    }

    #[test]
    fn a_point_of_small_order_is_no_key() {
        // The neutral element: 1 followed by zeros.
        let pem = "-----BEGIN PUBLIC KEY-----\n\
            MCowBQYDK2VwAyEAAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n-----END PUBLIC KEY-----\n";
        assert!(matches!(VerifyingKey::from_spki_pem(pem), Err(KeyError::Weak)));
    }

    #[test]
    fn debug_texts_show_the_key_id_and_no_secret() {
        let key = SigningKey::from_seed(&SEED);
        let id = key.key_id().to_string();
        assert_eq!(format!("{key:?}"), format!("SigningKey {{ key_id: KeyId({id}), .. }}"));
        assert_eq!(format!("{:?}", key.verifying_key()), format!("VerifyingKey({id})"));
        assert_eq!(format!("{:?}", key.to_pkcs8_pem().unwrap()), "SecretText(..)");
    }

    #[test]
    fn a_key_id_has_one_spelling() {
        let id = SigningKey::from_seed(&SEED).key_id();
        let text = serde_json::to_string(&id).unwrap();
        assert_eq!(text.len(), 18);
        assert_eq!(serde_json::from_str::<KeyId>(&text).unwrap(), id);
        for other in ["\"\"", "\"+123456789abcdef\"", "\"ABCDEF0123456789\"", "\"0\"", "1"] {
            assert!(serde_json::from_str::<KeyId>(other).is_err(), "{other}");
        }
    }
}
