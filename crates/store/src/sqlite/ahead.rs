//! Makes the WAL longer ahead of what is written to it, so that a commit overwrites what is there.
//!
//! A flush of bytes that make a file longer flushes the file system's journal too, which takes half as long again. SQLite never
//! makes the WAL shorter while it is open, so that this is paid once for each start. Zeros behind the last frame are no frames:
//! their salt is not the header's (SQLite, *WAL-mode File Format*), and a WAL of zeros alone is an empty one.
//!
//! Nothing here may write where another connection could: the WAL grows under SQLite's own write lock.

use std::error::Error;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode};

/// Commits that are worth it: what is opened for a moment keeps a small WAL.
const COMMITS_MIN: u64 = 16;

/// What a commit writes, in bytes: some ten frames.
const COMMIT_BYTES: u64 = 40 << 10;

/// How far ahead it is, in bytes: what a busy record writes before it is looked at again.
const AHEAD_BYTES: u64 = 4 << 20;

/// How much is added at a time, in bytes: it is held against writers for as long as that takes to copy.
const STEP_BYTES: u64 = 1 << 20;

/// A frame of the WAL, in bytes: a page and its header.
const FRAME_BYTES: u64 = (4 << 10) + 24;

/// Frames behind the page count at which a commit checkpoints: those of its own batch.
const BATCH_FRAMES: u64 = 256;

/// The WAL of one file.
#[derive(Debug)]
pub(super) struct Ahead {
    /// None where there is no such file, or it could not be made longer.
    wal: Option<PathBuf>,
    /// How long it is known to be, in bytes.
    length: u64,
    most: u64,
}

impl Ahead {
    /// Of the file of a connection. Longer than `pages` need it never gets.
    pub(super) fn of(conn: &Connection, pages: u64) -> Self {
        let file = conn.path().filter(|path| !path.is_empty());
        let wal = file.map(|path| {
            let mut wal = OsString::from(path);
            wal.push("-wal");
            PathBuf::from(wal)
        });
        Self { wal, length: 0, most: (pages + BATCH_FRAMES) * FRAME_BYTES }
    }

    /// Makes it as long as so many commits since the start may need it soon.
    pub(super) fn keep(&mut self, conn: &Connection, commits: u64) {
        if commits < COMMITS_MIN {
            return;
        }
        let wanted = commits.saturating_mul(COMMIT_BYTES).saturating_add(AHEAD_BYTES).min(self.most);
        while self.length < wanted {
            let Some(wal) = &self.wal else { return };
            match step(conn, wal, wanted) {
                Ok(length) => self.length = length,
                // Another process writes for long. There will be a next time.
                Err(error) if is_busy(error.as_ref()) => return,
                Err(error) => {
                    let error: &dyn Error = error.as_ref();
                    tracing::warn!(
                        error,
                        "the write-ahead log could not be made longer; each commit does it"
                    );
                    self.wal = None;
                }
            }
        }
    }
}

/// Makes it longer by one step, where it is shorter than that; gives its length.
fn step(conn: &Connection, wal: &Path, wanted: u64) -> Result<u64, Box<dyn Error>> {
    // Nobody else writes to it meanwhile, starts it anew, or removes it.
    conn.execute_batch("BEGIN IMMEDIATE")?;
    let grown = grow(wal, wanted);
    conn.execute_batch("ROLLBACK")?;
    let (file, length) = grown?;
    // Only now: whoever writes need not wait for it.
    file.sync_data()?;
    Ok(length)
}

fn is_busy(error: &(dyn Error + 'static)) -> bool {
    let error = error.downcast_ref::<rusqlite::Error>();
    error.and_then(rusqlite::Error::sqlite_error_code) == Some(ErrorCode::DatabaseBusy)
}

fn grow(wal: &Path, wanted: u64) -> io::Result<(File, u64)> {
    let mut file = OpenOptions::new().append(true).open(wal)?;
    let length = file.metadata()?.len();
    let more = wanted.saturating_sub(length).min(STEP_BYTES);
    let zeros = vec![0; usize::try_from(more).map_err(io::Error::other)?];
    file.write_all(&zeros)?;
    Ok((file, length + more))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use rusqlite::Connection;

    use super::{AHEAD_BYTES, Ahead, COMMIT_BYTES, COMMITS_MIN, FRAME_BYTES};

    fn open(path: &Path) -> Connection {
        let conn = Connection::open(path).unwrap();
        conn.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).unwrap();
        conn.pragma_update(None, "synchronous", "FULL").unwrap();
        conn.execute_batch("CREATE TABLE IF NOT EXISTS kept (id INTEGER PRIMARY KEY)").unwrap();
        conn
    }

    fn kept(conn: &Connection) -> Vec<i64> {
        let mut rows = conn.prepare("SELECT id FROM kept ORDER BY id").unwrap();
        rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn what_was_committed_before_and_after_is_found_again_by_whoever_recovers_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.db");
        let wal = folder.path().join("x.db-wal");
        let conn = open(&path);
        conn.execute("INSERT INTO kept VALUES (1)", []).unwrap();
        let other = open(&path);
        let mut ahead = Ahead::of(&other, 10_000);
        ahead.keep(&other, COMMITS_MIN - 1);
        assert!(fs::metadata(&wal).unwrap().len() < AHEAD_BYTES);
        ahead.keep(&other, COMMITS_MIN);
        let long = AHEAD_BYTES + COMMITS_MIN * COMMIT_BYTES;
        assert_eq!(fs::metadata(&wal).unwrap().len(), long);
        conn.execute("INSERT INTO kept VALUES (2)", []).unwrap();
        assert_eq!(fs::metadata(&wal).unwrap().len(), long, "a commit overwrites what is there");

        // As a crash leaves it: the files without the memory that is shared over them.
        let left = folder.path().join("left.db");
        fs::copy(&path, &left).unwrap();
        fs::copy(&wal, folder.path().join("left.db-wal")).unwrap();
        assert_eq!(kept(&open(&left)), [1, 2]);

        // And where it was started anew over the zeros.
        conn.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).unwrap();
        conn.execute("INSERT INTO kept VALUES (3)", []).unwrap();
        let left = folder.path().join("again.db");
        fs::copy(&path, &left).unwrap();
        fs::copy(&wal, folder.path().join("again.db-wal")).unwrap();
        assert_eq!(kept(&open(&left)), [1, 2, 3]);
        assert_eq!(fs::metadata(&wal).unwrap().len(), long);
    }

    #[test]
    fn it_is_never_longer_than_a_checkpoint_lets_it_get() {
        let folder = tempfile::tempdir().unwrap();
        let conn = open(&folder.path().join("x.db"));
        let mut ahead = Ahead::of(&conn, 10);
        ahead.keep(&conn, u64::MAX);
        let length = fs::metadata(folder.path().join("x.db-wal")).unwrap().len();
        assert_eq!(length, (10 + super::BATCH_FRAMES) * FRAME_BYTES);
    }

    #[test]
    fn a_record_without_a_file_needs_none() {
        let conn = Connection::open_in_memory().unwrap();
        Ahead::of(&conn, 10).keep(&conn, u64::MAX);
    }
}
