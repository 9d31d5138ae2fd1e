//! The proof that one checkpoint is the beginning of a newer one, as witnesses are asked with it (C2SP tlog-witness,
//! `add-checkpoint`): the older size, the path, and the newer checkpoint.

use core::fmt;

use execgate_model::Digest;

use super::MAX_PATH;
use super::check::{PathError, check_consistency};
use super::checkpoint::{Checkpoint, CheckpointError, hash, hash_text};
use crate::note::{MAX_NOTE_BYTES, NoteError, SignedNote, VerifierKey};

/// How many hashes the form allows.
const MAX_LINES: usize = 63;

/// How large such a text may be: a note and a path.
const MAX_BYTES: usize = MAX_NOTE_BYTES + (4 << 10);

/// Why a text is no such proof, or two checkpoints are not of one story.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConsistencyError {
    /// The text is not an older size, a path and a checkpoint.
    #[error("the text is not `old <size>`, a path, an empty line and a checkpoint")]
    Form,
    /// The note in it is not one.
    #[error("the newer checkpoint is no signed note")]
    Note(#[source] NoteError),
    /// One of the checkpoints does not count.
    #[error("the {which} checkpoint does not count")]
    Checkpoint {
        /// `older` or `newer`.
        which: &'static str,
        /// Why.
        #[source]
        source: CheckpointError,
    },
    /// The two are of different logs.
    #[error("the checkpoints are of two logs, `{older}` and `{newer}`")]
    Origins {
        /// The origin of the older one.
        older: String,
        /// The origin of the newer one.
        newer: String,
    },
    /// The older checkpoint is not of the size that the proof starts from.
    #[error("the proof starts from {proved} entries, and the older checkpoint has {older}")]
    Size {
        /// Where the proof starts.
        proved: u64,
        /// The size of the older checkpoint.
        older: u64,
    },
    /// The newer checkpoint has fewer entries: the log has lost its end, or an old checkpoint is shown as a new one.
    #[error("the newer checkpoint has {newer} entries, fewer than the {older} of the older one")]
    Shrunk {
        /// The size of the older one.
        older: u64,
        /// The size of the newer one.
        newer: u64,
    },
    /// The older tree is not the beginning of the newer one.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// A path from an older size to a newer checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consistency {
    /// The size of the older tree.
    pub older: u64,
    /// The path.
    pub path: Vec<Digest>,
    /// The newer checkpoint.
    pub newer: SignedNote,
}

impl Consistency {
    /// Reads the text.
    ///
    /// # Errors
    /// [`ConsistencyError::Form`] and [`ConsistencyError::Note`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ConsistencyError> {
        let text = str::from_utf8(bytes).ok().filter(|text| text.len() <= MAX_BYTES);
        let (head, note) = text.and_then(|text| text.split_once("\n\n")).ok_or(ConsistencyError::Form)?;
        let mut lines = head.split('\n');
        let size = lines.next().and_then(|line| line.strip_prefix("old ")).ok_or(ConsistencyError::Form)?;
        let older: u64 = size.parse().map_err(|_| ConsistencyError::Form)?;
        let path: Option<Vec<_>> = lines.take(MAX_PATH).map(hash).collect();
        let path = path.filter(|path| path.len() <= MAX_LINES && older.to_string() == size);
        let path = path.ok_or(ConsistencyError::Form)?;
        let newer = SignedNote::parse(note.as_bytes()).map_err(ConsistencyError::Note)?;
        Ok(Self { older, path, newer })
    }

    /// Checks that an older checkpoint is the beginning of the newer one, and gives both.
    ///
    /// # Errors
    /// [`ConsistencyError`] names what does not hold.
    pub fn verify(
        &self,
        older: &SignedNote,
        known: &[VerifierKey],
    ) -> Result<(Checkpoint, Checkpoint), ConsistencyError> {
        let open = |which, note| {
            let opened = Checkpoint::open(note, known).map(|(head, _)| head);
            opened.map_err(|source| ConsistencyError::Checkpoint { which, source })
        };
        let (older, newer) = (open("older", older)?, open("newer", &self.newer)?);
        if older.origin != newer.origin {
            return Err(ConsistencyError::Origins { older: older.origin, newer: newer.origin });
        }
        if newer.size < older.size {
            return Err(ConsistencyError::Shrunk { older: older.size, newer: newer.size });
        }
        if self.older != older.size {
            return Err(ConsistencyError::Size { proved: self.older, older: older.size });
        }
        check_consistency((older.size, older.root), (newer.size, newer.root), &self.path)?;
        Ok((older, newer))
    }
}

impl fmt::Display for Consistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.older)?;
        self.path.iter().try_for_each(|hash| writeln!(f, "{}", hash_text(*hash)))?;
        write!(f, "\n{}", self.newer)
    }
}
