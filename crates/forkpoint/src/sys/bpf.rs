//! Installs a seccomp filter; asks for the Landlock version. Never builds a filter; see [`crate::seccomp`].
#![expect(unsafe_code, reason = "seccomp filters are installed by pointer")]

use std::io;
use std::ptr;

/// One instruction of a classic BPF program, as the kernel takes it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SockFilter {
    pub code: u16,
    pub jt: u8,
    pub jf: u8,
    pub k: u32,
}

#[repr(C)]
struct Program {
    len: u16,
    filter: *const SockFilter,
}

/// Puts a filter on the calling thread, for good. Needs `no_new_privs`.
pub fn install_filter(filter: &[SockFilter]) -> io::Result<()> {
    let len = u16::try_from(filter.len()).map_err(io::Error::other)?;
    let program = Program { len, filter: filter.as_ptr() };
    // SAFETY: `SockFilter` and `Program` have the kernel's layout, and both outlive the call.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, ptr::from_ref(&program))
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The Landlock version of the running kernel; 0 where there is none.
pub fn landlock_abi() -> u32 {
    const VERSION: u32 = 1;
    // SAFETY: with this flag the kernel takes a null pointer and the size 0.
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, ptr::null::<u8>(), 0_usize, VERSION) };
    u32::try_from(version).unwrap_or(0)
}
