//! The tmpfs of one run. The helper makes it and keeps its descriptor, so that it can be asked how full it is
//! after the guest is gone. Never resolves a name that a guest has made.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use execgate_forkpoint::sys::{self, AttrChange};
use rustix::fs::{AtFlags, CWD, Mode, chmodat, chownat, fstatfs, mkdirat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_string, fsmount,
    fsopen, open_tree,
};
use rustix::process::{Gid, Uid};

use crate::limits::Limits;

/// Free blocks at which the file system counts as full: the kernel's own counter is exact to some pages only.
const FULL_BLOCKS: u64 = 16;

/// The folders of the superblock, and their modes.
const FOLDERS: [(&str, u32); 3] = [("tmp", 0o1777), ("home", 0o700), ("shm", 0o1777)];

/// Inodes of the root and its folders, which are ours and not the guest's.
const OWN_INODES: u32 = 4;

/// Makes the file system as a detached mount, with folders that belong to the guest.
pub(super) fn make(limits: &Limits, owner: u32) -> io::Result<OwnedFd> {
    let fs = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&fs, c"size", limits.disk_bytes.to_string())?;
    fsconfig_set_string(&fs, c"nr_inodes", limits.inodes.saturating_add(OWN_INODES).to_string())?;
    fsconfig_set_string(&fs, c"mode", c"0755")?;
    fsconfig_create(&fs)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let tree = fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    let (uid, gid) = (Uid::from_raw(owner), Gid::from_raw(owner));
    for (folder, mode) in FOLDERS {
        mkdirat(&tree, folder, Mode::from_raw_mode(mode))?;
        // The sticky bit does not survive every way of making a folder.
        chmodat(&tree, folder, Mode::from_raw_mode(mode), AtFlags::empty())?;
        chownat(&tree, folder, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(tree)
}

/// Whether no block or no inode is left.
pub(super) fn is_full(tree: &OwnedFd) -> bool {
    fstatfs(tree.as_fd()).is_ok_and(|state| state.f_bavail < FULL_BLOCKS || state.f_ffree == 0)
}

/// The image as a detached, read-only mount. What is mounted below it does not come along.
pub(super) fn open_image(path: &std::path::Path) -> io::Result<OwnedFd> {
    Ok(open_tree(CWD, path, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?)
}

/// Takes write, setuid and device rights from the image's mount.
pub(super) fn seal_image(tree: &OwnedFd) -> io::Result<()> {
    match sys::mount_setattr(tree, AttrChange::ImageNoAtime) {
        // In a user namespace the host's choice of access times is locked; a read-only mount has none anyway.
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            sys::mount_setattr(tree, AttrChange::Image)
        }
        result => result,
    }
}
