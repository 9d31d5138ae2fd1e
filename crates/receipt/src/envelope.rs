//! DSSE: a payload, what it is, and signatures over both (Dead Simple Signing Envelope, v1.0.2).
//!
//! Nothing may ever be signed or trusted but the pre-authentication encoding: the payload's bytes with their type.
//! Read on in `seal`, which signs statements.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::key::{KeyId, SigningKey, VerifyingKey};

/// How many signatures an envelope may hold; each costs whoever checks it some 50 microseconds.
pub const MAX_SIGNATURES: usize = 8;

/// A signed payload. Readers ignore fields that they do not know (DSSE, `envelope.md`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// What the payload is: a media type.
    #[serde(rename = "payloadType")]
    pub payload_type: String,
    /// The payload in standard, padded base64 (RFC 4648, section 4).
    pub payload: String,
    /// Signatures over [`pae`] of the payload.
    pub signatures: Vec<EnvelopeSignature>,
}

/// One signature of an envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvelopeSignature {
    /// Which key made it. DSSE lets this be left out; we do not.
    pub keyid: KeyId,
    /// The 64 bytes of an Ed25519 signature in standard, padded base64.
    pub sig: String,
}

/// Why an envelope proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// The payload is of another type than was asked for.
    #[error("the payload type is not {wanted}")]
    PayloadType {
        /// The type that was asked for.
        wanted: &'static str,
    },
    /// The payload has a character, padding or trailing bits that base64 does not allow.
    #[error("the payload is not strict base64")]
    PayloadBase64,
    /// There is no signature.
    #[error("the envelope holds no signature")]
    Unsigned,
    /// There are more than [`MAX_SIGNATURES`] signatures.
    #[error("the envelope holds more than {max} signatures")]
    TooManySignatures {
        /// The bound.
        max: usize,
    },
    /// A signature is not 64 bytes in strict base64.
    #[error("the signature is not 64 bytes in strict base64")]
    SignatureForm,
    /// No trusted key has the id that a signature names.
    #[error("the signature names the key {key_id}, which is not among the trusted keys")]
    UntrustedKey {
        /// The id that the first signature names.
        key_id: KeyId,
    },
    /// The key is trusted, and it did not make this signature.
    #[error("the signature does not match the payload")]
    Signature,
}

impl Envelope {
    /// Signs a payload.
    #[must_use]
    pub fn sign(key: &SigningKey, payload_type: &'static str, payload: &[u8]) -> Self {
        let signature = key.sign(&pae(payload_type, payload));
        Self {
            payload_type: payload_type.to_owned(),
            payload: STANDARD.encode(payload),
            signatures: vec![EnvelopeSignature { keyid: key.key_id(), sig: STANDARD.encode(signature) }],
        }
    }

    /// The payload, whoever signed it.
    pub(crate) fn bytes(&self) -> Option<Vec<u8>> {
        STANDARD.decode(&self.payload).ok()
    }

    /// The payload, and the trusted key that signed it.
    ///
    /// One good signature of a trusted key is enough; signatures of other keys beside it are not looked at.
    ///
    /// # Errors
    /// [`EnvelopeError`] names the check that failed.
    pub fn open<'k>(
        &self,
        payload_type: &'static str,
        trusted: &'k [VerifyingKey],
    ) -> Result<(Vec<u8>, &'k VerifyingKey), EnvelopeError> {
        if self.payload_type != payload_type {
            return Err(EnvelopeError::PayloadType { wanted: payload_type });
        }
        let payload = STANDARD.decode(&self.payload).map_err(|_| EnvelopeError::PayloadBase64)?;
        let first = self.signatures.first().ok_or(EnvelopeError::Unsigned)?;
        if self.signatures.len() > MAX_SIGNATURES {
            return Err(EnvelopeError::TooManySignatures { max: MAX_SIGNATURES });
        }
        let message = pae(payload_type, &payload);
        let mut refusal = EnvelopeError::UntrustedKey { key_id: first.keyid };
        for signature in &self.signatures {
            let bytes = signature.bytes()?;
            for key in trusted.iter().filter(|key| key.key_id() == signature.keyid) {
                if key.verifies(&message, &bytes) {
                    return Ok((payload, key));
                }
                refusal = EnvelopeError::Signature;
            }
        }
        Err(refusal)
    }
}

