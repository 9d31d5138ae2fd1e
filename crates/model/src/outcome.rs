//! What became of a run. Status, body and charge all follow from it (CONTRACTS 3).

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A limit that ended a run, by the name that answers use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LimitKind {
    /// More memory than the run may have.
    OutOfMemory,
    /// Ended by a signal that was not ours and not the memory limit's.
    Killed,
    /// More processes and threads than the run may have.
    ProcessLimit,
    /// More bytes or files than the run may have.
    DiskFull,
    /// More output than is kept and discarded.
    OutputLimit,
}

impl LimitKind {
    /// The name that stands in `error.name`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OutOfMemory => "OutOfMemory",
            Self::Killed => "Killed",
            Self::ProcessLimit => "ProcessLimit",
            Self::DiskFull => "DiskFull",
            Self::OutputLimit => "OutputLimit",
        }
    }
}

/// What the supervisor observed of a handler that ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "verdict")]
pub enum Verdict {
    /// It gave a value.
    Value,
    /// It raised.
    Exception,
    /// It ended by an exit code of its own, which is not 0.
    Exit {
        /// The code, 1 to 255.
        code: i32,
    },
    /// A limit ended it.
    Limit {
        /// Which.
        limit: LimitKind,
    },
    /// The deadline ended it.
    Timeout {
        /// The deadline, in milliseconds from the start.
        after_ms: u64,
    },
}

/// An error of the caller's own code, or the limit that ended it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorReport {
    /// The class: `ValueError`, `SystemExit`, `OutOfMemory`, …
    pub name: String,
    /// One line or a few.
    pub message: String,
    /// Frames of the caller's own code; empty where there are none.
    pub traceback: String,
}

/// What a handler that ran leaves behind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Product {
    /// What the supervisor saw.
    pub verdict: Verdict,
    /// The value that surfaces show: JSON of the handler's own shape.
    pub result: Value,
    /// The error, where there is one.
    pub error: Option<ErrorReport>,
    /// What confined the run, for its receipt; null for a handler that needs no confinement.
    pub enforced: Value,
}

/// The end of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "outcome")]
pub enum Outcome {
    /// The handler ran to an end that was observed.
    Done {
        /// What it left.
        product: Product,
    },
    /// A fault of ours, or the death of the process, lost the end of a handler that may have run.
    Unknown,
}

impl Outcome {
    /// One word for the receipt: `value`, `exception`, `exit:3`, `limit:OutOfMemory`, `timeout`, `unknown`.
    #[must_use]
    pub fn word(&self) -> String {
        match self {
            Self::Done { product } => match product.verdict {
                Verdict::Value => "value".to_owned(),
                Verdict::Exception => "exception".to_owned(),
                Verdict::Exit { code } => format!("exit:{code}"),
                Verdict::Limit { limit } => format!("limit:{}", limit.as_str()),
                Verdict::Timeout { .. } => "timeout".to_owned(),
            },
            Self::Unknown => "unknown".to_owned(),
        }
    }
}
