//! The kernel as a jail sees it: one method a call. A recorder stands in for it in tests, so that the order of
//! the layers is checked without privileges. Never decides an order.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, mount_bind, move_mount, open_tree, unmount,
};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, set_dumpable_behavior, set_parent_process_death_signal,
    setrlimit,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, LinkNameSpaceType, clear_ambient_capability_set,
    move_into_link_name_space, remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use crate::jail::landlock::{self, Tcp};
use crate::jail::proxied;
use crate::sys::{self, CloneFlags, Cloned, SockFilter};

/// One method a kernel call.
pub trait Kernel {
    fn join_cgroup(&self, procs: &OwnedFd) -> io::Result<()>;
    fn join_network(&self, network: BorrowedFd<'_>) -> io::Result<()>;
    fn raise_loopback(&self) -> io::Result<()>;
    fn listen_for_proxy(&self) -> io::Result<OwnedFd>;
    fn lend_to_proxy(&self, proxy: &OwnedFd, listener: OwnedFd) -> io::Result<()>;
    fn unshare(&self, flags: CloneFlags) -> io::Result<()>;
    fn arrange(&self, wanted: Vec<OwnedFd>) -> io::Result<()>;
    fn attach(&self, tree: BorrowedFd<'_>, to: &CStr) -> io::Result<()>;
    fn bind(&self, from: &CStr, to: &CStr) -> io::Result<()>;
    fn clone_tree(&self, path: &CStr) -> io::Result<OwnedFd>;
    fn detach(&self, path: &CStr) -> io::Result<()>;
    fn mount_proc(&self, to: &CStr) -> io::Result<()>;
    fn drop_bounding(&self, capabilities: CapabilitySet) -> io::Result<()>;
    fn drop_groups(&self) -> io::Result<()>;
    fn set_gid(&self, id: u32) -> io::Result<()>;
    fn set_uid(&self, id: u32) -> io::Result<()>;
    fn clear_capabilities(&self) -> io::Result<()>;
    fn die_with_parent(&self) -> io::Result<()>;
    fn not_dumpable(&self) -> io::Result<()>;
    fn dumpable(&self) -> io::Result<()>;
    fn no_new_privileges(&self) -> io::Result<()>;
    fn limit(&self, resource: Resource, value: u64) -> io::Result<()>;
    fn landlock(&self, abi: u32, tcp: Tcp) -> io::Result<()>;
    fn fork(&self) -> io::Result<Cloned>;
    fn new_session(&self) -> io::Result<()>;
    fn reset_signals(&self) -> io::Result<()>;
    fn wait_for_children(&self) -> io::Result<()>;
    fn restore_children(&self) -> io::Result<()>;
    fn enter(&self, folder: &CStr) -> io::Result<()>;
    fn close_on_exec_from(&self, first: u32) -> io::Result<()>;
    fn close_from(&self, first: RawFd) -> io::Result<()>;
    fn seccomp(&self, filter: &[SockFilter]) -> io::Result<()>;
    fn exec(&self, argv: &[CString], environment: &[CString]) -> io::Error;
}

/// The kernel itself.
pub struct Real;

impl Kernel for Real {
    fn join_cgroup(&self, procs: &OwnedFd) -> io::Result<()> {
        // "0" is the writer itself; the kernel checks the credentials of whoever opened the file.
        rustix::io::write(procs, b"0")?;
        Ok(())
    }

    fn join_network(&self, network: BorrowedFd<'_>) -> io::Result<()> {
        Ok(move_into_link_name_space(network, Some(LinkNameSpaceType::Network))?)
    }

    fn raise_loopback(&self) -> io::Result<()> {
        sys::raise_loopback()
    }

    fn listen_for_proxy(&self) -> io::Result<OwnedFd> {
        proxied::listen()
    }

    fn lend_to_proxy(&self, proxy: &OwnedFd, listener: OwnedFd) -> io::Result<()> {
        proxied::lend(proxy, listener)
    }

    fn unshare(&self, flags: CloneFlags) -> io::Result<()> {
        sys::unshare(flags)
    }

    fn arrange(&self, wanted: Vec<OwnedFd>) -> io::Result<()> {
        sys::arrange(wanted)
    }

    fn attach(&self, tree: BorrowedFd<'_>, to: &CStr) -> io::Result<()> {
        Ok(move_mount(tree, c"", CWD, to, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
    }

    fn bind(&self, from: &CStr, to: &CStr) -> io::Result<()> {
        Ok(mount_bind(from, to)?)
    }

    fn clone_tree(&self, path: &CStr) -> io::Result<OwnedFd> {
        Ok(open_tree(CWD, path, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?)
    }

    fn detach(&self, path: &CStr) -> io::Result<()> {
        Ok(unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?)
    }

    fn mount_proc(&self, to: &CStr) -> io::Result<()> {
        let fs = fsopen(c"proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(&fs, c"subset", c"pid")?;
        fsconfig_set_string(&fs, c"hidepid", c"invisible")?;
        fsconfig_create(&fs)?;
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let tree = fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
        Ok(move_mount(&tree, c"", CWD, to, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
    }

    fn drop_bounding(&self, capabilities: CapabilitySet) -> io::Result<()> {
        for bit in 0..u64::BITS {
            let Some(one) = 1_u64.checked_shl(bit).map(CapabilitySet::from_bits_retain) else { break };
            if !capabilities.contains(one) {
                continue;
            }
            match remove_capability_from_bounding_set(one) {
                Ok(()) => {}
                // The kernel knows fewer capabilities than there are bits.
                Err(rustix::io::Errno::INVAL) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn drop_groups(&self) -> io::Result<()> {
        Ok(set_thread_groups(&[])?)
    }

    fn set_gid(&self, id: u32) -> io::Result<()> {
        let gid = rustix::process::Gid::from_raw(id);
        Ok(set_thread_res_gid(gid, gid, gid)?)
    }

    fn set_uid(&self, id: u32) -> io::Result<()> {
        let uid = rustix::process::Uid::from_raw(id);
        Ok(set_thread_res_uid(uid, uid, uid)?)
    }

    fn clear_capabilities(&self) -> io::Result<()> {
        clear_ambient_capability_set()?;
        let none = CapabilitySet::empty();
        Ok(set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?)
    }

    fn die_with_parent(&self) -> io::Result<()> {
        Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
    }

    fn not_dumpable(&self) -> io::Result<()> {
        Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
    }

    fn dumpable(&self) -> io::Result<()> {
        Ok(set_dumpable_behavior(DumpableBehavior::Dumpable)?)
    }

    fn no_new_privileges(&self) -> io::Result<()> {
        Ok(set_no_new_privs(true)?)
    }

    fn limit(&self, resource: Resource, value: u64) -> io::Result<()> {
        let highest = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let value = value.min(highest);
        Ok(setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })?)
    }

    fn landlock(&self, abi: u32, tcp: Tcp) -> io::Result<()> {
        landlock::restrict(abi, tcp)
    }

    fn fork(&self) -> io::Result<Cloned> {
        sys::fork()
    }

    fn new_session(&self) -> io::Result<()> {
        rustix::process::setsid()?;
        Ok(())
    }

    fn reset_signals(&self) -> io::Result<()> {
        sys::reset_signals()
    }

    fn wait_for_children(&self) -> io::Result<()> {
        sys::wait_for_children()
    }

    fn restore_children(&self) -> io::Result<()> {
        sys::restore_children()
    }

    fn enter(&self, folder: &CStr) -> io::Result<()> {
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        Ok(rustix::process::chdir(folder)?)
    }

    fn close_on_exec_from(&self, first: u32) -> io::Result<()> {
        sys::close_on_exec_from(first)
    }

    fn close_from(&self, first: RawFd) -> io::Result<()> {
        sys::close_from(u32::try_from(first).map_err(io::Error::other)?)
    }

    fn seccomp(&self, filter: &[SockFilter]) -> io::Result<()> {
        sys::install_filter(filter)
    }

    fn exec(&self, argv: &[CString], environment: &[CString]) -> io::Error {
        sys::execve(argv, environment)
    }
}
