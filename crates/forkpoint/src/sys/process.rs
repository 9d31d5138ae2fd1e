//! Processes: clone, fork, exec, wait, signals. Never decides who may live; see [`crate::helper`].
#![expect(unsafe_code, reason = "process creation and waiting have no safe wrapper")]

use std::arch::asm;
use std::ffi::{CStr, CString, c_char, c_void};
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Pid;

use super::symbols::find_function;

/// Bits of `CLONE_*`, as the kernel takes them.
pub type CloneFlags = u64;

/// The namespace bits that this crate uses, widened once.
pub mod clone_flags {
    use super::CloneFlags;

    pub const NEWNS: CloneFlags = 0x0002_0000;
    pub const NEWCGROUP: CloneFlags = 0x0200_0000;
    pub const NEWUTS: CloneFlags = 0x0400_0000;
    pub const NEWIPC: CloneFlags = 0x0800_0000;
    pub const NEWUSER: CloneFlags = 0x1000_0000;
    pub const NEWPID: CloneFlags = 0x2000_0000;
    pub const NEWNET: CloneFlags = 0x4000_0000;
    pub(super) const VM: CloneFlags = 0x0000_0100;
    pub(super) const PIDFD: CloneFlags = 0x0000_1000;
    pub(super) const VFORK: CloneFlags = 0x0000_4000;
}

/// Which side of a clone or fork we are on.
pub enum Cloned {
    /// The new process.
    Child,
    /// The old process, with what it knows of the new one.
    Parent { pid: Pid, pidfd: Option<OwnedFd> },
}

/// A reaped child.
pub struct Reaped {
    pub pid: Pid,
    /// The raw wait status.
    pub status: i32,
    /// User and system time, in microseconds.
    pub cpu_us: u64,
    /// The largest resident set, in KiB.
    pub peak_kib: u64,
}

/// Clones the calling, single-threaded process; the child gets a copy of the address space.
pub fn clone3(flags: CloneFlags) -> io::Result<Cloned> {
    let mut pidfd: RawFd = -1;
    let mut args = clone_arguments(flags, &mut pidfd)?;
    // SAFETY: `args` lives over the call, its size is passed, no stack is shared (no CLONE_VM), and every
    // caller is single-threaded, so that the child may go on using the allocator.
    let result =
        unsafe { libc::syscall(libc::SYS_clone3, ptr::from_mut(&mut args), size_of::<libc::clone_args>()) };
    match result {
        0 => Ok(Cloned::Child),
        pid if pid > 0 => cloned(pid, pidfd),
        _ => Err(io::Error::last_os_error()),
    }
}

fn clone_arguments(flags: CloneFlags, pidfd: &mut RawFd) -> io::Result<libc::clone_args> {
    // SAFETY: `clone_args` is plain data for which all zeroes is a valid value.
    let mut args: libc::clone_args = unsafe { MaybeUninit::zeroed().assume_init() };
    args.flags = flags | clone_flags::PIDFD;
    args.pidfd = u64::try_from(ptr::from_mut(pidfd).addr()).map_err(io::Error::other)?;
    args.exit_signal = u64::try_from(libc::SIGCHLD).map_err(io::Error::other)?;
    Ok(args)
}

fn cloned(pid: i64, pidfd: RawFd) -> io::Result<Cloned> {
    // SAFETY: the kernel has just stored a new descriptor that nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    parent_of(i32::try_from(pid).map_err(io::Error::other)?, Some(pidfd))
}

/// Whether the process that [`clone_within`] has made has left our memory as it found it.
static HAS_LEFT: AtomicBool = AtomicBool::new(true);

/// Clones a process that is in our memory and on our stack, while we are stopped, and calls `act` there. That process
/// ends or executes something, by this module's functions; what it forks has a copy, and comes back as the child.
/// Copying the memory of an interpreter twice for each jail would cost more than all of the jail.
///
/// # Errors
/// The kernel's; and `Interrupted` where the process was killed half-way, so that nobody can tell what our memory holds.
pub fn clone_within(flags: CloneFlags, mut act: impl FnMut()) -> io::Result<Cloned> {
    let mut pidfd: RawFd = -1;
    let mut args = clone_arguments(flags | clone_flags::VM | clone_flags::VFORK, &mut pidfd)?;
    let mut act: &mut dyn FnMut() = &mut act;
    RESTARTABLE.get_or_init(restartable);
    HAS_LEFT.store(false, Ordering::Relaxed);
    // SAFETY: `args` and `act` live over the call. The process that shares our stack uses what is below this frame alone,
    // while we are stopped, and never comes back from `act`; what it has forked comes back to a copy of this frame.
    let result =
        unsafe { raw_clone_within(&raw mut args, size_of::<libc::clone_args>(), (&raw mut act).cast()) };
    match result {
        0 => {
            register_restartable();
            Ok(Cloned::Child)
        }
        pid if pid > 0 && HAS_LEFT.load(Ordering::Relaxed) => cloned(pid, pidfd),
        pid if pid > 0 => Err(io::ErrorKind::Interrupted.into()),
        error => Err(io::Error::from_raw_os_error(i32::try_from(-error).map_err(io::Error::other)?)),
    }
}

