//! A session, as it is asked for, and what can be known of it.

use std::fmt;
use std::time::Duration;

use crate::files::{Collect, PlacedFile};
use crate::limits::Limits;
use crate::network::Network;
use crate::outcome::Verdict;
use crate::request::{Cancel, Keep, Request, Sink, Stdin};

/// What session to open.
#[derive(Debug, Clone)]
pub struct SessionRequest {
    /// The name of a configured language that has sessions.
    pub language: String,
    /// What all of it together may use: memory, processes, disk, descriptors and processor are those of the session with
    /// all its checkpoints; the time is a run's, if that names none; output is counted anew for each run.
    pub limits: Limits,
    /// How long it may be there without a run under way. At most [`Limits::WALL_MAX`].
    pub idle: Duration,
    /// How long it may be there at all. At most [`Limits::WALL_MAX`].
    pub absolute: Duration,
    /// Files that are there from its start.
    pub files: Vec<PlacedFile>,
}

impl SessionRequest {
    /// How many checkpoints a session may have at once: each is a process of the session.
    pub const CHECKPOINTS_MAX: usize = 8;

    /// An interpreter that waits for runs has some more descriptors open than one that was started for a run.
    pub const DESCRIPTORS_MIN: u32 = 64;

    /// A session with the default limits, without files, that may idle for five minutes and be there for an hour.
    pub fn new(language: impl Into<String>) -> Self {
        Self {
            language: language.into(),
            limits: Limits::default(),
            idle: Duration::from_secs(300),
            absolute: Duration::from_secs(3600),
            files: Vec::new(),
        }
    }
}

/// One run in a session.
pub struct Cell {
    /// The source code.
    pub code: Vec<u8>,
    /// Arguments for the code, as [`Request::args`].
    pub args: Vec<String>,
    /// What the language's runner is told of the run, as [`Request::words`].
    pub words: Vec<String>,
    /// Whether the runner should tell rich results.
    pub rich: bool,
    /// Files to put in place before the code runs; they replace others of their names. That one cannot be placed is an
    /// exception of the run: what is in its way is the session's own doing.
    pub files: Vec<PlacedFile>,
    /// Files to bring back at its end, if any. The session lives while they are read: what changes under it may come
    /// torn, and never comes from elsewhere.
    pub collect: Option<Collect>,
    /// What the code reads from standard input.
    pub stdin: Stdin,
    /// Wall-clock time from hand-out to verdict; that of the session's limits, if it is not said.
    pub wall: Option<Duration>,
    /// Ends the run early when pulled, and its session.
    pub cancel: Option<Cancel>,
    /// Sees output as it comes, up to the cap that is kept.
    pub sink: Option<Sink>,
    /// Whether output is also kept for the end.
    pub keep: Keep,
}

impl Cell {
    /// Code alone, with an empty standard input.
    pub fn new(code: impl Into<Vec<u8>>) -> Self {
        Self {
            code: code.into(),
            args: Vec::new(),
            words: Vec::new(),
            rich: false,
            files: Vec::new(),
            collect: None,
            stdin: Stdin::Empty,
            wall: None,
            cancel: None,
            sink: None,
            keep: Keep::Output,
        }
    }

    /// The same as a run of its own would be asked for.
    pub(crate) fn into_request(self, language: String, limits: Limits) -> Request {
        let Self { code, args, words, rich, files, collect, stdin, wall: _, cancel, sink, keep } = self;
        Request {
            language,
            warm: 0,
            network: Network::None,
            network_sight: None,
            code,
            args,
            words,
            rich,
            files,
            collect,
            stdin,
            limits,
            cancel,
            sink,
            keep,
        }
    }
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cell")
            .field("code_bytes", &self.code.len())
            .field("args", &self.args.len())
            .field("files", &self.files.len())
            .field("wall", &self.wall)
            .finish_non_exhaustive()
    }
}

/// Why a session has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionEnd {
    /// Its owner closed it.
    Closed,
    /// No run came for as long as it may idle.
    Idle,
    /// It was there for as long as it may be.
    Expired,
    /// A run ended with this verdict, and did not leave an interpreter that can be trusted with another.
    Run(Verdict),
    /// Its interpreter ended between two runs, or behaved as none does.
    Died,
    /// The image has changed on this host, and nothing runs from it any more.
    ImageChanged,
    /// The helper is gone.
    HelperGone,
}

impl fmt::Display for SessionEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("it was closed"),
            Self::Idle => f.write_str("no run came for too long"),
            Self::Expired => f.write_str("its time is over"),
            Self::Run(verdict) => write!(f, "a run of it ended with {verdict:?}"),
            Self::Died => f.write_str("its interpreter died between two runs"),
            Self::ImageChanged => f.write_str("its image is not what its digest names"),
            Self::HelperGone => f.write_str("the helper is gone"),
        }
    }
}

/// What can be known of a session from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionInfo {
    /// How many runs have come to a verdict.
    pub runs: u64,
    /// User and system time of all runs, and of what went on between them; of what went on after the last when the session
    /// has ended. `None` where this tier cannot measure it.
    pub cpu: Option<Duration>,
    /// User and system time between the last run and the end; `None` before the end, and as above.
    pub cpu_after: Option<Duration>,
    /// The largest amount of memory held at once in any of them, in bytes; `None` as above.
    pub memory_peak_bytes: Option<u64>,
    /// How many checkpoints can be gone back to.
    pub checkpoints: usize,
    /// How long until it ends, if no run comes.
    pub idle_left: Duration,
    /// How long until it ends.
    pub absolute_left: Duration,
    /// Why it has ended, if it has.
    pub end: Option<SessionEnd>,
}
