//! What is random in a fork of a Node: V8's generator, which seeds `Math.random`, and OpenSSL's.
//!
//! V8 gives no name to its generator in every version, so it is found by what it does: of all that the isolate points to,
//! it is the one whose two words go one step further when an object is given a hash. `Math.random` is seeded from it when
//! it is used first, and in a stem it never is: each fork looks whether it was the first.
#![expect(unsafe_code, reason = "V8's and OpenSSL's functions are called by their addresses")]

use std::ffi::{CStr, c_char, c_void};
use std::io;
use std::mem::{size_of, transmute};
use std::ptr;
use std::sync::OnceLock;

use rustix::rand::{GetRandomFlags, getrandom};

use super::module::Handle;
use crate::sys::{self, OwnMemory};

/// How far into the isolate to look, in bytes.
const ISOLATE_BYTES: usize = 128 << 10;

/// How many steps one hash may take: it is drawn again where it is 0.
const STEPS_MAX: usize = 4;

/// `v8::base::RandomNumberGenerator`: the seed that it was given, then its state.
type Generator = [u64; 3];

/// What a fork needs to know.
struct Known {
    env: usize,
    generator: usize,
    seed: extern "C" fn(*mut c_void, i64),
    poll: extern "C" fn() -> i32,
}

/// `v8::internal::MathRandom::ResetContext`, as the compilers of the proved versions spell it.
const RESETS: [&CStr; 2] = [
    c"_ZN2v88internal10MathRandom12ResetContextENS0_7ContextE",
    c"_ZN2v88internal10MathRandom12ResetContextENS0_6TaggedINS0_7ContextEEE",
];

static KNOWN: OnceLock<Known> = OnceLock::new();

/// In the stem, and in what is to be copied.
pub(super) fn prepare(env: Handle) -> io::Result<()> {
    if KNOWN.get().is_some() {
        return Ok(());
    }
    let found = |name| sys::find_function(name).ok_or(io::ErrorKind::Unsupported);
    // SAFETY: `static v8::Isolate *v8::Isolate::GetCurrent()`.
    let isolate: extern "C" fn() -> *mut c_void =
        unsafe { transmute(found(c"_ZN2v87Isolate10GetCurrentEv")?) };
    // SAFETY: `void v8::base::RandomNumberGenerator::SetSeed(int64_t)`.
    let seed = unsafe {
        transmute::<*mut c_void, extern "C" fn(*mut c_void, i64)>(found(
            c"_ZN2v84base21RandomNumberGenerator7SetSeedEl",
        )?)
    };
    // SAFETY: `int RAND_poll(void)`.
    let poll = unsafe { transmute::<*mut c_void, extern "C" fn() -> i32>(found(c"RAND_poll")?) };
    let generator = find(isolate().addr(), || draw(env))?;
    KNOWN.get_or_init(|| Known { env: env.expose_provenance(), generator, seed, poll });
    Ok(())
}

/// In a fork.
pub(super) fn begin() -> io::Result<()> {
    let Some(known) = KNOWN.get() else { return Err(io::ErrorKind::NotFound.into()) };
    let mut bytes = [0; size_of::<i64>()];
    if getrandom(&mut bytes, GetRandomFlags::empty())? != bytes.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    (known.seed)(ptr::with_exposed_provenance_mut(known.generator), i64::from_le_bytes(bytes));
    let before = now(known.generator);
    evaluate(ptr::with_exposed_provenance_mut(known.env), c"Math.random()")?;
    // What did not ask for a seed now has one that others have too.
    if now(known.generator) == before {
        return Err(io::ErrorKind::InvalidData.into());
    }
    if (known.poll)() == 1 { Ok(()) } else { Err(io::ErrorKind::Other.into()) }
}

/// Whether there is what [`begin_again`] needs.
pub(super) fn can_begin_again() -> bool {
    RESETS.iter().any(|name| sys::find_function(name).is_some())
}

/// In a copy of one that has drawn already: what `Math.random` would give next is forgotten, so that it asks for a seed
/// once more. To be called with the context entered.
pub(super) fn begin_again() -> io::Result<()> {
    let found = |name| sys::find_function(name).ok_or(io::ErrorKind::Unsupported);
    let reset = RESETS.iter().find_map(|name| sys::find_function(name)).ok_or(io::ErrorKind::Unsupported)?;
    // SAFETY: `static void v8::internal::MathRandom::ResetContext(Tagged<Context>)`: an object that is one address goes
    // as that.
    let reset: extern "C" fn(usize) = unsafe { transmute(reset) };
    // SAFETY: `static v8::Isolate *v8::Isolate::GetCurrent()`.
    let isolate: extern "C" fn() -> *mut c_void =
        unsafe { transmute(found(c"_ZN2v87Isolate10GetCurrentEv")?) };
    // SAFETY: `v8::Local<v8::Context> v8::Isolate::GetCurrentContext()`: where the address of the object is.
    let context: extern "C" fn(*mut c_void) -> *const usize =
        unsafe { transmute(found(c"_ZN2v87Isolate17GetCurrentContextEv")?) };
    let context = context(isolate());
    if context.is_null() {
        return Err(io::ErrorKind::NotFound.into());
    }
    // SAFETY: V8 has just said where it is.
    reset(unsafe { ptr::read(context) });
    begin()
}

