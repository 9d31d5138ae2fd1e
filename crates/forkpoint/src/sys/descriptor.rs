//! Descriptors at fixed numbers. Never keeps a descriptor that it was not told to keep.
#![expect(unsafe_code, reason = "descriptors at fixed numbers have no owner that the type system knows")]

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, IntoRawFd as _, OwnedFd, RawFd};

/// Moves `wanted[i]` to number `i` (inheritable), then closes everything else.
///
/// The caller must be single-threaded and must not use any other descriptor afterwards, owned or not.
pub fn arrange(wanted: Vec<OwnedFd>) -> io::Result<()> {
    // Copies are made above the targets first. Not far above: the guest's limit may hold already.
    let above = RawFd::try_from(wanted.len()).map_err(io::Error::other)?;
    let mut staged = Vec::with_capacity(wanted.len());
    for fd in wanted {
        staged.push(rustix::io::fcntl_dupfd_cloexec(&fd, above)?);
        // Its number may be a target; closing it by the range below is enough.
        let _number = fd.into_raw_fd();
    }
    for (target, fd) in (0..).zip(&staged) {
        // SAFETY: takes no pointer. The target number is either free or a descriptor that was given up above.
        if unsafe { libc::dup2(fd.as_raw_fd(), target) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    let first = u32::try_from(staged.len()).map_err(io::Error::other)?;
    for fd in staged {
        let _number = fd.into_raw_fd();
    }
    close_from(first)
}

/// Moves `wanted[i]` to number `i` (inheritable), whatever is there. Leaves all others as they are, but for the numbers
/// up to [`REPLACED_MAX`], of which those beyond `wanted` are closed. For numbers that nothing owns.
pub fn replace(wanted: Vec<OwnedFd>) -> io::Result<()> {
    let count = RawFd::try_from(wanted.len()).map_err(io::Error::other)?;
    let mut staged = Vec::with_capacity(wanted.len());
    for (target, fd) in (0..).zip(wanted) {
        // Its number would be another's before its own turn.
        if fd.as_raw_fd() < target {
            staged.push(rustix::io::fcntl_dupfd_cloexec(&fd, REPLACED_MAX + 1)?);
            let _number = fd.into_raw_fd();
        } else {
            staged.push(fd);
        }
    }
    for (target, fd) in (0..).zip(&staged) {
        duplicate_inheritable(fd, target)?;
    }
    // Where its number is a target it is another's by now, and must not be closed.
    for fd in staged.into_iter().filter(|fd| fd.as_raw_fd() <= REPLACED_MAX) {
        let _number = fd.into_raw_fd();
    }
    for beyond in count..=REPLACED_MAX {
        // SAFETY: takes no pointer; nothing owns these numbers. That one is not open is no fault.
        unsafe { libc::close(beyond) };
    }
    Ok(())
}

/// The highest number that [`replace`] looks at: the frames' or the library's.
const REPLACED_MAX: RawFd = 4;

/// Closes every descriptor from `first` on, whoever owns it. Only for processes that have given all of them up.
pub fn close_from(first: u32) -> io::Result<()> {
    // SAFETY: takes no pointer; the caller, alone in its process, uses none of these numbers again.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Closes the numbers from 0 up to, not including, `end`. For an init that has handed them to its child and
/// names none of them again.
pub fn close_below(end: RawFd) -> io::Result<()> {
    // SAFETY: takes no pointer; these numbers were placed by `arrange` and nothing owns them.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 0, end - 1, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets an exec close the numbers from 0 up to, not including, `end`.
pub fn close_on_exec_below(end: RawFd) -> io::Result<()> {
    // SAFETY: takes no pointer and closes nothing by itself.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 0, end - 1, libc::CLOSE_RANGE_CLOEXEC) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Names a descriptor that [`arrange`] has placed.
pub fn borrow(number: RawFd) -> BorrowedFd<'static> {
    // SAFETY: only called with numbers that `arrange` has filled and that stay open until the process ends.
    unsafe { BorrowedFd::borrow_raw(number) }
}

/// Takes over a descriptor that the parent process left for us at a number both sides know.
pub fn take_inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: only used for asking whether the number is open; a wrong number is an error, not a hazard.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the number is open, it was passed to this process for this purpose, and it is taken once.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// The same numbers, in a process that has its parent's memory and descriptors of its own (see [`super::clone_within`]).
pub fn own_again(parents: &[OwnedFd]) -> Vec<OwnedFd> {
    // SAFETY: in this process nothing owns them yet: the parent's owners are for the parent's table.
    parents.iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd.as_raw_fd()) }).collect()
}

/// Copies a descriptor to a fixed number, to be inherited over exec. Safe between fork and exec.
pub fn duplicate_inheritable(fd: impl AsFd, number: RawFd) -> io::Result<()> {
    let from = fd.as_fd().as_raw_fd();
    if from == number {
        return Ok(rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())?);
    }
    // SAFETY: takes no pointer; runs in a fresh child in which nothing owns the target number any more.
    if unsafe { libc::dup2(from, number) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Copies a descriptor to a fixed number that nothing owns, and that an exec closes.
pub(crate) fn place_close_on_exec(fd: impl AsFd, number: RawFd) -> io::Result<()> {
    let from = fd.as_fd().as_raw_fd();
    if from == number {
        return Ok(());
    }
    // SAFETY: takes no pointer; the caller says that nothing owns the number.
    if unsafe { libc::dup3(from, number, libc::O_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
