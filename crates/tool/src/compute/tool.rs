//! A computation as a tool.

use core::time::Duration;
use std::sync::{Arc, LazyLock};

use execgate_model::{BoxFuture, LimitKind, Product};
use serde_json::Value;
use tokio::sync::Semaphore;
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

static THREADS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(THREADS_MAX)));

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
        Description { summary: self.computation.summary, schema: (self.computation.schema)() }
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
    place: Option<JobPlace>,
}

impl Prepared for PreparedComputation {
    fn reserve(&mut self) -> Result<(), NotStarted> {
        if self.computation.place == Place::Worker {
            self.place = Some(self.workers.reserve()?);
        }
        Ok(())
    }

    fn run(mut self: Box<Self>, context: RunContext) -> BoxFuture<'static, Result<Product, RunFault>> {
        Box::pin(async move {
            let wall = self.wall;
            match self.computation.place {
                Place::Thread => Ok(on_thread(self.computation, self.arguments, wall).await),
                Place::Worker => {
                    let place = match self.place.take() {
                        Some(place) => place,
                        None => self.workers.reserve()?,
                    };
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

async fn on_thread(computation: &'static Computation, arguments: Value, wall: Duration) -> Product {
    let work = async move {
        // The semaphore is never closed; without a permit the work would only be less orderly.
        let thread = Arc::clone(&THREADS).acquire_owned().await.ok();
        tokio::task::spawn_blocking(move || {
            let ended = (computation.compute)(&arguments);
            drop(thread);
            ended
        })
        .await
    };
    let ended = match timeout(wall, work).await {
        Err(_elapsed) => return timed_out(wall),
        Ok(Ok(Ok(value))) if is_longer(&value, RESULT_BYTES_MAX) => Ended::Limit(LimitKind::OutputLimit),
        Ok(Ok(Ok(value))) => Ended::Value(value),
        Ok(Ok(Err(raised))) => Ended::Raised(raised),
        Ok(Err(panic)) => {
            tracing::error!(tool = computation.name, %panic, "a tool failed");
            Ended::Raised(Raised::new(
                "ToolFailure",
                "the tool failed on these arguments; this is a fault of ours",
            ))
        }
    };
    ended.product(wall)
}

/// Whether the JSON of a value may be longer than a bound. What it counts is never more than what JSON takes.
fn is_longer(value: &Value, bytes_max: usize) -> bool {
    fn count(value: &Value, left: &mut usize) {
        let own = match value {
            Value::String(text) => text.len(),
            Value::Array(items) => {
                items.iter().for_each(|item| count(item, left));
                items.len()
            }
            Value::Object(fields) => {
                fields.values().for_each(|field| count(field, left));
                fields.keys().map(|key| key.len() + 4).sum()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => 1,
        };
        *left = left.saturating_sub(own);
    }
    let mut left = bytes_max;
    count(value, &mut left);
    left == 0
}
