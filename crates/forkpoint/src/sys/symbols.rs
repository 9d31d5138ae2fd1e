//! Functions of the program that this library is loaded into, by their names. They are looked up when they are called,
//! because each interpreter has only its own.
#![expect(unsafe_code, reason = "symbols have no safe wrapper")]

use std::ffi::{CStr, c_void};
use std::io;

use super::exit_now;

/// The address of one. There is no way on without it.
pub(crate) fn own_function(name: &CStr) -> *mut c_void {
    match find_function(name) {
        Some(found) => found,
        None => exit_now(1),
    }
}

/// The address of one that may not be there.
pub(crate) fn find_function(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: the name is a live string; looking a symbol up runs no code of it.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!found.is_null()).then_some(found)
}

/// The address of one that this library stands before: the next after its own. There is no way on without it.
pub(crate) fn next_function(name: &CStr) -> *mut c_void {
    // SAFETY: the name is a live string; looking a symbol up runs no code of it.
    let found = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
    if found.is_null() { exit_now(1) } else { found }
}

/// Keeps a library that is loaded by this name where it is, whoever unloads it.
pub(crate) fn keep_library(name: &CStr) -> io::Result<()> {
    // SAFETY: the name is a live string; the library is there already, so that no code of it is run.
    let found = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_NOLOAD) };
    if found.is_null() { Err(io::ErrorKind::NotFound.into()) } else { Ok(()) }
}

/// Where the C library's `rand` goes on from.
pub(crate) fn reseed(seed: u32) {
    // SAFETY: takes no pointer, and the caller is single-threaded.
    unsafe { libc::srand(seed) }
}
