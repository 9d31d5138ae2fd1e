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
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::checkpoint::Checkpointer;
use super::fault::{backend, failed_to};
use crate::StoreError;

/// Jobs that may wait; one more is `Busy`. This many are written in some 100 ms.
const QUEUE_JOBS: usize = 1_024;

/// Of these, places that only the ends of runs may take: a full house turns new runs away and loses no outcome.
const RESERVED_JOBS: usize = 256;

/// Jobs that share one commit. Beyond this the flush is spread thin enough, and answers only get later.
const BATCH_JOBS: usize = 128;

/// Work on the open transaction.
type Work<T> = Box<dyn FnOnce(&Connection) -> Result<T, StoreError> + Send>;

/// A job in the queue, whatever its answer is.
trait Job: Send {
    /// Whether what it writes must outlast a power cut once it is answered.
    fn lasts(&self) -> bool;

    /// Does the work and keeps the answer back. False if the work failed and must be rolled back.
    fn run(&mut self, conn: &Connection) -> bool;

    /// Gives the answer: the work's own if the commit succeeded or the work failed, else the commit's error.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Pending<T> {
    work: Option<Work<T>>,
    done: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
    lasts: bool,
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

/// The door to the writing thread.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Mutex<Option<mpsc::Sender<Box<dyn Job>>>>,
    ended: watch::Receiver<()>,
    stirred: Arc<Notify>,
}

impl Writer {
    /// Starts the thread. It ends when the writer is closed or dropped and the queue is empty, or on a panic;
    /// `keep` lives as long as the thread does.
    pub(super) fn start(
        conn: Connection,
        checkpointer: Checkpointer,
        keep: impl Send + 'static,
    ) -> io::Result<Self> {
        let (queue, jobs) = mpsc::channel(QUEUE_JOBS);
        let (alive, ended) = watch::channel(());
        let stirred = Arc::new(Notify::new());
        let stirs = Arc::clone(&stirred);
        thread::Builder::new().name("record-writer".to_owned()).spawn(move || {
            serve(&conn, jobs, &checkpointer, &stirs);
            checkpointer.end();
            close(conn);
            drop(keep);
            drop(alive);
        })?;
        Ok(Self { queue: Mutex::new(Some(queue)), ended, stirred })
    }

    /// A door that is closed: nothing is ever written.
    pub(super) fn closed() -> Self {
        let (_, ended) = watch::channel(());
        Self { queue: Mutex::new(None), ended, stirred: Arc::default() }
    }

    /// Runs work in the next commit. A future that is dropped after its first poll takes nothing back.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        entry: Entry,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let lasts = entry != Entry::Derived;
        self.enqueue(Box::new(Pending { work: Some(Box::new(work)), done: None, reply, lasts }), entry)?;
        // A sender that is dropped unused was on the stack of a writer that died.
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    fn enqueue(&self, job: Box<dyn Job>, entry: Entry) -> Result<(), StoreError> {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(queue) = queue.as_ref().filter(|queue| !queue.is_closed()) else {
            return Err(StoreError::Closed);
        };
        if entry != Entry::End && queue.capacity() <= RESERVED_JOBS {
            return Err(StoreError::Busy);
        }
        queue.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Busy,
            TrySendError::Closed(_) => StoreError::Closed,
        })
    }

    /// Waits until a batch was committed since the last time.
    pub(super) async fn stirred(&self) {
        self.stirred.notified().await;
    }

    /// How many jobs wait.
    pub(super) fn waiting(&self) -> usize {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.as_ref().map_or(0, |queue| queue.max_capacity() - queue.capacity())
    }

    /// Takes no more jobs and waits until those that wait are done and the thread has ended.
    pub(super) async fn close(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        // Nothing is ever sent: this is the thread dropping its end.
        while self.ended.clone().changed().await.is_ok() {}
    }
}

fn serve(
    conn: &Connection,
    mut jobs: mpsc::Receiver<Box<dyn Job>>,
    checkpointer: &Checkpointer,
    stirred: &Notify,
) {
    let mut batch = Vec::with_capacity(BATCH_JOBS);
    let mut flush = Flush::Each;
    while jobs.blocking_recv_many(&mut batch, BATCH_JOBS) > 0 {
        let committed = flush.fit(conn, &batch).and_then(|()| commit_batch(conn, &mut batch));
        for job in batch.drain(..) {
            job.answer(committed.as_ref().copied().map_err(Failure::to_error));
        }
        checkpointer.committed();
        stirred.notify_one();
    }
}

fn close(conn: Connection) {
    // As the last connection of all processes it copies the WAL into the file and removes it.
    if let Err((_, error)) = conn.close() {
        tracing::warn!(error = &error as &dyn Error, "the record was not closed cleanly");
    }
}

/// Whether a commit is flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flush {
    /// Before it is answered, and with it whatever was committed before. The connection is opened so.
    Each,
    /// With the next one that is.
    WithNext,
}

impl Flush {
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

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::sync::{Arc, mpsc};

