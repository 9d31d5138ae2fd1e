//! One run, as it is asked for. Guest bytes are carried here and never looked at.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{EventfdFlags, eventfd};

use crate::limits::Limits;

/// What to run.
pub struct Request {
    /// The name of a configured language.
    pub language: String,
    /// The source code.
    pub code: Vec<u8>,
    /// Arguments for the code; at most [`Request::ARGS_BYTES_MAX`] together, without NUL.
    pub args: Vec<String>,
    /// What the code reads from standard input.
    pub stdin: Stdin,
    /// What it may use.
    pub limits: Limits,
    /// Ends the run early when pulled.
    pub cancel: Option<Cancel>,
    /// Sees output as it comes, up to the cap that is kept.
    pub sink: Option<Sink>,
}

/// A callback for live output.
pub type Sink = Box<dyn FnMut(Stream, &[u8]) + Send + Sync>;

impl Request {
    /// Bound of all arguments together; the kernel's own bound for one argument is 128 KiB.
    pub const ARGS_BYTES_MAX: usize = 100 << 10;

    /// A request with the default limits, no arguments and an empty standard input.
    pub fn new(language: impl Into<String>, code: impl Into<Vec<u8>>) -> Self {
        Self {
            language: language.into(),
            code: code.into(),
            args: Vec::new(),
            stdin: Stdin::Empty,
            limits: Limits::default(),
            cancel: None,
            sink: None,
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("language", &self.language)
            .field("code_bytes", &self.code.len())
            .field("args", &self.args.len())
            .field("limits", &self.limits)
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
    /// A descriptor of the caller, for `execgate run`.
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
