//! Checkpoints outside of the record: what a restored copy of it cannot take back.

use std::io;

use execgate_model::BoxFuture;

/// What was found in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SeenNote {
    /// A text, which is to be a signed checkpoint.
    Text(String),
    /// Nothing. Where the place has always had one, that means something.
    Nothing {
        /// Whether the place has one as long as the record has a log.
        always: bool,
    },
    /// Something that cannot be read.
    Unreadable,
}

/// A place outside of the record, and what was found there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The place, for the operator.
    pub place: String,
    /// What was found.
    pub note: SeenNote,
}

/// Where checkpoints are kept outside of the record.
pub trait Outside: Send + Sync {
    /// What is there, place by place.
    fn read(&self) -> BoxFuture<'_, Vec<Seen>>;

    /// Names of the log that are known outside, each with where.
    fn names(&self) -> BoxFuture<'_, Vec<(String, String)>>;

    /// Keeps a signed checkpoint in every place, durably, in the place of the one before.
    fn keep(&self, note: String) -> BoxFuture<'_, Result<(), (String, io::Error)>>;
}
