//! The workers of a gateway. A job that meets its deadline is killed with its worker; nobody waits for it to agree.

use core::time::Duration;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use execgate_model::LimitKind;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::frame::{HEAD_BYTES, JOB_BYTES_MAX, Job, REPLY_BYTES_MAX, Reply, frame, length};
use super::{Ended, TOOL_WORKER_ARGUMENT};
use crate::{NotStarted, RunFault};

/// Workers that compute at the same time.
const WORKERS_MAX: usize = 8;

/// Jobs that compute or wait for a worker; one more is told that the house is full.
const PLACES: usize = 64;

/// Jobs that one worker computes before another takes its place.
const JOBS_PER_WORKER: u32 = 1000;

/// A worker that moved more than this for a job, in bytes, is not kept: its memory stays as large.
const KEPT_BYTES_MAX: usize = 256 << 10;

/// A worker that took longer than this for a job is not kept, for the same reason.
const KEPT_WITHIN: Duration = Duration::from_secs(1);

/// The processes that compute what can only be ended from outside. They are started when they are needed.
#[derive(Debug, Clone)]
pub struct Workers(Option<Arc<Shop>>);

#[derive(Debug)]
struct Shop {
    program: PathBuf,
    places: Arc<Semaphore>,
    busy: Semaphore,
    idle: Mutex<Vec<Worker>>,
}

#[derive(Debug)]
struct Worker {
    child: Child,
    jobs: ChildStdin,
    replies: ChildStdout,
    done: u32,
}

/// A place among the jobs.
#[derive(Debug)]
pub(crate) struct JobPlace {
    shop: Arc<Shop>,
    _place: OwnedSemaphorePermit,
}

impl Workers {
    /// Workers that are this same program, which calls [`tool_worker_main`](super::tool_worker_main).
    #[must_use]
    pub fn of_this_program() -> Self {
        // The link, so that a program that was replaced on disk since still starts itself.
        Self::of_program("/proc/self/exe")
    }

    /// Workers of another program, for those that cannot dispatch in their own `main`; `tool-worker` is one.
    #[must_use]
    pub fn of_program(program: impl Into<PathBuf>) -> Self {
        Self(Some(Arc::new(Shop {
            program: program.into(),
            places: Arc::new(Semaphore::new(PLACES)),
            busy: Semaphore::new(WORKERS_MAX),
            idle: Mutex::default(),
        })))
    }

    /// None: what needs one is refused.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    /// Takes a place for a job.
    pub(crate) fn reserve(&self) -> Result<JobPlace, NotStarted> {
        let Some(shop) = &self.0 else {
            return Err(NotStarted::Unavailable("this gateway has no workers for this tool".to_owned()));
        };
        let place = Arc::clone(&shop.places).try_acquire_owned().map_err(|_| NotStarted::Full)?;
        Ok(JobPlace { shop: Arc::clone(shop), _place: place })
    }
}

impl JobPlace {
    /// Has a job computed. Its deadline counts from when a worker has it.
    pub(super) async fn run(&self, job: Job<'_>, wall: Duration) -> Result<Ended, RunFault> {
        let fault = |error: io::Error| NotStarted::Fault(format!("a worker could not be started: {error}"));
        let job = serde_json::to_vec(&job).map_err(|error| NotStarted::Fault(error.to_string()))?;
        if job.len() > JOB_BYTES_MAX {
            return Err(NotStarted::Fault("a job is longer than a worker reads".to_owned()).into());
        }
        let busy = self.shop.busy.acquire().await;
        let _busy = busy.map_err(|_| NotStarted::Fault("the workers are gone".to_owned()))?;
        let mut worker = self.shop.worker().map_err(fault)?;
        let started = Instant::now();
        let reply = timeout_at(started + wall, worker.ask(&job)).await;
        match reply {
            Err(_elapsed) => {
                worker.end().await;
                Ok(Ended::Timeout)
            }
            Ok(Err(_gone)) => worker.fate().await,
            Ok(Ok((reply, moved))) => {
                worker.done += 1;
                let keeps = moved <= KEPT_BYTES_MAX && worker.done < JOBS_PER_WORKER;
                if keeps && started.elapsed() <= KEPT_WITHIN {
                    self.shop.idle.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
                }
                Ok(match reply {
                    Reply::Value(value) => Ended::Value(value),
                    Reply::Raised(raised) => Ended::Raised(raised),
                    Reply::TooLarge => Ended::Limit(LimitKind::OutputLimit),
                })
            }
        }
    }
}

impl Shop {
    /// A worker that waits and lives, or a new one.
    fn worker(&self) -> io::Result<Worker> {
        loop {
            let waiting = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match waiting {
                Some(mut worker) => {
                    if worker.child.try_wait()?.is_none() {
                        return Ok(worker);
                    }
                }
                None => return self.start(),
            }
        }
    }

    fn start(&self) -> io::Result<Worker> {
        let mut child = Command::new(&self.program)
            .arg(TOOL_WORKER_ARGUMENT)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Ctrl-C at a terminal is for the gateway, which lets what runs come to its end.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (jobs, replies) = pipes.ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Worker { child, jobs, replies, done: 0 })
    }
}

impl Worker {
    /// The reply to a job, and how many bytes went to and fro.
    async fn ask(&mut self, job: &[u8]) -> io::Result<(Reply, usize)> {
        let job = frame(job).ok_or(io::ErrorKind::InvalidData)?;
        self.jobs.write_all(&job).await?;
        self.jobs.flush().await?;
        let mut head = [0; HEAD_BYTES];
        self.replies.read_exact(&mut head).await?;
        let length = length(head);
        if length > REPLY_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut reply = vec![0; length];
        self.replies.read_exact(&mut reply).await?;
        let moved = job.len().max(reply.len());
        Reply::read(&reply).map(|reply| (reply, moved)).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Kills it, and waits until it is gone.
    async fn end(&mut self) {
        if let Err(error) = self.child.kill().await {
            tracing::warn!(%error, "a worker could not be killed");
        }
    }

    /// What became of a job whose worker went away.
    async fn fate(mut self) -> Result<Ended, RunFault> {
        // One that only says what is no reply is not gone yet.
        let gone = tokio::time::timeout(KEPT_WITHIN, self.child.wait()).await;
        let signal = gone.ok().and_then(Result::ok).and_then(|status| status.signal());
        let by = |signals: &[Signal]| signals.iter().any(|one| signal == Some(one.as_raw()));
        // The library aborts where memory is refused; a stack that is too small for a recursion ends the same way.
        if by(&[Signal::ABORT, Signal::SEGV, Signal::BUS]) {
            return Ok(Ended::Limit(LimitKind::OutOfMemory));
        }
        if by(&[Signal::XCPU]) {
            return Ok(Ended::Timeout);
        }
        if signal.is_some() {
            return Ok(Ended::Limit(LimitKind::Killed));
        }
        self.end().await;
        Err(RunFault::Lost("a worker ended without a reply".to_owned()))
    }
}
