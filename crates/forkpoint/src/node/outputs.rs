//! Pipes in the places of standard output and error while Node makes its streams of them: what such a stream is, Node sees
//! by the descriptor of that moment, and what comes to its number later it writes to all the same.
#![expect(unsafe_code, reason = "Node's functions are called by their addresses")]

use std::ffi::c_int;
use std::io;
use std::mem::transmute;
use std::os::fd::IntoRawFd as _;
use std::ptr;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::pipe::{PipeFlags, pipe_with};

use super::module::Handle;
use crate::jail::place;
use crate::sys;

/// Calls a function with the number of one more such end of the pipe, which is the function's own. What it writes is nowhere.
pub(super) fn among_pipes(env: Handle, function: Handle) -> io::Result<()> {
    let (reads, writes) = pipe_with(PipeFlags::CLOEXEC)?;
    let mut own = Vec::new();
    for number in [1, 2] {
        own.push((fcntl_dupfd_cloexec(sys::borrow(number), place::ABOVE_LIBRARIES)?, number));
        sys::duplicate_inheritable(&writes, number)?;
    }
    let called = call(env, function, writes.into_raw_fd());
    for (fd, number) in own {
        sys::duplicate_inheritable(fd, number)?;
    }
    drop(reads);
    called
}

fn call(env: Handle, function: Handle, number: c_int) -> io::Result<()> {
    // SAFETY: `napi_status napi_create_int32(napi_env, int32_t, napi_value *)`.
    let integer: extern "C" fn(Handle, i32, *mut Handle) -> c_int =
        unsafe { transmute(sys::own_function(c"napi_create_int32")) };
    // SAFETY: `napi_status napi_get_global(napi_env, napi_value *)`.
    let global: extern "C" fn(Handle, *mut Handle) -> c_int =
        unsafe { transmute(sys::own_function(c"napi_get_global")) };
    // SAFETY: `napi_status napi_call_function(napi_env, napi_value, napi_value, size_t, const napi_value *, napi_value *)`.
    let call: extern "C" fn(Handle, Handle, Handle, usize, *const Handle, *mut Handle) -> c_int =
        unsafe { transmute(sys::own_function(c"napi_call_function")) };
    let (mut receiver, mut given) = (ptr::null_mut(), ptr::null_mut());
    let made = integer(env, number, &raw mut given) | global(env, &raw mut receiver);
    let failed = made != 0 || call(env, receiver, function, 1, &raw const given, ptr::null_mut()) != 0;
    if failed { Err(io::ErrorKind::Other.into()) } else { Ok(()) }
}
