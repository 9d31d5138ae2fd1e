//! From SQLite's errors to the port's.

use std::error::Error;

use rusqlite::{Error as SqlError, ErrorCode};

use crate::StoreError;

/// Names what we were doing when SQLite failed.
///
/// Another process that holds the write lock for longer than the busy timeout is `Busy`, not a fault.
pub(super) fn failed_to(doing: &'static str) -> impl Fn(SqlError) -> StoreError + Copy {
    move |error| match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy,
        _ => backend(doing, error),
    }
}

/// The error of a step that failed for another reason than SQLite's.
pub(super) fn backend(doing: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> StoreError {
    StoreError::Backend { doing, source: source.into() }
}
