//! What is random in an R. R seeds its generator when it is first used, by the clock and its process id: for processes whose
//! ids are all the same, 16 bits in a second. So this library is loaded before R's own, and R's calls of `GetRNGstate`, with
//! which every draw begins, come here: wherever `.Random.seed` is not there, it is filled by the kernel. Until something is
//! drawn it is not there, as in any R.
#![expect(unsafe_code, reason = "R's own functions are called by their addresses")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::io;
use std::mem::{size_of, transmute};
use std::ptr;
use std::slice;

use rustix::rand::{GetRandomFlags, getrandom};

use crate::sys;

/// `SEXP`.
type Value = *mut c_void;

/// `void GetRNGstate(void)`, and `PutRNGstate`.
type Plain = extern "C" fn();

const GET: &CStr = c"GetRNGstate";

/// `MERSENNE_TWISTER` of R's `Random.h`, R's own choice: the last two digits of the first number.
const MERSENNE_TWISTER: c_int = 3;

/// Its numbers: the kind, how many of the words are used up, and the words.
const NUMBERS: usize = 626;
const WORDS: usize = 624;

/// `void GetRNGstate(void)`: takes the state from `.Random.seed`. R leaves it by a jump at an error: nothing here has an end
/// of its own.
#[unsafe(export_name = "GetRNGstate")]
pub(crate) extern "C" fn get_state() {
    // SAFETY: `void GetRNGstate(void)`.
    let get: Plain = unsafe { transmute(sys::next_function(GET)) };
    let is_there = is_seeded();
    get();
    if is_there {
        return;
    }
    if fill().is_err() {
        sys::exit_now(1);
    }
    get();
    // R makes it when it is done, unless it only looked.
    if let Some(remove) = sys::find_function(c"R_removeVarFromFrame") {
        // SAFETY: `void R_removeVarFromFrame(SEXP, SEXP)`, since R 4.1.
        let remove: extern "C" fn(Value, Value) = unsafe { transmute(remove) };
        let (name, global) = seed();
        remove(name, global);
    }
}

/// Whether this library was loaded before R's own, so that what R draws begins here.
pub(super) fn comes_first() -> bool {
    let first = sys::find_function(GET);
    first.is_some_and(|first| ptr::eq(first, get_state as *const c_void))
}

/// `.Random.seed`, and where R looks for it.
fn seed() -> (Value, Value) {
    // SAFETY: `SEXP Rf_install(const char *)`.
    let install: extern "C" fn(*const c_char) -> Value =
        unsafe { transmute(sys::own_function(c"Rf_install")) };
    // SAFETY: `SEXP R_GlobalEnv`, which R has set at its start.
    let global = unsafe { ptr::read(sys::own_function(c"R_GlobalEnv").cast::<Value>()) };
    (install(c".Random.seed".as_ptr()), global)
}

fn is_seeded() -> bool {
    let (name, global) = seed();
    // Since R 4.2.
    if let Some(exists) = sys::find_function(c"R_existsVarInFrame") {
        // SAFETY: `Rboolean R_existsVarInFrame(SEXP, SEXP)`.
        let exists: extern "C" fn(Value, Value) -> c_int = unsafe { transmute(exists) };
        return exists(global, name) != 0;
    }
    // SAFETY: `SEXP Rf_findVarInFrame(SEXP, SEXP)`.
    let find: extern "C" fn(Value, Value) -> Value =
        unsafe { transmute(sys::own_function(c"Rf_findVarInFrame")) };
    // SAFETY: `SEXP R_UnboundValue`, which R has set at its start.
    let unbound = unsafe { ptr::read(sys::own_function(c"R_UnboundValue").cast::<Value>()) };
    find(global, name) != unbound
}

/// Draws what R has just made of the clock, by the kernel. Of other kinds of generators not every state is one; each is chosen
/// by a call that draws, and so begins with a state from here.
fn fill() -> io::Result<()> {
    // SAFETY: `void PutRNGstate(void)`, which makes `.Random.seed` anew.
    let put: Plain = unsafe { transmute(sys::own_function(c"PutRNGstate")) };
    // SAFETY: `SEXP Rf_eval(SEXP, SEXP)`.
    let eval: extern "C" fn(Value, Value) -> Value = unsafe { transmute(sys::own_function(c"Rf_eval")) };
    // SAFETY: `R_xlen_t Rf_xlength(SEXP)`.
    let length: extern "C" fn(Value) -> isize = unsafe { transmute(sys::own_function(c"Rf_xlength")) };
    // SAFETY: `int *INTEGER(SEXP)`.
    let integer: extern "C" fn(Value) -> *mut c_int = unsafe { transmute(sys::own_function(c"INTEGER")) };
    put();
    let (name, global) = seed();
    let value = eval(name, global);
    if length(value) != NUMBERS.cast_signed() {
        return Ok(());
    }
    let numbers = integer(value);
    // SAFETY: R has just made it, of this length, and nothing else knows of it.
    let numbers = unsafe { slice::from_raw_parts_mut(numbers.cast::<[u8; size_of::<c_int>()]>(), NUMBERS) };
    let (head, words) = numbers.split_at_mut(NUMBERS - WORDS);
    if c_int::from_ne_bytes(head[0]) % 100 != MERSENNE_TWISTER {
        return Ok(());
    }
    let words = words.as_flattened_mut();
    if getrandom(&mut *words, GetRandomFlags::empty())? != words.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}
