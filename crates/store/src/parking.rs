//! Runs that wait for people: what is kept of them, and what people have said.

use execgate_model::{Digest, RunId, TenantId, UnixMs};

use crate::Record;

/// Runs of one record that may wait at once. Each is looked at in every sweep.
pub const PARKED_MAX: u32 = 1_024;

/// Runs of one caller that may wait at once: more than people answer in a day.
pub const PARKED_OF_ONE_MAX: u32 = 64;

/// Bytes of requests that wait in one record.
pub const PARKED_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// Bytes of requests of one caller that wait: two of the largest.
pub const PARKED_BYTES_OF_ONE_MAX: u64 = 16 * 1024 * 1024;

/// Runs of one tenant that may wait at once: half of all, so that no tenant has all places.
pub const PARKED_OF_TENANT_MAX: u32 = PARKED_MAX / 2;

/// Bytes of requests of one tenant that wait, likewise.
pub const PARKED_BYTES_OF_TENANT_MAX: u64 = PARKED_BYTES_MAX / 2;

/// For how long a run that its caller has taken back keeps its place among those that wait, in milliseconds, where it would
/// have waited for longer: parking and taking back is no freer than parking.
pub const WITHDRAWN_KEEPS_MS: u64 = 60 * 60 * 1_000;

/// What one person may say of one run: a new approval where one has expired, and another word.
pub const VOTES_OF_ONE_MAX: usize = 8;

/// What a run waits with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parking {
    /// Whose approvers may read it.
    pub tenant: TenantId,
    /// Whether it takes a place of its owner's. Whoever has no name but one that can be had for nothing shares those of nobody.
    pub own_place: bool,
    /// What is needed to judge it, and to run it later beside its payload: opaque to the store, and small.
    pub head: Vec<u8>,
    /// Until when it waits.
    pub expires: UnixMs,
}

/// A parked run that has to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// The run.
    pub run: RunId,
    /// Whether its time is over. Else somebody has said something.
    pub is_over: bool,
    /// Whether somebody has said no, while it was being started.
    pub is_denied: bool,
    /// How much people have said of it.
    pub votes: u32,
}

/// A parked run of which the operator's own service has not been told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Untold {
    /// The run.
    pub run: RunId,
    /// What it is asked to do.
    pub fingerprint: Digest,
    /// Until when it waits.
    pub expires: UnixMs,
}

/// What a person has said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VoteWord {
    /// It may run.
    Approve,
    /// It may not.
    Deny,
}

impl VoteWord {
    /// The word that is stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Deny => "deny",
        }
    }

    /// Reads back what [`Self::as_str`] gave.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Approve, Self::Deny].into_iter().find(|known| known.as_str() == word)
    }
}

/// What one person has said of a parked run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vote {
    /// The approver, by the operator's name for the key.
    pub approver: String,
    /// Who that is; a person is counted once, whatever keys it has.
    pub person: String,
    /// What was said.
    pub word: VoteWord,
    /// The signed artifact, as it came.
    pub artifact: Vec<u8>,
    /// When it came.
    pub at: UnixMs,
}

/// The answer to a vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Voted {
    /// It counts, and has a leaf.
    Recorded,
    /// The same artifact came before: nothing is recorded.
    Repeated,
    /// This person has said enough of this run ([`VOTES_OF_ONE_MAX`]).
    TooMany,
    /// A no to a run that is being started: it has a leaf, and holds where that start is taken back.
    Kept,
    /// The run does not wait any more.
    NotParked,
}

/// The answer to the end of a run that never starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It has ended so.
    Ended,
    /// It has been started in vain since its end was made: that is to be made anew, of the intent that is in force.
    Started,
    /// The run does not wait any more.
    NotParked,
}

/// A run that waits.
#[derive(Debug, Clone, PartialEq)]
pub struct Parked {
    /// The run.
    pub record: Record,
    /// What it waits with.
    pub parking: Parking,
    /// Bytes of its head and payload together.
    pub bytes: u64,
    /// How often it was taken out and could not start.
    pub tries: u32,
    /// What people have said of it, in the order of the log.
    pub votes: Vec<Vote>,
}

impl Parked {
    /// The no that somebody has said while it was being started.
    #[must_use]
    pub fn denial(&self) -> Option<&Vote> {
        self.votes.iter().find(|vote| vote.word == VoteWord::Deny)
    }
}

/// A page of parked runs, newest first. What they ask for is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedPage {
    /// Only those of a tenant.
    pub tenant: Option<TenantId>,
    /// Only those of one owner.
    pub owner: Option<Digest>,
    /// Only those parked before this one (the last of the page before).
    pub before: Option<RunId>,
    /// At most so many; a back end caps it at [`PARKED_MAX`].
    pub limit: u32,
}
