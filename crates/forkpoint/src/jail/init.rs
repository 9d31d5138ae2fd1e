//! The init of one jail: builds it, forks the interpreter, reaps, reports how the interpreter ended, and waits
//! to be killed. Never runs guest code, never exits by itself while the guest lives.

use std::ffi::{CStr, CString};
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, IntoRawFd, OwnedFd};

use rustix::io::fcntl_dupfd_cloexec;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;

use super::kernel::{Kernel, Real};
use super::layers;
use super::place;
use super::placing::{Earlier, place_file};
use super::step::{At as _, Step, StepError};
use crate::sys::{self, Cloned, SockFilter};
use crate::wire::{Message as _, Report, Sheet, Spawn, read_record};

/// An interpreter, and how a run gets one.
#[derive(Debug, Clone)]
pub struct Program {
    pub start: Start,
    /// Descriptors below this number reach the interpreter.
    pub inherited: u32,
}

/// How a run gets its interpreter.
#[derive(Debug, Clone)]
pub enum Start {
    /// By executing it.
    Exec { argv: Vec<CString>, environment: Vec<CString> },
    /// By executing it before there is a run: it loads this library, and that waits.
    Waiting { argv: Vec<CString>, environment: Vec<CString> },
    /// The stem is one, and so is the init's child.
    Resident,
}

/// The network namespace of a run.
#[derive(Debug, Clone, Copy)]
pub enum Network<'a> {
    /// The slot's own, in which nothing is up: nobody else is in it while this run is.
    Slot(BorrowedFd<'a>),
    /// One of the run's own, in which the init is already, with a loopback.
    Loopback,
    /// The same, and a proxy listens there.
    Egress,
}

/// What an init is to build.
#[derive(Debug)]
pub struct Plan<'a> {
    pub spawn: Spawn,
    pub program: &'a Program,
    pub filter: &'a [SockFilter],
    pub landlock_abi: u32,
    pub guest_id: u32,
    pub network: Network<'a>,
    /// What its guest has in its environment beside the program's own.
    pub environment: &'a [CString],
    /// A namespace with a single id cannot drop groups; the kernel forbids it.
    pub groups_can_be_dropped: bool,
}

