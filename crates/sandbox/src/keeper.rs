//! Keeps a program that runs outside any jail: this same program, started anew between the gateway and the other.
//!
//! It is no isolation. It sees to it that the program has no descriptor but its three, that it can gain no rights, and that
//! nothing of it is left when the gateway has closed its input or is dead: all that it has started, too, however far that has
//! gone from its process group, since orphans come to the keeper (`PR_SET_CHILD_SUBREAPER`).

use std::env;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use execgate_forkpoint::sys;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl, open};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, kill_process, pidfd_open, set_child_subreaper, wait,
};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout, stdin};
use rustix::thread::set_no_new_privs;

/// The argument by which a program is started as a keeper; the program to keep and its arguments follow.
pub const KEEPER_ARGUMENT: &str = "__keeper";

/// How long the program may take to end by itself once its input has ended.
const GRACE: Duration = Duration::from_secs(2);

/// How much of its input waits in the keeper, in bytes.
const CHUNK: usize = 64 << 10;

/// How often what is left is killed again: what is killed may have started something just before.
const ROUNDS_MAX: usize = 200;

/// Keeps a program until its input or itself ends; then nothing of it is alive. Ends with 127 where it cannot be started.
#[must_use]
pub fn keeper_main() -> ExitCode {
    match keep() {
        Ok(code) => code,
        Err(_) => ExitCode::from(127),
    }
}

fn keep() -> io::Result<ExitCode> {
    sys::close_from(3)?;
    set_no_new_privs(true)?;
    set_child_subreaper(Some(getpid()))?;
    let mut words = env::args_os().skip(2);
    let program = words.next().ok_or(io::ErrorKind::InvalidInput)?;
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the sandbox's own way to start what it cannot confine"
    )]
    let mut child = Command::new(program).args(words).stdin(Stdio::piped()).spawn()?;
    let input = child.stdin.take().map(OwnedFd::from).ok_or(io::ErrorKind::BrokenPipe)?;
    // What the program writes to ends with it, and not with the keeper.
    let null = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    let relayed = relay(&child, input);
    dup2_stdin(&null)?;
    let code = end(&mut child);
    relayed.and(code)
}

/// Hands input on until it, or the program, has ended; then the program has its grace.
fn relay(child: &Child, input: OwnedFd) -> io::Result<()> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
    let ended = pidfd_open(pid, PidfdFlags::empty())?;
    let flags = fcntl_getfl(&input)?;
    fcntl_setfl(&input, flags | OFlags::NONBLOCK)?;
    let (mut held, mut buffer) = (Vec::new(), vec![0; CHUNK]);
    let mut deadline = None;
    let mut input = Some(input);
    loop {
        let left = deadline.map(|at: Instant| at.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Ok(());
        }
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        let from = stdin();
        let wants = if held.is_empty() && deadline.is_none() { PollFlags::IN } else { PollFlags::empty() };
        let mut fds = vec![PollFd::new(&ended, PollFlags::IN)];
        // Once it has ended it would say so again and again.
        if deadline.is_none() {
            fds.push(PollFd::new(&from, wants));
        }
        let into = input.as_ref().filter(|_| !held.is_empty());
        if let Some(into) = into {
            fds.push(PollFd::from_borrowed_fd(into.as_fd(), PollFlags::OUT));
        }
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if !fds.first().is_none_or(|fd| fd.revents().is_empty()) {
            return Ok(());
        }
        let come = fds.get(1).filter(|_| deadline.is_none()).map_or(PollFlags::empty(), PollFd::revents);
        drop(fds);
        if held.is_empty() && !come.is_empty() {
            match rustix::io::read(from, &mut buffer) {
                Ok(0) => {
                    input = None;
                    deadline = Some(Instant::now() + GRACE);
                }
                Ok(count) => held.extend_from_slice(buffer.get(..count).unwrap_or_default()),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(error) => return Err(error.into()),
            }
        } else if come.intersects(PollFlags::HUP | PollFlags::ERR) && deadline.is_none() {
            // Nobody writes any more, and the program does not read: it is not waited for longer than for another.
            deadline = Some(Instant::now() + GRACE);
        }
        if let Some(into) = input.as_ref().filter(|_| !held.is_empty()) {
            match rustix::io::write(into, &held) {
                Ok(count) => drop(held.drain(..count)),
                Err(Errno::AGAIN | Errno::INTR) => {}
                // It has closed its input, and may go on all the same.
                Err(_) => held.clear(),
            }
        }
        if held.is_empty() && deadline.is_some() {
            input = None;
        }
    }
}

/// Kills the program and all that has come of it, and waits until nothing is left.
fn end(child: &mut Child) -> io::Result<ExitCode> {
    let by_itself = child.try_wait()?;
    for _ in 0..ROUNDS_MAX {
        for pid in descendants().into_iter().filter_map(Pid::from_raw) {
            // It may be gone already.
            let _gone = kill_process(pid, Signal::KILL);
        }
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(Errno::CHILD) => return Ok(code(by_itself.and_then(|status| status.code()))),
                Err(error) => return Err(error.into()),
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(io::ErrorKind::TimedOut.into())
}

fn code(code: Option<i32>) -> ExitCode {
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// Every process below this one.
fn descendants() -> Vec<i32> {
    let mut found = Vec::new();
    let mut to_see = vec![getpid().as_raw_pid()];
    while let Some(pid) = to_see.pop() {
        let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        for thread in threads.flatten() {
            let Ok(children) = fs::read_to_string(thread.path().join("children")) else { continue };
            for child in children.split_whitespace().filter_map(|id| id.parse().ok()) {
                found.push(child);
                to_see.push(child);
            }
        }
    }
    found
}
