//! Faults of ours: the sandbox did not start, or a run never did. What a guest does is never an error here.

use std::io;

use execgate_forkpoint::jail::Step;

use crate::session::SessionEnd;

/// Why the sandbox could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// The socket pair to the helper could not be made.
    #[error("failed to make the socket pair for the helper")]
    SocketPair(#[source] io::Error),
    /// The helper process could not be started.
    #[error("failed to start the helper")]
    SpawnHelper(#[source] io::Error),
    /// The configuration could not be handed over.
    #[error("failed to hand the configuration to the helper")]
    Configure(#[source] io::Error),
    /// The helper did not answer.
    #[error("the helper did not answer in time")]
    NoAnswer,
    /// The helper ended, or talked nonsense.
    #[error("failed to read the helper's answer")]
    Answer(#[source] io::Error),
    /// The number of slots is 0 or too large.
    #[error("the number of slots must be between 1 and {max}")]
    Slots {
        /// The largest allowed number.
        max: usize,
    },
    /// A language has no absolute interpreter path, or a text with a NUL in it.
    #[error("the language `{0}` is not usable: it needs an absolute path and no NUL")]
    Language(String),
    /// This host cannot give the tier that was asked for. This is an answer, not a fault.
    #[error("the sandbox refused to start: {0}")]
    Refused(String),
}

/// Why a run never started, or was lost by us: it has started, or may have, where [`RunError::is_lost`] says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// Every slot is taken.
    #[error("all {slots} slots are taken")]
    Full {
        /// How many there are now.
        slots: usize,
    },
    /// The language is not configured.
    #[error("no language `{0}` is configured")]
    UnknownLanguage(String),
    /// An argument holds a NUL, or all together are too long.
    #[error("the arguments hold a NUL or are longer than {max} bytes")]
    Arguments {
        /// The largest allowed size.
        max: usize,
    },
    /// The memory file for code, arguments or input could not be made.
    #[error("failed to store the request")]
    Store(#[source] io::Error),
    /// The patterns of the files to bring back are wrong.
    #[error("`{0}` is no pattern of file names")]
    Pattern(String),
    /// The sandbox was started without egress.
    #[error("this sandbox has no egress")]
    NoEgress,
    /// A pipe or socket for the run could not be made.
    #[error("failed to make the pipes of the run")]
    Pipes(#[source] io::Error),
    /// The helper could not be told.
    #[error("failed to hand the run to the helper")]
    Send(#[source] io::Error),
    /// The run's pipes could not be read.
    #[error("failed to follow the run")]
    Follow(#[source] io::Error),
    /// The jail could not be built.
    #[error("failed to build the jail at `{step}`")]
    Spawn {
        /// What was being done.
        step: Step,
        /// What the kernel said.
        #[source]
        error: io::Error,
    },
    /// The process that makes jails died before this one was ready, more than once.
    #[error("the process that makes jails died")]
    StemGone,
    /// The caller pulled the cord before a slot came free.
    #[error("the run was cancelled before it started")]
    Cancelled,
    /// No slot came free in time, or more runs wait already than ever can.
    #[error("no slot came free in time")]
    NotHandedOut,
    /// The helper is gone.
    #[error("the helper is gone")]
    HelperGone,
    /// The image has changed on this host since it was made: what it holds is not what its digest names. Nothing runs
    /// from it any more; only a new sandbox on a sound image mends that.
    #[error("the image is not what its digest names, and nothing runs from it any more")]
    ImageChanged {
        /// Whether the run had begun.
        has_begun: bool,
    },
    /// The language has no sessions.
    #[error("the language `{0}` has no sessions")]
    NoSession(String),
    /// A session's interpreter needs more descriptors than were allowed.
    #[error("a session needs at least {min} descriptors")]
    SessionDescriptors {
        /// How many it needs.
        min: u32,
    },
    /// The session has ended, so that nothing was done.
    #[error("the session has ended: {end}")]
    SessionEnded {
        /// Why.
        end: SessionEnd,
    },
    /// The language's sessions have no checkpoints, or those of this version of it.
    #[error("sessions of the language `{0}` have no checkpoints")]
    NoCheckpoints(String),
    /// A session has as many checkpoints as it may.
    #[error("a session has at most {max} checkpoints")]
    ManyCheckpoints {
        /// How many there may be.
        max: usize,
    },
    /// The checkpoint was dropped, has died, or is of another session. The session goes on as it is.
    #[error("there is no such checkpoint")]
    NoCheckpoint,
    /// The code has something under way that a copy would not have: a worker, a process that it has started, a request.
    /// The session goes on as it is, and may have a checkpoint once that is over.
    #[error("the session has a worker, a process or a request under way, which no copy of it would have")]
    NotQuiet,
    /// The interpreter could not be copied, mostly for a limit of the session. It goes on as it is.
    #[error("failed to copy the interpreter of the session")]
    NotCopied(#[source] io::Error),
}

impl RunError {
    /// Whether the run may have started, so that nobody knows what it did. All other errors say that no byte of the
    /// code was ever looked at.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Follow(_) | Self::HelperGone | Self::ImageChanged { has_begun: true })
    }
}
