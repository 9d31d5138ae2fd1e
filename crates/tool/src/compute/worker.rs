//! A worker: a process of this same program that computes one job after the other, until its input ends.
//!
//! It reads arguments of strangers and must never be able to open anything: no descriptor beside its three, bounded
//! memory, an empty environment. What it cannot bound itself, the gateway ends by killing it.

use core::time::Duration;
use std::io::{self, Read as _, Write as _};
use std::process::ExitCode;
use std::thread;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::set_no_new_privs;
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;

use super::frame::{HEAD_BYTES, JOB_BYTES_MAX, Reply, frame, length};
use super::{Computation, Raised};
use crate::builtin;
use crate::guest_json::{Numbers, value};

/// The argument by which a program is started as a worker.
pub const TOOL_WORKER_ARGUMENT: &str = "__tool-worker";

/// Address space of a worker, its stack and the program included, in bytes.
const MEMORY_BYTES: u64 = 512 << 20;

/// The stack that a computation may use, in bytes: jq programs recurse.
const STACK_BYTES: usize = 64 << 20;

/// Standard input, output and error, and nothing beside.
const DESCRIPTORS: u64 = 3;

/// Processor time that a job may use beyond its deadline, in seconds. Its gateway has killed it long before, if it lives.
const CPU_GRACE_S: u64 = 2;

/// Computes jobs until standard input ends.
#[must_use]
pub fn tool_worker_main() -> ExitCode {
    if confine().is_err() {
        return ExitCode::FAILURE;
    }
    let worked = thread::Builder::new().stack_size(STACK_BYTES).spawn(work);
    match worked.map(thread::JoinHandle::join) {
        Ok(Ok(Ok(()))) => ExitCode::SUCCESS,
        Ok(Ok(Err(_)) | Err(_)) | Err(_) => ExitCode::FAILURE,
    }
}

fn confine() -> io::Result<()> {
    let bound = |resource, bound: u64| {
        // Whoever started the gateway may have allowed less already.
        let bound = getrlimit(resource).maximum.map_or(bound, |before| before.min(bound));
        setrlimit(resource, Rlimit { current: Some(bound), maximum: Some(bound) }).map_err(io::Error::from)
    };
    set_no_new_privs(true)?;
    bound(Resource::Core, 0)?;
    bound(Resource::Fsize, 0)?;
    bound(Resource::Nofile, DESCRIPTORS)?;
    bound(Resource::As, MEMORY_BYTES)
}

fn work() -> io::Result<()> {
    let (mut jobs, mut replies) = (io::stdin().lock(), io::stdout().lock());
    let mut head = [0; HEAD_BYTES];
    loop {
        match jobs.read_exact(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            read => read?,
        }
        let length = length(head);
        if length > JOB_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut job = vec![0; length];
        jobs.read_exact(&mut job)?;
        let reply = answer(&job)?.to_json();
        let reply = frame(&reply).ok_or(io::ErrorKind::InvalidData)?;
        replies.write_all(&reply)?;
        replies.flush()?;
    }
}

fn answer(job: &[u8]) -> io::Result<Reply> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let mut job = value(job, Numbers::AsTheyAre).map_err(|_| invalid())?;
    let wall = job.get("wall_ms").and_then(Value::as_u64).map(Duration::from_millis).ok_or_else(invalid)?;
    limit_cpu(wall)?;
    let arguments = job.get_mut("arguments").map(Value::take).ok_or_else(invalid)?;
    let tool = job.get("tool").and_then(Value::as_str).ok_or_else(invalid)?;
    let computation = builtin::COMPUTATIONS.iter().find(|one| one.name == tool).ok_or_else(invalid)?;
    Ok(match compute(computation, &arguments) {
        Ok(value) => Reply::Value(value),
        Err(raised) => Reply::Raised(raised),
    })
}

fn compute(computation: &Computation, arguments: &Value) -> Result<Value, Raised> {
    (computation.compute)(arguments)
}

/// Bounds the processor time of one job, so that a worker whose gateway died does not compute for ever.
fn limit_cpu(wall: Duration) -> io::Result<()> {
    let used = u64::try_from(clock_gettime(ClockId::ProcessCPUTime).tv_sec).unwrap_or_default();
    let bound = used.saturating_add(wall.as_secs()).saturating_add(CPU_GRACE_S);
    let maximum = getrlimit(Resource::Cpu).maximum;
    let current = maximum.map_or(bound, |maximum| maximum.min(bound));
    setrlimit(Resource::Cpu, Rlimit { current: Some(current), maximum }).map_err(io::Error::from)
}
