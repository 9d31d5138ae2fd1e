//! Verifier keys: whom a reader of notes trusts, as one line of text `name+id+base64` (C2SP signed-note,
//! "Verifier keys").
//!
//! The id only helps to find a key. What is trusted is the whole public key.

use core::fmt;
use core::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::name::KeyName;
use crate::digest::sha256;
use crate::key::{KeyError, VerifyingKey};

/// What a key signs, and how (C2SP signed-note, "Signature types").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NoteAlgorithm {
    /// The text as it is: 0x01.
    Ed25519,
    /// The text under a head with a time, by a witness: 0x04 (C2SP tlog-cosignature).
    CosignatureV1,
}

impl NoteAlgorithm {
    /// The byte that stands for it in verifier keys and key ids.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::CosignatureV1 => 0x04,
        }
    }

    const fn of_byte(byte: u8) -> Option<Self> {
        match byte {
            0x01 => Some(Self::Ed25519),
            0x04 => Some(Self::CosignatureV1),
            _ => None,
        }
    }
}

/// The short name of a key in notes: the first four bytes of SHA-256(name ‖ 0x0A ‖ algorithm ‖ public key).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct NoteKeyId([u8; 4]);

impl NoteKeyId {
    pub(super) const fn new(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }

    pub(super) const fn as_bytes(&self) -> &[u8; 4] {
        &self.0
    }

    fn of(name: &KeyName, algorithm: NoteAlgorithm, key: &VerifyingKey) -> Self {
        let said = [name.as_str().as_bytes(), b"\n", &[algorithm.byte()], key.as_bytes()].concat();
        let [first, second, third, fourth, ..] = *sha256(&said).as_bytes();
        Self([first, second, third, fourth])
    }
}

impl fmt::Display for NoteKeyId {
    /// Eight lowercase hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl fmt::Debug for NoteKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NoteKeyId({self})")
    }
}

/// Why a text is no verifier key.
#[derive(Debug, thiserror::Error)]
pub enum VerifierKeyError {
    /// It is not of the form `name+id+base64`, with a name that may stand in a note.
    #[error("the verifier key is not of the form name+id+base64")]
    Form,
    /// Its algorithm is another than Ed25519 (0x01) and cosignatures of version 1 (0x04).
    #[error("the verifier key is for the algorithm 0x{byte:02x}, which this version does not know")]
    Algorithm {
        /// The byte of the algorithm.
        byte: u8,
    },
    /// Its last part is no public key.
    #[error("the verifier key holds no Ed25519 public key")]
    Key(#[source] KeyError),
    /// Its id is not that of its name and key, so that one of the three was changed.
    #[error("the id of the verifier key is not that of its name and key")]
    Id,
}

/// A key that a reader of notes knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: KeyName,
    algorithm: NoteAlgorithm,
    key: VerifyingKey,
    id: NoteKeyId,
}

impl VerifierKey {
    /// A key under a name, for one algorithm.
    #[must_use]
    pub fn new(name: KeyName, algorithm: NoteAlgorithm, key: VerifyingKey) -> Self {
        let id = NoteKeyId::of(&name, algorithm, &key);
        Self { name, algorithm, key, id }
    }

    /// The name.
    #[must_use]
    pub const fn name(&self) -> &KeyName {
        &self.name
    }

    /// What the key signs.
    #[must_use]
    pub const fn algorithm(&self) -> NoteAlgorithm {
        self.algorithm
    }

    /// The public key.
    #[must_use]
    pub const fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// The short name in signature lines.
    #[must_use]
    pub const fn id(&self) -> NoteKeyId {
        self.id
    }
}

impl FromStr for VerifierKey {
    type Err = VerifierKeyError;

    fn from_str(text: &str) -> Result<Self, VerifierKeyError> {
        // Base64 has plus signs too; names and ids have none.
        let mut fields = text.splitn(3, '+');
        let (Some(name), Some(id), Some(encoded)) = (fields.next(), fields.next(), fields.next()) else {
            return Err(VerifierKeyError::Form);
        };
        let name: KeyName = name.parse().map_err(|_| VerifierKeyError::Form)?;
        let blob = STANDARD.decode(encoded).map_err(|_| VerifierKeyError::Form)?;
        let (&byte, public) = blob.split_first().ok_or(VerifierKeyError::Form)?;
        let algorithm = NoteAlgorithm::of_byte(byte).ok_or(VerifierKeyError::Algorithm { byte })?;
        let public = public.try_into().map_err(|_| VerifierKeyError::Form)?;
        let key = VerifyingKey::from_bytes(public).map_err(VerifierKeyError::Key)?;
        let verifier = Self::new(name, algorithm, key);
        if verifier.id.to_string() == id { Ok(verifier) } else { Err(VerifierKeyError::Id) }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blob = [[self.algorithm.byte()].as_slice(), self.key.as_bytes()].concat();
        write!(f, "{}+{}+{}", self.name, self.id, STANDARD.encode(blob))
    }
}
