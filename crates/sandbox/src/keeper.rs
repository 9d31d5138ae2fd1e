//! Keeps a program that runs outside any jail: this same program, started anew between the gateway and the other.
//!
//! It is no isolation of the program. It sees to it that the program has no descriptor but its three, that it can gain no
//! rights, and that nothing of it is left when the gateway has closed its input or is dead, or when the keeper itself is:
//!
//! - **apart**, where this host lets an ordinary user make namespaces: the program is below an init in a pid namespace. It
//!   can name neither the keeper nor the gateway, the init dies with the keeper (`PR_SET_PDEATHSIG`), and the kernel ends
//!   all that is in the namespace with its init (`pid_namespaces(7)`). A user namespace that knows this user alone goes with
//!   it, so that the memory and the environment of the gateway cannot be read either.
//! - **beside**, elsewhere: two keepers, one below the other, and each ends all that has come of the program once it sees the
//!   other gone; orphans come to them (`PR_SET_CHILD_SUBREAPER`). A program that kills both in one moment goes on.
//!
//! Which of the two it is, is the first line on standard output, written before the program is there.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};
use std::time::Duration;

use execgate_forkpoint::sys::{self, Cloned, clone_flags};
use rustix::event::PollFlags;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use rustix::process::{
    DumpableBehavior, Gid, Pid, PidfdFlags, Signal, Uid, WaitOptions, getegid, geteuid, getpid, pidfd_open,
    set_child_subreaper, set_dumpable_behavior, set_parent_process_death_signal, wait,
};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout, stdin};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};

use crate::offspring::{end, has_hung_up, watch};

/// The argument by which a program is started as a keeper; the program to keep and its arguments follow.
pub const KEEPER_ARGUMENT: &str = "__keeper";

/// How long the program may take to end by itself once its input has ended.
const GRACE: Duration = Duration::from_secs(2);

/// How a program that cannot be started ends, as a shell says it.
const NOT_STARTED: u8 = 127;

/// How a program is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// In a pid namespace, whose end is its end whatever it has killed.
    Apart,
    /// Below two keepers that look after each other.
    Beside,
}

impl Kept {
    /// The first line that a keeper writes.
    #[must_use]
    pub const fn line(self) -> &'static str {
        match self {
            Self::Apart => "execgate-keeper apart\n",
            Self::Beside => "execgate-keeper beside\n",
        }
    }

    /// What that line says.
    #[must_use]
    pub fn of_line(line: &str) -> Option<Self> {
        [Self::Apart, Self::Beside].into_iter().find(|kept| kept.line() == line)
    }

    /// The word in receipts.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Apart => "pid-namespace",
            Self::Beside => "keepers",
        }
    }
}

/// Keeps a program until its input or itself ends; then nothing of it is alive. Ends with 127 where it cannot be kept.
#[must_use]
pub fn keeper_main() -> ExitCode {
    match keep() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(NOT_STARTED),
    }
}

/// The two ends by which one process sees that the other is gone.
struct Cord {
    held: OwnedFd,
    seen: OwnedFd,
}

impl Cord {
    /// Sockets: whoever has one end cannot open the other, as it could that of a pipe (`/proc/self/fd`).
    fn new() -> io::Result<Self> {
        let (seen, held) = UnixStream::pair()?;
        Ok(Self { held: held.into(), seen: seen.into() })
    }
}

/// What the process below the keeper has of the two cords.
struct Ends {
    life: OwnedFd,
    ready: OwnedFd,
}

fn keep() -> io::Result<()> {
    sys::close_from(3)?;
    set_no_new_privs(true)?;
    set_child_subreaper(Some(getpid()))?;
    let words: Vec<OsString> = env::args_os().skip(2).collect();
    if words.is_empty() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let (below, cord) = match begin(Kept::Apart, &words) {
        Ok(begun) => begun,
        Err(_) => begin(Kept::Beside, &words)?,
    };
    // What the program writes to ends with it, and not with the keeper.
    let null = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    let watched = watch(&below, (stdin(), PollFlags::empty()), GRACE);
    dup2_stdin(&null)?;
    let ended = end();
    drop(cord);
    watched.and(ended)
}

/// Starts what the program will be below, and waits until it says that it is as it should be. Its other end of the cord
/// comes with it.
fn begin(kept: Kept, words: &[OsString]) -> io::Result<(OwnedFd, OwnedFd)> {
    let (life, ready) = (Cord::new()?, Cord::new()?);
    // Read within, before they are mapped, they would be those of nobody.
    let identity = (geteuid(), getegid());
    let flags = match kept {
        Kept::Apart => clone_flags::NEWUSER | clone_flags::NEWPID | clone_flags::NEWNS,
        Kept::Beside => 0,
    };
    match sys::clone3(flags)? {
        Cloned::Child => {
            drop(life.held);
            drop(ready.seen);
            let ended = below(kept, identity, words, Ends { life: life.seen, ready: ready.held });
            sys::exit_now(if ended.is_ok() { 0 } else { NOT_STARTED.into() })
        }
        Cloned::Parent { pidfd, .. } => {
            drop(life.seen);
            drop(ready.held);
            let mut said = [0];
            match rustix::io::read(&ready.seen, &mut said)? {
                0 => {
                    // It is gone, or will be: nothing of it has run.
                    end()?;
                    Err(io::ErrorKind::Unsupported.into())
                }
                _ => Ok((pidfd.ok_or(io::ErrorKind::Unsupported)?, life.held)),
            }
        }
    }
}

/// The process below the keeper, and above the program.
fn below(kept: Kept, (uid, gid): (Uid, Gid), words: &[OsString], ends: Ends) -> io::Result<()> {
    let Ends { life, ready } = ends;
    match kept {
        Kept::Apart => {
            go_apart(uid, gid)?;
            // After the change of what it may do, which clears it.
            set_parent_process_death_signal(Some(Signal::KILL))?;
        }
        Kept::Beside => set_child_subreaper(Some(getpid()))?,
    }
    // A keeper that has gone before would never end it.
    if has_hung_up(&life) {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    io::stdout().write_all(kept.line().as_bytes())?;
    io::stdout().flush()?;
    rustix::io::write(&ready, b"+")?;
    drop(ready);
    let program = match sys::fork()? {
        Cloned::Child => {
            // Where it leaves it like that it also dies with what is above it.
            set_parent_process_death_signal(Some(Signal::KILL))?;
            let Some((program, arguments)) = words.split_first() else { return Ok(()) };
            #[expect(
                clippy::disallowed_methods,
                reason = "this is the sandbox's own way to start what it cannot confine"
            )]
            return Err(Command::new(program).args(arguments).exec());
        }
        Cloned::Parent { pid, .. } => pid,
    };
    let null = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    match kept {
        // All that is there ends with this process.
        Kept::Apart => wait_for(program),
        Kept::Beside => {
            let ended = pidfd_open(program, PidfdFlags::empty())?;
            let watched = watch(&ended, (&life, PollFlags::empty()), GRACE);
            end().and(watched)
        }
    }
}

/// Makes a namespace of its own what it should be: this user is itself there, and nothing else is anything.
fn go_apart(uid: Uid, gid: Gid) -> io::Result<()> {
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{0} {0} 1", uid.as_raw()))?;
    fs::write("/proc/self/gid_map", format!("{0} {0} 1", gid.as_raw()))?;
    // What looks for its own processes should find them. A host that hides parts of its own lets nobody mount another.
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let _kept_as_it_is = mount("proc", "/proc", "proc", flags, None);
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Takes away what ends, until the program has.
fn wait_for(program: Pid) -> io::Result<()> {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, _))) if pid == program => return Ok(()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
