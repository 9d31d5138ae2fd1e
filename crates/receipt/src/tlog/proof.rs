//! The portable proof that an entry is in a log: what a reader needs beside the log's key (C2SP tlog-proof).

use core::fmt;
use core::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use execgate_model::Digest;

use super::MAX_PATH;
use super::check::{PathError, check_inclusion};
use super::checkpoint::{Checkpoint, CheckpointError, hash, hash_text};
use super::hash::leaf_hash;
use crate::note::{Attestation, MAX_NOTE_BYTES, NoteError, SignedNote, VerifierKey};

/// The first line.
const HEAD: &str = "c2sp.org/tlog-proof@v1";

/// How large such a file may be: a note, a path, and as much extra data as nobody has use for.
const MAX_BYTES: usize = MAX_NOTE_BYTES + (16 << 10);

/// Why a text is no proof, or proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The text is not of the form of C2SP tlog-proof, version 1.
    #[error("the proof is not of the form c2sp.org/tlog-proof@v1")]
    Form,
    /// The note in it is not one.
    #[error("the checkpoint in the proof is no signed note")]
    Note(#[source] NoteError),
    /// The checkpoint does not count.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The path does not lead from the entry to the checkpoint's root.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// An entry's place in a log, the path from it, and the checkpoint that it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogProof {
    /// What nobody vouches for; we write none.
    pub extra: Option<Vec<u8>>,
    /// The index of the entry, from 0.
    pub index: u64,
    /// From the entry's sibling to the root's child.
    pub path: Vec<Digest>,
    /// The signed checkpoint.
    pub checkpoint: SignedNote,
}

impl LogProof {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ProofError::Form`] and [`ProofError::Note`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofError> {
        let text =
            str::from_utf8(bytes).ok().filter(|text| text.len() <= MAX_BYTES).ok_or(ProofError::Form)?;
        let (head, note) = text.split_once("\n\n").ok_or(ProofError::Form)?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(HEAD) {
            return Err(ProofError::Form);
        }
        let extra = lines.next_if(|line| line.starts_with("extra "));
        let extra = extra.and_then(|line| line.strip_prefix("extra ")).map(|data| STANDARD.decode(data));
        let extra = extra.transpose().map_err(|_| ProofError::Form)?;
        let index = lines.next().and_then(|line| line.strip_prefix("index ")).ok_or(ProofError::Form)?;
        let number: u64 = index.parse().map_err(|_| ProofError::Form)?;
        let path: Option<Vec<_>> = lines.take(MAX_PATH + 1).map(hash).collect();
        let path = path
            .filter(|path| path.len() <= MAX_PATH && number.to_string() == index)
            .ok_or(ProofError::Form)?;
        let checkpoint = SignedNote::parse(note.as_bytes()).map_err(ProofError::Note)?;
        Ok(Self { extra, index: number, path, checkpoint })
    }

    /// Checks that an entry is in the log, and gives the checkpoint and the known keys that signed it.
    ///
    /// # Errors
    /// [`ProofError`] names what does not hold.
    pub fn verify<'k>(
        &self,
        entry: &[u8],
        known: &'k [VerifierKey],
    ) -> Result<(Checkpoint, Vec<Attestation<'k>>), ProofError> {
        let (head, attested) = Checkpoint::open(&self.checkpoint, known)?;
        check_inclusion(leaf_hash(entry), self.index, head.size, &self.path, head.root)?;
        Ok((head, attested))
    }
}

impl FromStr for LogProof {
    type Err = ProofError;

    fn from_str(text: &str) -> Result<Self, ProofError> {
        Self::parse(text.as_bytes())
    }
}

impl fmt::Display for LogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEAD}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", STANDARD.encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.path.iter().try_for_each(|hash| writeln!(f, "{}", hash_text(*hash)))?;
        write!(f, "\n{}", self.checkpoint)
    }
}