/// What [`find`] has found, as it is now. A guest's filter keeps the kernel from reading it for us.
fn now(generator: usize) -> Generator {
    let generator: *const Generator = ptr::with_exposed_provenance(generator);
    // SAFETY: V8's generator is there for as long as the isolate is, and the fork has all of the isolate's memory.
    unsafe { ptr::read_volatile(generator) }
}

/// Runs a line of JavaScript.
fn evaluate(env: Handle, line: &CStr) -> io::Result<()> {
    // SAFETY: `napi_status napi_create_string_utf8(napi_env, const char *, size_t, napi_value *)`.
    let text: extern "C" fn(Handle, *const c_char, usize, *mut Handle) -> i32 =
        unsafe { transmute(sys::own_function(c"napi_create_string_utf8")) };
    // SAFETY: `napi_status napi_run_script(napi_env, napi_value, napi_value *)`.
    let run: extern "C" fn(Handle, Handle, *mut Handle) -> i32 =
        unsafe { transmute(sys::own_function(c"napi_run_script")) };
    let (mut source, mut value) = (ptr::null_mut(), ptr::null_mut());
    let failed = text(env, line.as_ptr(), line.count_bytes(), &raw mut source);
    if failed != 0 || run(env, source, &raw mut value) != 0 {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(())
}

/// Lets V8 draw: a new object is given its hash.
fn draw(env: Handle) -> io::Result<()> {
    let found = |name| sys::find_function(name).ok_or(io::ErrorKind::Unsupported);
    // SAFETY: `napi_status napi_create_object(napi_env, napi_value *)`.
    let new: extern "C" fn(Handle, *mut Handle) -> i32 = unsafe { transmute(found(c"napi_create_object")?) };
    // SAFETY: `int v8::Object::GetIdentityHash()`, of the object that a `napi_value` stands for.
    let hash: extern "C" fn(Handle) -> i32 =
        unsafe { transmute(found(c"_ZN2v86Object15GetIdentityHashEv")?) };
    let mut object = ptr::null_mut();
    if new(env, &raw mut object) != 0 || hash(object) == 0 {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(())
}

/// Where the generator is that draws.
fn find(isolate: usize, draw: impl Fn() -> io::Result<()>) -> io::Result<usize> {
    let memory = OwnMemory::open()?;
    let candidates = candidates(&memory, isolate)?;
    draw()?;
    let has_drawn = |(at, before): &(usize, Generator)| {
        read(&memory, *at).is_some_and(|after| after[0] == before[0] && is_next(before, &after))
    };
    let mut found: Vec<(usize, Generator)> = candidates.into_iter().filter(has_drawn).collect();
    found.dedup_by_key(|(at, _)| *at);
    match found.as_slice() {
        [(at, _)] => Ok(*at),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// What the isolate points to that could be a generator.
fn candidates(memory: &OwnMemory, isolate: usize) -> io::Result<Vec<(usize, Generator)>> {
    let mut bytes = vec![0; ISOLATE_BYTES];
    let length = memory.read(isolate, &mut bytes)?;
    let (words, _) = bytes[..length].as_chunks::<{ size_of::<usize>() }>();
    let mut pointers: Vec<usize> = words.iter().map(|word| usize::from_ne_bytes(*word)).collect();
    pointers.sort_unstable();
    pointers.dedup();
    let is_one = |pointer: &usize| *pointer != 0 && pointer.is_multiple_of(size_of::<usize>());
    Ok(pointers.into_iter().filter(is_one).filter_map(|at| Some((at, read(memory, at)?))).collect())
}

fn read(memory: &OwnMemory, at: usize) -> Option<Generator> {
    let mut bytes = [0; size_of::<Generator>()];
    let length = memory.read(at, &mut bytes).ok()?;
    let (words, _) = bytes.as_chunks::<8>();
    let &[seed, one, other] = words else { return None };
    (length == bytes.len()).then(|| [seed, one, other].map(u64::from_ne_bytes))
}

/// Whether the second state comes soon after the first: xorshift128+, as V8 steps it.
fn is_next(before: &Generator, after: &Generator) -> bool {
    let [_, mut one, mut other] = *before;
    (0..STEPS_MAX).any(|_| {
        let mut mixed = one;
        mixed ^= mixed << 23;
        mixed ^= mixed >> 17;
        mixed ^= other;
        mixed ^= other >> 26;
        (one, other) = (other, mixed);
        (one, other) != (0, 0) && after[1..] == [one, other]
    })
}
