//! What Node loads of this library (`process.dlopen`): a module that waits for the run of its process, and whose exports
//! are the run's arguments. By Node-API, which is the same in every version.
#![expect(unsafe_code, reason = "a module is made of Node's own pointers")]

use std::ffi::{c_char, c_int, c_void};
use std::mem::transmute;
use std::ptr;

use crate::jail::{Around, WITH_FRAMES, take_request};
use crate::panics::{Tell, die_of_panics};
use crate::sys;

/// `napi_env` and `napi_value`.
type Handle = *mut c_void;

/// What Node calls when it loads the module.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn napi_register_module_v1(env: Handle, _exports: Handle) -> Handle {
    die_of_panics(Tell::Nobody);
    let arguments = take_request(WITH_FRAMES, &Around::NOTHING);
    // SAFETY: `napi_status napi_create_array(napi_env, napi_value *)`.
    let new: extern "C" fn(Handle, *mut Handle) -> c_int =
        unsafe { transmute(sys::own_function(c"napi_create_array")) };
    // SAFETY: `napi_status napi_create_string_utf8(napi_env, const char *, size_t, napi_value *)`.
    let text: extern "C" fn(Handle, *const c_char, usize, *mut Handle) -> c_int =
        unsafe { transmute(sys::own_function(c"napi_create_string_utf8")) };
    // SAFETY: `napi_status napi_set_element(napi_env, napi_value, uint32_t, napi_value)`.
    let put: extern "C" fn(Handle, Handle, u32, Handle) -> c_int =
        unsafe { transmute(sys::own_function(c"napi_set_element")) };
    let mut array = ptr::null_mut();
    let mut failed = new(env, &raw mut array);
    for (at, argument) in (0..).zip(&arguments) {
        let mut value = ptr::null_mut();
        failed |= text(env, argument.as_ptr().cast(), argument.len(), &raw mut value);
        failed |= put(env, array, at, value);
    }
    if failed == 0 { array } else { sys::exit_now(1) }
}
