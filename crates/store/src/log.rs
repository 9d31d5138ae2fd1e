//! The log over the leaves: what a record keeps of it.
//!
//! The index of a leaf is its place in the order in which leaves were appended, from 0. What is hashed, and how, is not
//! the record's business: it keeps the hashes that it is given.

use execgate_model::{BoxFuture, Digest, RunId, UnixMs};

use crate::{Change, LeafKind, Reply};

/// Leaves that are read at once, at the most.
pub const LOG_LEAVES_MAX: u32 = 1_024;

/// A whole subtree: that of `2^level` leaves from `index * 2^level` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogNode {
    /// How tall it is; a leaf has level 0.
    pub level: u8,
    /// Which of its level, from 0.
    pub index: u64,
}

/// A name that the log has, or had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEpoch {
    /// Which, from 1.
    pub number: u64,
    /// The name.
    pub origin: String,
    /// How many leaves there were when it was taken.
    pub start: u64,
}

/// A committed tree head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogHead {
    /// Under which name.
    pub epoch: u64,
    /// How many leaves.
    pub size: u64,
    /// Their root.
    pub root: Digest,
}

/// A committed tree head, and what was signed of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogCheckpoint {
    /// The head.
    pub head: LogHead,
    /// The signed note; none as long as nobody has signed it.
    pub note: Option<String>,
}

/// A checkpoint that a witness has cosigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogCosigned {
    /// The name of the witness.
    pub witness: String,
    /// The head.
    pub head: LogHead,
    /// The signed note, with the line of this witness.
    pub note: String,
}

/// Where the log stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogStanding {
    /// How many leaves there are.
    pub leaves: u64,
    /// How many of them have hashes.
    pub hashed: u64,
    /// The name that it has; none before the first.
    pub epoch: Option<LogEpoch>,
    /// The newest head under that name.
    pub newest: Option<LogCheckpoint>,
}

/// A leaf in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLeaf {
    /// What it stands for.
    pub kind: LeafKind,
    /// SHA-256(salt ‖ statement).
    pub digest: Digest,
    /// When it was appended; none for a settlement.
    pub at: Option<UnixMs>,
}

/// A step of the log: hashes of leaves, and the head behind them.
#[derive(Debug, Clone)]
pub struct LogStep {
    /// How many leaves have hashes already.
    pub after: u64,
    /// For each leaf from there on: the hashes of the subtrees that it completes, from its own up.
    pub hashes: Vec<Vec<Digest>>,
    /// The head that these leaves make. It is committed with the hashes, or not at all.
    pub head: LogHead,
}

/// The log in the record.
///
/// Every write is a compare-and-swap, since several processes may write one log: what one of them has done already is
/// answered with false, and nothing is written.
pub trait LogStore: Send + Sync {
    /// Where it stands, in one look.
    fn log_standing(&self) -> Reply<'_, LogStanding>;

    /// Leaves from an index on, in their order, at most [`LOG_LEAVES_MAX`]. One that is missing is `Unreadable`.
    fn log_leaves(&self, from: u64, limit: u32) -> Reply<'_, Vec<LogLeaf>>;

    /// The hashes of subtrees, in the order that is asked for. One that is missing is `Unreadable`.
    fn log_hashes(&self, nodes: Vec<LogNode>) -> Reply<'_, Vec<Digest>>;

    /// Adds a step. False where the log does not stand where the step begins, where it has another name, or where it
    /// has such a head already. A step without leaves is the first head under a name. Turned away first of all when the
    /// record is busy.
    fn log_extend(&self, step: LogStep) -> Reply<'_, bool>;

    /// Keeps the signed note of a head that is committed and has none. False where that is not so. A power cut may take it
    /// where nothing was written after it: whoever finds the head without a note signs it again.
    fn log_sign(&self, head: LogHead, note: String) -> Reply<'_, bool>;

    /// The newest head that is signed, under the name that the log has.
    fn log_checkpoint(&self) -> Reply<'_, Option<LogCheckpoint>>;

    /// The names that the log has had, oldest first.
    fn log_epochs(&self) -> Reply<'_, Vec<LogEpoch>>;

    /// Gives the log a name, the next after `after`, and records what is said of it. False where it has another
    /// number of names.
    fn log_begin(&self, after: u64, origin: String, at: UnixMs, change: Option<Change>) -> Reply<'_, bool>;

    /// The index of the leaf of a run's receipt; none before it has hashes.
    fn log_place(&self, run: RunId) -> Reply<'_, Option<u64>>;

    /// Keeps what witnesses have cosigned, all of it in one step. Of one that has cosigned a larger one under this name
    /// nothing is kept. False where that is so of all.
    fn log_keep_cosigned(&self, cosigned: Vec<LogCosigned>) -> Reply<'_, bool>;

    /// The newest checkpoint of each witness under a name of the log, the largest first.
    fn log_cosigned(&self, epoch: u64) -> Reply<'_, Vec<LogCosigned>>;

    /// The places outside of the record in which checkpoints of the log have been kept.
    fn log_places(&self) -> Reply<'_, Vec<String>>;

    /// Notes that a checkpoint of the log lies in a place outside of the record.
    fn log_note_place(&self, place: String, at: UnixMs) -> Reply<'_, ()>;

    /// Waits until something was written since the last time. For one that waits.
    fn log_stirred(&self) -> BoxFuture<'_, ()>;
}
