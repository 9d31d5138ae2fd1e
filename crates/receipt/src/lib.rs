//! Receipts: canonical JSON, digests, DSSE signatures, offline verification.
//!
//! A run that has been witnessed leaves three things. The *content receipt* ([`Content`]) is a hash that
//! anybody with the same inputs and outcome reproduces. The *statement* ([`Statement`]) adds who, when, under
//! which rule and for how much, and is signed ([`seal()`]). The *receipt file* ([`ReceiptFile`]) is what the owner
//! keeps, and what [`verify()`] judges without asking anybody.
//!
//! This crate must never do IO, read a clock, make randomness, or depend on a sibling other than `model`: it is
//! published alone and verifies alone. All JSON of outsiders comes in through [`parse_strict`].
//!
//! Read on in `canonical` and `strict` (which bytes a value has), `digest` and `content` (what is hashed),
//! `statement`, `facts`, `envelope` and `seal` (what is signed), `file` and `verify` (what an owner checks), `ring`
//! (which keys count, and how far), `note` (signed notes, which checkpoints and cosignatures are), and in the README below, which does the same with `openssl`.
#![doc = include_str!("../README.md")]

mod canonical;
mod content;
mod digest;
mod envelope;
mod facts;
mod file;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod key;
mod note;
mod ring;
mod seal;
mod statement;
mod strict;
mod time;
mod tlog;
mod verified;
mod verify;

pub use canonical::{CanonicalError, LARGEST_INTEGER, MAX_CANONICAL_NESTING, canonical};
pub use content::{Content, RECEIPT_VERSION, result_digest_of_text};
pub use digest::{SALT_BYTES, digest_json, run_id, salted, salted_digest, sha256};
pub use envelope::{Envelope, EnvelopeError, EnvelopeSignature, MAX_SIGNATURES, pae};
pub use facts::RunFacts;
pub use file::{FILE_VERSION, FileError, LOGGED_FILE_VERSION, ReceiptFile};
pub use key::{KeyError, KeyId, SecretText, SigningKey, VerifyingKey};
pub use note::{
    Attestation, CosignerKey, KeyName, MAX_KEY_NAME_BYTES, MAX_NOTE_BYTES, MAX_NOTE_SIGNATURES,
    NoteAlgorithm, NoteError, NoteKey, NoteKeyId, NoteSignature, SignedNote, VerifierKey, VerifierKeyError,
};
pub use ring::{Included, KeyRing, KeyState, MAX_RING_KEYS, RingError, RingKey};
pub use seal::{Seal, SealError, seal};
pub use statement::{
    ApprovalBasis, CallerFact, CallerKind, Charged, Gateway, Kind, PAYLOAD_TYPE, PREDICATE_TYPE, PolicyFact,
    Predicate, STATEMENT_TYPE, STATEMENT_VERSION, Statement, Subject, SubjectDigest, subject_name,
};
pub use strict::{MAX_NESTING, StrictError, parse_strict};
pub use time::{TimeError, Timestamp};
pub use tlog::{
    Checkpoint, CheckpointError, Consistency, ConsistencyError, Frontier, LogProof, MAX_EXTENSION_LINES,
    MAX_PATH, Node, PathError, ProofError, Reading, ReadingError, Submission, Tile, TileError, TileKind,
    WitnessRefusal, check_consistency, check_inclusion, cosignatures, empty_root, entry_bundle, leaf_hash,
    node_hash,
};
pub use verified::{Check, Finding, Verified};
pub use verify::{VerifyError, verify};
