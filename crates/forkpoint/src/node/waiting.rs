//! How a Node that is a session's waits for its runs: its loop turns meanwhile, and looks at the session's socket as at
//! any other.
#![expect(unsafe_code, reason = "libuv's and Node's functions are called by their addresses")]

use std::ffi::{c_int, c_void};
use std::io;
use std::mem::{size_of, transmute};
use std::os::fd::{IntoRawFd as _, RawFd};
use std::ptr;
use std::sync::{Mutex, PoisonError};

use super::copying::copies;
use super::module::{Arrays, Handle};
use crate::jail::{Cell, look_for_run, socket};
use crate::sys;

/// `UV_POLL` of `uv_handle_type`.
const POLL: c_int = 8;

/// `UV_READABLE` of `uv_poll_event`.
const READABLE: c_int = 1;

/// What a session's Node waits with.
#[derive(Clone, Copy)]
struct Waiting {
    env: usize,
    /// References to the functions that are called with each run, and in a copy.
    callback: usize,
    copied: usize,
    /// The `uv_poll_t` that looks at the session's socket.
    poll: usize,
}

static WAITING: Mutex<Option<Waiting>> = Mutex::new(None);

fn waiting() -> Option<Waiting> {
    *WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From here on the first function is called for each run, when [`await_next`] has been, and the other in a copy.
pub(super) fn begin(env: Handle, callback: Handle, copied: Handle) -> io::Result<()> {
    let socket = socket().ok_or(io::ErrorKind::NotFound)?;
    let (callback, copied) = (reference(env, callback)?, reference(env, copied)?);
    let poll = make_poll(env, socket)?;
    note(Waiting { env: env.expose_provenance(), callback, copied, poll });
    Ok(())
}

fn note(waiting: Waiting) {
    *WAITING.lock().unwrap_or_else(PoisonError::into_inner) = Some(waiting);
}

/// Keeps a value.
fn reference(env: Handle, value: Handle) -> io::Result<usize> {
    // SAFETY: `napi_status napi_create_reference(napi_env, napi_value, uint32_t, napi_ref *)`.
    let refer: extern "C" fn(Handle, Handle, u32, *mut Handle) -> c_int =
        unsafe { transmute(sys::own_function(c"napi_create_reference")) };
    let mut reference = ptr::null_mut();
    match refer(env, value, 1, &raw mut reference) {
        0 => Ok(reference.expose_provenance()),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// In a copy whose loop is its own: it waits on the socket that is its own, and the function is called that is for copies.
pub(super) fn begin_again(socket: RawFd) -> io::Result<()> {
    // SAFETY: `void uv_close(uv_handle_t *, uv_close_cb)`.
    let close: extern "C" fn(Handle, *const c_void) = unsafe { transmute(sys::own_function(c"uv_close")) };
    let Some(known) = waiting() else { return Err(io::ErrorKind::NotFound.into()) };
    close(ptr::with_exposed_provenance_mut(known.poll), ptr::null());
    let poll = make_poll(ptr::with_exposed_provenance_mut(known.env), socket)?;
    let known = Waiting { poll, ..known };
    note(known);
    await_next()?;
    let own = rustix::process::getpid().as_raw_pid().to_string();
    call(&known, known.copied, &[own.into()])
}

/// A `uv_poll_t` of the loop, which lives as long as this process.
fn make_poll(env: Handle, socket: RawFd) -> io::Result<usize> {
    // SAFETY: `napi_status napi_get_uv_event_loop(napi_env, uv_loop_t **)`.
    let get: extern "C" fn(Handle, *mut Handle) -> c_int =
        unsafe { transmute(sys::own_function(c"napi_get_uv_event_loop")) };
    // SAFETY: `size_t uv_handle_size(uv_handle_type)`.
    let size: extern "C" fn(c_int) -> usize = unsafe { transmute(sys::own_function(c"uv_handle_size")) };
    // SAFETY: `int uv_poll_init(uv_loop_t *, uv_poll_t *, int)`.
    let init: extern "C" fn(Handle, Handle, c_int) -> c_int =
        unsafe { transmute(sys::own_function(c"uv_poll_init")) };
    let mut event_loop = ptr::null_mut();
    let words = size(POLL).div_ceil(size_of::<usize>());
    let handle: *mut c_void = Box::leak(vec![0_usize; words].into_boxed_slice()).as_mut_ptr().cast();
    if get(env, &raw mut event_loop) != 0 || init(event_loop, handle, socket) != 0 {
        return Err(io::ErrorKind::Other.into());
    }
    Ok(handle.expose_provenance())
}

/// Looks for the next run while the loop turns, and keeps that from its end.
pub(super) fn await_next() -> io::Result<()> {
    let Some(Waiting { poll, .. }) = waiting() else { return Err(io::ErrorKind::NotFound.into()) };
    // SAFETY: `int uv_poll_start(uv_poll_t *, int, uv_poll_cb)`.
    let start: extern "C" fn(Handle, c_int, extern "C" fn(Handle, c_int, c_int)) -> c_int =
        unsafe { transmute(sys::own_function(c"uv_poll_start")) };
    match start(ptr::with_exposed_provenance_mut(poll), READABLE, look) {
        0 => Ok(()),
        _ => Err(io::ErrorKind::Other.into()),
    }
}

/// During a run the loop may come to its end: then nothing is left that could settle what the run waits for.
fn await_nothing(poll: usize) {
    // SAFETY: `int uv_poll_stop(uv_poll_t *)`.
    let stop: extern "C" fn(Handle) -> c_int = unsafe { transmute(sys::own_function(c"uv_poll_stop")) };
    if stop(ptr::with_exposed_provenance_mut(poll)) != 0 {
        sys::exit_now(1);
    }
}

/// What libuv calls when there is something to read, or the helper is gone.
extern "C" fn look(_handle: Handle, _status: c_int, _events: c_int) {
    if let Some(run) = look_for_run(copies()) {
        // In a copy another poll looks.
        let Some(known) = waiting() else { sys::exit_now(1) };
        await_nothing(known.poll);
        if begin_run(&known, run).is_err() {
            sys::exit_now(1);
        }
    }
}

/// Hands a run to the runner: the numbers of its code and of its frames, and its arguments.
fn begin_run(known: &Waiting, run: Vec<Vec<u8>>) -> io::Result<()> {
    let Cell { code, frames, arguments } = Cell::begin(run)?;
    let mut all: Vec<Vec<u8>> =
        [code, frames].into_iter().map(|fd| fd.into_raw_fd().to_string().into()).collect();
    all.extend(arguments);
    call(known, known.callback, &all)
}

/// Calls a function with texts, from where none of the code's is under way.
fn call(known: &Waiting, function: usize, texts: &[Vec<u8>]) -> io::Result<()> {
    let env: Handle = ptr::with_exposed_provenance_mut(known.env);
    // SAFETY: `napi_status napi_open_handle_scope(napi_env, napi_handle_scope *)`.
    let open: extern "C" fn(Handle, *mut Handle) -> c_int =
        unsafe { transmute(sys::own_function(c"napi_open_handle_scope")) };
    // SAFETY: `napi_status napi_close_handle_scope(napi_env, napi_handle_scope)`.
    let close: extern "C" fn(Handle, Handle) -> c_int =
        unsafe { transmute(sys::own_function(c"napi_close_handle_scope")) };
    // SAFETY: `napi_status napi_get_reference_value(napi_env, napi_ref, napi_value *)`.
    let value_of: extern "C" fn(Handle, Handle, *mut Handle) -> c_int =
        unsafe { transmute(sys::own_function(c"napi_get_reference_value")) };
    // SAFETY: `napi_status napi_get_global(napi_env, napi_value *)`.
    let global: extern "C" fn(Handle, *mut Handle) -> c_int =
        unsafe { transmute(sys::own_function(c"napi_get_global")) };
    // SAFETY: `napi_status napi_make_callback(napi_env, napi_async_context, napi_value, napi_value, size_t,
    // const napi_value *, napi_value *)`.
    let make: extern "C" fn(Handle, Handle, Handle, Handle, usize, *const Handle, *mut Handle) -> c_int =
        unsafe { transmute(sys::own_function(c"napi_make_callback")) };
    let (mut scope, mut callback, mut receiver) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
    let reference = ptr::with_exposed_provenance_mut(function);
    let mut failed = open(env, &raw mut scope) | value_of(env, reference, &raw mut callback);
    failed |= global(env, &raw mut receiver);
    let array = Arrays::find().array_of(env, texts).ok_or(io::ErrorKind::Other)?;
    failed |= make(env, ptr::null_mut(), receiver, callback, 1, &raw const array, ptr::null_mut());
    failed |= close(env, scope);
    if failed == 0 { Ok(()) } else { Err(io::ErrorKind::Other.into()) }
}
