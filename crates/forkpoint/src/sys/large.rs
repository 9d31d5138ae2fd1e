//! Memory of this process in large pages. Never decides what lies in them.
#![expect(unsafe_code, reason = "addresses are plain numbers here")]

use std::ffi::c_void;
use std::io;
use std::ptr;

/// What one entry of a page table can stand for, in bytes, where pages have 4 KiB.
pub(crate) const LARGE_PAGE: usize = 2 << 20;

const READ_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;

fn map_as(size: usize, protection: i32) -> Option<*mut c_void> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping, at a place that the kernel chooses.
    let mapped = unsafe { libc::mmap(ptr::null_mut(), size, protection, flags, -1, 0) };
    (mapped != libc::MAP_FAILED).then_some(mapped)
}

/// New memory.
pub(crate) fn map(size: usize) -> Option<*mut c_void> {
    map_as(size, READ_WRITE)
}

/// Gives back what [`map`] or [`open_reserved`] has given, or a part of it that nobody uses.
pub(crate) fn unmap(start: *mut c_void, size: usize) {
    // SAFETY: the caller's own, which nobody looks at any more.
    unsafe { libc::munmap(start, size) };
}

/// Address space from a multiple of [`LARGE_PAGE`] on. Nobody may look at it yet.
pub(crate) fn reserve(size: usize) -> Option<usize> {
    let mapped = map_as(size + LARGE_PAGE, libc::PROT_NONE)?;
    Some(mapped.expose_provenance().next_multiple_of(LARGE_PAGE))
}

/// Lets a part of what [`reserve`] has given be read and written to.
pub(crate) fn open_reserved(start: usize, size: usize) -> io::Result<()> {
    protect(start, size, READ_WRITE)
}

fn protect(start: usize, size: usize, protection: i32) -> io::Result<()> {
    // SAFETY: the caller's own memory, of which nobody else knows yet.
    match unsafe { libc::mprotect(ptr::with_exposed_provenance_mut(start), size, protection) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn advise(start: usize, size: usize, advice: i32) -> io::Result<()> {
    // SAFETY: what is in the pages stays as it is, for every advice of this file.
    match unsafe { libc::madvise(ptr::with_exposed_provenance_mut(start), size, advice) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Joins the pages of a part of memory, as far as the kernel can (Linux 6.1).
pub(crate) fn join(start: usize, size: usize) {
    let _as_far_as_it_can = advise(start, size, libc::MADV_COLLAPSE);
}

/// Has what is touched first come in small pages here, whatever the host prefers.
pub(crate) fn keep_small(start: usize, size: usize) {
    let _a_kernel_without_large_ones = advise(start, size, libc::MADV_NOHUGEPAGE);
}

/// Puts memory of this process in the place of a file's pages, in one large page: with the same content, to be read and
/// executed. The caller has seen that a file's pages are all that lies there, and that none of them is written to.
///
/// Ends the process where what was there is gone and nothing has come in its place.
///
/// # Errors
/// The kernel's; nothing has changed then.
pub(crate) fn replace_by_large(place: usize) -> io::Result<()> {
    let room = map(2 * LARGE_PAGE).ok_or_else(io::Error::last_os_error)?;
    let copy = room.expose_provenance().next_multiple_of(LARGE_PAGE);
    let made = copy_of(place, copy).map(|()| {
        let (from, to) =
            (ptr::with_exposed_provenance_mut(copy), ptr::with_exposed_provenance_mut::<c_void>(place));
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        // SAFETY: the copy is ours, and what it takes the place of is the same to whoever reads or runs it.
        let moved = unsafe { libc::mremap(from, LARGE_PAGE, LARGE_PAGE, flags, to) };
        if moved == libc::MAP_FAILED {
            // The kernel takes away what lies there first.
            super::exit_now(1);
        }
    });
    // What is left on both sides; all of it where nothing was moved.
    unmap(room, copy - room.addr());
    if made.is_err() {
        unmap(ptr::with_exposed_provenance_mut(copy), LARGE_PAGE);
    }
    let after = copy + LARGE_PAGE;
    unmap(ptr::with_exposed_provenance_mut(after), room.addr() + 2 * LARGE_PAGE - after);
    made
}

fn copy_of(place: usize, copy: usize) -> io::Result<()> {
    let (from, to) =
        (ptr::with_exposed_provenance::<u8>(place), ptr::with_exposed_provenance_mut::<u8>(copy));
    // SAFETY: both are of this length and apart; the first may be read, and the second is new.
    unsafe { ptr::copy_nonoverlapping(from, to, LARGE_PAGE) };
    advise(copy, LARGE_PAGE, libc::MADV_COLLAPSE)?;
    protect(copy, LARGE_PAGE, libc::PROT_READ | libc::PROT_EXEC)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;
    use std::ptr;

    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

    use super::{LARGE_PAGE, map, open_reserved, replace_by_large, reserve, unmap};

    #[test]
    fn what_takes_the_place_of_a_files_pages_is_the_same() {
        let file = memfd_create("code", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&file, LARGE_PAGE as u64).unwrap();
        for at in (0..LARGE_PAGE as u64).step_by(4093) {
            rustix::io::pwrite(&file, &at.to_le_bytes(), at).unwrap();
        }
        let place = reserve(LARGE_PAGE).unwrap();
        // SAFETY: what was reserved here is nobody's yet.
        let mapped = unsafe {
            libc::mmap(
                ptr::with_exposed_provenance_mut(place),
                LARGE_PAGE,
                libc::PROT_READ,
                libc::MAP_PRIVATE | libc::MAP_FIXED,
                file.as_raw_fd(),
                0,
            )
        };
        assert_eq!(mapped.addr(), place);
        let content = || {
            let at = ptr::with_exposed_provenance::<u8>(place);
            // SAFETY: mapped for reading, of this length.
            unsafe { std::slice::from_raw_parts(at, LARGE_PAGE) }.to_vec()
        };
        let before = content();
        let replaced = replace_by_large(place);
        assert!(before == content());
        let told = std::fs::read_to_string("/proc/self/maps").unwrap();
        let line = told.lines().find(|line| line.starts_with(&format!("{place:x}-"))).unwrap();
        // A kernel that cannot join pages leaves the file's.
        let expected = if replaced.is_ok() { ("r-xp", false) } else { ("r--p", true) };
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!((words[1], line.contains("memfd:code")), expected);
    }

    #[test]
    fn what_is_reserved_begins_at_a_large_page_and_can_be_opened() {
        let start = reserve(2 * LARGE_PAGE).unwrap();
        assert_eq!(start % LARGE_PAGE, 0);
        open_reserved(start, LARGE_PAGE).unwrap();
        let first: *mut u64 = ptr::with_exposed_provenance_mut(start);
        // SAFETY: it may be written to now.
        unsafe { ptr::write_volatile(first, 7) };
        // SAFETY: the same.
        assert_eq!(unsafe { ptr::read_volatile(first) }, 7);
        let other = map(4096).unwrap();
        unmap(other, 4096);
    }
}
