//! What is wrong with a log: each kind of tampering and of loss by its name.

/// Why the record is not to be trusted to be all of it. Live runs are refused as long as it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogFault {
    /// A checkpoint was seen that has more entries than the record.
    #[error(
        "a checkpoint of {seen} entries was seen in {place}, and the record has {leaves}: it is an older one, or has lost its end"
    )]
    Behind {
        /// Where it was seen.
        place: String,
        /// Its size.
        seen: u64,
        /// How many leaves the record has.
        leaves: u64,
    },
    /// The entries under a checkpoint that was seen are others in the record.
    #[error(
        "the first {size} entries of the record are not those of the checkpoint in {place}: one of them was changed"
    )]
    Forked {
        /// Where it was seen.
        place: String,
        /// Its size.
        size: u64,
    },
    /// A checkpoint was seen under a name that the record does not know.
    #[error(
        "the checkpoint in {place} is of `{origin}`, a name that the record has never had: it is an older one, or another"
    )]
    Foreign {
        /// Where it was seen.
        place: String,
        /// The name.
        origin: String,
    },
    /// What was seen is no checkpoint of this log's key.
    #[error("what lies in {place} is no checkpoint that this log's key has signed")]
    Unsigned {
        /// Where.
        place: String,
    },
    /// What is outside of the record cannot be read.
    #[error("the checkpoint in {place} cannot be read")]
    Unreadable {
        /// Where.
        place: String,
    },
    /// The record has a log, and nothing outside of it vouches for that.
    #[error(
        "the record has a log, and the checkpoint beside it is gone from {place}: the record may be a copy"
    )]
    Missing {
        /// Where it should be.
        place: String,
    },
    /// There are fewer leaves than were hashed.
    #[error("the record has {leaves} leaves, and hashes of {hashed}: its end is gone")]
    EndGone {
        /// How many leaves there are.
        leaves: u64,
        /// How many were hashed.
        hashed: u64,
    },
    /// A leaf, or a hash, cannot be read.
    #[error("a leaf or a hash of the record is missing or damaged, at `{column}`")]
    Damaged {
        /// Where.
        column: &'static str,
    },
    /// The stored hashes do not make the root that was committed.
    #[error("the hashes of the first {size} entries do not make the root that was committed with them")]
    Hashes {
        /// How many entries.
        size: u64,
    },
    /// What this process has signed is no longer the beginning of the record.
    #[error(
        "the record has changed below this process: the {size} entries that it signed last are no longer its beginning"
    )]
    Rewritten {
        /// How many entries it had signed.
        size: u64,
    },
}

impl LogFault {
    /// Whether a new name helps: the record is sound in itself, and only not the one that was seen.
    #[must_use]
    pub const fn is_of_the_outside(&self) -> bool {
        match self {
            Self::Behind { .. }
            | Self::Forked { .. }
            | Self::Foreign { .. }
            | Self::Unsigned { .. }
            | Self::Unreadable { .. }
            | Self::Missing { .. }
            | Self::Rewritten { .. } => true,
            Self::EndGone { .. } | Self::Damaged { .. } | Self::Hashes { .. } => false,
        }
    }
}
