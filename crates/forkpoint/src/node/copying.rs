//! How a session's Node is copied: by a fork, when nothing is under way in it that a fork would not have.
//!
//! A fork has no other threads, none of the processes that the code has started are its children, and what others do for
//! it never comes back. So whoever has a worker, a child or a request under way is not copied, and says so (`EBUSY`).
//! Timers, servers and what is open are in the copy, which has a loop of its own.
#![expect(unsafe_code, reason = "libuv's functions are called by their addresses")]

use std::ffi::{c_int, c_void};
use std::fs;
use std::io;
use std::mem::transmute;
use std::os::fd::RawFd;
use std::path::Path;
use std::ptr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::module::Handle;
use super::{fit, random, waiting, workers};
use crate::jail::{Copies, Kind};
use crate::sys;

/// How long threads may take to have nothing to do. They have had their last work before.
const QUIET_WITHIN: Duration = Duration::from_secs(1);

/// `UV_PROCESS` of `uv_handle_type`.
const PROCESS: c_int = 10;

/// Where `uv_loop_t` says how many requests are under way: after its data, its count of handles and their list.
const REQUESTS: usize = 4 * size_of::<usize>();

/// What V8 has to be told from its start, so that it never gives work to a thread of its own.
const ALONE: &[u8] = b"--single-threaded";

/// What is known of one that can be copied.
struct Known {
    event_loop: usize,
    /// How many loops there are: each worker of the code's has one more.
    loops: usize,
}

static KNOWN: OnceLock<Known> = OnceLock::new();

const COPIES: Copies = Copies { before, after: || {}, copied };

/// How this one is copied; none where it cannot be.
pub(super) fn copies() -> Option<&'static Copies> {
    KNOWN.get().map(|_| &COPIES)
}

/// Before the code: finds what copies will need. Where that is not all there, it is one that is not copied.
pub(super) fn prepare(env: Handle) {
    if let Ok(known) = know(env) {
        KNOWN.get_or_init(|| known);
    }
}

fn know(env: Handle) -> io::Result<Known> {
    fit::is_proved(env)?;
    let line = fs::read("/proc/self/cmdline")?;
    if !line.split(|byte| *byte == 0).any(|word| word == ALONE) || !random::can_begin_again() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    // SAFETY: `napi_status napi_get_uv_event_loop(napi_env, uv_loop_t **)`.
    let get: extern "C" fn(Handle, *mut Handle) -> c_int =
        unsafe { transmute(sys::own_function(c"napi_get_uv_event_loop")) };
    let mut event_loop = ptr::null_mut();
    if get(env, &raw mut event_loop) != 0 {
        return Err(io::ErrorKind::Unsupported.into());
    }
    random::prepare(env)?;
    Ok(Known { event_loop: event_loop.expose_provenance(), loops: loops()? })
}

/// How many loops of libuv this process has.
fn loops() -> io::Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir("/proc/self/fd")? {
        let target = fs::read_link(entry?.path());
        count += usize::from(target.is_ok_and(|target| target == Path::new("anon_inode:[eventpoll]")));
    }
    Ok(count)
}

/// Whether nothing is under way, and all of the heap is in the fork then.
fn before() -> io::Result<()> {
    let Some(known) = KNOWN.get() else { return Err(io::ErrorKind::NotFound.into()) };
    is_idle(known)?;
    let deadline = Instant::now() + QUIET_WITHIN;
    while !sys::all_sleep(&sys::other_threads()?)? {
        if Instant::now() > deadline {
            return Err(io::Error::from_raw_os_error(libc::EBUSY));
        }
        rustix::thread::sched_yield();
    }
    // A worker that was just starting has its loop by now.
    is_idle(known)?;
    fit::fork_all()
}

/// That nothing is under way, and no worker there.
fn is_idle(known: &Known) -> io::Result<()> {
    let is_busy = requests(known) > 0 || has_children(known) || loops()? != known.loops;
    if is_busy { Err(io::Error::from_raw_os_error(libc::EBUSY)) } else { Ok(()) }
}

/// How many requests are under way: what threads do, what is being written, names that are looked up.
fn requests(known: &Known) -> u32 {
    let count: *const u32 = ptr::with_exposed_provenance(known.event_loop + REQUESTS);
    // SAFETY: libuv's loop is there for as long as this process is, and begins as it always has in this major version.
    unsafe { ptr::read_volatile(count) }
}

/// Whether the code has started a process that has not ended.
fn has_children(known: &Known) -> bool {
    extern "C" fn look(handle: *mut c_void, found: *mut c_void) {
        // SAFETY: `uv_handle_type uv_handle_get_type(const uv_handle_t *)`.
        let kind: extern "C" fn(*mut c_void) -> c_int =
            unsafe { transmute(sys::own_function(c"uv_handle_get_type")) };
        // SAFETY: `int uv_is_active(const uv_handle_t *)`.
        let is_active: extern "C" fn(*mut c_void) -> c_int =
            unsafe { transmute(sys::own_function(c"uv_is_active")) };
        if kind(handle) == PROCESS && is_active(handle) != 0 {
            // SAFETY: it is the flag of below.
            unsafe { ptr::write(found.cast::<bool>(), true) };
        }
    }
    // SAFETY: `void uv_walk(uv_loop_t *, uv_walk_cb, void *)`.
    let walk: extern "C" fn(*mut c_void, extern "C" fn(*mut c_void, *mut c_void), *mut c_void) =
        unsafe { transmute(sys::own_function(c"uv_walk")) };
    let mut found = false;
    walk(ptr::with_exposed_provenance_mut(known.event_loop), look, (&raw mut found).cast());
    found
}

/// In a copy. One that goes on has a loop of its own, and looks at its own socket; one that cannot be given all of it is
/// nobody's.
fn copied(kind: Kind, socket: RawFd) {
    if kind == Kind::GoesOn && fork_loop().and_then(|()| waiting::begin_again(socket)).is_err() {
        sys::exit_now(1);
    }
}

fn fork_loop() -> io::Result<()> {
    let Some(known) = KNOWN.get() else { return Err(io::ErrorKind::NotFound.into()) };
    // SAFETY: `int uv_loop_fork(uv_loop_t *)`.
    let fork: extern "C" fn(*mut c_void) -> c_int = unsafe { transmute(sys::own_function(c"uv_loop_fork")) };
    // SAFETY: `void uv_update_time(uv_loop_t *)`.
    let update: extern "C" fn(*mut c_void) = unsafe { transmute(sys::own_function(c"uv_update_time")) };
    let event_loop = ptr::with_exposed_provenance_mut(known.event_loop);
    if fork(event_loop) != 0 {
        return Err(io::ErrorKind::Other.into());
    }
    update(event_loop);
    Ok(())
}

/// In a copy, called by its own script: V8 has no threads any more, and nothing random is what another copy has.
pub(super) fn begin() -> io::Result<()> {
    workers::forget()?;
    random::begin_again()
}
