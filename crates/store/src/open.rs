//! The one line that a new back end adds.

use std::path::PathBuf;
use std::sync::Arc;

use execgate_model::{InstanceId, UnixMs};

use crate::Store;

/// How to open a store.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// Where the record is. Absolute: `sqlite:///var/lib/x.db`, `sqlite:////var/lib/x.db`. In `data_dir`:
    /// `sqlite://x.db` and, as `SQLAlchemy` writes it, `sqlite:///x.db` and `sqlite:///./x.db`.
    pub url: String,
    /// The folder of this gateway's files; instance locks live in it.
    pub data_dir: PathBuf,
    /// This process. An id that an earlier process has left open runs under is refused: they would never be
    /// recovered.
    pub instance: InstanceId,
    /// When it starts.
    pub at: UnixMs,
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No back end reads such a URL.
    #[error("no store reads the database URL scheme `{scheme}`; use sqlite:///path.db")]
    Scheme {
        /// The scheme of the URL.
        scheme: String,
    },
    /// The record is of another release's making, and was opened to be looked at alone.
    #[error(
        "the record has schema version {found}, and this release reads {known}: start a gateway once to bring it up to date, or use the release that wrote it"
    )]
    Schema {
        /// The version of the record.
        found: i32,
        /// The one that this release reads.
        known: i32,
    },
    /// The back end failed.
    #[error("failed to {doing}")]
    Backend {
        /// What we were doing.
        doing: &'static str,
        /// The back end's own error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Opens the store that a URL names.
///
/// # Errors
/// [`OpenError`] names the step that failed.
pub fn open(options: &OpenOptions) -> Result<Arc<dyn Store>, OpenError> {
    crate::sqlite::open(sqlite(options)?, options)
}

/// Opens the store that a URL names to look at it: nothing of it is written, brought up to date, or made. Every write
/// answers that it is closed.
///
/// # Errors
/// [`OpenError`]; [`OpenError::Schema`] for a store that this version would have to bring up to date first.
pub fn open_to_read(options: &OpenOptions) -> Result<Arc<dyn Store>, OpenError> {
    crate::sqlite::open_to_read(sqlite(options)?, options)
}

/// What the part of a URL behind its scheme names.
fn sqlite(options: &OpenOptions) -> Result<&str, OpenError> {
    let (scheme, rest) = options.url.split_once("://").unwrap_or(("sqlite", &options.url));
    match scheme {
        "sqlite" => Ok(rest),
        other => Err(OpenError::Scheme { scheme: other.to_owned() }),
    }
}
