//! A computation as a tool.

use core::time::Duration;
use std::io::{self, Write};
use std::sync::{Arc, LazyLock};

use execgate_model::{BodyPlace, BoxFuture, LimitKind, Product};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::frame::{Job, RESULT_BYTES_MAX};
use super::workers::JobPlace;
use super::{Ended, Raised, Workers, timed_out, wall};
use crate::{BadCall, Call, Description, NotStarted, Prepared, RunContext, RunFault, Tool};

/// Where a computation runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// On a thread: its own code bounds its time and memory.
    Thread,
    /// In a worker, which can be killed: a library that nobody can interrupt computes it.
    Worker,
}

/// A pure function from arguments to a result. It simulates by running.
#[derive(Debug)]
pub(crate) struct Computation {
    pub(crate) name: &'static str,
    pub(crate) summary: &'static str,
    /// The JSON Schema of the arguments.
    pub(crate) schema: fn() -> Value,
    /// Checks the arguments, cheaply.
    pub(crate) check: fn(&Value) -> Result<(), BadCall>,
    /// Computes. The arguments were checked.
    pub(crate) compute: fn(&Value) -> Result<Value, Raised>,
    pub(crate) place: Place,
}

impl From<BadCall> for Raised {
    fn from(bad: BadCall) -> Self {
        Self::new("BadArguments", bad.message)
    }
}

/// Computations that run on threads at the same time; more wait.
const THREADS_MAX: usize = 8;

/// Those that run on threads or wait for one; one more is told that the house is full.
const PLACES: usize = 64;

static THREADS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(THREADS_MAX)));

static ON_THREADS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(PLACES)));

/// The tool that a computation is.
pub(crate) struct Computer {
    pub(crate) computation: &'static Computation,
    pub(crate) workers: Workers,
}

impl Tool for Computer {
    fn name(&self) -> &'static str {
        self.computation.name
    }

    fn describe(&self) -> Description {
        Description { summary: self.computation.summary.into(), schema: (self.computation.schema)() }
    }

    fn prepare(&self, call: &Call<'_>) -> Result<Box<dyn Prepared>, BadCall> {
        (self.computation.check)(call.payload)?;
        Ok(Box::new(PreparedComputation {
            computation: self.computation,
            arguments: call.payload.clone(),
            wall: wall(call.options)?,
            workers: self.workers.clone(),
            place: None,
        }))
    }
}

/// A checked call of a computation.
struct PreparedComputation {
    computation: &'static Computation,
    arguments: Value,
    wall: Duration,
    workers: Workers,
    place: Option<Taken>,
}

/// A place that was taken before the run.
enum Taken {
    Worker(JobPlace),
    Thread(OwnedSemaphorePermit),
}

impl PreparedComputation {
    fn take(&self) -> Result<Taken, NotStarted> {
        match self.computation.place {
            Place::Worker => self.workers.reserve().map(Taken::Worker),
            Place::Thread => {
                let place = Arc::clone(&ON_THREADS).try_acquire_owned();
                place.map(Taken::Thread).map_err(|_full| NotStarted::Full)
            }
        }
    }
}

impl Prepared for PreparedComputation {
    fn reserve(&mut self) -> Result<(), NotStarted> {
        self.place = Some(self.take()?);
        Ok(())
    }

    fn run(mut self: Box<Self>, context: RunContext) -> BoxFuture<'static, Result<Product, RunFault>> {
        Box::pin(async move {
            let wall = self.wall;
            let place = match self.place.take() {
                Some(place) => place,
                None => self.take()?,
            };
            match place {
                Taken::Thread(place) => {
                    let held = (place, context.place);
                    on_thread(self.computation, self.arguments, wall, held).await
                }
                Taken::Worker(place) => {
                    let wall_ms = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX);
                    let job = Job { tool: self.computation.name, arguments: &self.arguments, wall_ms };
                    // Dropping the work kills its worker.
                    let ended = tokio::select! {
                        ended = place.run(job, wall) => ended?,
                        () = context.cancel.cancelled() => Ended::Limit(LimitKind::Killed),
                    };
                    Ok(ended.product(wall))
                }
            }
        })
    }
}

/// The deadline counts from when a thread computes. What is held is given back when the computation has ended, which may
/// be after its answer.
async fn on_thread(
    computation: &'static Computation,
    arguments: Value,
    wall: Duration,
    held: (OwnedSemaphorePermit, BodyPlace),
) -> Result<Product, RunFault> {
    let thread = Arc::clone(&THREADS).acquire_owned().await;
    let thread = thread.map_err(|_closed| NotStarted::Fault("the threads of tools are gone".to_owned()))?;
    let work = spawn_blocking(move || {
        let ended = (computation.compute)(&arguments);
        drop((thread, held));
        ended
    });
    let ended = match timeout(wall, work).await {
        Err(_elapsed) => return Ok(timed_out(wall)),
        Ok(Ok(Ok(value))) if is_longer(&value, RESULT_BYTES_MAX) => Ended::Limit(LimitKind::OutputLimit),
        Ok(Ok(Ok(value))) => Ended::Value(value),
        Ok(Ok(Err(raised))) => Ended::Raised(raised),
        Ok(Err(panic)) => return Err(RunFault::Lost(format!("`{}` failed: {panic}", computation.name))),
    };
    Ok(ended.product(wall))
}

/// Whether the JSON of a value is longer than a bound.
fn is_longer(value: &Value, bytes_max: usize) -> bool {
    /// Counts, and keeps nothing.
    struct Room(usize);

    impl Write for Room {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    serde_json::to_writer(Room(bytes_max), value).is_err()
}