    use rusqlite::Connection;
    use tokio::runtime::{Builder, Runtime};
    use tokio::sync::oneshot;
    use tokio::task::{JoinHandle, yield_now};

    use super::{Entry, QUEUE_JOBS, RESERVED_JOBS, Writer};
    use crate::StoreError;
    use crate::sqlite::checkpoint::Checkpointer;
    use crate::sqlite::fault::backend;
    use crate::sqlite::rows::change;

    const INSERT: &str = "INSERT INTO kept (id) VALUES (?1)";

    fn runtime() -> Runtime {
        // One thread: tasks are polled in the order in which they are spawned.
        Builder::new_current_thread().build().unwrap()
    }

    fn writer() -> Arc<Writer> {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(
            "PRAGMA foreign_keys = ON; CREATE TABLE kept (id INTEGER PRIMARY KEY REFERENCES kept)",
        )
        .unwrap();
        let checkpointer = Checkpointer::start(Connection::open_in_memory().unwrap()).unwrap();
        Arc::new(Writer::start(conn, checkpointer, ()).unwrap())
    }

    fn insert(conn: &Connection, id: i64) -> Result<(), StoreError> {
        change(conn, INSERT, "insert", [id]).map(|_| ())
    }

    async fn kept(writer: &Writer) -> Vec<i64> {
        let read = |conn: &Connection| {
            let mut rows = conn.prepare("SELECT id FROM kept ORDER BY id").unwrap();
            Ok(rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect())
        };
        writer.write(Entry::End, read).await.unwrap()
    }

    /// Holds the writer in a batch of its own until the sender speaks, so that what follows shares the next one.
    async fn hold(writer: &Arc<Writer>) -> (mpsc::Sender<()>, JoinHandle<()>) {
        let (release, held) = mpsc::channel::<()>();
        let (entered, inside) = oneshot::channel();
        let holding = Arc::clone(writer);
        let task = tokio::spawn(async move {
            let work = move |_: &Connection| {
                entered.send(()).unwrap();
                held.recv().unwrap();
                Ok(())
            };
            holding.write(Entry::End, work).await.unwrap();
        });
        inside.await.unwrap();
        (release, task)
    }

    /// Lets the tasks run until so many jobs wait.
    async fn queued(writer: &Writer, jobs: usize) {
        let waiting = || writer.queue.lock().unwrap().as_ref().map(|queue| QUEUE_JOBS - queue.capacity());
        while waiting() != Some(jobs) {
            yield_now().await;
        }
    }

    fn spawn(
        writer: &Arc<Writer>,
        work: impl FnOnce(&Connection) -> Result<(), StoreError> + Send + 'static,
    ) -> JoinHandle<Result<(), StoreError>> {
        let writer = Arc::clone(writer);
        tokio::spawn(async move { writer.write(Entry::Start, work).await })
    }

    #[test]
    fn a_job_that_fails_takes_back_its_own_and_disturbs_no_neighbour() {
        runtime().block_on(async {
            let writer = writer();
            let (release, _held) = hold(&writer).await;
            let first = spawn(&writer, |conn| insert(conn, 1));
            let torn = spawn(&writer, |conn| {
                insert(conn, 2)?;
                Err(backend("be torn", "on purpose"))
            });
            let last = spawn(&writer, |conn| insert(conn, 3));
            queued(&writer, 3).await;
            release.send(()).unwrap();

            assert!(first.await.unwrap().is_ok());
            assert_eq!(torn.await.unwrap().unwrap_err().to_string(), "failed to be torn");
            assert!(last.await.unwrap().is_ok());
            assert_eq!(kept(&writer).await, [1, 3]);
        });
    }

    #[test]
    fn a_job_that_fails_alone_takes_back_its_own() {
        runtime().block_on(async {
            let writer = writer();
            let torn = |conn: &Connection| {
                insert(conn, 1)?;
                Err::<(), _>(backend("be torn", "on purpose"))
            };
            assert!(writer.write(Entry::Start, torn).await.is_err());
            assert_eq!(kept(&writer).await, Vec::<i64>::new());
        });
    }

    #[test]
    fn what_can_be_made_again_is_flushed_with_what_cannot() {
        let level = |conn: &Connection| {
            Ok(conn.pragma_query_value(None, "synchronous", |row| row.get::<_, i64>(0)).unwrap())
        };
        let (normal, full) = (1, 2);
        runtime().block_on(async {
            let writer = writer();
            for (entry, expected) in [
                (Entry::Start, full),
                (Entry::Derived, normal),
                (Entry::Derived, normal),
                (Entry::End, full),
                (Entry::Start, full),
            ] {
                assert_eq!(writer.write(entry, level).await.unwrap(), expected, "{entry:?}");
            }
            // One that has to last makes its whole batch last.
            let (release, _held) = hold(&writer).await;
            let tasks = [Entry::Derived, Entry::Start].map(|entry| {
                let writer = Arc::clone(&writer);
                tokio::spawn(async move { writer.write(entry, level).await.unwrap() })
            });
            queued(&writer, 2).await;
            release.send(()).unwrap();
            for task in tasks {
                assert_eq!(task.await.unwrap(), full);
            }
        });
    }

