//! The calling process's own memory as the kernel sees it. Never decides what may be read or forked.
#![expect(unsafe_code, reason = "addresses are plain numbers here")]

use std::io;
use std::ptr;

/// Lets a fork have these pages, although somebody has asked that none has.
pub(crate) fn fork_also(start: usize, length: usize) -> io::Result<()> {
    let address = ptr::without_provenance_mut(start);
    // SAFETY: changes nothing in this process; only whether its children have the pages too.
    let result = unsafe { libc::madvise(address, length, libc::MADV_DOFORK) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Copies what is at an address, by the kernel: where nothing is, that is an error.
pub(crate) fn read_own(address: usize, into: &mut [u8]) -> io::Result<usize> {
    let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let remote = libc::iovec { iov_base: ptr::without_provenance_mut(address), iov_len: into.len() };
    let own = rustix::process::getpid().as_raw_pid();
    // SAFETY: the kernel writes into `into` alone, and no more than its length.
    let read = unsafe { libc::process_vm_readv(own, &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(read).map_err(|_| io::Error::last_os_error())
}
