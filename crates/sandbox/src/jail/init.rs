//! The init of one jail: builds it, forks the interpreter, reaps, reports how the interpreter ended, and waits
//! to be killed. Never runs guest code, never exits by itself while the guest lives.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;

use super::kernel::{Kernel, Real};
use super::layers;
use super::place;
use super::placing::place_file;
use super::step::{At as _, Step, StepError};
use crate::sys::{self, Cloned, SockFilter};
use crate::wire::{Message as _, Report, Sheet, Spawn, read_record};

/// An interpreter, ready to be executed.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) argv: Vec<CString>,
    pub(crate) environment: Vec<CString>,
    /// Descriptors below this number reach the interpreter.
    pub(crate) inherited: u32,
}

/// What an init is to build.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) spawn: Spawn,
    pub(crate) program: &'a Program,
    pub(crate) filter: &'a [SockFilter],
    pub(crate) landlock_abi: u32,
    pub(crate) guest_id: u32,
    /// The slot's own network namespace: nobody else is in it while this run is.
    pub(crate) network: BorrowedFd<'a>,
    /// A namespace with a single id cannot drop groups; the kernel forbids it.
    pub(crate) groups_can_be_dropped: bool,
}

/// The whole life of an init. Called in the process that the stem has just cloned.
pub(crate) fn become_init(plan: &Plan<'_>, descriptors: Vec<OwnedFd>) -> ! {
    // Until the descriptors are arranged, the report pipe is known by its place in the message only.
    let early = descriptors.get(place::REPORT_INDEX).and_then(|fd| fd.try_clone().ok());
    // The stem leaves reaping to the kernel; an init must not inherit that.
    let reset = Real.reset_signals().at(Step::InitSignals);
    let outcome =
        reset.and_then(|()| layers::build(&Real, plan, descriptors)).and_then(|()| launch(&Real, plan));
    match outcome {
        Ok(interpreter) => {
            // The guest's pipes are the guest's alone: their closing must mean that it has closed them.
            if sys::close_below(place::REPORT).is_err() {
                sys::exit_now(1);
            }
            reap(interpreter)
        }
        Err(failed) => {
            let report = Report::Failed { step: failed.step, errno: failed.errno() }.pack();
            let arranged = !matches!(
                failed.step,
                Step::InitSignals
                    | Step::JoinCgroup
                    | Step::CgroupNamespace
                    | Step::JoinNetwork
                    | Step::ArrangeDescriptors
            );
            let sent = match early {
                Some(pipe) if !arranged => rustix::io::write(&pipe, &report),
                _ => rustix::io::write(sys::borrow(place::REPORT), &report),
            };
            sys::exit_now(i32::from(sent.is_err()))
        }
    }
}

/// Forks the interpreter and waits until its exec has worked.
fn launch<K: Kernel>(kernel: &K, plan: &Plan<'_>) -> Result<Pid, StepError> {
    let mut sheet = Sheet::new(sys::borrow(place::SHEET));
    let mut argv = plan.program.argv.clone();
    argv.extend(arguments(&mut sheet).at(Step::ReadArguments)?);
    for _ in 0..sheet.count().at(Step::PlaceFiles)? {
        place_file(&mut sheet).at(Step::PlaceFiles)?;
    }
    let (status, failure) = pipe_with(PipeFlags::CLOEXEC).at(Step::StatusPipe)?;
    // Before there is anyone who could run the code: a helper that has not read this knows that nobody did.
    rustix::io::write(sys::borrow(place::REPORT), &Report::Begun.pack()).at(Step::TellBegun)?;
    match kernel.fork().at(Step::Fork)? {
        Cloned::Child => {
            let failed = layers::enter_guest(kernel, plan, &argv);
            let record = Report::Failed { step: failed.step, errno: failed.errno() }.pack();
            let sent = rustix::io::write(failure.as_fd(), &record);
            sys::exit_now(i32::from(sent.is_err()))
        }
        Cloned::Parent { pid, .. } => {
            drop(failure);
            match read_record(&status).map(|record| Report::unpack(&record)) {
                // The exec closed the pipe.
                None => Ok(pid),
                Some(Ok(Report::Failed { step, errno })) => {
                    Err(StepError { step, error: io::Error::from_raw_os_error(errno) })
                }
                Some(Ok(Report::Begun | Report::Exited { .. }) | Err(_)) => {
                    Err(StepError { step: Step::Exec, error: io::Error::from(io::ErrorKind::InvalidData) })
                }
            }
        }
    }
}

/// The request's own arguments.
fn arguments(sheet: &mut Sheet<'_>) -> io::Result<Vec<CString>> {
    (0..sheet.count()?).map(|_| CString::new(sheet.text()?).map_err(io::Error::other)).collect()
}

fn reap(interpreter: Pid) -> ! {
    while let Ok(Some(child)) = sys::wait_any() {
        if child.pid == interpreter {
            let report =
                Report::Exited { status: child.status, cpu_us: child.cpu_us, peak_kib: child.peak_kib };
            if rustix::io::write(sys::borrow(place::REPORT), &report.pack()).is_err() {
                sys::exit_now(1);
            }
        }
    }
    // Nothing is left to reap, and nothing can be started any more. The helper kills us.
    loop {
        rustix::event::pause();
    }
}
