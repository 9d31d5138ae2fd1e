//! All that has come of this process: watching it, and ending it so that nothing of it is left. Of whoever has made itself
//! the one that orphans come to (`PR_SET_CHILD_SUBREAPER`); nothing here looks at what a process does.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, wait};

/// How often what is left is killed again: what is killed may have started something just before.
const ROUNDS_MAX: usize = 200;

/// How long a round is.
const ROUND: Duration = Duration::from_millis(5);

/// Whether nobody holds the other end of a socket any more. One that cannot be asked is taken for that.
pub(crate) fn has_hung_up(seen: impl AsFd) -> bool {
    let mut fds = [PollFd::new(&seen, PollFlags::empty())];
    let asked = poll(&mut fds, Some(&Timespec::default()));
    let [fd] = fds;
    asked.is_err() || fd.revents().intersects(PollFlags::HUP | PollFlags::ERR)
}

/// Waits until a process has ended; or until the other end of `cord` is closed, and the process has had its grace.
pub(crate) fn watch(process: &OwnedFd, cord: impl AsFd, grace: Duration) -> io::Result<()> {
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
            fds.push(PollFd::new(&cord, PollFlags::empty()));
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
        for pid in descendants().into_iter().filter_map(Pid::from_raw) {
            // It may be gone already.
            let _gone = kill_process(pid, Signal::KILL);
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

/// Every process below this one.
fn descendants() -> Vec<i32> {
    let mut found = Vec::new();
    let mut to_see = vec![getpid().as_raw_pid()];
    while let Some(pid) = to_see.pop() {
        let children = children_of(pid);
        found.extend(&children);
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