/// What the C library signs its restartable sequences with (`RSEQ_SIG`).
#[cfg(target_arch = "x86_64")]
const RESTARTABLE_SIGNATURE: u32 = 0x5305_3053;
#[cfg(target_arch = "aarch64")]
const RESTARTABLE_SIGNATURE: u32 = 0xD428_BC00;

/// The least that the kernel takes for their area, in bytes.
const RESTARTABLE_BYTES: u32 = 32;

/// Where the C library has the area of a thread's restartable sequences, seen from the thread's own address, and how large
/// it is: none of one that has none. Looked up in a stem, since it is the same in all that are forked from it.
static RESTARTABLE: OnceLock<Option<(isize, u32)>> = OnceLock::new();

fn restartable() -> Option<(isize, u32)> {
    let offset = find_function(c"__rseq_offset")?.cast::<isize>();
    let size = find_function(c"__rseq_size")?.cast::<u32>();
    // SAFETY: the C library has a number of this type under this name.
    let offset = unsafe { ptr::read(offset) };
    // SAFETY: the same.
    let size = unsafe { ptr::read(size) };
    (size > 0).then_some((offset, size))
}

/// Tells the kernel again where this thread's restartable sequences are (`rseq`, glibc 2.35 and later): it forgets that of
/// a process that shares memory, and so of what that one forks, and the area would name a processor of long ago.
fn register_restartable() {
    let Some((offset, size)) = *RESTARTABLE.get_or_init(restartable) else { return };
    let thread: usize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: reads the word at which the C library keeps its own address.
    unsafe {
        asm!("mov {}, fs:0", out(reg) thread, options(nostack, preserves_flags, readonly));
    };
    #[cfg(target_arch = "aarch64")]
    // SAFETY: reads a register.
    unsafe {
        asm!("mrs {}, tpidr_el0", out(reg) thread, options(nostack, preserves_flags, nomem));
    };
    let area = thread.wrapping_add_signed(offset);
    // SAFETY: the area is this thread's own and lives as long as it. A kernel that does not want it says so.
    unsafe { libc::syscall(libc::SYS_rseq, area, size.max(RESTARTABLE_BYTES), 0, RESTARTABLE_SIGNATURE) };
}

/// What the new process is called with.
extern "C" fn act_of(act: *mut c_void) {
    // SAFETY: `clone_within` passes its own `act`, which it does not touch before we are gone.
    unsafe { (*act.cast::<&mut dyn FnMut()>())() }
}

/// Not by the C library: what returns twice on one stack must not have a return address on it.
#[cfg(target_arch = "x86_64")]
unsafe fn raw_clone_within(args: *mut libc::clone_args, size: usize, act: *mut c_void) -> i64 {
    let result;
    // SAFETY: the caller's promise; every register that a call may change is named.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "mov rdi, r13",
            "call r12",
            "xor eax, eax",
            "2:",
            inlateout("rax") libc::SYS_clone3 => result,
            in("rdi") args,
            in("rsi") size,
            in("r12") act_of as extern "C" fn(*mut c_void),
            in("r13") act,
            clobber_abi("C"),
        );
    }
    result
}

/// Not by the C library: what returns twice on one stack must not have a return address on it.
#[cfg(target_arch = "aarch64")]
unsafe fn raw_clone_within(args: *mut libc::clone_args, size: usize, act: *mut c_void) -> i64 {
    let result;
    // SAFETY: the caller's promise; every register that a call may change is named.
    unsafe {
        asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x0, x21",
            "blr x20",
            "mov x0, xzr",
            "2:",
            in("x8") libc::SYS_clone3,
            inlateout("x0") args => result,
            in("x1") size,
            in("x20") act_of as extern "C" fn(*mut c_void),
            in("x21") act,
            clobber_abi("C"),
        );
    }
    result
}

