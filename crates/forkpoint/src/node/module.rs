//! The module that Node loads (`process.dlopen`), by Node-API, which is the same in every version: `amongPipes`, by
//! which streams are made beforehand; `serve`, which comes back in a resident only; `take`, which gives it its run. One that is a session's has `session`, `next`, `hush` and `afresh`.
#![expect(unsafe_code, reason = "a module is made of Node's own pointers")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::transmute;
use std::ptr;

use super::fit;
use super::outputs::among_pipes;
use super::waiting;
use super::{afresh, copying};
use crate::jail::{Around, WITH_FRAMES, hush, take_request};
use crate::panics::{Tell, die_of_panics};
use crate::stem::{Hooks, refuse_to_serve, serve, warm_seed};
use crate::sys;

/// `napi_env`, `napi_value` and `napi_callback_info`.
pub(super) type Handle = *mut c_void;

/// What Node calls a function of the module with.
type Callback = extern "C" fn(Handle, Handle) -> Handle;

const HOOKS: Hooks = Hooks { before: || {}, after: || {}, resident: afresh::begin };

/// `serve() -> number`: its process id; negative where its run waits for it already.
extern "C" fn serve_from_node(env: Handle, _info: Handle) -> Handle {
    if let Err(unfit) = fit::is_proved(env).and_then(|()| afresh::prepare(env)).and_then(|()| fit::make()) {
        refuse_to_serve(unfit);
    }
    let Ok(seed) = warm_seed() else { sys::exit_now(1) };
    let resident = serve(Box::leak(Box::new(seed)), &HOOKS);
    let own = rustix::process::getpid().as_raw_pid();
    // SAFETY: `napi_status napi_create_int32(napi_env, int32_t, napi_value *)`.
    let number: extern "C" fn(Handle, i32, *mut Handle) -> c_int =
        unsafe { transmute(sys::own_function(c"napi_create_int32")) };
    let mut value = ptr::null_mut();
    let made = number(env, if resident.is_awaited { -own } else { own }, &raw mut value);
    if made == 0 { value } else { sys::exit_now(1) }
}

/// `take() -> string[]`: the arguments of the run; none where there is a session instead.
extern "C" fn take_from_node(env: Handle, _info: Handle) -> Handle {
    // SAFETY: `napi_status napi_add_env_cleanup_hook(napi_env, void (*)(void *), void *)`.
    let at_end: extern "C" fn(Handle, extern "C" fn(*mut c_void), *mut c_void) -> c_int =
        unsafe { transmute(sys::own_function(c"napi_add_env_cleanup_hook")) };
    if at_end(env, leave, ptr::null_mut()) != 0 {
        sys::exit_now(1);
    }
    // While there is time: its libraries are large, and what they call something is far from anything else.
    let arrays = Arrays::find();
    match arrays.array_of(env, &take_request(WITH_FRAMES, &Around::NOTHING)) {
        Some(array) => array,
        None => sys::exit_now(1),
    }
}

/// Node's own functions that make an array of strings.
pub(super) struct Arrays {
    new: extern "C" fn(Handle, *mut Handle) -> c_int,
    text: extern "C" fn(Handle, *const c_char, usize, *mut Handle) -> c_int,
    put: extern "C" fn(Handle, Handle, u32, Handle) -> c_int,
}

impl Arrays {
    pub(super) fn find() -> Self {
        // SAFETY: `napi_status napi_create_array(napi_env, napi_value *)`.
        let new = unsafe {
            transmute::<Handle, extern "C" fn(Handle, *mut Handle) -> c_int>(sys::own_function(
                c"napi_create_array",
            ))
        };
        // SAFETY: `napi_status napi_create_string_utf8(napi_env, const char *, size_t, napi_value *)`.
        let text = unsafe {
            transmute::<Handle, extern "C" fn(Handle, *const c_char, usize, *mut Handle) -> c_int>(
                sys::own_function(c"napi_create_string_utf8"),
            )
        };
        // SAFETY: `napi_status napi_set_element(napi_env, napi_value, uint32_t, napi_value)`.
        let put = unsafe {
            transmute::<Handle, extern "C" fn(Handle, Handle, u32, Handle) -> c_int>(sys::own_function(
                c"napi_set_element",
            ))
        };
        Self { new, text, put }
    }

    /// A new array of strings.
    pub(super) fn array_of(&self, env: Handle, texts: &[Vec<u8>]) -> Option<Handle> {
        let mut array = ptr::null_mut();
        let mut failed = (self.new)(env, &raw mut array);
        for (at, one) in (0..).zip(texts) {
            let mut value = ptr::null_mut();
            failed |= (self.text)(env, one.as_ptr().cast(), one.len(), &raw mut value);
            failed |= (self.put)(env, array, at, value);
        }
        (failed == 0).then_some(array)
    }
}

