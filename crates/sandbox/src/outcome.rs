//! What a run came to. Follows only what the supervisor saw; the guest's own frames say `value` or
//! `exception` and nothing else.

use std::time::Duration;

use crate::egress::NetworkReport;
use crate::enforced::Enforced;
use crate::files::CollectedFile;

/// What a run came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// How it ended.
    pub verdict: Verdict,
    /// What was kept of standard output; any bytes.
    pub stdout: Vec<u8>,
    /// What was kept of standard error; any bytes.
    pub stderr: Vec<u8>,
    /// Whether output was thrown away.
    pub truncated: bool,
    /// The text of the last expression's value, if it had one.
    pub value: Option<String>,
    /// The exception, if the verdict is one that an exception led to.
    pub exception: Option<Exception>,
    /// The rich results, in their order: texts that should be JSON objects, of the guest's making.
    pub displays: Vec<String>,
    /// The files that were asked for, by path.
    pub files: Vec<CollectedFile>,
    /// What it used.
    pub usage: Usage,
    /// What its proxy has decided, where it had one.
    pub network: Option<NetworkReport>,
    /// What held it.
    pub enforced: Enforced,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It finished.
    Value,
    /// It raised an exception.
    Exception,
    /// It left with this code, which is not 0.
    Exit(i32),
    /// It met a limit.
    Limit(LimitKind),
    /// It met its deadline.
    Timeout,
    /// The caller pulled the cord.
    Cancelled,
}

/// Which limit a run met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitKind {
    /// Memory.
    OutOfMemory,
    /// A signal ended it, and no limit explains that.
    Killed,
    /// Processes and threads.
    ProcessLimit,
    /// Blocks or inodes of its tmpfs.
    DiskFull,
    /// Output.
    OutputLimit,
}

/// An exception, as the guest tells it; every text is the guest's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    /// The class.
    pub name: String,
    /// The message.
    pub message: String,
    /// The traceback, of user frames only.
    pub traceback: String,
}

/// What a run used. A number that this tier cannot measure is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// From hand-out to verdict.
    pub wall: Duration,
    /// User and system time of all its processes, as far as the kernel had counted it at the verdict: the last
    /// milliseconds may be missing.
    pub cpu: Option<Duration>,
    /// The same, of what went on in its session between the run before and this one; `None` for a run of its own.
    pub cpu_between: Option<Duration>,
    /// The largest amount of memory held at once, in bytes.
    pub memory_peak_bytes: Option<u64>,
}