/// Forks by the C library, so that its own at-fork work is done; an interpreter with threads has told of its own before.
pub fn fork() -> io::Result<Cloned> {
    // SAFETY: every caller is single-threaded, or its other threads sleep where they hold nothing, and the C library sees
    // to its own: so the child may use the allocator and take any lock.
    match unsafe { libc::fork() } {
        0 => Ok(Cloned::Child),
        pid if pid > 0 => parent_of(pid, None),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Has a function called before each [`fork`], in the process that forks.
pub(crate) fn before_forks(prepare: extern "C" fn()) -> io::Result<()> {
    // SAFETY: the function is part of this library, which is never unloaded from a process that forks.
    match unsafe { libc::pthread_atfork(Some(prepare), None, None) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

fn parent_of(pid: i32, pidfd: Option<OwnedFd>) -> io::Result<Cloned> {
    let pid = Pid::from_raw(pid).ok_or_else(|| io::Error::other("the kernel gave no process id"))?;
    Ok(Cloned::Parent { pid, pidfd })
}

/// Leaves some namespaces of the calling, single-threaded process for new ones.
pub fn unshare(flags: CloneFlags) -> io::Result<()> {
    let flags = i32::try_from(flags).map_err(io::Error::other)?;
    // SAFETY: takes no pointer; namespaces do not affect memory safety, and no CLONE_FILES is ever passed.
    check(unsafe { libc::unshare(flags) })
}

/// Replaces the process image; returns only on failure.
pub fn execve(argv: &[CString], environment: &[CString]) -> io::Error {
    let Some(path) = argv.first() else { return io::Error::from(io::ErrorKind::InvalidInput) };
    let argv: Vec<_> = argv.iter().map(|a| a.as_ptr()).chain([ptr::null()]).collect();
    let environment: Vec<_> = environment.iter().map(|e| e.as_ptr()).chain([ptr::null()]).collect();
    // SAFETY: both arrays end with a null pointer and point to strings that outlive the call.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

/// Replaces the process image by what a descriptor holds, with one argument and no environment; returns only on failure.
/// Takes nothing from the allocator, since it may be another's (see [`clone_within`]).
pub fn execute(program: BorrowedFd<'_>, argument: &CStr) -> io::Error {
    let argv = [c"init".as_ptr(), argument.as_ptr(), ptr::null()];
    let environment = [ptr::null::<c_char>()];
    HAS_LEFT.store(true, Ordering::Relaxed);
    // SAFETY: both arrays end with a null pointer and point to strings that outlive the call.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            environment.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    io::Error::last_os_error()
}

/// Ends the process at once, with no destructor and no at-exit handler.
pub fn exit_now(code: i32) -> ! {
    HAS_LEFT.store(true, Ordering::Relaxed);
    // SAFETY: `_exit` takes no pointer and does not return.
    unsafe { libc::_exit(code) }
}

/// Waits for any child. `None` says that there is none left.
pub fn wait_any() -> io::Result<Option<Reaped>> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: both pointers are valid for writing over the call.
        let pid = unsafe { libc::wait4(-1, ptr::from_mut(&mut status), 0, usage.as_mut_ptr()) };
        if let Some(pid) = (pid > 0).then(|| Pid::from_raw(pid)).flatten() {
            // SAFETY: zeroed at first, and filled by the kernel for a reaped child.
            let usage = unsafe { usage.assume_init() };
            let cpu_us = micros(usage.ru_utime).saturating_add(micros(usage.ru_stime));
            return Ok(Some(Reaped {
                pid,
                status,
                cpu_us,
                peak_kib: u64::try_from(usage.ru_maxrss).unwrap_or(0),
            }));
        }
        match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::EINTR) => {}
            error if error.raw_os_error() == Some(libc::ECHILD) => return Ok(None),
            error => return Err(error),
        }
    }
}

fn micros(time: libc::timeval) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000).saturating_add(u64::try_from(time.tv_usec).unwrap_or(0))
}

/// What the interpreter did at the end of a child before [`ignore_children`].
static CHILDREN: OnceLock<libc::sigaction> = OnceLock::new();

