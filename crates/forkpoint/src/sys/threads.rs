//! Threads of an interpreter that is to fork: they are ended where they sleep, as a fork would leave them behind.
//! Never decides whether that may be done; see [`crate::node`].
#![expect(unsafe_code, reason = "threads that the C library knows are ended behind its back")]

use std::fs;
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::ptr;
use std::time::Instant;

/// The signal that ends one: the C library's own, which no thread can block, and which it sends only where a program of
/// several threads changes its user id. Nobody does that while this goes on.
const ENDING: i32 = 33;

/// What the kernel takes for `rt_sigaction`, which the C library does not pass on for its own signals.
#[repr(C)]
struct Action {
    handler: usize,
    flags: u64,
    restorer: usize,
    mask: u64,
}

/// `SA_RESTORER`; the kernel wants one, and a handler that does not come back needs none.
const WITH_RESTORER: u64 = 0x0400_0000;

/// The ids of this process's other threads.
pub(crate) fn other_threads() -> io::Result<Vec<i32>> {
    let own = rustix::thread::gettid().as_raw_pid();
    let mut others = Vec::new();
    for entry in fs::read_dir("/proc/self/task")? {
        let name = entry?.file_name();
        let id: i32 = name.to_str().and_then(|name| name.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
        if id != own {
            others.push(id);
        }
    }
    Ok(others)
}

/// Whether a thread sleeps.
fn sleeps(thread: i32) -> io::Result<bool> {
    let stat = fs::read_to_string(format!("/proc/self/task/{thread}/stat"))?;
    // The name before it may hold anything.
    let state = stat.rsplit_once(") ").ok_or(io::ErrorKind::InvalidData)?.1;
    Ok(state.starts_with('S'))
}

/// Whether all of them do.
pub(crate) fn all_sleep(threads: &[i32]) -> io::Result<bool> {
    let asleep = threads.iter().map(|thread| sleeps(*thread)).collect::<io::Result<Vec<_>>>()?;
    Ok(asleep.into_iter().all(|sleeps| sleeps))
}

extern "C" fn end_thread(_signal: i32) {
    // SAFETY: ends the calling thread alone; nothing of it runs afterwards.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
}

/// Ends these threads of this process at once, wherever they are. What they hold stays held, for good.
///
/// # Errors
/// The kernel's, and `TimedOut` where one has not ended by then; the process is not to go on after either.
pub(crate) fn end_threads(threads: &[i32], deadline: Instant) -> io::Result<()> {
    let handler = (end_thread as extern "C" fn(i32)) as usize;
    let ends = Action { handler, flags: WITH_RESTORER, restorer: handler, mask: 0 };
    let mut before = MaybeUninit::<Action>::zeroed();
    signal_action(ptr::from_ref(&ends), before.as_mut_ptr())?;
    let own = rustix::process::getpid().as_raw_pid();
    for thread in threads {
        // SAFETY: takes no pointer.
        let sent = unsafe { libc::syscall(libc::SYS_tgkill, own, *thread, ENDING) };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    while !other_threads()?.is_empty() {
        if Instant::now() > deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        rustix::thread::sched_yield();
    }
    signal_action(before.as_ptr(), ptr::null_mut())
}

fn signal_action(new: *const Action, old: *mut Action) -> io::Result<()> {
    // SAFETY: both are null or point to an `Action`, which has the kernel's layout, and the size is that of its mask.
    let result = unsafe { libc::syscall(libc::SYS_rt_sigaction, ENDING, new, old, size_of::<u64>()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
