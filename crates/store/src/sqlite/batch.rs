//! What is written with one commit: jobs, each in a savepoint of its own, and how the commit is flushed.

use std::error::Error;
use std::io;
use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::fault::{backend, failed_to};
use crate::StoreError;

/// Work on the open transaction.
type Work<T> = Box<dyn FnOnce(&Connection) -> Result<T, StoreError> + Send>;

/// A job in the queue, whatever its answer is.
pub(super) trait Job: Send {
    /// Whether what it writes must outlast a power cut once it is answered.
    fn lasts(&self) -> bool;

    /// Does the work and keeps the answer back. False if the work failed and must be rolled back.
    fn run(&mut self, conn: &Connection) -> bool;

    /// Gives the answer: the work's own if the commit succeeded or the work failed, else the commit's error.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

/// One whose answer is waited for.
struct Pending<T> {
    work: Option<Work<T>>,
    done: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
    lasts: bool,
}

/// A job, and where its answer comes.
pub(super) fn job<T: Send + 'static>(
    entry: Entry,
    work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
) -> (Box<dyn Job>, oneshot::Receiver<Result<T, StoreError>>) {
    let (reply, answer) = oneshot::channel();
    let lasts = entry != Entry::Derived;
    (Box::new(Pending { work: Some(Box::new(work)), done: None, reply, lasts }), answer)
}

impl<T: Send> Job for Pending<T> {
    fn lasts(&self) -> bool {
        self.lasts
    }

    fn run(&mut self, conn: &Connection) -> bool {
        let done = self.work.take().map(|work| work(conn));
        let fine = matches!(done, Some(Ok(_)));
        self.done = done;
        fine
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let answer = match (self.done, committed) {
            (Some(Err(own)), _) => Err(own),
            (_, Err(error)) => Err(error),
            (Some(done), Ok(())) => done,
            (None, Ok(())) => Err(StoreError::Closed),
        };
        // A caller that hung up has no use for its answer; what was written stays written.
        drop(self.reply.send(answer));
    }
}

/// What a job is to the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// The start of something, which can be turned away.
    Start,
    /// The end of something that has happened already.
    End,
    /// What can be turned away, and is made again from the rest of the record where a power cut has taken it: no flush is
    /// spent on it alone.
    Derived,
}

/// Whether a commit is flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flush {
    /// Before it is answered, and with it whatever was committed before. The connection is opened so.
    Each,
    /// With the next one that is.
    WithNext,
}

impl Flush {
    /// Runs all of a batch, commits it, and gives the answers.
    pub(super) fn commit(&mut self, conn: &Connection, mut batch: Vec<Box<dyn Job>>) {
        let committed = self.fit(conn, &batch).and_then(|()| commit_batch(conn, &mut batch));
        for job in batch {
            job.answer(committed.as_ref().copied().map_err(Failure::to_error));
        }
    }

    /// Sets the connection to what a batch needs. Where that fails nothing of it may be written.
    fn fit(&mut self, conn: &Connection, batch: &[Box<dyn Job>]) -> Result<(), Failure> {
        let wanted = if batch.iter().any(|job| job.lasts()) { Self::Each } else { Self::WithNext };
        if *self == wanted {
            return Ok(());
        }
        let level = match wanted {
            Self::Each => "FULL",
            Self::WithNext => "NORMAL",
        };
        let doing = "set how a commit is flushed";
        let set = conn.pragma_update(None, "synchronous", level);
        set.map_err(|error| Failure::Step { doing, error: Arc::new(error) })?;
        *self = wanted;
        Ok(())
    }
}

/// Why nothing of a batch was committed, to be told to each of its jobs.
enum Failure {
    /// Another process holds the write lock.
    Busy,
    /// The step that failed, and why.
    Step { doing: &'static str, error: Arc<dyn Error + Send + Sync> },
}

impl Failure {
    fn to_error(&self) -> StoreError {
        match self {
            Self::Busy => StoreError::Busy,
            Self::Step { doing, error } => backend(doing, Arc::clone(error)),
        }
    }
}

fn step(conn: &Connection, sql: &str, doing: &'static str) -> Result<(), Failure> {
    let done = conn.prepare_cached(sql).and_then(|mut statement| statement.execute([]));
    match done.map_err(failed_to(doing)) {
        Ok(_) => Ok(()),
        Err(StoreError::Backend { doing, source }) => Err(Failure::Step { doing, error: source.into() }),
        Err(_) => Err(Failure::Busy),
    }
}

/// Runs and commits a batch. On an error nothing of it is written, and the connection is out of the transaction.
fn commit_batch(conn: &Connection, batch: &mut [Box<dyn Job>]) -> Result<(), Failure> {
    step(conn, "BEGIN IMMEDIATE", "begin a transaction")?;
    let ran = match batch {
        // Alone, a job has nobody to disturb: the transaction is its savepoint, and its error is its own.
        [job] => {
            if !job.run(conn) {
                return roll_back(conn);
            }
            Ok(())
        }
        jobs => jobs.iter_mut().try_for_each(|job| run_in_savepoint(conn, job.as_mut())),
    };
    let committed = ran.and_then(|()| step(conn, "COMMIT", "commit a transaction"));
    if committed.is_err() {
        // The cause is told; a roll-back that fails too shows in the next BEGIN.
        roll_back(conn).ok();
    }
    committed
}

/// Ends a transaction that is still open; SQLite has ended it already after a full disk or an IO error.
fn roll_back(conn: &Connection) -> Result<(), Failure> {
    if conn.is_autocommit() { Ok(()) } else { step(conn, "ROLLBACK", "roll back a transaction") }
}

fn run_in_savepoint(conn: &Connection, job: &mut dyn Job) -> Result<(), Failure> {
    step(conn, "SAVEPOINT job", "open a savepoint")?;
    if !job.run(conn) {
        if conn.is_autocommit() {
            // Nothing may run after this: each statement would commit by itself.
            let error = io::Error::other("another write of the same batch has ended the transaction");
            return Err(Failure::Step { doing: "commit a transaction", error: Arc::new(error) });
        }
        step(conn, "ROLLBACK TO job", "roll back a savepoint")?;
    }
    step(conn, "RELEASE job", "release a savepoint")
}