/// Lets the kernel reap our children by itself.
pub fn ignore_children() -> io::Result<()> {
    let mut before = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: the pointer is valid for writing; nothing is changed.
    check(unsafe { libc::sigaction(libc::SIGCHLD, ptr::null(), before.as_mut_ptr()) })?;
    // SAFETY: zeroed at first, and filled by the kernel.
    let before = unsafe { before.assume_init() };
    CHILDREN.get_or_init(|| before);
    disposition(libc::SIGCHLD, libc::SIG_IGN)
}

/// Gives an interpreter back what [`ignore_children`] has taken.
pub fn restore_children() -> io::Result<()> {
    let Some(before) = CHILDREN.get() else { return Ok(()) };
    // SAFETY: the action is the interpreter's own, as the kernel has told it, and its code is where it was.
    check(unsafe { libc::sigaction(libc::SIGCHLD, before, ptr::null_mut()) })
}

/// Lets our children be waited for, after [`ignore_children`].
pub fn wait_for_children() -> io::Result<()> {
    disposition(libc::SIGCHLD, libc::SIG_DFL)
}

/// Holds back the signal that tells of children that end, or lets it through; says whether it was held back before.
pub fn hold_children(hold: bool) -> io::Result<bool> {
    let (mut set, mut before) =
        (MaybeUninit::<libc::sigset_t>::zeroed(), MaybeUninit::<libc::sigset_t>::zeroed());
    // SAFETY: the pointer is valid for writing.
    check(unsafe { libc::sigemptyset(set.as_mut_ptr()) })?;
    // SAFETY: the set was initialised above.
    check(unsafe { libc::sigaddset(set.as_mut_ptr(), libc::SIGCHLD) })?;
    let how = if hold { libc::SIG_BLOCK } else { libc::SIG_UNBLOCK };
    // SAFETY: the first set was initialised above, the second is valid for writing.
    match unsafe { libc::pthread_sigmask(how, set.as_ptr(), before.as_mut_ptr()) } {
        // SAFETY: initialised by the kernel.
        0 => Ok(unsafe { libc::sigismember(before.as_ptr(), libc::SIGCHLD) } == 1),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Ignores what asks a process to end, also after an exec; only closing its link or killing it does.
pub fn ignore_requests_to_end() -> io::Result<()> {
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
        disposition(signal, libc::SIG_IGN)?;
    }
    Ok(())
}

/// Gives every signal its default disposition and clears the mask.
pub fn reset_signals() -> io::Result<()> {
    for signal in (1..=libc::SIGRTMAX()).filter(|s| ![libc::SIGKILL, libc::SIGSTOP, 32, 33].contains(s)) {
        disposition(signal, libc::SIG_DFL)?;
    }
    let mut none = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the pointer is valid for writing.
    check(unsafe { libc::sigemptyset(none.as_mut_ptr()) })?;
    // SAFETY: the set was initialised above, and the old set is not asked for.
    check(unsafe { libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut()) })
}

fn disposition(signal: i32, handler: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: only the two constants SIG_IGN and SIG_DFL are passed, so no handler is ever run.
    if unsafe { libc::signal(signal, handler) } == libc::SIG_ERR {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Writes what the C library has buffered of all streams.
pub(crate) fn flush_streams() {
    // SAFETY: a null pointer stands for all streams that are written to. What cannot be written is lost, as at an end.
    unsafe { libc::fflush(ptr::null_mut()) };
}

/// Does something that may write to where nobody reads, and is told that by an error alone.
pub(crate) fn without_pipe_signal<T>(act: impl FnOnce() -> T) -> io::Result<T> {
    let (mut ignored, mut before) =
        (MaybeUninit::<libc::sigaction>::zeroed(), MaybeUninit::<libc::sigaction>::zeroed());
    // SAFETY: all its fields may be zero.
    unsafe { ignored.assume_init_mut() }.sa_sigaction = libc::SIG_IGN;
    // SAFETY: the first was initialised above, the second is valid for writing.
    check(unsafe { libc::sigaction(libc::SIGPIPE, ignored.as_ptr(), before.as_mut_ptr()) })?;
    let done = act();
    // SAFETY: it is what was there before.
    check(unsafe { libc::sigaction(libc::SIGPIPE, before.as_ptr(), ptr::null_mut()) })?;
    Ok(done)
}

/// Names the machine inside our own host-name namespace.
pub fn set_hostname(name: &str) -> io::Result<()> {
    // SAFETY: pointer and length are those of one live string.
    check(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) })
}

/// Marks every descriptor from `first` on as close-on-exec. Safe between fork and exec.
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    // SAFETY: only sets a flag on descriptors; nothing is closed under its owner.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn check(result: i32) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
