//! The helper's parent: starts a helper, outlives it, sees to it that nothing of it is left, and starts the next one.
//!
//! Whoever has a sandbox has given up the rights that a helper needs by the time when one dies; this process keeps them. It
//! reads nothing but descriptors, and has one helper at a time. Orphans of a dead helper come to it, and before the next
//! one begins, with the same user ids, none of them is alive. A helper dies with it.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use execgate_forkpoint::sys::{self, Cloned};
use execgate_forkpoint::wire::{Message as _, Received, receive};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, getpid, getppid, set_child_subreaper, set_parent_process_death_signal};

use crate::offspring;
use crate::wire::ToHelper;

/// How long a helper may take to kill every run and remove its cgroups once its client is gone; it takes some tens of
/// milliseconds.
pub(crate) const ENDED_WITHIN: Duration = Duration::from_secs(10);

/// What a new helper has: its control socket, and the memory file with its configuration.
pub(super) struct Charge {
    pub(super) control: OwnedFd,
    pub(super) configuration: OwnedFd,
    parent: Pid,
}

impl Charge {
    /// Has the kernel kill this process with its parent. Whatever changes what a process may do undoes that, so it comes
    /// last.
    ///
    /// # Errors
    /// The kernel's, or `BrokenPipe` where the parent is gone already.
    pub(super) fn end_with_parent(&self) -> io::Result<()> {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        if getppid() == Some(self.parent) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }
}

/// Starts helpers, one after the other, until the link is closed. Comes back with a charge in each helper, and without one
/// at the end of all of them.
///
/// # Errors
/// The kernel's; whatever ran is dead then.
pub(super) fn attend(link: OwnedFd) -> io::Result<Option<Charge>> {
    let parent = getpid();
    set_child_subreaper(Some(parent))?;
    // Orphans of a helper that lives are nobody's business.
    sys::ignore_children()?;
    while let Some((control, configuration)) = next(&link)? {
        match sys::clone3(0)? {
            Cloned::Child => {
                sys::wait_for_children()?;
                return Ok(Some(Charge { control, configuration, parent }));
            }
            Cloned::Parent { pidfd, .. } => {
                drop((control, configuration));
                let helper = pidfd.ok_or(io::ErrorKind::Unsupported)?;
                let watched = offspring::watch(&helper, &link, ENDED_WITHIN);
                // However long the kernel takes: nothing new begins beside what is dying.
                while let Err(error) = offspring::end() {
                    if error.kind() != io::ErrorKind::TimedOut {
                        return Err(error);
                    }
                }
                watched?;
            }
        }
    }
    Ok(None)
}

/// Waits for what the next helper is to have; `None` when the client went away first.
fn next(link: &OwnedFd) -> io::Result<Option<(OwnedFd, OwnedFd)>> {
    loop {
        match poll(&mut [PollFd::new(link, PollFlags::IN)], None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        match receive(link.as_fd())? {
            Received::Packet(bytes, fds) => {
                let mut fds = fds.into_iter();
                let (Ok(ToHelper::Configure), Some(control), Some(text)) =
                    (ToHelper::unpack(&bytes), fds.next(), fds.next())
                else {
                    return Err(io::ErrorKind::InvalidData.into());
                };
                return Ok(Some((control, text)));
            }
            Received::Nothing => {}
            Received::End => return Ok(None),
        }
    }
}
