//! The one thread that writes: many jobs, one commit, one flush.
//!
//! It takes all jobs that wait, runs each in a savepoint of its own, commits once and only then answers.
//! While a commit flushes, the next jobs pile up: the batch grows with the load, and nothing waits for a clock.

use std::error::Error;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rusqlite::Connection;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};

use super::fault::{backend, failed_to};
use crate::StoreError;

/// Jobs that may wait; one more is `Busy`. A minute of them would not be worth waiting for: this is some 100 ms.
const QUEUE_JOBS: usize = 1_024;

/// Jobs that share one commit. Beyond this the flush is spread thin enough, and answers only get later.
const BATCH_JOBS: usize = 128;

/// Work on the open transaction.
type Work<T> = Box<dyn FnOnce(&Connection) -> Result<T, StoreError> + Send>;

/// A job in the queue, whatever its answer is.
trait Job: Send {
    /// Does the work and keeps the answer back. False if the work failed and must be rolled back.
    fn run(&mut self, conn: &Connection) -> bool;

    /// Gives the answer: the work's own if the commit succeeded or the work failed, else the commit's error.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Pending<T> {
    work: Option<Work<T>>,
    done: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T: Send> Job for Pending<T> {
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

/// The door to the writing thread.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Mutex<Option<mpsc::Sender<Box<dyn Job>>>>,
    ended: watch::Receiver<()>,
}

impl Writer {
    /// Starts the thread. It ends when the writer is closed or dropped and the queue is empty, or on a panic;
    /// `keep` lives as long as the thread does.
    pub(super) fn start(conn: Connection, keep: impl Send + 'static) -> io::Result<Self> {
        let (queue, jobs) = mpsc::channel(QUEUE_JOBS);
        let (alive, ended) = watch::channel(());
        thread::Builder::new().name("record-writer".to_owned()).spawn(move || {
            serve(conn, jobs);
            drop(keep);
            drop(alive);
        })?;
        Ok(Self { queue: Mutex::new(Some(queue)), ended })
    }

    /// Runs work in the next commit. A future that is dropped after its first poll takes nothing back.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Box::new(Pending { work: Some(Box::new(work)), done: None, reply }))?;
        // A sender that is dropped unused was on the stack of a writer that died.
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    fn enqueue(&self, job: Box<dyn Job>) -> Result<(), StoreError> {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        match queue.as_ref().map(|queue| queue.try_send(job)) {
            Some(Ok(())) => Ok(()),
            Some(Err(TrySendError::Full(_))) => Err(StoreError::Busy),
            Some(Err(TrySendError::Closed(_))) | None => Err(StoreError::Closed),
        }
    }

    /// Takes no more jobs and waits until those that wait are done and the thread has ended.
    pub(super) async fn close(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        // Nothing is ever sent: this is the thread dropping its end.
        while self.ended.clone().changed().await.is_ok() {}
    }
}

fn serve(conn: Connection, mut jobs: mpsc::Receiver<Box<dyn Job>>) {
    let mut batch = Vec::with_capacity(BATCH_JOBS);
    while jobs.blocking_recv_many(&mut batch, BATCH_JOBS) > 0 {
        let committed = commit_batch(&conn, &mut batch);
        for job in batch.drain(..) {
            job.answer(committed.as_ref().map(|()| ()).map_err(Failure::to_error));
        }
    }
    if let Err((_, error)) = conn.close() {
        tracing::warn!(error = &error as &dyn Error, "the record was not closed cleanly");
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
        [job] => match job.run(conn) {
            true => Ok(()),
            false => return roll_back(conn),
        },
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
