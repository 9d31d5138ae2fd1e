//! The calling process's own memory, and the kernel's of files. Never decides what may be read or forked.
#![expect(unsafe_code, reason = "addresses are plain numbers here")]

use std::fs::{File, read_to_string};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::ptr;

use rustix::pipe::{PipeFlags, pipe_with};

use super::large::join;

/// Lets a fork have these pages, although somebody has asked that none has.
pub(crate) fn fork_also(start: usize, length: usize) -> io::Result<()> {
    let address = ptr::without_provenance_mut(start);
    // SAFETY: changes nothing in this process; only whether its children have the pages too.
    let result = unsafe { libc::madvise(address, length, libc::MADV_DOFORK) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes the pages around an address this process's own, as if each was written to, as far as there are any that may be. A
/// kernel before 5.14 does not.
pub(crate) fn make_own(start: usize, length: usize) {
    let page = rustix::param::page_size();
    let first = start - start % page;
    // SAFETY: what is in the pages stays as it is.
    unsafe {
        libc::madvise(ptr::without_provenance_mut(first), start - first + length, libc::MADV_POPULATE_WRITE)
    };
}

/// Joins the pages that this process has for itself into large ones, as far as the kernel can (Linux 6.1): a fork copies
/// one entry for each of them and not 512, and the end of a fork gives back as few. What a fork writes to is copied in
/// small pages all the same. Not where much is empty: joined it would be filled.
pub(crate) fn join_pages() {
    let Ok(told) = read_to_string("/proc/self/smaps") else { return };
    full_regions(&told).into_iter().for_each(|(start, length)| join(start, length));
}

/// The parts of a process's memory that are of no file, may be written to, and are three quarters full; by what the kernel
/// tells of all of them (`proc_pid_smaps(5)`). Start and length, in bytes.
fn full_regions(told: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut region = None;
    for line in told.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words.as_slice() {
            [range, "rw-p", _, _, "0"] | [range, "rw-p", _, _, "0", "[heap]"] => {
                let ends = range.split_once('-');
                let number = |text| usize::from_str_radix(text, 16).ok();
                let ends = ends.and_then(|(start, end)| Some((number(start)?, number(end)?)));
                region = ends.and_then(|(start, end)| Some((start, end.checked_sub(start)?)));
            }
            ["Rss:", kib, "kB"] => {
                let bytes = kib.parse().unwrap_or(0_usize).saturating_mul(1 << 10);
                found.extend(region.take().filter(|(_, length)| bytes >= length / 4 * 3));
            }
            // The head of a region that is of a file, or not for writing.
            [range, _, _, _, _, ..] if range.contains('-') => region = None,
            _ => {}
        }
    }
    found
}

/// The most that is taken from the C library at once here, in bytes: less than what it keeps apart.
const ROOM: usize = 64 << 10;

/// Takes what the C library has free between what is in use, and keeps it: what forks ask for then lies together, and not
/// in pages that they share.
pub(crate) fn fill_gaps() {
    /// Of one size.
    const COUNT_MAX: usize = 1 << 16;
    // SAFETY: any size may be asked for.
    let probe = unsafe { libc::malloc(ROOM) };
    // SAFETY: it has just been given, and nobody else knows it.
    unsafe { libc::free(probe) };
    let large = [48, 32, 24, 16, 12, 8, 6].map(|kib| kib << 10);
    let small = (2..=256).rev().map(|units| units * 16 - size_of::<usize>());
    for size in large.into_iter().chain(small) {
        for _ in 0..COUNT_MAX {
            // SAFETY: any size may be asked for.
            let taken = unsafe { libc::malloc(size) };
            if taken.is_null() || taken >= probe {
                // SAFETY: it has just been given, and nobody else knows it; or it is null.
                unsafe { libc::free(taken) };
                break;
            }
        }
    }
}

/// Makes the pages this process's own that the C library gives next.
pub(crate) fn make_room() {
    // SAFETY: any size may be asked for.
    let room = unsafe { libc::malloc(ROOM) };
    if !room.is_null() {
        make_own(room.addr(), ROOM);
    }
    // SAFETY: it has just been given, and nobody else knows it; or it is null.
    unsafe { libc::free(room) };
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

/// A look at this process's own memory by way of a pipe, so that the kernel copies: where nothing is, or what may not be
/// written to, is an error and no fault. A guest's filter has nothing against it.
pub(crate) struct OwnMemory {
    reads: OwnedFd,
    writes: OwnedFd,
}

/// So much goes through a pipe at once, in bytes, whatever it is allowed to hold.
const PIECE: usize = 4096;

impl OwnMemory {
    pub(crate) fn open() -> io::Result<Self> {
        let (reads, writes) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Self { reads, writes })
    }

    /// Copies what is at an address, up to where nothing is; says how much.
    ///
    /// # Errors
    /// `EFAULT` where there is nothing at all.
    pub(crate) fn read(&self, address: usize, into: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        for piece in into.chunks_mut(PIECE) {
            let from = ptr::without_provenance(address.wrapping_add(done));
            // SAFETY: the kernel reads from there, or says that it cannot; nothing here does.
            let sent = unsafe { libc::write(self.writes.as_raw_fd(), from, piece.len()) };
            let Ok(sent) = usize::try_from(sent) else {
                let error = io::Error::last_os_error();
                self.empty();
                return if done == 0 { Err(error) } else { Ok(done) };
            };
            let (piece, rest) = piece.split_at_mut(sent.min(piece.len()));
            if rustix::io::read(&self.reads, &mut *piece)? != piece.len() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            done += sent;
            if !rest.is_empty() {
                break;
            }
        }
        Ok(done)
    }

    /// Writes a few bytes to an address.
    ///
    /// # Errors
    /// `EFAULT` where nothing is, or what may not be written to.
    pub(crate) fn write(&self, address: usize, from: &[u8]) -> io::Result<()> {
        if from.len() > PIECE || rustix::io::write(&self.writes, from)? != from.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let to = ptr::without_provenance_mut(address);
        // SAFETY: the kernel writes there, or says that it cannot. What is at the address is what the caller knows to be
        // there.
        let written = unsafe { libc::read(self.reads.as_raw_fd(), to, from.len()) };
        match usize::try_from(written) {
            Ok(length) if length == from.len() => Ok(()),
            Ok(_) => Err(io::ErrorKind::WriteZero.into()),
            Err(_) => {
                let error = io::Error::last_os_error();
                self.empty();
                Err(error)
            }
        }
    }

    /// What could not be copied may be in the pipe still.
    fn empty(&self) {
        let mut nowhere = [0; PIECE];
        while matches!(rustix::io::read(&self.reads, &mut nowhere), Ok(1..)) {}
    }
}

#[cfg(test)]
mod tests {
    use std::ptr;

    use super::{OwnMemory, full_regions};

    #[test]
    fn what_is_nearly_empty_or_a_files_is_left_as_it_is() {
        let told = "\
00400000-0041f000 r--p 00000000 fe:00 1234 /usr/bin/python3.11
Size:                124 kB
Rss:                 124 kB
VmFlags: rd mr mw me sd
00a5d000-00a9d000 rw-p 0045d000 fe:00 1234 /usr/bin/python3.11
Size:                256 kB
Rss:                 256 kB
23be4000-23fe4000 rw-p 00000000 00:00 0 [heap]
Size:               4096 kB
Rss:                3072 kB
Private_Dirty:      3072 kB
7fe35f600000-7fe35fa00000 rw-p 00000000 00:00 0
Size:               4096 kB
Rss:                3071 kB
7fe360000000-7fe360400000 rw-p 00000000 00:00 0
Size:               4096 kB
Rss:                4096 kB
7fe361000000-7fe361400000 ---p 00000000 00:00 0
Rss:                4096 kB
7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0 [stack]
Rss:                 132 kB
";
        let expected = vec![(0x23be_4000, 0x40_0000), (0x7fe3_6000_0000, 0x40_0000)];
        assert_eq!(full_regions(told), expected);
    }

    #[test]
    fn what_may_not_be_written_to_is_an_error_and_no_fault() {
        let memory = OwnMemory::open().unwrap();
        let mut word = 1_usize;
        let place = ptr::from_mut(&mut word).expose_provenance();
        memory.write(place, &7_usize.to_ne_bytes()).unwrap();
        // SAFETY: the word is alive, and the kernel has written it.
        assert_eq!(unsafe { ptr::read_volatile(ptr::from_ref(&word)) }, 7);
        static CONSTANT: [u8; 8] = *b"constant";
        // More often than a pipe has places.
        for place in [CONSTANT.as_ptr().addr(), 8].repeat(40) {
            let refused = memory.write(place, &[0; 8]).unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(libc::EFAULT), "{refused}");
        }
        let mut read = [0; 8];
        for _ in 0..40 {
            let refused = memory.read(8, &mut read).unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(libc::EFAULT), "{refused}");
            assert_eq!(memory.read(CONSTANT.as_ptr().addr(), &mut read).unwrap(), 8);
            assert_eq!(&read, b"constant");
        }
        let long: Vec<u8> = (0..=u8::MAX).cycle().take(100_001).collect();
        let mut read = vec![0; long.len()];
        assert_eq!(memory.read(long.as_ptr().expose_provenance(), &mut read).unwrap(), long.len());
        assert_eq!(read, long);
    }

    #[test]
    fn what_ends_is_read_to_its_end() {
        let page = rustix::param::page_size();
        // SAFETY: a new mapping.
        let mapped = unsafe {
            libc::mmap(
                ptr::null_mut(),
                3 * page,
                libc::PROT_READ,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(mapped, libc::MAP_FAILED);
        // SAFETY: the last page of it, which nobody uses.
        assert_eq!(unsafe { libc::munmap(mapped.wrapping_byte_add(2 * page), page) }, 0);
        let mut read = vec![1; 3 * page];
        let count = OwnMemory::open().unwrap().read(mapped.addr(), &mut read).unwrap();
        assert_eq!(count, 2 * page);
        assert!(read[..count].iter().all(|byte| *byte == 0));
    }
}
