//! Starting the helper, and the link to it.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use execgate_forkpoint::sys::{self, Cloned};
use execgate_forkpoint::wire::pair;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open, setsid, waitpid};

use crate::error::SandboxError;
use crate::helper::{HELPER_ARGUMENT, HELPER_CONTROL};

/// How long a helper may take to kill every run and remove its cgroups; it takes some tens of milliseconds.
const ENDED_WITHIN: Duration = Duration::from_secs(10);

/// A started helper. Dropping it closes the link; the helper then kills every run, removes its cgroups and ends.
#[derive(Debug)]
pub struct HelperLink {
    control: Option<OwnedFd>,
    helper: Pid,
}

impl HelperLink {
    /// The helper's process, for those who watch it.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.helper.as_raw_pid()
    }

    /// Waits until the helper has ended, within a bound.
    fn ends_by_itself(&self) -> bool {
        let Ok(helper) = pidfd_open(self.helper, PidfdFlags::empty()) else { return true };
        let timeout = Timespec::try_from(ENDED_WITHIN).ok();
        matches!(poll(&mut [PollFd::new(&helper, PollFlags::IN)], timeout.as_ref()), Ok(1..))
    }

    /// Whether the helper still holds its end.
    pub(super) fn is_open(&self) -> bool {
        let Some(control) = &self.control else { return false };
        let mut link = [PollFd::new(control, PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut link, Some(&now)).is_ok() && !link[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
    }

    pub(super) fn control(&self) -> io::Result<BorrowedFd<'_>> {
        self.control.as_ref().map(OwnedFd::as_fd).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for HelperLink {
    fn drop(&mut self) {
        drop(self.control.take());
        // It ends by itself once the link is closed; one that does not is killed, and its runs with it.
        if !self.ends_by_itself() && kill_process(self.helper, Signal::KILL).is_err() {
            return;
        }
        // A process that is not the one that forked it cannot wait.
        if let Err(error) = waitpid(Some(self.helper), WaitOptions::empty()) {
            tracing::debug!(%error, "the helper was reaped by somebody else");
        }
    }
}

/// Starts this same program anew as the helper: empty environment, no descriptor but the link and standard error.
///
/// # Errors
/// [`SandboxError::SocketPair`] or [`SandboxError::SpawnHelper`].
pub fn spawn_helper() -> Result<HelperLink, SandboxError> {
    // The link, so that a program that was replaced on disk since still starts itself.
    spawn_helper_of(Path::new("/proc/self/exe"))
}

/// Starts another program as the helper, for those that cannot dispatch in their own `main`; `sandbox-helper` is one.
///
/// # Errors
/// As [`spawn_helper`].
pub fn spawn_helper_of(program: &Path) -> Result<HelperLink, SandboxError> {
    let (ours, theirs) = pair().map_err(SandboxError::SocketPair)?;
    let null = open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    let null = null.map_err(|error| SandboxError::SpawnHelper(error.into()))?;
    let argument = CString::new(HELPER_ARGUMENT).map_err(|error| SandboxError::SpawnHelper(error.into()))?;
    let program = CString::new(program.as_os_str().as_bytes());
    let argv = [program.map_err(|error| SandboxError::SpawnHelper(error.into()))?, argument];
    match sys::fork().map_err(SandboxError::SpawnHelper)? {
        Cloned::Child => {
            let failed = become_helper(&theirs, &null, &argv);
            sys::exit_now(failed.raw_os_error().unwrap_or(1))
        }
        Cloned::Parent { pid, .. } => Ok(HelperLink { control: Some(ours), helper: pid }),
    }
}

/// Runs between fork and exec; returns only what failed.
fn become_helper(control: &OwnedFd, null: &OwnedFd, argv: &[CString]) -> io::Error {
    // What ends the program by its terminal or its group must let running runs finish: the helper ends when the
    // link is closed, and not before.
    let arranged = setsid()
        .map_err(io::Error::from)
        .and_then(|_session| sys::ignore_requests_to_end())
        .and_then(|()| sys::duplicate_inheritable(null, 0))
        .and_then(|()| sys::duplicate_inheritable(null, 1))
        .and_then(|()| sys::duplicate_inheritable(control, HELPER_CONTROL))
        .and_then(|()| sys::close_on_exec_from(HELPER_CONTROL.unsigned_abs() + 1));
    match arranged {
        Ok(()) => sys::execve(argv, &[]),
        Err(error) => error,
    }
}
