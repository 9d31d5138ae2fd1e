//! Copies the WAL into the file while nobody writes, so that runs seldom pay for it; and makes the WAL longer before it is
//! written to ([`Ahead`]).
//!
//! Under steady load a commit does it itself, every few thousand pages (`wal_autocheckpoint`). After a pause
//! the writer starts again at the head of the WAL, which is also the cheaper place: overwriting a file that has
//! its length flushes faster than making it longer.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::ahead::Ahead;

/// How long nobody must have written.
const QUIET: Duration = Duration::from_millis(100);

/// Pages in the WAL at which a commit copies them into the file.
pub(super) const CHECKPOINT_PAGES: u64 = 4_000;

/// Commits that are worth a checkpoint, which itself flushes twice.
const COMMITS: u64 = 64;

/// What the writer tells the checkpointing thread.
#[derive(Debug, Default)]
struct Signs {
    commits: AtomicU64,
    stirred: AtomicBool,
    ended: AtomicBool,
}

/// The thread that checkpoints in pauses.
#[derive(Debug)]
pub(super) struct Checkpointer {
    signs: Arc<Signs>,
    thread: JoinHandle<()>,
}

impl Checkpointer {
    /// Starts the thread, with a connection of its own.
    pub(super) fn start(conn: Connection) -> io::Result<Self> {
        let signs = Arc::new(Signs::default());
        let watched = Arc::clone(&signs);
        let thread = thread::Builder::new()
            .name("record-checkpoint".to_owned())
            .spawn(move || watch(&conn, &watched))?;
        Ok(Self { signs, thread })
    }

    /// To be called after each commit: wakes nobody but the first time after a pause.
    pub(super) fn committed(&self) {
        self.signs.commits.fetch_add(1, Ordering::SeqCst);
        if !self.signs.stirred.swap(true, Ordering::SeqCst) {
            self.thread.thread().unpark();
        }
    }

    /// Ends the thread and waits for it.
    pub(super) fn end(self) {
        self.signs.ended.store(true, Ordering::SeqCst);
        self.thread.thread().unpark();
        if self.thread.join().is_err() {
            tracing::warn!("the checkpointing thread of the record panicked");
        }
    }
}

fn watch(conn: &Connection, signs: &Signs) {
    let mut done = 0;
    let mut ahead = Ahead::of(conn, CHECKPOINT_PAGES);
    while wait_for_pause(signs, |commits| ahead.keep(conn, commits)) {
        let commits = signs.commits.load(Ordering::SeqCst);
        if commits - done < COMMITS {
            continue;
        }
        done = commits;
        let copied = conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        if let Err(error) = copied {
            tracing::warn!(
                error = &error as &dyn Error,
                "a checkpoint of the record failed; a later one catches up"
            );
        }
    }
}

/// Waits until somebody has written and then nobody for a while; meanwhile says how many commits there were, again and
/// again. False at the end.
fn wait_for_pause(signs: &Signs, mut meanwhile: impl FnMut(u64)) -> bool {
    while !signs.stirred.load(Ordering::SeqCst) {
        if signs.ended.load(Ordering::SeqCst) {
            return false;
        }
        thread::park();
    }
    loop {
        let seen = signs.commits.load(Ordering::SeqCst);
        if !sleep_through(signs) {
            return false;
        }
        meanwhile(signs.commits.load(Ordering::SeqCst));
        if signs.commits.load(Ordering::SeqCst) == seen {
            // Nobody is woken as long as this stands. A commit that came before it was taken back is seen in the count, and
            // one that comes later stirs again.
            signs.stirred.store(false, Ordering::SeqCst);
            if signs.commits.load(Ordering::SeqCst) == seen {
                return true;
            }
        }
    }
}

/// Sleeps for as long as nobody must have written. False at the end.
fn sleep_through(signs: &Signs) -> bool {
    let until = Instant::now() + QUIET;
    while !signs.ended.load(Ordering::SeqCst) {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        thread::park_timeout(left);
    }
    false
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::thread;

    use rusqlite::Connection;

    use super::{COMMITS, Checkpointer};

    #[test]
    fn a_pause_moves_the_wal_into_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.db");
        let conn = Connection::open(&path).unwrap();
        conn.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).unwrap();
        conn.execute_batch("CREATE TABLE kept (page BLOB)").unwrap();
        let length = || fs::metadata(&path).unwrap().len();
        let before = length();

        let checkpointer = Checkpointer::start(Connection::open(&path).unwrap()).unwrap();
        for _ in 0..COMMITS {
            conn.execute("INSERT INTO kept (page) VALUES (zeroblob(4000))", []).unwrap();
            checkpointer.committed();
        }
        while length() == before {
            thread::yield_now();
        }
        checkpointer.end();
    }
}
