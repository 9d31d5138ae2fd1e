//! One signature line of a note: who signed, with which key, and the bytes.

use core::fmt;
use core::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::name::KeyName;
use super::signed::NoteError;
use super::verifier::NoteKeyId;

/// What a signature line begins with: an em dash and a space.
const LINE_START: &str = "\u{2014} ";

/// The length of a key id within a signature.
const KEY_ID_BYTES: usize = 4;

/// A signature of a note, which proves nothing yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    pub(super) name: KeyName,
    pub(super) key_id: NoteKeyId,
    pub(super) bytes: Vec<u8>,
}

impl NoteSignature {
    /// The name of the key that is said to have signed.
    #[must_use]
    pub const fn name(&self) -> &KeyName {
        &self.name
    }

    /// The id of the key that is said to have signed.
    #[must_use]
    pub const fn key_id(&self) -> NoteKeyId {
        self.key_id
    }

    /// What follows the key id, as its algorithm made it.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl FromStr for NoteSignature {
    type Err = NoteError;

    /// Reads one line, without its newline.
    ///
    /// # Errors
    /// [`NoteError::SignatureLine`] and [`NoteError::Name`].
    fn from_str(line: &str) -> Result<Self, NoteError> {
        let fields = line.strip_prefix(LINE_START).and_then(|rest| rest.split_once(' '));
        let (name, encoded) = fields.ok_or(NoteError::SignatureLine)?;
        let blob = STANDARD.decode(encoded).map_err(|_| NoteError::SignatureLine)?;
        let (key_id, bytes) = blob
            .split_first_chunk::<KEY_ID_BYTES>()
            .filter(|(_, bytes)| !bytes.is_empty())
            .ok_or(NoteError::SignatureLine)?;
        Ok(Self { name: KeyName::of_line(name)?, key_id: NoteKeyId::new(*key_id), bytes: bytes.to_vec() })
    }
}

impl fmt::Display for NoteSignature {
    /// The line, without its newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blob = [self.key_id.as_bytes().as_slice(), self.bytes.as_slice()].concat();
        write!(f, "{LINE_START}{} {}", self.name, STANDARD.encode(blob))
    }
}
