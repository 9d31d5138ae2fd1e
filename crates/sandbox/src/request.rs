//! One run, as it is asked for. Guest bytes are carried here and never looked at.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use execgate_forkpoint::wire::Sheet;
use rustix::event::{EventfdFlags, eventfd};

use crate::egress::NetworkSight;
use crate::files::{Collect, PlacedFile};
use crate::limits::Limits;
use crate::network::Network;

/// What to run.
pub struct Request {
    /// The name of a configured language.
    pub language: String,
    /// The source code.
    pub code: Vec<u8>,
    /// Arguments for the code; at most [`Request::ARGS_BYTES_MAX`] together, without NUL.
    pub args: Vec<String>,
    /// What the language's runner is told of the run, beside `rich` and `stdin`, in words of its own.
    pub words: Vec<String>,
    /// Whether the runner should tell rich results: pictures, tables, whatever the language has.
    pub rich: bool,
    /// Which of the language's [`crate::Language::warm`] suits the code best; one that is not there means the first. It
    /// makes a difference in time alone.
    pub warm: u16,
    /// Files that are there when the code starts.
    pub files: Vec<PlacedFile>,
    /// Files to bring back at the end, if any.
    pub collect: Option<Collect>,
    /// What the code reads from standard input.
    pub stdin: Stdin,
    /// What it may use.
    pub limits: Limits,
    /// Which network it has.
    pub network: Network,
    /// Sees what its proxy has decided while it runs.
    pub network_sight: Option<NetworkSight>,
    /// Ends the run early when pulled.
    pub cancel: Option<Cancel>,
    /// Sees output as it comes, up to the cap that is kept.
    pub sink: Option<Sink>,
    /// Whether output is also kept for the end.
    pub keep: Keep,
}

/// What becomes of output, beside being shown as it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keep {
    /// It is part of the [`crate::Run`].
    #[default]
    Output,
    /// Whoever watched has seen it.
    Nothing,
}

/// A callback for live output.
pub type Sink = Box<dyn FnMut(Stream, &[u8]) + Send + Sync>;

impl Request {
    /// Bound of all arguments together; the kernel's own bound for one argument is 128 KiB.
    pub const ARGS_BYTES_MAX: usize = 100 << 10;

    /// Bound of the number of files that are placed. Folders and files count against [`Limits::inodes`], too.
    pub const FILES_MAX: usize = Sheet::COUNT_MAX;

    /// A request with the default limits, no arguments and an empty standard input.
    pub fn new(language: impl Into<String>, code: impl Into<Vec<u8>>) -> Self {
        Self {
            language: language.into(),
            code: code.into(),
            args: Vec::new(),
            words: Vec::new(),
            rich: false,
            warm: 0,
            files: Vec::new(),
            collect: None,
            stdin: Stdin::Empty,
            limits: Limits::default(),
            network: Network::None,
            network_sight: None,
            cancel: None,
            sink: None,
            keep: Keep::Output,
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("language", &self.language)
            .field("code_bytes", &self.code.len())
            .field("args", &self.args.len())
            .field("files", &self.files.len())
            .field("limits", &self.limits)
            .field("network", &self.network)
            .finish_non_exhaustive()
    }
}

/// Where standard input comes from.
#[derive(Debug)]
pub enum Stdin {
    /// Nothing: end of file at once.
    Empty,
    /// These bytes.
    Bytes(Vec<u8>),
    /// What a descriptor of the caller's gives, as it comes. The code reads it from a pipe and never gets the descriptor.
    Inherit(OwnedFd),
}

/// Which output stream bytes came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A cord that ends a run early. Clones pull the same run.
#[derive(Debug, Clone)]
pub struct Cancel(Arc<OwnedFd>);

impl Cancel {
    /// A cord that nobody has pulled.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)))
    }

    /// Pulls the cord; pulling it twice, or after the end, does nothing.
    pub fn cancel(&self) {
        // A counter that cannot take another 1 has been pulled before.
        let _already_pulled = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