impl EnvelopeSignature {
    fn bytes(&self) -> Result<[u8; 64], EnvelopeError> {
        let bytes = STANDARD.decode(&self.sig).map_err(|_| EnvelopeError::SignatureForm)?;
        bytes.try_into().map_err(|_| EnvelopeError::SignatureForm)
    }
}

/// The pre-authentication encoding, which is what is signed: `DSSEv1 <length> <type> <length> <payload>`, lengths in
/// bytes as decimal text (DSSE, `protocol.md`).
#[must_use]
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    let mut message = Vec::with_capacity(head.len() + payload.len());
    message.extend_from_slice(head.as_bytes());
    message.extend_from_slice(payload);
    message
}

#[cfg(test)]
mod tests {
    use super::{Envelope, EnvelopeError, MAX_SIGNATURES, pae};
    use crate::key::SigningKey;

    const TYPE: &str = "http://example.com/HelloWorld";

    #[test]
    fn the_encoding_is_that_of_the_dsse_protocol() {
        let expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world";
        assert_eq!(pae(TYPE, b"hello world"), expected);
    }

    #[test]
    fn an_envelope_opens_under_the_key_that_signed_it_and_no_other() {
        let (key, other) = (SigningKey::from_seed(&[1; 32]), SigningKey::from_seed(&[2; 32]));
        let envelope = Envelope::sign(&key, TYPE, b"hello world");
        let trusted = [other.verifying_key(), key.verifying_key()];
        assert_eq!(envelope.open(TYPE, &trusted), Ok((b"hello world".to_vec(), &trusted[1])));
        let refusal = EnvelopeError::UntrustedKey { key_id: key.key_id() };
        assert_eq!(envelope.open(TYPE, &trusted[..1]), Err(refusal.clone()));
        assert_eq!(envelope.open(TYPE, &[]), Err(refusal));
        assert_eq!(
            envelope.open("text/plain", &trusted),
            Err(EnvelopeError::PayloadType { wanted: "text/plain" })
        );
    }

    #[test]
    fn each_fault_of_an_envelope_has_its_own_error() {
        let key = SigningKey::from_seed(&[1; 32]);
        let trusted = [key.verifying_key()];
        let good = Envelope::sign(&key, TYPE, b"hello world");
        let spoil = |change: fn(&mut Envelope)| {
            let mut bad = good.clone();
            change(&mut bad);
            bad.open(TYPE, &trusted).unwrap_err()
        };
        assert_eq!(spoil(|e| e.signatures.clear()), EnvelopeError::Unsigned);
        let many = EnvelopeError::TooManySignatures { max: MAX_SIGNATURES };
        assert_eq!(spoil(|e| e.signatures = vec![e.signatures[0].clone(); 9]), many);
        // "hello world" ends in "cmxk"; without padding, with white space and in the URL alphabet it is refused.
        assert_eq!(spoil(|e| e.payload = "aGVsbG8gd29ybGQ".to_owned()), EnvelopeError::PayloadBase64);
        assert_eq!(spoil(|e| e.payload = "aGVsbG8gd29ybGR=".to_owned()), EnvelopeError::PayloadBase64);
        assert_eq!(spoil(|e| e.payload.push('\n')), EnvelopeError::PayloadBase64);
        assert_eq!(spoil(|e| e.payload = "aGVsbG8gV29ybGQ=".to_owned()), EnvelopeError::Signature);
        assert_eq!(spoil(|e| e.signatures[0].sig = "AAAA".to_owned()), EnvelopeError::SignatureForm);
        assert_eq!(spoil(|e| e.signatures[0].sig.insert(0, ' ')), EnvelopeError::SignatureForm);
    }

    #[test]
    fn a_second_signature_does_not_hide_the_first() {
        let (key, other) = (SigningKey::from_seed(&[1; 32]), SigningKey::from_seed(&[2; 32]));
        let mut envelope = Envelope::sign(&other, TYPE, b"hello world");
        envelope.signatures.extend(Envelope::sign(&key, TYPE, b"hello world").signatures);
        assert!(envelope.open(TYPE, &[key.verifying_key()]).is_ok());
        assert!(envelope.open(TYPE, &[other.verifying_key()]).is_ok());
    }
}
