//! A copy of the record, made beside those who write it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rusqlite::Connection;

use super::fault::{backend, failed_to};
use crate::StoreError;

/// Copies everything as of one moment. A copy that fails is removed; a file that is there is left as it is.
pub(super) fn copy_to(conn: &Connection, file: &Path) -> Result<(), StoreError> {
    let make = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    make().map_err(|error| backend("make the file of the copy", error))?;
    let copied = vacuum(conn, file);
    if copied.is_err()
        && let Err(error) = fs::remove_file(file)
    {
        tracing::warn!(%error, "a copy that failed was not removed");
    }
    copied
}

fn vacuum(conn: &Connection, file: &Path) -> Result<(), StoreError> {
    let doing = "copy the record";
    let name = file.to_str().ok_or_else(|| backend(doing, "the name of the file is no text"))?;
    // Into an empty file, which is ours alone from the start.
    conn.execute("VACUUM INTO ?1", [name]).map_err(failed_to(doing))?;
    durable(file).map_err(|error| backend("flush the copy", error))
}

fn durable(file: &Path) -> io::Result<()> {
    File::open(file)?.sync_all()?;
    file.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}
