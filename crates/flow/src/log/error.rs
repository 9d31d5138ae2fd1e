//! Why the log could not be read, or did not grow.

use execgate_receipt::{NoteError, ReadingError};
use execgate_store::StoreError;

/// A fault of the moment. What is wrong with the log itself is a [`super::LogFault`].
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The record failed.
    #[error("the record failed")]
    Store(#[from] StoreError),
    /// Something was asked for that the log does not have.
    #[error(transparent)]
    Reading(#[from] ReadingError),
    /// A checkpoint could not be signed, or a kept one not be read.
    #[error("a checkpoint of the log cannot be signed or read")]
    Note(#[from] NoteError),
    /// The checkpoint could not be kept outside of the record.
    #[error("the checkpoint could not be kept in {place}")]
    Outside {
        /// Where.
        place: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}
