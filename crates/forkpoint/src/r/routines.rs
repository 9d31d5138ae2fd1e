//! What R loads of this library (`dyn.load`): `execgate_routine` gives the others. `serve` comes back in a resident only,
//! `take` gives that its run, `tell` writes its frames, because R itself writes to no descriptor by its number, `leave` ends
//! it, and `end` ends a run of its session.
#![expect(unsafe_code, reason = "R passes pointers")]

use std::ffi::{CString, c_char, c_int, c_void};
use std::io;
use std::mem::{self, transmute};
use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};
use std::ptr;
use std::slice;
use std::sync::{Mutex, PoisonError};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::rand::{GetRandomFlags, getrandom};

use super::random;
use crate::jail::{Around, Cell, Copies, Kind, hush, is_session, place, take_request, write_frames};
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
    // R would take the library away with its last name. Where it stands behind R, all that R draws is the clock's.
    if sys::keep_library(c"/proc/self/fd/4").is_err() || !random::comes_first() {
        sys::exit_now(1);
    }
    // SAFETY: `int Rf_asInteger(SEXP)`.
    let integer: extern "C" fn(Value) -> c_int = unsafe { transmute(sys::own_function(c"Rf_asInteger")) };
    let routine = match integer(number) {
        1 => serve as *mut c_void,
        2 => take as *mut c_void,
        3 => tell as *mut c_void,
        4 => leave as *mut c_void,
        _ => end as *mut c_void,
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

/// R draws the names of its temporary files from the C library, which it seeds at its start. Its own generators are seeded
/// when they are first used, which no stem does: see [`random`].
fn reseed() -> io::Result<()> {
    sys::reseed(u32::from_ne_bytes(draw()?));
    Ok(())
}

fn draw() -> io::Result<[u8; 4]> {
    let mut drawn = [0; 4];
    if getrandom(&mut drawn, GetRandomFlags::empty())? != drawn.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(drawn)
}

/// Code and frames of the run that a session is in.
static RUN: Mutex<Option<Cell>> = Mutex::new(None);

/// R has one thread, and is copied as it is, but for what is random.
const AROUND: Around =
    Around { wait: |wait| wait(), copies: Some(Copies { before: || Ok(()), after: || {}, copied }) };

fn copied(_kind: Kind, _socket: RawFd) {
    if reseed().is_err() {
        sys::exit_now(1);
    }
}

/// `.C(take, own, length(own), state)`: waits for the run, and puts its arguments after these. The state is how many
/// descriptors it may inherit; it leaves 0 there, or -1 where there is a session instead. In a session it waits for the
/// next run, and leaves there the number of its code. The second number of the state is made 1 in a copy, the third a seed;
/// where that is 1 at first, there is time until the run comes.
extern "C" fn take(own: *const *mut c_char, count: *const c_int, state: *mut c_int) {
    // SAFETY: R passes an integer vector of the length 1.
    let count = usize::try_from(unsafe { ptr::read(count) }).unwrap_or(0);
    // SAFETY: R passes a character vector of that length.
    let own = unsafe { slice::from_raw_parts(own, count) };
    // SAFETY: R passes an integer vector of the length 3.
    let state = unsafe { slice::from_raw_parts_mut(state, 3) };
    let &mut [ref mut number, ref mut is_copy, ref mut seed] = state else { sys::exit_now(1) };
    if mem::take(seed) == 1 {
        touch_ahead();
    }
    drop(RUN.lock().unwrap_or_else(PoisonError::into_inner).take());
    let pid = rustix::process::getpid();
    // SAFETY: `void R_set_command_line_arguments(int, char **)`, which copies what it is given.
    let set: SetArguments = unsafe { transmute(sys::own_function(c"R_set_command_line_arguments")) };
    let mut arguments = take_request(usize::try_from(*number).unwrap_or(0), &AROUND);
    *number = 0;
    if !is_session() {
        // What the code starts has no word in what its run tells.
        if fcntl_setfd(sys::borrow(place::FRAMES), FdFlags::CLOEXEC).is_err() {
            sys::exit_now(1);
        }
    } else if arguments.is_empty() {
        *number = -1;
        // For a runner that reads them once before all.
        arguments = vec![b"-".to_vec()];
    } else {
        let Ok(begun) = Cell::begin(mem::take(&mut arguments)) else { sys::exit_now(1) };
        arguments.clone_from(&begun.arguments);
        *number = begun.code.as_raw_fd();
        *RUN.lock().unwrap_or_else(PoisonError::into_inner) = Some(begun);
        *is_copy = c_int::from(rustix::process::getpid() != pid);
        let Ok(drawn) = draw() else { sys::exit_now(1) };
        // R's smallest number is none.
        *seed = c_int::from_ne_bytes(drawn) & c_int::MAX;
    }
    set_arguments(set, own, arguments);
}

/// Makes what the run will write to first this process's own: what R makes next lies below what it has made last. One fault
/// for each page would cost the run several times as much.
fn touch_ahead() {
    /// Beyond the cells of a short run, in bytes.
    const AHEAD: usize = 192 << 10;
    // SAFETY: `SEXP R_NilValue`, which R has set at its start.
    let nil = unsafe { ptr::read(sys::own_function(c"R_NilValue").cast::<Value>()) };
    // SAFETY: `SEXP Rf_cons(SEXP, SEXP)`.
    let cons: extern "C" fn(Value, Value) -> Value = unsafe { transmute(sys::own_function(c"Rf_cons")) };
    let last = cons(nil, nil).addr();
    sys::make_own(last.saturating_sub(AHEAD), AHEAD);
}

/// `R_set_command_line_arguments`.
type SetArguments = extern "C" fn(c_int, *const *mut c_char);

/// What `commandArgs` gives from here on.
fn set_arguments(set: SetArguments, own: &[*mut c_char], arguments: Vec<Vec<u8>>) {
    let arguments: Result<Vec<CString>, _> = arguments.into_iter().map(CString::new).collect();
    let Ok(arguments) = arguments else { sys::exit_now(1) };
    let mut all = own.to_vec();
    all.extend(arguments.iter().map(|argument| argument.as_ptr().cast_mut()));
    set(c_int::try_from(all.len()).unwrap_or(0), all.as_ptr());
}

/// `.C(tell, bytes, length(bytes), failed = 1L)`: leaves 0 where all of them are written.
extern "C" fn tell(bytes: *const u8, count: *const c_int, failed: *mut c_int) {
    // SAFETY: R passes an integer vector of the length 1.
    let count = usize::try_from(unsafe { ptr::read(count) }).unwrap_or(0);
    // SAFETY: R passes a raw vector of that length.
    let bytes = unsafe { slice::from_raw_parts(bytes, count) };
    let run = RUN.lock().unwrap_or_else(PoisonError::into_inner);
    let is_told = match run.as_ref() {
        Some(run) => write_frames(run.frames.as_fd(), bytes),
        // Between two runs nobody listens.
        None => !is_session() && flush() && write_frames(sys::borrow(place::FRAMES), bytes),
    };
    // SAFETY: R passes an integer vector of the length 1.
    unsafe { ptr::write(failed, c_int::from(!is_told)) };
}

/// Writes what the C library has buffered: whoever has heard the end hears nothing more.
fn flush() -> bool {
    sys::without_pipe_signal(sys::flush_streams).is_ok()
}

/// `.C(end, 0L)`: writes what is left, and from then on it is nowhere. Before a run of a session tells its end.
extern "C" fn end(_nothing: *mut c_int) {
    sys::flush_streams();
    if hush().is_err() {
        sys::exit_now(1);
    }
}

/// `.C(leave, status)`: the end of R, when that is told. What its libraries would do then is for nobody, and the folder of
/// its temporary files goes with the jail.
extern "C" fn leave(status: *const c_int) {
    let is_flushed = flush();
    // SAFETY: R passes an integer vector of the length 1.
    let status = unsafe { ptr::read(status) };
    sys::exit_now(if is_flushed { status } else { 1 })
}
