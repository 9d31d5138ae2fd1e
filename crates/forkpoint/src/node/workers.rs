//! V8's helper threads, which a fork does not have. Node is told so: else V8 gives work to nobody in some collections, and
//! Node waits at its end until that is done.
//!
//! Node has no call for it, so its list of them is found by what it does: it is the one whose length is how many Node says
//! there are, and when it is empty Node says that there are none. What is tried on the way is put back; nobody else runs
//! meanwhile.
#![expect(unsafe_code, reason = "Node's own functions are called by their addresses")]

use std::ffi::{CStr, c_void};
use std::io;
use std::mem::{size_of, transmute};

use crate::sys::{self, OwnMemory};

type Pointer = *mut c_void;

/// How much of the platform, and of what it points to, to look at, in words.
const WORDS: usize = 96;

/// Makes Node say that there are none. For one whose threads have ended.
pub(super) fn forget() -> io::Result<()> {
    let platform = platform()?;
    // SAFETY: `int node::NodePlatform::NumberOfWorkerThreads()`.
    let count = unsafe {
        transmute::<Pointer, extern "C" fn(Pointer) -> i32>(found(
            c"_ZN4node12NodePlatform21NumberOfWorkerThreadsEv",
        )?)
    };
    let length = usize::try_from(count(platform)).map_err(io::Error::other)?;
    // Somebody has been here before.
    if length == 0 {
        return Ok(());
    }
    let memory = OwnMemory::open()?;
    for inner in words(&memory, platform.addr()) {
        for (at, window) in words(&memory, inner).windows(3).enumerate() {
            let &[begin, end, full] = window else { continue };
            let is_list = begin != 0
                && begin.is_multiple_of(size_of::<usize>())
                && end.checked_sub(begin) == Some(length * size_of::<usize>())
                && full >= end;
            if !is_list {
                continue;
            }
            let place = inner + (at + 1) * size_of::<usize>();
            // What cannot be written to is no list.
            if memory.write(place, &begin.to_ne_bytes()).is_err() {
                continue;
            }
            if count(platform) == 0 {
                return Ok(());
            }
            memory.write(place, &end.to_ne_bytes())?;
        }
    }
    Err(io::ErrorKind::Unsupported.into())
}

/// The words at an address; none where nothing is.
fn words(memory: &OwnMemory, at: usize) -> Vec<usize> {
    let mut bytes = [0; WORDS * size_of::<usize>()];
    if at == 0 || !at.is_multiple_of(size_of::<usize>()) {
        return Vec::new();
    }
    let length = memory.read(at, &mut bytes).unwrap_or(0);
    let (words, _) = bytes.get(..length).unwrap_or_default().as_chunks::<{ size_of::<usize>() }>();
    words.iter().map(|word| usize::from_ne_bytes(*word)).collect()
}

/// Node's platform.
fn platform() -> io::Result<Pointer> {
    // SAFETY: `static v8::Isolate *v8::Isolate::GetCurrent()`.
    let isolate: extern "C" fn() -> Pointer = unsafe { transmute(found(c"_ZN2v87Isolate10GetCurrentEv")?) };
    // SAFETY: `v8::Local<v8::Context> v8::Isolate::GetCurrentContext()`.
    let context: extern "C" fn(Pointer) -> Pointer =
        unsafe { transmute(found(c"_ZN2v87Isolate17GetCurrentContextEv")?) };
    // SAFETY: `node::Environment *node::GetCurrentEnvironment(v8::Local<v8::Context>)`.
    let environment: extern "C" fn(Pointer) -> Pointer =
        unsafe { transmute(found(c"_ZN4node21GetCurrentEnvironmentEN2v85LocalINS0_7ContextEEE")?) };
    // SAFETY: `node::MultiIsolatePlatform *node::GetMultiIsolatePlatform(node::Environment *)`.
    let platform: extern "C" fn(Pointer) -> Pointer =
        unsafe { transmute(found(c"_ZN4node23GetMultiIsolatePlatformEPNS_11EnvironmentE")?) };
    let found = platform(environment(context(isolate())));
    if found.is_null() { Err(io::ErrorKind::Unsupported.into()) } else { Ok(found) }
}

fn found(name: &CStr) -> io::Result<Pointer> {
    sys::find_function(name).ok_or(io::ErrorKind::Unsupported.into())
}
