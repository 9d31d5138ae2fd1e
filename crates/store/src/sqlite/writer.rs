//! The one connection that writes: many jobs, one commit, one flush.
//!
//! Whoever has the connection takes all jobs that wait, runs each in a savepoint of its own, commits once and only then
//! answers. While a commit flushes, the next jobs pile up: the batch grows with the load, and nothing waits for a clock.
//! It is the writing thread that has it, for whoever must not block; a run that has a thread to itself takes the
//! connection where it lies, and so spares waking that thread and being woken by it.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use rusqlite::Connection;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{Notify, watch};

use super::batch::{Entry, Flush, Job, job};
use super::checkpoint::Checkpointer;
use crate::StoreError;

/// Jobs that may wait; one more is `Busy`. This many are written in some 100 ms.
const QUEUE_JOBS: usize = 1_024;

/// Of these, places that only the ends of runs may take: a full house turns new runs away and loses no outcome.
const RESERVED_JOBS: usize = 256;

/// Jobs that share one commit. Beyond this the flush is spread thin enough, and answers only get later.
const BATCH_JOBS: usize = 128;

/// The jobs that wait.
#[derive(Default)]
struct Line {
    jobs: VecDeque<Box<dyn Job>>,
    is_open: bool,
    /// Whether the writing thread sleeps until it is told that somebody waits.
    sleeps: bool,
}

/// What writes.
struct Desk {
    conn: Connection,
    flush: Flush,
    checkpointer: Checkpointer,
}

/// What the writing thread shares with those who write.
struct Shared {
    line: Mutex<Line>,
    bell: Condvar,
    /// None once it is closed. Poisoned where a write has panicked: nothing is written any more then.
    desk: Mutex<Option<Desk>>,
    stirred: Notify,
}

impl Shared {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the writing thread, where it sleeps. It finds what waits in any case otherwise: it looks before it sleeps.
    fn call(&self, mut line: MutexGuard<'_, Line>) {
        if std::mem::take(&mut line.sleeps) {
            drop(line);
            self.bell.notify_one();
        }
    }

    /// Waits until somebody waits. False once nobody will any more.
    fn wait(&self) -> bool {
        let mut line = self.line();
        while line.jobs.is_empty() {
            if !line.is_open {
                return false;
            }
            line.sleeps = true;
            line = self.bell.wait(line).unwrap_or_else(PoisonError::into_inner);
        }
        line.sleeps = false;
        true
    }

    /// Writes one batch of what waits.
    fn write(&self, desk: &mut Desk) {
        let batch: Vec<_> = {
            let mut line = self.line();
            let count = line.jobs.len().min(BATCH_JOBS);
            line.jobs.drain(..count).collect()
        };
        if batch.is_empty() {
            return;
        }
        let Desk { conn, flush, checkpointer } = desk;
        flush.commit(conn, batch);
        checkpointer.committed();
        self.stirred.notify_one();
    }

    /// Writes what waits, one batch after the other, until nobody will wait any more, or a write has panicked elsewhere.
    fn serve(&self) {
        while self.wait() {
            match self.desk.lock().as_deref_mut() {
                Ok(Some(desk)) => self.write(desk),
                Ok(None) | Err(_) => return,
            }
        }
    }
}

/// The writing thread's own end of it. Once it is dropped, be it by a panic, nothing is written any more.
struct Closing(Arc<Shared>);

impl Drop for Closing {
    fn drop(&mut self) {
        let left = {
            let mut line = self.0.line();
            line.is_open = false;
            std::mem::take(&mut line.jobs)
        };
        // Told that it is closed, by being dropped.
        drop(left);
        let desk = self.0.desk.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Desk { conn, checkpointer, .. }) = desk {
            checkpointer.end();
            close(conn);
        }
    }
}

/// The door to the writing connection.
pub(super) struct Writer {
    shared: Arc<Shared>,
    ended: watch::Receiver<()>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}

impl Writer {
    /// Starts the thread. It ends when the writer is closed or dropped and the queue is empty, or on a panic;
    /// `keep` lives as long as the thread does.
    pub(super) fn start(
        conn: Connection,
        checkpointer: Checkpointer,
        keep: impl Send + 'static,
    ) -> io::Result<Self> {
        let (alive, ended) = watch::channel(());
        let shared = Arc::new(Shared {
            line: Mutex::new(Line { is_open: true, ..Line::default() }),
            bell: Condvar::new(),
            desk: Mutex::new(Some(Desk { conn, flush: Flush::Each, checkpointer })),
            stirred: Notify::new(),
        });
        let closing = Closing(Arc::clone(&shared));
        thread::Builder::new().name("record-writer".to_owned()).spawn(move || {
            // Dropped from the last to the first, also by a panic.
            let _alive = alive;
            let _keep = keep;
            let closing = closing;
            closing.0.serve();
        })?;
        Ok(Self { shared, ended })
    }

    /// A door that is closed: nothing is ever written.
    pub(super) fn closed() -> Self {
        let (_, ended) = watch::channel(());
        let (line, desk) = (Mutex::default(), Mutex::new(None));
        let shared = Shared { line, bell: Condvar::new(), desk, stirred: Notify::new() };
        Self { shared: Arc::new(shared), ended }
    }

