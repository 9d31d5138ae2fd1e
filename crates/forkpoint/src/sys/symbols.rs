//! Functions of the program that this library is loaded into, by their names. They are looked up when they are called,
//! because each interpreter has only its own.
#![expect(unsafe_code, reason = "symbols have no safe wrapper")]

use std::ffi::{CStr, c_void};

use super::exit_now;

/// The address of one. There is no way on without it.
pub(crate) fn own_function(name: &CStr) -> *mut c_void {
    // SAFETY: the name is a live string; looking a symbol up runs no code of it.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    if found.is_null() {
        exit_now(1);
    }
    found
}
