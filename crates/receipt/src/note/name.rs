//! Names of keys in signed notes (C2SP signed-note, "Format").
//!
//! A name must never hold a character that ends it in a signature line or in a verifier key.

use core::fmt;
use core::str::FromStr;

use super::signed::NoteError;

/// How long the name of a key of ours, or one that we are told of, may be (C2SP tlog-cosignature, `cosigner_name`).
/// Names of strangers' signatures are bounded by the note.
pub const MAX_KEY_NAME_BYTES: usize = 255;

/// The name of a key: text without white space and `+`. It should be a URL without a scheme.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyName(String);

impl KeyName {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name of a signature line, however long.
    pub(super) fn of_line(text: &str) -> Result<Self, NoteError> {
        if text.is_empty() || text.contains(|char: char| char == '+' || char.is_whitespace()) {
            return Err(NoteError::Name);
        }
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for KeyName {
    type Err = NoteError;

    /// # Errors
    /// [`NoteError::Name`], also for a name of more than [`MAX_KEY_NAME_BYTES`] or with a control character.
    fn from_str(text: &str) -> Result<Self, NoteError> {
        if text.len() > MAX_KEY_NAME_BYTES || text.contains(char::is_control) {
            return Err(NoteError::Name);
        }
        Self::of_line(text)
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
