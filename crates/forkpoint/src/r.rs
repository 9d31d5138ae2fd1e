//! What R loads of this library (`dyn.load`): `execgate_wait`, for `.C`, which waits for the run of its process and puts
//! the run's arguments after those that R was started with.
#![expect(unsafe_code, reason = "R passes pointers")]

use std::ffi::{CString, c_char, c_int};
use std::mem::transmute;
use std::ptr;

use crate::jail::{Around, WITH_FRAMES, take_request};
use crate::panics::{Tell, die_of_panics};
use crate::sys;

/// `.C("execgate_wait", commandArgs(), length(commandArgs()))`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn execgate_wait(own: *const *mut c_char, count: *const c_int) {
    die_of_panics(Tell::Nobody);
    // SAFETY: R passes an integer vector of the length 1.
    let count = unsafe { ptr::read(count) };
    let mut all: Vec<*mut c_char> = Vec::new();
    for at in 0..usize::try_from(count).unwrap_or(0) {
        // SAFETY: R passes a character vector of that length.
        all.push(unsafe { ptr::read(own.wrapping_add(at)) });
    }
    for argument in take_request(WITH_FRAMES, &Around::NOTHING) {
        let Ok(argument) = CString::new(argument) else { sys::exit_now(1) };
        all.push(argument.into_raw());
    }
    // SAFETY: `void R_set_command_line_arguments(int, char **)`, which copies what it is given.
    let set: extern "C" fn(c_int, *const *mut c_char) =
        unsafe { transmute(sys::own_function(c"R_set_command_line_arguments")) };
    set(c_int::try_from(all.len()).unwrap_or(0), all.as_ptr());
}
