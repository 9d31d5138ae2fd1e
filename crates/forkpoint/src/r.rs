//! What R loads of this library (`dyn.load`): `execgate_routine` gives the others. `serve` comes back in a resident only,
//! `take` gives that its run, `tell` writes its frames, because R itself writes to no descriptor by its number, and
//! `leave` ends it.
#![expect(unsafe_code, reason = "R passes pointers")]

use std::ffi::{CString, c_char, c_int, c_void};
use std::io;
use std::mem::transmute;
use std::ptr;
use std::slice;

use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::rand::{GetRandomFlags, getrandom};

use crate::jail::{Around, place, take_request};
use crate::panics::{Tell, die_of_panics};
use crate::stem::{self, Hooks, warm_seed};
use crate::sys;

/// `SEXP`.
type Value = *mut c_void;

/// `.Call("execgate_routine", number)`: what `.C` takes in the place of a name, and which stays true after `dyn.unload`.
/// R's own, of `getNativeSymbolInfo`, does not.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn execgate_routine(number: Value) -> Value {
    die_of_panics(Tell::Nobody);
    // R would take the library away with its last name.
    if sys::keep_library(c"/proc/self/fd/4").is_err() {
        sys::exit_now(1);
    }
    // SAFETY: `int Rf_asInteger(SEXP)`.
    let integer: extern "C" fn(Value) -> c_int = unsafe { transmute(sys::own_function(c"Rf_asInteger")) };
    let routine = match integer(number) {
        1 => serve as *mut c_void,
        2 => take as *mut c_void,
        3 => tell as *mut c_void,
        _ => leave as *mut c_void,
    };
    // SAFETY: `SEXP Rf_install(const char *)`.
    let symbol: extern "C" fn(*const c_char) -> Value =
        unsafe { transmute(sys::own_function(c"Rf_install")) };
    // SAFETY: `SEXP R_MakeExternalPtr(void *, SEXP, SEXP)`.
    let pointer: extern "C" fn(*mut c_void, Value, Value) -> Value =
        unsafe { transmute(sys::own_function(c"R_MakeExternalPtr")) };
    // The tag is what R knows such pointers by.
    let tag = symbol(c"native symbol".as_ptr());
    pointer(routine, tag, tag)
}

/// `.C(serve, 0L)`: leaves how many of its descriptors the guest may inherit; negative where its run waits
/// for it already.
extern "C" fn serve(inherited: *mut c_int) {
    let Ok(seed) = warm_seed() else { sys::exit_now(1) };
    let resident = stem::serve(Box::leak(Box::new(seed)), &Hooks::NONE);
    if reseed().is_err() {
        sys::exit_now(1);
    }
    let count = resident.inherited.cast_signed();
    // SAFETY: R passes an integer vector of the length 1.
    unsafe { ptr::write(inherited, if resident.is_awaited { -count } else { count }) };
}

/// R draws the names of its temporary files from the C library, which it seeds at its start. Its own generators it seeds
/// when they are first used, which no stem does.
fn reseed() -> io::Result<()> {
    let mut seed = [0; 4];
    if getrandom(&mut seed, GetRandomFlags::empty())? != seed.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    sys::reseed(u32::from_ne_bytes(seed));
    Ok(())
}

/// `.C(take, own, length(own), inherited)`: puts the run's arguments after these.
extern "C" fn take(own: *const *mut c_char, count: *const c_int, inherited: *const c_int) {
    // SAFETY: R passes an integer vector of the length 1.
    let count = unsafe { ptr::read(count) };
    // SAFETY: R passes another.
    let inherited = unsafe { ptr::read(inherited) };
    let mut all: Vec<*mut c_char> = Vec::new();
    for at in 0..usize::try_from(count).unwrap_or(0) {
        // SAFETY: R passes a character vector of that length.
        all.push(unsafe { ptr::read(own.wrapping_add(at)) });
    }
    for argument in take_request(usize::try_from(inherited).unwrap_or(0), &Around::NOTHING) {
        let Ok(argument) = CString::new(argument) else { sys::exit_now(1) };
        all.push(argument.into_raw());
    }
    // What the code starts has no word in what its run tells.
    if fcntl_setfd(sys::borrow(place::FRAMES), FdFlags::CLOEXEC).is_err() {
        sys::exit_now(1);
    }
    // SAFETY: `void R_set_command_line_arguments(int, char **)`, which copies what it is given.
    let set: extern "C" fn(c_int, *const *mut c_char) =
        unsafe { transmute(sys::own_function(c"R_set_command_line_arguments")) };
    set(c_int::try_from(all.len()).unwrap_or(0), all.as_ptr());
}

/// `.C(tell, bytes, length(bytes), failed = 1L)`: leaves 0 where all of them are written.
extern "C" fn tell(bytes: *const u8, count: *const c_int, failed: *mut c_int) {
    // SAFETY: R passes an integer vector of the length 1.
    let count = usize::try_from(unsafe { ptr::read(count) }).unwrap_or(0);
    // SAFETY: R passes a raw vector of that length.
    let mut left = unsafe { slice::from_raw_parts(bytes, count) };
    // R makes an error of a pipe that nobody reads, and would leave this function by it.
    let is_told = sys::without_pipe_signal(|| {
        while !left.is_empty() {
            match rustix::io::write(sys::borrow(place::FRAMES), left) {
                Ok(written) => left = left.get(written..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(_) => return false,
            }
        }
        true
    });
    // SAFETY: R passes an integer vector of the length 1.
    unsafe { ptr::write(failed, c_int::from(!matches!(is_told, Ok(true)))) };
}

/// `.C(leave, status)`: the end of R, but for the folder of its temporary files, which goes with the jail: R would have a
/// shell remove it.
extern "C" fn leave(status: *const c_int) {
    // SAFETY: R passes an integer vector of the length 1.
    sys::exit(unsafe { ptr::read(status) })
}