/// `session(callback, copied)`: the first is called with each run of a session, after `next` was: the numbers of its code
/// and frames, and its arguments. Its streams are in their places then. The other is called in a copy, with its process id.
extern "C" fn session_from_node(env: Handle, info: Handle) -> Handle {
    let begun = arguments(env, info).map(|[callback, copied]| waiting::begin(env, callback, copied));
    copying::prepare(env);
    match begun {
        Some(Ok(())) => ptr::null_mut(),
        Some(Err(_)) | None => sys::exit_now(1),
    }
}

/// `afresh()`: in a copy, before anything else is done there.
extern "C" fn afresh_from_node(_env: Handle, _info: Handle) -> Handle {
    if copying::begin().is_err() {
        sys::exit_now(1);
    }
    ptr::null_mut()
}

/// `amongPipes(function)`: calls it while pipes are where standard output and error will be.
extern "C" fn among_pipes_from_node(env: Handle, info: Handle) -> Handle {
    match arguments(env, info).map(|[function]| among_pipes(env, function)) {
        Some(Ok(())) => ptr::null_mut(),
        Some(Err(_)) | None => sys::exit_now(1),
    }
}

/// `next()`: waits for the next run while the loop turns.
extern "C" fn next_from_node(_env: Handle, _info: Handle) -> Handle {
    if waiting::await_next().is_err() {
        sys::exit_now(1);
    }
    ptr::null_mut()
}

/// `hush()`: from then on what is written is nowhere.
extern "C" fn hush_from_node(_env: Handle, _info: Handle) -> Handle {
    if hush().is_err() {
        sys::exit_now(1);
    }
    ptr::null_mut()
}

/// What a function was called with; `undefined` in the place of what it was not.
fn arguments<const COUNT: usize>(env: Handle, info: Handle) -> Option<[Handle; COUNT]> {
    // SAFETY: `napi_status napi_get_cb_info(napi_env, napi_callback_info, size_t *, napi_value *, napi_value *, void **)`.
    let arguments: extern "C" fn(Handle, Handle, *mut usize, *mut Handle, *mut Handle, *mut Handle) -> c_int =
        unsafe { transmute(sys::own_function(c"napi_get_cb_info")) };
    let (mut count, mut given) = (COUNT, [ptr::null_mut(); COUNT]);
    let failed = arguments(env, info, &raw mut count, given.as_mut_ptr(), ptr::null_mut(), ptr::null_mut());
    (failed == 0).then_some(given)
}

/// `reallyExit(code)`: ends this process at once. Node's own would wait for threads that a fork has not.
extern "C" fn exit_from_node(env: Handle, info: Handle) -> Handle {
    // SAFETY: `napi_status napi_get_value_int32(napi_env, napi_value, int32_t *)`.
    let number: extern "C" fn(Handle, Handle, *mut i32) -> c_int =
        unsafe { transmute(sys::own_function(c"napi_get_value_int32")) };
    let mut code = 0;
    if let Some([given]) = arguments(env, info) {
        // What is no number is 0.
        let _is_none = number(env, given, &raw mut code);
    }
    sys::exit_now(code)
}

/// Ends this process where Node does by itself: nothing of the runner hears that where the code has taken its listeners
/// away, and Node would wait for threads that a fork has not.
extern "C" fn leave(_nothing: *mut c_void) {
    sys::exit_now(0)
}

/// What Node calls when it loads the module.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn napi_register_module_v1(env: Handle, exports: Handle) -> Handle {
    die_of_panics(Tell::Nobody);
    add(env, exports, c"amongPipes", among_pipes_from_node);
    add(env, exports, c"serve", serve_from_node);
    add(env, exports, c"take", take_from_node);
    add(env, exports, c"session", session_from_node);
    add(env, exports, c"next", next_from_node);
    add(env, exports, c"hush", hush_from_node);
    add(env, exports, c"afresh", afresh_from_node);
    add(env, exports, c"reallyExit", exit_from_node);
    exports
}

/// Gives the module a function.
fn add(env: Handle, exports: Handle, name: &CStr, function: Callback) {
    /// `NAPI_AUTO_LENGTH`.
    const UP_TO_NUL: usize = usize::MAX;
    // SAFETY: `napi_status napi_create_function(napi_env, const char *, size_t, napi_callback, void *, napi_value *)`.
    let new: extern "C" fn(Handle, *const c_char, usize, Callback, *mut c_void, *mut Handle) -> c_int =
        unsafe { transmute(sys::own_function(c"napi_create_function")) };
    // SAFETY: `napi_status napi_set_named_property(napi_env, napi_value, const char *, napi_value)`.
    let set: extern "C" fn(Handle, Handle, *const c_char, Handle) -> c_int =
        unsafe { transmute(sys::own_function(c"napi_set_named_property")) };
    let mut value = ptr::null_mut();
    let made = new(env, name.as_ptr(), UP_TO_NUL, function, ptr::null_mut(), &raw mut value);
    if made != 0 || set(env, exports, name.as_ptr(), value) != 0 {
        sys::exit_now(1);
    }
}
