//! The helper's end of the stem: makes one, writes its id maps, waits until it is ready. What it says is hostile.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use std::time::Duration;

use execgate_forkpoint::jail::{At as _, Step, StepError};
use execgate_forkpoint::stem::{Seed, SlotIds};
use execgate_forkpoint::sys::{self, Cloned, clone_flags};
use execgate_forkpoint::wire::{FromStem, Message as _, Received, ToStem, pair, receive, send};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitOptions, pidfd_send_signal, waitpid};

use super::ids::IdMap;
use super::scratch;
use crate::stem::{Birth, become_stem};

/// How long a stem may take to be ready; it takes some milliseconds.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// How long a stem and all jails may take to be dead once they are killed; they take some milliseconds.
const DEAD_WITHIN: Duration = Duration::from_secs(5);

/// What a process descriptor from the stem stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Identity {
    /// The init of a jail, with its process id.
    Init(i32),
    /// A process that has ended already.
    Ended,
    /// Anything else.
    Forged,
}

/// A live stem.
pub(super) struct StemLink {
    pub(super) control: OwnedFd,
    pid: Pid,
    pidfd: OwnedFd,
}

impl StemLink {
    /// Clones a native stem and waits until it is in its jail.
    pub(super) fn make(
        seed: &'static Seed,
        library: Option<&OwnedFd>,
        image: &Path,
        map: &IdMap,
    ) -> Result<Self, StepError> {
        let link = Self::start(seed, Birth { library, interpreter: None }, image, map)?;
        link.await_ready()?;
        Ok(link)
    }

    /// Clones a stem into its namespaces, to be an interpreter if there is one to be. It tells when it is ready.
    pub(super) fn start(
        seed: &'static Seed,
        birth: Birth<'_>,
        image: &Path,
        map: &IdMap,
    ) -> Result<Self, StepError> {
        let tree = scratch::open_image(image).at(Step::OpenImage)?;
        scratch::seal_image(&tree).at(Step::SealImage)?;
        let (ours, theirs) = pair().at(Step::CloneStem)?;
        let flags = clone_flags::NEWUSER
            | clone_flags::NEWNS
            | clone_flags::NEWPID
            | clone_flags::NEWNET
            | clone_flags::NEWIPC
            | clone_flags::NEWUTS;
        match sys::clone3(flags).at(Step::CloneStem)? {
            Cloned::Child => become_stem(seed, birth, theirs, tree),
            Cloned::Parent { pid, pidfd } => {
                drop((theirs, tree));
                let pidfd = pidfd.ok_or(io::ErrorKind::Other).at(Step::CloneStem)?;
                let link = Self { control: ours, pid, pidfd };
                link.write_maps(map).at(Step::WriteIdMaps)?;
                send(&link.control, &ToStem::Go.pack(), &[]).at(Step::TellStem)?;
                Ok(link)
            }
        }
    }

    pub(super) fn pid(&self) -> i32 {
        self.pid.as_raw_pid()
    }

    fn write_maps(&self, map: &IdMap) -> io::Result<()> {
        let folder = Path::new("/proc").join(self.pid.as_raw_pid().to_string());
        if map.ids == SlotIds::Shared {
            fs::write(folder.join("setgroups"), "deny")?;
        }
        fs::write(folder.join("uid_map"), map.line())?;
        fs::write(folder.join("gid_map"), map.line())
    }

    fn await_ready(&self) -> Result<(), StepError> {
        let timeout = Timespec::try_from(READY_WITHIN).ok();
        loop {
            match poll(&mut [PollFd::new(&self.control, PollFlags::IN)], timeout.as_ref()) {
                Ok(0) => return Err(io::ErrorKind::TimedOut).at(Step::StemReady),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).at(Step::StemReady),
            }
            match receive(&self.control).at(Step::StemReady)? {
                Received::Packet(bytes, _) => {
                    return match FromStem::unpack(&bytes) {
                        Ok(FromStem::Ready) => Ok(()),
                        Ok(FromStem::Failed { step, errno }) => {
                            Err(StepError { step, error: io::Error::from_raw_os_error(errno) })
                        }
                        Ok(FromStem::Spawned { .. } | FromStem::SpawnFailed { .. }) | Err(_) => {
                            Err(io::ErrorKind::InvalidData).at(Step::StemReady)
                        }
                    };
                }
                Received::Nothing => {}
                Received::End => return Err(io::ErrorKind::UnexpectedEof).at(Step::StemReady),
            }
        }
    }

    /// What a process descriptor from the stem stands for. Only the first process of a namespace right below the
    /// stem's is an init; anything else is not killed and not believed.
    pub(super) fn identify(init: &OwnedFd) -> Identity {
        match Self::ids_of(init) {
            Some(ids) => match ids.as_slice() {
                // Ours, the stem's, and its own, in which it is the first.
                [pid, _, 1] => Identity::Init(*pid),
                [] => Identity::Ended,
                _ => Identity::Forged,
            },
            None => Identity::Forged,
        }
    }

    /// A process's ids from our namespace inwards; none for one that has ended.
    fn ids_of(process: &OwnedFd) -> Option<Vec<i32>> {
        let number = process.as_raw_fd();
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).ok()?;
        let field = |name| info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        if field("Pid:")? == "-1" {
            return Some(Vec::new());
        }
        let ids = field("NSpid:")?;
        Some(ids.split_whitespace().map_while(|id| id.parse().ok()).collect())
    }
}

impl StemLink {
    /// Kills the stem. True says that it, and with it every jail, is dead.
    pub(super) fn end(self) -> bool {
        self.kill()
    }

    /// The first process of its namespace takes every jail with it, and is dead only when all of them are.
    fn kill(&self) -> bool {
        if let Err(error) = pidfd_send_signal(&self.pidfd, Signal::KILL) {
            // It has been waited for already.
            return error == rustix::io::Errno::SRCH;
        }
        let timeout = Timespec::try_from(DEAD_WITHIN).ok();
        if !matches!(poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], timeout.as_ref()), Ok(1..)) {
            return false;
        }
        if let Err(error) = waitpid(Some(self.pid), WaitOptions::NOHANG) {
            tracing::debug!(%error, "the stem was reaped by somebody else");
        }
        true
    }
}

impl Drop for StemLink {
    fn drop(&mut self) {
        if !self.kill() {
            tracing::error!("the stem does not die");
        }
    }
}
