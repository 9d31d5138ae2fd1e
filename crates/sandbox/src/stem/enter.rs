//! How the stem gets into its jail: identity, mounts, pivot, privileges, in that order. Runs once a stem.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use execgate_forkpoint::jail::{At as _, Kernel as _, Real, Step, StepError};
use execgate_forkpoint::stem::{STEM_CAPABILITIES, Seed, SlotIds};
use execgate_forkpoint::sys::{self, AttrChange};
use rustix::fs::{CWD, Mode, OFlags, mkdir, open, symlink};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_string, fsmount, fsopen, mount_change, move_mount, unmount,
};
use rustix::process::{chdir, pivot_root};
use rustix::thread::{CapabilitySets, set_capabilities};

/// The device nodes that a guest has. No terminal, no console.
const DEVICES: [(&CStr, &CStr); 5] = [
    (c"/dev/null", c"dev/null"),
    (c"/dev/zero", c"dev/zero"),
    (c"/dev/full", c"dev/full"),
    (c"/dev/random", c"dev/random"),
    (c"/dev/urandom", c"dev/urandom"),
];

/// A folder that every host has, that may be searched by anyone, and that the pivot leaves behind.
const STAGING: &CStr = c"/proc";

/// Whether the stem has a `/tmp` while it starts. It gives that up before it makes its first jail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tmp {
    /// Nothing is written in it.
    ReadOnly,
    /// Small, and its own: some interpreters do not start without.
    Own,
}

/// Moves the calling process into the stem's jail. `image` is a detached mount.
pub(super) fn enter(seed: &Seed, image: OwnedFd, own: Tmp) -> Result<(), StepError> {
    identity(seed).at(Step::StemIdentity)?;
    // While the host's whole /proc is still there: the key is this namespace's own.
    fs::write("/proc/sys/user/max_user_namespaces", "0").at(Step::NoUserNamespaces)?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change(c"/", private).at(Step::PrivateMounts)?;
    let mut devices = Vec::with_capacity(DEVICES.len());
    for (host, _) in DEVICES {
        let node = Real.clone_tree(host).at(Step::OpenDevice)?;
        sys::mount_setattr(&node, AttrChange::ReadOnly).at(Step::OpenDevice)?;
        devices.push(node);
    }
    Real.attach(image.as_fd(), STAGING).at(Step::AttachImage)?;
    drop(image);
    chdir(STAGING).at(Step::EnterImage)?;
    dev(&devices)?;
    if own == Tmp::Own {
        tmp().at(Step::StemTmp)?;
    }
    Real.mount_proc(c"proc").at(Step::StemProc)?;
    pivot_root(c".", c".").at(Step::PivotRoot)?;
    unmount(c".", UnmountFlags::DETACH).at(Step::DetachOldRoot)?;
    chdir(c"/").at(Step::DetachOldRoot)?;
    sys::set_hostname("execgate").at(Step::HostName)?;
    privileges()
}

/// Takes the ids of the new user namespace.
fn identity(seed: &Seed) -> io::Result<()> {
    if seed.ids == SlotIds::Own {
        Real.drop_groups()?;
    }
    Real.set_gid(seed.stem_id)?;
    Real.set_uid(seed.stem_id)
}

/// A small tmpfs with the device nodes, made read-only when it is filled.
fn dev(devices: &[OwnedFd]) -> Result<(), StepError> {
    let fs = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).at(Step::MakeDev)?;
    for (key, value) in [(c"size", c"64k"), (c"nr_inodes", c"32"), (c"mode", c"0755")] {
        fsconfig_set_string(&fs, key, value).at(Step::MakeDev)?;
    }
    fsconfig_create(&fs).at(Step::MakeDev)?;
    let tree =
        fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_NOSUID).at(Step::MakeDev)?;
    move_mount(&tree, c"", CWD, c"dev", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).at(Step::MakeDev)?;
    for (node, (_, path)) in devices.iter().zip(DEVICES) {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        open(path, flags, Mode::RUSR).at(Step::FillDev)?;
        Real.attach(node.as_fd(), path).at(Step::FillDev)?;
    }
    for (target, path) in [
        (c"/proc/self/fd", c"dev/fd"),
        (c"/proc/self/fd/0", c"dev/stdin"),
        (c"/proc/self/fd/1", c"dev/stdout"),
        (c"/proc/self/fd/2", c"dev/stderr"),
    ] {
        symlink(target, path).at(Step::FillDev)?;
    }
    mkdir(c"dev/shm", Mode::RWXU).at(Step::FillDev)?;
    sys::mount_setattr(&tree, AttrChange::ReadOnly).at(Step::SealDev)
}

/// What an interpreter may write to while it starts: its session's folder, and its script in a file.
fn tmp() -> io::Result<()> {
    let fs = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in [(c"size", c"1m"), (c"nr_inodes", c"64"), (c"mode", c"0700")] {
        fsconfig_set_string(&fs, key, value)?;
    }
    fsconfig_create(&fs)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let tree = fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    Ok(move_mount(&tree, c"", CWD, c"tmp", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

/// Leaves the stem with what it needs and ties its life to the helper's.
fn privileges() -> Result<(), StepError> {
    Real.new_session().at(Step::StemSession)?;
    // After the change of identity, which clears it.
    Real.die_with_parent().at(Step::StemDeathSignal)?;
    Real.not_dumpable().at(Step::StemNotDumpable)?;
    Real.drop_bounding(STEM_CAPABILITIES.complement()).at(Step::StemBoundingSet)?;
    let kept = CapabilitySets {
        effective: STEM_CAPABILITIES,
        permitted: STEM_CAPABILITIES,
        inheritable: rustix::thread::CapabilitySet::empty(),
    };
    set_capabilities(None, kept).at(Step::StemCapabilities)
}
