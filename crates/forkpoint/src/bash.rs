//! What bash loads of this library (`enable -f`): `execgate_wait`, which waits for the run of its shell and leaves its
//! arguments in an array.
#![expect(unsafe_code, reason = "a builtin is made of the shell's own pointers")]

use std::cell::UnsafeCell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::transmute;
use std::ptr;

use crate::jail::{WITHOUT_FRAMES, take_request};
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

extern "C" fn wait(_words: *mut c_void) -> c_int {
    die_of_panics(Tell::Nobody);
    let arguments = take_request(WITHOUT_FRAMES);
    // SAFETY: `SHELL_VAR *bind_array_variable(char *, arrayind_t, char *, int)`.
    let bind: extern "C" fn(*const c_char, isize, *const c_char, c_int) -> *mut c_void =
        unsafe { transmute(sys::own_function(c"bind_array_variable")) };
    for (at, argument) in (0..).zip(arguments) {
        let Ok(argument) = CString::new(argument) else { sys::exit_now(1) };
        bind(ARRAY.as_ptr(), at, argument.as_ptr(), 0);
    }
    0
}