    #[test]
    fn a_commit_that_fails_is_told_to_everybody_and_the_next_one_works() {
        runtime().block_on(async {
            let writer = writer();
            let (release, _held) = hold(&writer).await;
            let fine = spawn(&writer, |conn| insert(conn, 1));
            // Only the commit finds that row 2 refers to a row that is not there.
            let poison = spawn(&writer, |conn| {
                conn.execute_batch("PRAGMA defer_foreign_keys = ON").unwrap();
                conn.execute_batch(
                    "CREATE TABLE child (of INTEGER REFERENCES kept DEFERRABLE INITIALLY DEFERRED)",
                )
                .unwrap();
                conn.execute_batch("INSERT INTO child (of) VALUES (77)").unwrap();
                Ok(())
            });
            queued(&writer, 2).await;
            release.send(()).unwrap();

            for answer in [fine.await.unwrap(), poison.await.unwrap()] {
                let error = answer.unwrap_err();
                assert_eq!(error.to_string(), "failed to commit a transaction");
                assert_eq!(error.source().unwrap().to_string(), "FOREIGN KEY constraint failed");
            }
            assert!(writer.write(Entry::Start, |conn| insert(conn, 2)).await.is_ok());
            assert_eq!(kept(&writer).await, [2]);
        });
    }

    #[test]
    fn a_transaction_that_ended_early_fails_its_batch_and_writes_nothing() {
        runtime().block_on(async {
            let writer = writer();
            let (release, _held) = hold(&writer).await;
            let before = spawn(&writer, |conn| insert(conn, 1));
            // What SQLite itself does when the disk is full.
            let full = spawn(&writer, |conn| {
                conn.execute_batch("ROLLBACK").unwrap();
                Err(backend("write", "disk full"))
            });
            let after = spawn(&writer, |conn| insert(conn, 3));
            queued(&writer, 3).await;
            release.send(()).unwrap();

            assert_eq!(full.await.unwrap().unwrap_err().to_string(), "failed to write");
            for neighbour in [before, after] {
                assert_eq!(
                    neighbour.await.unwrap().unwrap_err().to_string(),
                    "failed to commit a transaction"
                );
            }
            assert_eq!(kept(&writer).await, Vec::<i64>::new());
        });
    }

    #[test]
    fn a_dead_writer_answers_closed_and_never_hangs() {
        runtime().block_on(async {
            let writer = writer();
            let (release, _held) = hold(&writer).await;
            let killer = spawn(&writer, |_| panic!("the writer dies"));
            let behind = spawn(&writer, |conn| insert(conn, 1));
            queued(&writer, 2).await;
            release.send(()).unwrap();
            for answer in [killer.await.unwrap(), behind.await.unwrap()] {
                assert!(matches!(answer, Err(StoreError::Closed)));
            }
            writer.close().await;
            assert!(matches!(
                writer.write(Entry::End, |conn| insert(conn, 2)).await,
                Err(StoreError::Closed)
            ));
        });
    }

    #[test]
    fn a_full_queue_is_busy_at_once_and_has_room_left_for_ends() {
        runtime().block_on(async {
            let writer = writer();
            let (release, _held) = hold(&writer).await;
            let starts: Vec<_> = (0..QUEUE_JOBS).map(|_| spawn(&writer, |_| Ok(()))).collect();
            queued(&writer, QUEUE_JOBS - RESERVED_JOBS).await;
            assert!(matches!(writer.write(Entry::Start, |_| Ok(())).await, Err(StoreError::Busy)));

            let ending = Arc::clone(&writer);
            let end = tokio::spawn(async move { ending.write(Entry::End, |conn| insert(conn, 1)).await });
            queued(&writer, QUEUE_JOBS - RESERVED_JOBS + 1).await;
            release.send(()).unwrap();
            assert!(end.await.unwrap().is_ok());
            let mut turned_away = 0;
            for start in starts {
                turned_away += usize::from(matches!(start.await.unwrap(), Err(StoreError::Busy)));
            }
            assert_eq!(turned_away, RESERVED_JOBS);
        });
    }

    #[test]
    fn closing_writes_what_waits() {
        runtime().block_on(async {
            let writer = writer();
            let (release, _held) = hold(&writer).await;
            let waiting: Vec<_> = (1..=9).map(|id| spawn(&writer, move |conn| insert(conn, id))).collect();
            queued(&writer, 9).await;
            let closing = Arc::clone(&writer);
            let closed = tokio::spawn(async move { closing.close().await });
            yield_now().await;
            assert!(matches!(writer.write(Entry::End, |_| Ok(())).await, Err(StoreError::Closed)));
            release.send(()).unwrap();
            closed.await.unwrap();
            for job in waiting {
                assert!(job.await.unwrap().is_ok());
            }
        });
    }
}
