//! What stays in the host's network when the helper leaves it: a process that makes the proxy of each run with egress.
//! It takes fixed messages of the helper, sees no byte of a guest or of the network, and has no file, no right and no
//! environment. Where no run may have egress it is not there.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};
use std::time::Duration;

use execgate_forkpoint::jail::{Kernel, Real};
use execgate_forkpoint::panics::{Tell, die_of_panics};
use execgate_forkpoint::sys::{self, Cloned, SockFilter, clone_flags};
use execgate_forkpoint::wire::{Message as _, Received, pair, receive, send};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_string, fsmount, fsopen, mount_change, move_mount, unmount,
};
use rustix::process::{Pid, Resource, Signal, WaitOptions, chdir, pidfd_send_signal, pivot_root, waitpid};
use rustix::thread::CapabilitySet;

use super::ids::IdMap;
use crate::egress::{PROXY_DESCRIPTORS, live};
use crate::seccomp::proxy_filter;
use crate::wire::{FromBroker, ToBroker};

/// How long it may take to be ready; it takes some milliseconds.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// How long it and every proxy may take to be dead once they are killed.
const DEAD_WITHIN: Duration = Duration::from_secs(5);

/// Where its socket to the helper is.
const CONTROL: RawFd = 0;

/// A folder that every host has, and that the pivot leaves behind.
const STAGING: &CStr = c"/proc";

/// The helper's end.
pub(super) struct Broker {
    pub(super) control: OwnedFd,
    pid: Pid,
    pidfd: OwnedFd,
}

impl Broker {
    /// Makes one, before the helper leaves the host's network, and waits until it has given up its rights.
    pub(super) fn make(map: &IdMap) -> io::Result<Self> {
        let filter = proxy_filter().program;
        let (ours, theirs) = pair()?;
        let flags = clone_flags::NEWPID | clone_flags::NEWNS | clone_flags::NEWIPC | clone_flags::NEWUTS;
        match sys::clone3(flags)? {
            Cloned::Child => {
                die_of_panics(Tell::Nobody);
                let done = sys::arrange(vec![theirs])
                    .and_then(|()| empty_root())
                    .and_then(|()| give_up_rights(&Real, map))
                    .and_then(|()| serve(&filter));
                sys::exit_now(i32::from(done.is_err()))
            }
            Cloned::Parent { pid, pidfd: Some(pidfd) } => {
                drop(theirs);
                let broker = Self { control: ours, pid, pidfd };
                broker.await_ready()?;
                Ok(broker)
            }
            Cloned::Parent { pidfd: None, .. } => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn await_ready(&self) -> io::Result<()> {
        let timeout = Timespec::try_from(READY_WITHIN).ok();
        poll(&mut [PollFd::new(&self.control, PollFlags::IN)], timeout.as_ref())?;
        match receive(&self.control)? {
            Received::Packet(bytes, _) if FromBroker::unpack(&bytes) == Ok(FromBroker::Ready) => Ok(()),
            Received::Packet(..) | Received::Nothing | Received::End => {
                Err(io::Error::other("what makes proxies could not be confined"))
            }
        }
    }

    /// Whether a process descriptor of its stands for a child of it, which is no jail's.
    pub(super) fn is_proxy(pidfd: &OwnedFd) -> bool {
        let number = pidfd.as_raw_fd();
        let Ok(info) = fs::read_to_string(format!("/proc/self/fdinfo/{number}")) else { return false };
        let ids = info.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
        let ids: Vec<&str> = ids.split_whitespace().collect();
        // Ended already, or ours and one below, where the first is the broker itself.
        info.lines().any(|line| line.split_whitespace().eq(["Pid:", "-1"]))
            || matches!(ids.as_slice(), [_, inside] if *inside != "1")
    }
}

impl Drop for Broker {
    /// The first process of its namespace takes every proxy with it.
    fn drop(&mut self) {
        if pidfd_send_signal(&self.pidfd, Signal::KILL).is_err() {
            return;
        }
        let timeout = Timespec::try_from(DEAD_WITHIN).ok();
        let dead = poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], timeout.as_ref()) == Ok(1);
        if !dead || waitpid(Some(self.pid), WaitOptions::NOHANG).is_err() {
            tracing::error!("what makes proxies does not die");
        }
    }
}

/// Leaves every file behind: the root is an empty file system that nobody can write to.
fn empty_root() -> io::Result<()> {
    mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let fs = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in [(c"size", c"4k"), (c"nr_inodes", c"1"), (c"mode", c"0555")] {
        fsconfig_set_string(&fs, key, value)?;
    }
    fsconfig_create(&fs)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let tree = fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    move_mount(&tree, c"", CWD, STAGING, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    drop((fs, tree));
    chdir(STAGING)?;
    pivot_root(c".", c".")?;
    unmount(c".", UnmountFlags::DETACH)?;
    Ok(chdir(c"/")?)
}

/// An id that is no guest's and not the server's, where there is one to be had; no capability in any case.
fn give_up_rights<K: Kernel>(kernel: &K, map: &IdMap) -> io::Result<()> {
    kernel.new_session()?;
    kernel.drop_bounding(CapabilitySet::all())?;
    if let Some(id) = map.proxies {
        kernel.drop_groups()?;
        kernel.set_gid(id)?;
        kernel.set_uid(id)?;
    }
    kernel.clear_capabilities()?;
    kernel.die_with_parent()?;
    kernel.not_dumpable()?;
    kernel.no_new_privileges()?;
    kernel.limit(Resource::Core, 1)?;
    kernel.limit(Resource::Memlock, 0)?;
    kernel.limit(Resource::Msgqueue, 0)
}

fn serve(filter: &[SockFilter]) -> io::Result<()> {
    let control = || sys::borrow(CONTROL);
    sys::ignore_children()?;
    send(control(), &FromBroker::Ready.pack(), &[])?;
    loop {
        match poll(&mut [PollFd::new(&control(), PollFlags::IN)], None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let (message, fds) = match receive(control())? {
            Received::Packet(bytes, fds) => (ToBroker::unpack(&bytes).map_err(io::Error::other)?, fds),
            Received::Nothing => continue,
            Received::End => return Ok(()),
        };
        let ToBroker::Start { run } = message;
        match start(fds, filter) {
            Ok(proxy) => send(control(), &FromBroker::Started { run }.pack(), &[proxy.as_fd()])?,
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(libc::EIO);
                send(control(), &FromBroker::NotStarted { run, errno }.pack(), &[])?;
            }
        }
    }
}

fn start(descriptors: Vec<OwnedFd>, filter: &[SockFilter]) -> io::Result<OwnedFd> {
    if descriptors.len() != PROXY_DESCRIPTORS {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    match sys::clone3(0)? {
        Cloned::Child => {
            let done = Real
                .die_with_parent()
                .and_then(|()| forget_control())
                .and_then(|()| live(descriptors, filter));
            sys::exit_now(i32::from(done.is_err()))
        }
        Cloned::Parent { pidfd: Some(pidfd), .. } => Ok(pidfd),
        Cloned::Parent { pidfd: None, .. } => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// A proxy has nothing to say to the helper.
fn forget_control() -> io::Result<()> {
    sys::close_below(CONTROL + 1)
}