    /// Runs work in the next commit. A future that is dropped after its first poll takes nothing back.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        entry: Entry,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (job, answer) = job(entry, work);
        self.shared.call(self.enqueue(job, entry)?);
        // A sender that is dropped unused was on the stack of a writer that died.
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// The same for a caller that may block its thread: where nobody writes, it does it itself, for all who wait.
    pub(super) async fn write_here<T: Send + 'static>(
        &self,
        entry: Entry,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (job, mut answer) = job(entry, work);
        drop(self.enqueue(job, entry)?);
        if let Some(desk) = self.shared.desk.try_lock().ok().as_deref_mut().and_then(Option::as_mut) {
            self.shared.write(desk);
        }
        match answer.try_recv() {
            Ok(answered) => answered,
            Err(TryRecvError::Closed) => Err(StoreError::Closed),
            // Others had the connection, or came before it in a longer line.
            Err(TryRecvError::Empty) => {
                self.shared.call(self.shared.line());
                answer.await.unwrap_or(Err(StoreError::Closed))
            }
        }
    }

    fn enqueue(&self, job: Box<dyn Job>, entry: Entry) -> Result<MutexGuard<'_, Line>, StoreError> {
        let mut line = self.shared.line();
        if !line.is_open {
            return Err(StoreError::Closed);
        }
        let places = if entry == Entry::End { QUEUE_JOBS } else { QUEUE_JOBS - RESERVED_JOBS };
        if line.jobs.len() >= places {
            return Err(StoreError::Busy);
        }
        line.jobs.push_back(job);
        Ok(line)
    }

    /// Waits until a batch was committed since the last time.
    pub(super) async fn stirred(&self) {
        self.shared.stirred.notified().await;
    }

    /// How many jobs wait.
    pub(super) fn waiting(&self) -> usize {
        self.shared.line().jobs.len()
    }

    /// Takes no more jobs and waits until those that wait are done and the thread has ended.
    pub(super) async fn close(&self) {
        self.end();
        // Nothing is ever sent: this is the thread dropping its end.
        while self.ended.clone().changed().await.is_ok() {}
    }

    fn end(&self) {
        let mut line = self.shared.line();
        line.is_open = false;
        self.shared.call(line);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.end();
    }
}

fn close(conn: Connection) {
    // As the last connection of all processes it copies the WAL into the file and removes it.
    if let Err((_, error)) = conn.close() {
        tracing::warn!(error = &error as &dyn Error, "the record was not closed cleanly");
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::sync::{Arc, mpsc};
    use std::thread;

    use rusqlite::Connection;
    use tokio::runtime::{Builder, Runtime};
    use tokio::sync::oneshot;
    use tokio::task::{JoinHandle, yield_now};

    use super::{QUEUE_JOBS, RESERVED_JOBS, Writer};
    use crate::StoreError;
    use crate::sqlite::batch::Entry;
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
        while writer.waiting() != jobs {
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

    /// Writes on the thread that calls it, and gives that thread's name.
    async fn here(writer: &Writer) -> Option<String> {
        let work = |_: &Connection| Ok(thread::current().name().map(str::to_owned));
        writer.write_here(Entry::Start, work).await.unwrap()
    }

    #[test]
    fn whoever_may_block_writes_by_itself_and_else_the_thread_does() {
        runtime().block_on(async {
            let writer = writer();
            let mine = thread::current().name().map(str::to_owned);
            let sleeps = async || {
                while !writer.shared.line().sleeps {
                    yield_now().await;
                }
            };
            sleeps().await;
            assert_eq!(here(&writer).await, mine);
            let (release, _held) = hold(&writer).await;
            let waiting = Arc::clone(&writer);
            let waits = tokio::spawn(async move { here(&waiting).await });
            queued(&writer, 1).await;
            release.send(()).unwrap();
            assert_eq!(waits.await.unwrap().as_deref(), Some("record-writer"));
            sleeps().await;
            assert_eq!(here(&writer).await, mine);
        });
    }

    #[test]
    fn what_comes_while_another_writes_by_itself_is_written_and_closing_waits_for_both() {
        let writer = writer();
        let (release, held) = mpsc::channel::<()>();
        let (entered, inside) = mpsc::channel::<()>();
        let holding = Arc::clone(&writer);
        let holder = thread::spawn(move || {
            let work = move |conn: &Connection| {
                entered.send(()).unwrap();
                held.recv().unwrap();
                insert(conn, 1)
            };
            runtime().block_on(holding.write_here(Entry::End, work))
        });
        inside.recv().unwrap();
        runtime().block_on(async {
            let behind = spawn(&writer, |conn| insert(conn, 2));
            queued(&writer, 1).await;
            let closing = Arc::clone(&writer);
            let closed = tokio::spawn(async move { closing.close().await });
            yield_now().await;
            assert!(!closed.is_finished());
            assert!(matches!(writer.write_here(Entry::End, |_| Ok(())).await, Err(StoreError::Closed)));
            release.send(()).unwrap();
            closed.await.unwrap();
            assert!(behind.await.unwrap().is_ok());
        });
        assert!(holder.join().unwrap().is_ok());
    }

    #[test]
    fn a_panic_of_one_who_writes_by_itself_closes_it_for_all() {
        let writer = writer();
        let dying = Arc::clone(&writer);
        let died = thread::spawn(move || {
            runtime()
                .block_on(dying.write_here(Entry::Start, |_| -> Result<(), StoreError> { panic!("dies") }))
        });
        assert!(died.join().is_err());
        runtime().block_on(async {
            assert!(matches!(writer.write_here(Entry::End, |_| Ok(())).await, Err(StoreError::Closed)));
            assert!(matches!(writer.write(Entry::End, |_| Ok(())).await, Err(StoreError::Closed)));
            writer.close().await;
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
