//! What bash loads of this library (`enable -f`): `execgate_wait`, which waits for the run of its shell and leaves its
//! arguments in an array. It fails where there is a session instead; each further call tells the end of the run before,
//! takes the next one, and leaves the number of its code before its arguments. It fails too in a copy of the shell.
#![expect(unsafe_code, reason = "a builtin is made of the shell's own pointers")]

use std::cell::UnsafeCell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io;
use std::mem::transmute;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::ptr;
use std::sync::{Mutex, PoisonError};

use crate::jail::{Around, Cell, Copies, WITHOUT_FRAMES, hush, is_session, take_request};
use crate::panics::{Tell, die_of_panics};
use crate::sys;

/// `struct builtin` of bash's `builtins.h`.
#[repr(C)]
struct Builtin {
    name: *const c_char,
    function: extern "C" fn(*mut c_void) -> c_int,
    flags: c_int,
    long_doc: *const *const c_char,
    short_doc: *const c_char,
    handle: *mut c_char,
}

/// One that bash may write to: it notes there what the builtin came from.
#[repr(transparent)]
pub(crate) struct Loaded(UnsafeCell<Builtin>);

// SAFETY: bash has one thread, and nobody else touches it.
unsafe impl Sync for Loaded {}

/// `BUILTIN_ENABLED`.
const ENABLED: c_int = 1;

/// What bash looks for.
#[unsafe(no_mangle)]
pub(crate) static execgate_wait_struct: Loaded = Loaded(UnsafeCell::new(Builtin {
    name: c"execgate_wait".as_ptr(),
    function: wait,
    flags: ENABLED,
    long_doc: ptr::null(),
    short_doc: c"execgate_wait".as_ptr(),
    handle: ptr::null_mut(),
}));

/// The array that the arguments are left in.
const ARRAY: &CStr = c"MAPFILE";

/// A shell has one thread, and knows its forks by their process ids.
const AROUND: Around = Around {
    wait: |wait| wait(),
    copies: Some(Copies { before: || Ok(()), after: || {}, copied: |_, _| {} }),
};

/// Code and frames of the run that the session is in.
static RUN: Mutex<Option<[OwnedFd; 2]>> = Mutex::new(None);

/// Of a terminal frame that tells nothing but the end, and of one that tells an exception.
const NO_VALUE: u8 = 2;
const EXCEPTION: u8 = 3;

/// Tells how the run before has ended; from then on what is written is nowhere.
fn end_run() -> io::Result<()> {
    let ended = RUN.lock().ok().and_then(|mut run| run.take());
    let Some([_code, frames]) = ended else { return Ok(()) };
    hush()?;
    // SAFETY: `int last_command_exit_value`, which nobody writes meanwhile.
    let status = unsafe { ptr::read(sys::own_function(c"last_command_exit_value").cast::<c_int>()) };
    let mut frame = vec![if status == 0 { NO_VALUE } else { EXCEPTION }];
    for text in ["ExitCode", &status.to_string(), ""].into_iter().filter(|_| status != 0) {
        frame.extend(u32::try_from(text.len()).map_err(io::Error::other)?.to_le_bytes());
        frame.extend(text.as_bytes());
    }
    // The end of a run that nobody follows any more is no matter.
    let _told = rustix::io::write(&frames, &frame);
    Ok(())
}

/// Puts the streams of a session's run in their places, and gives the number of its code and the arguments.
fn begin_run(taken: Vec<Vec<u8>>) -> io::Result<Vec<Vec<u8>>> {
    let Cell { code, frames, arguments } = Cell::begin(taken)?;
    let number = code.as_raw_fd().to_string().into();
    *RUN.lock().unwrap_or_else(PoisonError::into_inner) = Some([code, frames]);
    Ok([vec![number], arguments].concat())
}

extern "C" fn wait(_words: *mut c_void) -> c_int {
    die_of_panics(Tell::Nobody);
    let pid = rustix::process::getpid();
    if end_run().is_err() {
        sys::exit_now(1);
    }
    let mut arguments = take_request(WITHOUT_FRAMES, &AROUND);
    if is_session() {
        if arguments.is_empty() {
            return 1;
        }
        let Ok(begun) = begin_run(arguments) else { sys::exit_now(1) };
        arguments = begun;
    }
    // SAFETY: `SHELL_VAR *bind_array_variable(char *, arrayind_t, char *, int)`.
    let bind: extern "C" fn(*const c_char, isize, *const c_char, c_int) -> *mut c_void =
        unsafe { transmute(sys::own_function(c"bind_array_variable")) };
    for (at, argument) in (0..).zip(arguments) {
        let Ok(argument) = CString::new(argument) else { sys::exit_now(1) };
        bind(ARRAY.as_ptr(), at, argument.as_ptr(), 0);
    }
    c_int::from(rustix::process::getpid() != pid)
}