/// The whole life of an init. Called in the process that the stem has just cloned. Comes back in the interpreter of a
/// [`Start::Resident`], behind every layer; such an init shares the stem's memory, and leaves there what it has found.
pub fn become_init(plan: &Plan<'_>, descriptors: Vec<OwnedFd>) {
    // Until the descriptors are arranged, the report pipe is known by its place in the message only.
    let early = descriptors.get(place::REPORT_INDEX).and_then(|fd| fd.try_clone().ok());
    // The stem leaves reaping to the kernel; an init must not inherit that.
    let reset = match plan.program.start {
        Start::Exec { .. } | Start::Waiting { .. } => Real.reset_signals(),
        // The rest is as the interpreter wants it, and goes to its child.
        Start::Resident => Real.wait_for_children(),
    }
    .at(Step::InitSignals);
    let outcome =
        reset.and_then(|()| layers::build(&Real, plan, descriptors)).and_then(|()| launch(&Real, plan));
    match outcome {
        // Closed with everything else, and its number is not ours any more.
        Ok(None) => drop(early.map(IntoRawFd::into_raw_fd)),
        Ok(Some(interpreter)) => {
            // The guest's pipes are the guest's alone: their closing must mean that it has closed them.
            match plan.program.start {
                Start::Resident => become_reaper(interpreter),
                Start::Exec { .. } | Start::Waiting { .. } => {
                    if sys::close_below(place::REPORT).is_err() {
                        sys::exit_now(1);
                    }
                    reap(interpreter)
                }
            }
        }
        Err(failed) => {
            let report = Report::Failed { step: failed.step, errno: failed.errno() }.pack();
            let arranged = !matches!(
                failed.step,
                Step::InitSignals
                    | Step::JoinCgroup
                    | Step::CgroupNamespace
                    | Step::JoinNetwork
                    | Step::RaiseLoopback
                    | Step::OpenProxy
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

/// Forks the interpreter and waits until its exec has worked, or it stands behind every layer. `None` in a resident.
fn launch<K: Kernel>(kernel: &K, plan: &Plan<'_>) -> Result<Option<Pid>, StepError> {
    let executed = match &plan.program.start {
        Start::Exec { argv, environment } => {
            Some((prepared(argv)?, [environment, plan.environment].concat()))
        }
        Start::Waiting { argv, environment } => Some((argv.clone(), environment.clone())),
        Start::Resident => None,
    };
    let (status, failure) = status_pipe(plan).at(Step::StatusPipe)?;
    match kernel.fork().at(Step::Fork)? {
        Cloned::Child => {
            let failed = match &executed {
                Some((argv, environment)) => layers::enter_guest(kernel, plan, argv, environment),
                None => match layers::enter_resident(kernel, plan) {
                    Ok(()) => {
                        // Closed already, and their numbers are not ours any more.
                        let _numbers = (status.into_raw_fd(), failure.into_raw_fd());
                        return Ok(None);
                    }
                    Err(failed) => failed,
                },
            };
            let record = Report::Failed { step: failed.step, errno: failed.errno() }.pack();
            let sent = rustix::io::write(failure.as_fd(), &record);
            sys::exit_now(i32::from(sent.is_err()))
        }
        Cloned::Parent { pid, .. } => {
            drop(failure);
            kernel.reset_signals().at(Step::InitSignals)?;
            match read_record(&status).map(|record| Report::unpack(&record)) {
                // The exec closed the pipe, or the resident did.
                None => Ok(Some(pid)),
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

/// By which the init hears from its child. In a resident, whose libraries may close and put what they know by its number
/// as they are forked, it is above all of those.
fn status_pipe(plan: &Plan<'_>) -> io::Result<(OwnedFd, OwnedFd)> {
    let (status, failure) = pipe_with(PipeFlags::CLOEXEC)?;
    match plan.program.start {
        Start::Exec { .. } | Start::Waiting { .. } => Ok((status, failure)),
        Start::Resident => Ok((
            fcntl_dupfd_cloexec(status, place::ABOVE_LIBRARIES)?,
            fcntl_dupfd_cloexec(failure, place::ABOVE_LIBRARIES)?,
        )),
    }
}

/// What comes before the fork of an interpreter that is executed: its arguments, and the run's files.
fn prepared(argv: &[CString]) -> Result<Vec<CString>, StepError> {
    let mut sheet = Sheet::new(sys::borrow(place::SHEET));
    let mut argv = argv.to_vec();
    argv.extend(arguments(&mut sheet).at(Step::ReadArguments)?);
    for _ in 0..sheet.count().at(Step::PlaceFiles)? {
        place_file(&mut sheet, Earlier::Keep).at(Step::PlaceFiles)?;
    }
    // Before there is anyone who could run the code: a helper that has not read this knows that nobody did.
    rustix::io::write(sys::borrow(place::REPORT), &Report::Begun.pack()).at(Step::TellBegun)?;
    Ok(argv)
}

/// The request's own arguments.
fn arguments(sheet: &mut Sheet<'_>) -> io::Result<Vec<CString>> {
    (0..sheet.count()?).map(|_| CString::new(sheet.text()?).map_err(io::Error::other)).collect()
}

/// The init of a resident is in the stem's memory until here, and goes on as a program of a few pages.
fn become_reaper(interpreter: Pid) -> ! {
    /// A process id and the NUL after it.
    const DIGITS_MAX: usize = 12;
    let mut text = [0; DIGITS_MAX];
    let written = write!(text.as_mut_slice(), "{}\0", interpreter.as_raw_nonzero());
    let argument = CStr::from_bytes_until_nul(&text);
    if let (Ok(()), Ok(argument), Ok(())) = (written, argument, sys::close_on_exec_below(place::REPORT)) {
        // Its file cannot be read by whoever executes it, so that the guest cannot look into it either.
        sys::execute(sys::borrow(place::REAPER), argument);
    }
    sys::exit_now(1)
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
