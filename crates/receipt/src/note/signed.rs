//! The note: a text, and signatures under it.
//!
//! Sole judge of notes: every change here needs a second reader. What known keys did not sign must never come out
//! of [`SignedNote::verify`].

use core::fmt;

use super::signature::NoteSignature;
use super::signer::{LATEST_COSIGNATURE_S, cosigned_message};
use super::verifier::{NoteAlgorithm, VerifierKey};

/// How large a note may be in bytes. The format asks for room for 16 signatures of nearly 5 kB each.
pub const MAX_NOTE_BYTES: usize = 128 << 10;

/// How many signatures a note may have. The format asks for 16 at least; readers of Go allow 100.
pub const MAX_NOTE_SIGNATURES: usize = 100;

/// Why bytes are no note, or a note proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// The note is larger than [`MAX_NOTE_BYTES`].
    #[error("the note is larger than {max} bytes")]
    TooLarge {
        /// The bound.
        max: usize,
    },
    /// The note is not UTF-8, or has a control character other than a newline.
    #[error("the note is not text")]
    NotText,
    /// There is no blank line with signatures after it.
    #[error("the note has no signatures after a blank line")]
    Unsigned,
    /// There are more than [`MAX_NOTE_SIGNATURES`] signatures.
    #[error("the note has more than {max} signatures")]
    TooManySignatures {
        /// The bound.
        max: usize,
    },
    /// A line after the blank line is no signature.
    #[error("a line of the note is no signature in strict base64")]
    SignatureLine,
    /// The name of a key is empty, or has white space or `+`; one of ours is too long or has a control character.
    #[error("the name of a key is not of its form")]
    Name,
    /// A text that is to be signed does not end with a newline, has a control character, or is too large.
    #[error("the text cannot be that of a note")]
    Text,
    /// The time of a cosignature lies beyond what its form allows.
    #[error("the time of a cosignature lies beyond its form")]
    Time,
    /// A known key is named, and it did not make the signature.
    #[error("the signature of `{name}` does not match the note")]
    Signature {
        /// The name of the key.
        name: String,
    },
    /// No signature is of a known key.
    #[error("the note has no signature of a known key")]
    Untrusted,
}

/// A known key's signature that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attestation<'k> {
    /// The key that signed.
    pub key: &'k VerifierKey,
    /// When, in seconds since 1970, where the key is a witness's. It is the witness's word.
    pub unix_s: Option<u64>,
}

/// A text under signatures, which are not verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl SignedNote {
    /// A note of a text, which ends with a newline, and signatures over it.
    ///
    /// # Errors
    /// [`NoteError::Text`], [`NoteError::Unsigned`] and [`NoteError::TooManySignatures`]; and
    /// [`NoteError::TooLarge`].
    pub fn new(text: String, signatures: Vec<NoteSignature>) -> Result<Self, NoteError> {
        check_text(&text)?;
        if signatures.is_empty() {
            return Err(NoteError::Unsigned);
        }
        if signatures.len() > MAX_NOTE_SIGNATURES {
            return Err(NoteError::TooManySignatures { max: MAX_NOTE_SIGNATURES });
        }
        let note = Self { text, signatures };
        if note.to_string().len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLarge { max: MAX_NOTE_BYTES });
        }
        Ok(note)
    }

    /// Reads a note, strictly: what is read has these bytes and no others.
    ///
    /// # Errors
    /// [`NoteError`] names what is wrong with the form.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLarge { max: MAX_NOTE_BYTES });
        }
        let note = str::from_utf8(bytes).ok().filter(|note| is_text(note)).ok_or(NoteError::NotText)?;
        let (text, lines) = split(note).ok_or(NoteError::Unsigned)?;
        if lines.lines().count() > MAX_NOTE_SIGNATURES {
            return Err(NoteError::TooManySignatures { max: MAX_NOTE_SIGNATURES });
        }
        let signatures = lines.lines().map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// The text, and the known keys that signed it, each once, in the order of the lines.
    ///
    /// Signatures of unknown keys are passed over. A key is known by its name and id together.
    ///
    /// # Errors
    /// [`NoteError::Signature`] where a signature that names a known key does not hold, whatever the others say;
    /// [`NoteError::Untrusted`] where no known key is named.
    pub fn verify<'k>(&self, known: &'k [VerifierKey]) -> Result<(&str, Vec<Attestation<'k>>), NoteError> {
        let mut attested: Vec<Attestation<'k>> = Vec::new();
        for signature in &self.signatures {
            for key in
                known.iter().filter(|key| key.id() == signature.key_id && *key.name() == signature.name)
            {
                let attestation = attest(&self.text, signature, key)
                    .ok_or_else(|| NoteError::Signature { name: signature.name.to_string() })?;
                if !attested.iter().any(|earlier| earlier.key == key) {
                    attested.push(attestation);
                }
            }
        }
        if attested.is_empty() { Err(NoteError::Untrusted) } else { Ok((&self.text, attested)) }
    }

    /// The text as it was read. It proves nothing: [`SignedNote::verify`] gives it out where it does.
    #[must_use]
    pub fn unverified_text(&self) -> &str {
        &self.text
    }

    /// The signatures as they were read. They prove nothing.
    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }
}

impl fmt::Display for SignedNote {
    /// The note's own bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

/// Text and signature lines, which the last blank line parts. Both end with a newline.
fn split(note: &str) -> Option<(&str, &str)> {
    let blank = note.rfind("\n\n")?;
    let (text, rest) = note.split_at_checked(blank + 1)?;
    let lines = rest.strip_prefix('\n')?;
    lines.ends_with('\n').then_some((text, lines))
}

fn is_text(note: &str) -> bool {
    note.bytes().all(|byte| byte >= b' ' || byte == b'\n')
}

pub(super) fn check_text(text: &str) -> Result<(), NoteError> {
    let fits = text.len() <= MAX_NOTE_BYTES && text.ends_with('\n') && is_text(text);
    if fits { Ok(()) } else { Err(NoteError::Text) }
}

fn attest<'k>(text: &str, signature: &NoteSignature, key: &'k VerifierKey) -> Option<Attestation<'k>> {
    let (message, signed, unix_s) = match key.algorithm() {
        NoteAlgorithm::Ed25519 => (text.as_bytes().to_vec(), signature.bytes.as_slice(), None),
        NoteAlgorithm::CosignatureV1 => {
            let (time, signed) = signature.bytes.split_first_chunk()?;
            let unix_s = Some(u64::from_be_bytes(*time)).filter(|unix_s| *unix_s <= LATEST_COSIGNATURE_S)?;
            (cosigned_message(text, unix_s), signed, Some(unix_s))
        }
    };
    let signed = signed.try_into().ok()?;
    key.key().verifies(&message, signed).then_some(Attestation { key, unix_s })
}
