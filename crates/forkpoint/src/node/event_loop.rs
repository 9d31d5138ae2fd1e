//! libuv in a fork: the loop gets an epoll set and pipes of its own, and so does libuv's lock for signals, which is a pipe
//! with one byte in it. So do the loops of threads that a fork does not have: libuv ends a process that cannot wake
//! another loop, and V8 gives work for later to such a thread when WebAssembly is instantiated (nothing waits for it).
//!
//! libuv would make that pipe anew in a handler of `fork`, at whatever numbers are free then, and these are closed before
//! the guest begins. So the numbers are kept: whoever forks has every lower one in use, and the pipe comes to be where it
//! was.
#![expect(unsafe_code, reason = "libuv's functions are called by their addresses")]

use std::ffi::c_void;
use std::fs;
use std::io;
use std::mem::transmute;
use std::os::fd::{IntoRawFd as _, OwnedFd, RawFd};
use std::path::Path;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat};
use rustix::io::{fcntl_dupfd_cloexec, ioctl_fionread};
use rustix::pipe::{PipeFlags, pipe_with};

use super::module::Handle;
use crate::jail::place;
use crate::sys;

/// Below which number to look for what is libuv's, which Node opens early. A fork may always have more than that open.
const LOOKED_AT: RawFd = place::ABOVE_LIBRARIES;

/// What a fork of this Node needs to know.
struct Known {
    event_loop: usize,
    fork: extern "C" fn(*mut c_void) -> i32,
    update: extern "C" fn(*mut c_void),
    /// The numbers of libuv's lock for signals: its end to read, its end to write.
    lock: (RawFd, RawFd),
    /// Those that loops are woken by.
    wakers: Vec<RawFd>,
}

static KNOWN: OnceLock<Known> = OnceLock::new();

/// Whether this is a fork, in which libuv's own ways are right.
static IS_FORK: AtomicBool = AtomicBool::new(false);

/// In the stem.
pub(super) fn prepare(env: Handle) -> io::Result<()> {
    let found = |name| sys::find_function(name).ok_or(io::ErrorKind::Unsupported);
    // SAFETY: `napi_status napi_get_uv_event_loop(napi_env, uv_loop_t **)`.
    let get: extern "C" fn(Handle, *mut *mut c_void) -> i32 =
        unsafe { transmute(found(c"napi_get_uv_event_loop")?) };
    // SAFETY: `int uv_loop_fork(uv_loop_t *)`.
    let fork =
        unsafe { transmute::<*mut c_void, extern "C" fn(*mut c_void) -> i32>(found(c"uv_loop_fork")?) };
    // SAFETY: `void uv_update_time(uv_loop_t *)`.
    let update = unsafe { transmute::<*mut c_void, extern "C" fn(*mut c_void)>(found(c"uv_update_time")?) };
    let mut event_loop = ptr::null_mut();
    if get(env, &raw mut event_loop) != 0 {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let (lock, wakers) = (find_lock()?, find_wakers());
    KNOWN.get_or_init(|| Known { event_loop: event_loop.expose_provenance(), fork, update, lock, wakers });
    sys::before_forks(fill)
}

/// The numbers of all counters for events: that of the loop, which [`begin`] replaces, and those of other loops.
fn find_wakers() -> Vec<RawFd> {
    let is_counter = |number: &RawFd| {
        let target = fs::read_link(format!("/proc/self/fd/{number}"));
        target.is_ok_and(|target| target == Path::new("anon_inode:[eventfd]"))
    };
    (place::FRAMES + 1..LOOKED_AT).filter(is_counter).collect()
}

/// The one pipe that has one byte in it, and both of its ends here.
fn find_lock() -> io::Result<(RawFd, RawFd)> {
    let mut ends = Vec::new();
    for number in 3..LOOKED_AT {
        let fd = sys::borrow(number);
        let Ok(state) = fstat(fd) else { continue };
        let is_pipe = FileType::from_raw_mode(state.st_mode) == FileType::Fifo;
        if is_pipe && ioctl_fionread(fd)? == 1 {
            let is_written = fcntl_getfl(fd)?.contains(OFlags::WRONLY);
            ends.push((state.st_ino, is_written, number));
        }
    }
    ends.sort_unstable();
    match ends.as_slice() {
        [(one, false, reads), (other, true, writes)] if one == other => Ok((*reads, *writes)),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Before a fork, wherever it is done: takes every number below those of the lock. They are closed by whoever closes what
/// it does not know.
extern "C" fn fill() {
    let Some(known) = KNOWN.get().filter(|_| !IS_FORK.load(Ordering::Relaxed)) else { return };
    let last = known.lock.0.max(known.lock.1);
    while let Ok(filler) = fcntl_dupfd_cloexec(sys::borrow(0), 0) {
        let number = filler.into_raw_fd();
        if number >= last {
            break;
        }
    }
}

/// The same, but where nothing is to be put.
fn lifted(descriptor: OwnedFd) -> io::Result<OwnedFd> {
    Ok(fcntl_dupfd_cloexec(descriptor, LOOKED_AT)?)
}

/// In a fork, when nothing of the stem's is open any more.
pub(super) fn begin() -> io::Result<()> {
    let Some(known) = KNOWN.get() else { return Err(io::ErrorKind::NotFound.into()) };
    IS_FORK.store(true, Ordering::Relaxed);
    // Where the frames will be; nothing of libuv's may be there then.
    sys::place_close_on_exec(sys::borrow(0), place::FRAMES)?;
    let (reads, writes) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::write(&writes, b"*")?;
    let (reads, writes) = (lifted(reads)?, lifted(writes)?);
    sys::place_close_on_exec(&reads, known.lock.0)?;
    sys::place_close_on_exec(&writes, known.lock.1)?;
    for number in &known.wakers {
        let waker = lifted(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)?;
        sys::place_close_on_exec(&waker, *number)?;
    }
    let event_loop = ptr::with_exposed_provenance_mut(known.event_loop);
    if (known.fork)(event_loop) != 0 {
        return Err(io::ErrorKind::Other.into());
    }
    (known.update)(event_loop);
    Ok(())
}
