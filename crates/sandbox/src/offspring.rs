//! All that has come of this process: watching it, and ending it so that nothing of it is left. Of whoever has made itself
//! the one that orphans come to (`PR_SET_CHILD_SUBREAPER`); nothing here looks at what a process does.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, getpid, pidfd_open, pidfd_send_signal, wait};

/// How often what is left is killed again: what is killed may have started something just before.
const ROUNDS_MAX: usize = 200;

/// How long a round is.
const ROUND: Duration = Duration::from_millis(5);

/// Whether nobody holds the other end of a socket any more. One that cannot be asked is taken for that.
pub(crate) fn has_hung_up(seen: impl AsFd) -> bool {
    let mut fds = [PollFd::new(&seen, PollFlags::empty())];
    let asked = retry_on_intr(|| poll(&mut fds, Some(&Timespec::default())));
    let [fd] = fds;
    asked.is_err() || fd.revents().intersects(PollFlags::HUP | PollFlags::ERR)
}

/// Waits until a process has ended; or until the other end of `cord` is closed or what is in `events`, and the process has
/// had its grace.
pub(crate) fn watch(
    process: &OwnedFd,
    (cord, events): (impl AsFd, PollFlags),
    grace: Duration,
) -> io::Result<()> {
    let mut deadline = None;
    loop {
        let left = deadline.map(|at: Instant| at.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Ok(());
        }
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        let mut fds = vec![PollFd::new(process, PollFlags::IN)];
        // Once it has ended it would say so again and again. Whoever has it as input reads what is in it.
        if deadline.is_none() {
            fds.push(PollFd::new(&cord, events));
        }
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if fds.first().is_none_or(|fd| !fd.revents().is_empty()) {
            return Ok(());
        }
        if fds.get(1).is_some_and(|fd| !fd.revents().is_empty()) {
            deadline = Some(Instant::now() + grace);
        }
    }
}

/// Kills all that has come of this process, and waits until nothing is left.
///
/// # Errors
/// `TimedOut` where something is left after a second.
pub(crate) fn end() -> io::Result<()> {
    for _ in 0..ROUNDS_MAX {
        for (pid, parent) in descendants() {
            // It may be gone already.
            let _gone = kill(pid, parent);
        }
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(Errno::CHILD) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        thread::sleep(ROUND);
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// Kills a process that has this parent. Not one that has its number since, and is anybody's.
fn kill(pid: i32, parent: i32) -> io::Result<()> {
    let process = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
    let process = pidfd_open(process, PidfdFlags::empty())?;
    if children_of(parent).contains(&pid) {
        pidfd_send_signal(&process, Signal::KILL)?;
    }
    Ok(())
}

/// Every process below this one, and its parent.
fn descendants() -> Vec<(i32, i32)> {
    let mut found = Vec::new();
    let mut to_see = vec![getpid().as_raw_pid()];
    while let Some(pid) = to_see.pop() {
        let children = children_of(pid);
        found.extend(children.iter().map(|child| (*child, pid)));
        to_see.extend(children);
    }
    found
}

/// The children that each thread of a process has made.
pub(crate) fn children_of(pid: i32) -> Vec<i32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|text| text.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<i32>>())
        .collect()
}

/// The parent of a process; `None` where it has none that can be named here.
pub(crate) fn parent_of(pid: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    line.trim().parse().ok().filter(|parent| *parent > 0)
}
