//! Signed notes: text under signatures that any tool of the field reads (C2SP signed-note v1.0.0), and the
//! timestamped cosignatures of witnesses (C2SP tlog-cosignature v1).
//!
//! A note's text must never be looked at as if it were true before [`SignedNote::verify`] gave it out, and a
//! signature of a stranger must never count.
//!
//! Read on in `name` and `verifier` (who may sign), `signed` (the note), and `signer` (what signs).

mod name;
mod signature;
mod signed;
mod signer;
#[cfg(test)]
mod tests;
mod verifier;

pub use name::{KeyName, MAX_KEY_NAME_BYTES};
pub use signature::NoteSignature;
pub use signed::{Attestation, MAX_NOTE_BYTES, MAX_NOTE_SIGNATURES, NoteError, SignedNote};
pub use signer::{CosignerKey, NoteKey};
pub use verifier::{NoteAlgorithm, NoteKeyId, VerifierKey, VerifierKeyError};
