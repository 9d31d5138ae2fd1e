//! The calling process's own memory, and the kernel's of files. Never decides what may be read or forked.
#![expect(unsafe_code, reason = "addresses are plain numbers here")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::ptr;

/// Lets a fork have these pages, although somebody has asked that none has.
pub(crate) fn fork_also(start: usize, length: usize) -> io::Result<()> {
    let address = ptr::without_provenance_mut(start);
    // SAFETY: changes nothing in this process; only whether its children have the pages too.
    let result = unsafe { libc::madvise(address, length, libc::MADV_DOFORK) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Which pages of a part of a file are in the kernel's cache, in their order; none is brought there by this. The part
/// begins at a page. To whoever may not write to the file the kernel says that all of them are.
pub fn cached_pages(file: &File, start: u64, length: usize) -> io::Result<Vec<bool>> {
    let offset = libc::off_t::try_from(start).map_err(io::Error::other)?;
    let mut pages = vec![0_u8; length.div_ceil(rustix::param::page_size())];
    let fd = file.as_raw_fd();
    // SAFETY: a new mapping, of which nothing here reads a byte.
    let mapped =
        unsafe { libc::mmap(ptr::null_mut(), length, libc::PROT_READ, libc::MAP_SHARED, fd, offset) };
    if mapped == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the mapping is of this length, and there is a byte for each of its pages.
    let told = match unsafe { libc::mincore(mapped, length, pages.as_mut_ptr()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    };
    // SAFETY: the mapping of above, which nobody else knows.
    unsafe { libc::munmap(mapped, length) };
    told.map(|()| pages.iter().map(|page| page & 1 == 1).collect())
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

/// Writes to an address, by the kernel: where nothing is, or what may not be written to, that is an error.
pub(crate) fn write_own(address: usize, from: &[u8]) -> io::Result<()> {
    let local = libc::iovec { iov_base: from.as_ptr().cast_mut().cast(), iov_len: from.len() };
    let remote = libc::iovec { iov_base: ptr::without_provenance_mut(address), iov_len: from.len() };
    let own = rustix::process::getpid().as_raw_pid();
    // SAFETY: the kernel reads from `from` alone. What is at the address is what the caller knows to be there.
    let written = unsafe { libc::process_vm_writev(own, &raw const local, 1, &raw const remote, 1, 0) };
    match usize::try_from(written) {
        Ok(length) if length == from.len() => Ok(()),
        Ok(_) => Err(io::ErrorKind::WriteZero.into()),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::ptr;

    use super::{read_own, write_own};

    #[test]
    fn what_may_not_be_written_to_is_an_error_and_no_fault() {
        let mut word = 1_usize;
        let place = ptr::from_mut(&mut word).expose_provenance();
        write_own(place, &7_usize.to_ne_bytes()).unwrap();
        // SAFETY: the word is alive, and the kernel has written it.
        assert_eq!(unsafe { ptr::read_volatile(ptr::from_ref(&word)) }, 7);
        static CONSTANT: [u8; 8] = *b"constant";
        for place in [CONSTANT.as_ptr().addr(), 8] {
            let refused = write_own(place, &[0; 8]).unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(libc::EFAULT), "{refused}");
        }
        let mut read = [0; 8];
        assert_eq!(read_own(CONSTANT.as_ptr().addr(), &mut read).unwrap(), 8);
        assert_eq!(&read, b"constant");
        assert_eq!(
            read_own(8, &mut read).map_err(|error| error.kind()),
            Err(io::Error::from_raw_os_error(libc::EFAULT).kind())
        );
    }
}
