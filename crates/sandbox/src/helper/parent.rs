//! The helper's parent: starts a helper, outlives it, sees to it that nothing of it is left, and starts the next one.
//!
//! Whoever has a sandbox has given up the rights that a helper needs by the time when one dies; this process keeps them. It
//! takes one configuration, once, and has one helper at a time. Orphans of a dead helper come to it, and before the next
//! one begins, with the same user ids, none of them is alive. A helper dies with it.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use execgate_forkpoint::sys::{self, Cloned};
use execgate_forkpoint::wire::{Message as _, Received, receive, text_of};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, getpid, getppid, set_child_subreaper, set_parent_process_death_signal};

use crate::offspring;
use crate::wire::ToParent;

/// How long a helper may take to kill every run and remove its cgroups once its client is gone; it takes some tens of
/// milliseconds.
pub(crate) const ENDED_WITHIN: Duration = Duration::from_secs(10);

/// What a new helper has.
pub(super) struct Charge {
    /// Its control socket.
    pub(super) control: OwnedFd,
    /// The text of its configuration, the same for all of one parent.
    pub(super) configuration: Vec<u8>,
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
    let mut accepted = None;
    while let Some((control, first)) = next(&link)? {
        // Read once: a server that was taken over configures no other sandbox than the one that it has.
        let configuration = match (accepted.take(), first) {
            (Some(configuration), None) => configuration,
            (None, Some(text)) => text_of(text)?,
            (None, None) | (Some(_), Some(_)) => return Err(io::ErrorKind::InvalidData.into()),
        };
        let cloned = sys::clone3(0);
        if matches!(cloned, Ok(Cloned::Child)) {
            sys::wait_for_children()?;
            return Ok(Some(Charge { control, configuration, parent }));
        }
        drop(control);
        accepted = Some(configuration);
        // Where there can be none now, the client sees that nobody has its control socket, and asks again.
        if let Ok(Cloned::Parent { pidfd, .. }) = cloned {
            outlive(&pidfd.ok_or(io::ErrorKind::Unsupported)?, &link)?;
        }
    }
    Ok(None)
}

/// Waits until a helper is dead, and ends what it has left. A client that asks for the next one has given up this one.
fn outlive(helper: &OwnedFd, link: &OwnedFd) -> io::Result<()> {
    let watched = offspring::watch(helper, (link, PollFlags::IN), ENDED_WITHIN);
    // However long the kernel takes: nothing new begins beside what is dying.
    while let Err(error) = offspring::end() {
        if error.kind() != io::ErrorKind::TimedOut {
            return Err(error);
        }
    }
    watched
}

/// Waits for the control socket of the next helper, with which the configuration comes if it is the first; `None` when the
/// client went away.
fn next(link: &OwnedFd) -> io::Result<Option<(OwnedFd, Option<OwnedFd>)>> {
    loop {
        match poll(&mut [PollFd::new(link, PollFlags::IN)], None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        match receive(link.as_fd())? {
            Received::Packet(bytes, fds) => {
                let mut fds = fds.into_iter();
                let (Ok(ToParent::Begin), Some(control)) = (ToParent::unpack(&bytes), fds.next()) else {
                    return Err(io::ErrorKind::InvalidData.into());
                };
                return Ok(Some((control, fds.next())));
            }
            Received::Nothing => {}
            Received::End => return Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use execgate_forkpoint::wire::{pair, send, text_memfd};

    use super::*;

    /// What a parent makes of a client that asks for helpers with and without a configuration.
    fn told(asks: &[bool]) -> io::ErrorKind {
        let (ours, link) = pair().unwrap();
        let text = text_memfd("config", b"{}").unwrap();
        for has_configuration in asks {
            let (_control, theirs) = pair().unwrap();
            let fds = [theirs.as_fd(), text.as_fd()];
            send(&ours, &ToParent::Begin.pack(), if *has_configuration { &fds } else { &fds[..1] }).unwrap();
        }
        match attend(link) {
            Err(error) => error.kind(),
            // A helper.
            Ok(Some(_)) => sys::exit_now(0),
            Ok(None) => panic!("the link is open"),
        }
    }

    #[test]
    fn the_first_helper_needs_a_configuration() {
        assert_eq!(told(&[false]), io::ErrorKind::InvalidData);
    }

    #[test]
    fn no_helper_after_the_first_gets_another() {
        assert_eq!(told(&[true, false, true]), io::ErrorKind::InvalidData);
    }
}
