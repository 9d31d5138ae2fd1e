//! Starting the helper's parent, and the link to it.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use execgate_forkpoint::sys::{self, Cloned};
use execgate_forkpoint::wire::{Message as _, pair, send};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open, setsid, waitpid};

use crate::error::SandboxError;
use crate::helper::{ENDED_WITHIN as HELPER_ENDED_WITHIN, HELPER_ARGUMENT, HELPER_LINK};
use crate::offspring::has_hung_up;
use crate::wire::ToParent;

/// How long the helper's parent may take to end once the link is closed: a helper that does not end by itself is killed
/// by it.
const ENDED_WITHIN: Duration = HELPER_ENDED_WITHIN.saturating_add(Duration::from_secs(5));

/// The link to the parent of helpers. Dropping it closes it; the parent then sees to it that every run is killed and the
/// cgroups are removed, and ends.
#[derive(Debug)]
pub struct HelperLink {
    socket: Option<OwnedFd>,
    parent: Pid,
}

impl HelperLink {
    /// Has a helper started, once the one before is dead; gives its control socket. The first comes with the configuration
    /// of all.
    pub(super) fn begin(&self, configuration: Option<&OwnedFd>) -> io::Result<OwnedFd> {
        let socket = self.socket.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let (ours, theirs) = pair()?;
        let fds: Vec<_> = [Some(&theirs), configuration].into_iter().flatten().map(OwnedFd::as_fd).collect();
        send(socket, &ToParent::Begin.pack(), &fds)?;
        Ok(ours)
    }

    /// Whether the parent is there, so that there can be another helper.
    pub(super) fn is_open(&self) -> bool {
        self.socket.as_ref().is_some_and(|socket| !has_hung_up(socket))
    }

    /// Waits until the parent has ended, within a bound.
    fn ends_by_itself(&self) -> bool {
        let Ok(parent) = pidfd_open(self.parent, PidfdFlags::empty()) else { return true };
        let timeout = Timespec::try_from(ENDED_WITHIN).ok();
        matches!(poll(&mut [PollFd::new(&parent, PollFlags::IN)], timeout.as_ref()), Ok(1..))
    }
}

impl Drop for HelperLink {
    fn drop(&mut self) {
        drop(self.socket.take());
        // It ends by itself once the link is closed; one that does not is killed, and its helper and the runs with it.
        if !self.ends_by_itself() && kill_process(self.parent, Signal::KILL).is_err() {
            return;
        }
        // A process that is not the one that forked it cannot wait.
        if let Err(error) = waitpid(Some(self.parent), WaitOptions::empty()) {
            tracing::debug!(%error, "the helper's parent was reaped by somebody else");
        }
    }
}

/// Starts this same program anew as the parent of helpers: empty environment, no descriptor but the link and standard
/// error. A helper begins when a sandbox is started on the link, and again whenever that one dies.
///
/// # Errors
/// [`SandboxError::SocketPair`] or [`SandboxError::SpawnHelper`].
pub fn spawn_helper() -> Result<HelperLink, SandboxError> {
    // The link, so that a program that was replaced on disk since still starts itself.
    spawn_helper_of(Path::new("/proc/self/exe"))
}

/// Starts another program as that, for those that cannot dispatch in their own `main`; `sandbox-helper` is one.
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
            let failed = become_parent(&theirs, &null, &argv);
            sys::exit_now(failed.raw_os_error().unwrap_or(1))
        }
        Cloned::Parent { pid, .. } => Ok(HelperLink { socket: Some(ours), parent: pid }),
    }
}

/// Runs between fork and exec; returns only what failed.
fn become_parent(link: &OwnedFd, null: &OwnedFd, argv: &[CString]) -> io::Error {
    // What ends the program by its terminal or its group must let running runs finish: the helper ends when the
    // link is closed, and not before.
    let arranged = setsid()
        .map_err(io::Error::from)
        .and_then(|_session| sys::ignore_requests_to_end())
        .and_then(|()| sys::duplicate_inheritable(null, 0))
        .and_then(|()| sys::duplicate_inheritable(null, 1))
        .and_then(|()| sys::duplicate_inheritable(link, HELPER_LINK))
        .and_then(|()| sys::close_on_exec_from(HELPER_LINK.unsigned_abs() + 1));
    match arranged {
        Ok(()) => sys::execve(argv, &[]),
        Err(error) => error,
    }
}
