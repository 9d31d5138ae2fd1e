//! `mount_setattr(2)`, which `rustix` does not wrap. Never resolves a path: it works on a descriptor.
#![expect(unsafe_code, reason = "mount_setattr has no safe wrapper")]

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd as _};
use std::ptr;

/// Which attributes to set on a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttrChange {
    /// Read-only, no setuid, no devices, no access times.
    ImageNoAtime,
    /// Read-only, no setuid, no devices.
    Image,
    /// Read-only, no setuid, no exec. A device node on or below it can be read and written, and not be touched.
    ReadOnly,
}

impl AttrChange {
    fn set(self) -> u64 {
        match self {
            Self::ImageNoAtime => {
                libc::MOUNT_ATTR_RDONLY
                    | libc::MOUNT_ATTR_NOSUID
                    | libc::MOUNT_ATTR_NODEV
                    | libc::MOUNT_ATTR_NOATIME
            }
            Self::Image => libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV,
            Self::ReadOnly => libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC,
        }
    }

    fn clear(self) -> u64 {
        if self == Self::ImageNoAtime { libc::MOUNT_ATTR__ATIME } else { 0 }
    }
}

/// Changes the attributes of the mount that `fd` stands for.
pub fn mount_setattr(fd: impl AsFd, change: AttrChange) -> io::Result<()> {
    let attributes =
        libc::mount_attr { attr_set: change.set(), attr_clr: change.clear(), propagation: 0, userns_fd: 0 };
    // SAFETY: the path is an empty string that lives for ever, the attributes outlive the call, their size is passed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            ptr::from_ref(&attributes),
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
