//! Makes a Node one that can be forked: one of a version that is proved, alone in its process, with all of its heap in its
//! children. Or finds that it is none; then nothing has been forked, and its language is served otherwise.
#![expect(unsafe_code, reason = "Node's own functions are called by their addresses")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::fs;
use std::io;
use std::mem::transmute;
use std::ptr;
use std::time::{Duration, Instant};

use super::module::Handle;
use super::workers;
use crate::sys;

/// The versions whose forks were proved, by running the sandbox's tests with them. No other is forked.
const PROVED: &[u32] = &[20, 22];

/// How long Node's own threads may take to have nothing to do, and to end then.
const QUIET_WITHIN: Duration = Duration::from_secs(5);

/// `napi_node_version`.
#[repr(C)]
struct Version {
    major: u32,
    minor: u32,
    patch: u32,
    release: *const u8,
}

/// Whether it is of a version that is proved.
pub(super) fn is_proved(env: Handle) -> io::Result<()> {
    if PROVED.contains(&major(env)?) { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
}

/// Does all of it. Nothing may run in V8 from here on but in forks: it would withhold more memory from them.
pub(super) fn make() -> io::Result<()> {
    collect();
    end_threads()?;
    workers::forget()?;
    fork_all()
}

/// `v8::Isolate::GarbageCollectionType`.
const FULL: c_int = 0;
const MINOR: c_int = 1;

/// Collects V8's garbage, and moves what is young and alive together: else each fork would do it once more, whenever what
/// the stem has left there is too much for its run. A Node without these functions is forked as it is.
fn collect() {
    let found = |name: &CStr| sys::find_function(name);
    let (Some(isolate), Some(set), Some(request)) = (
        found(c"_ZN2v87Isolate10GetCurrentEv"),
        found(c"_ZN2v82V818SetFlagsFromStringEPKc"),
        found(c"_ZN2v87Isolate34RequestGarbageCollectionForTestingENS0_21GarbageCollectionTypeE"),
    ) else {
        return;
    };
    // SAFETY: `static v8::Isolate *v8::Isolate::GetCurrent()`.
    let isolate: extern "C" fn() -> *mut c_void = unsafe { transmute(isolate) };
    // SAFETY: `static void v8::V8::SetFlagsFromString(const char *)`.
    let set: extern "C" fn(*const c_char) = unsafe { transmute(set) };
    // SAFETY: `void v8::Isolate::RequestGarbageCollectionForTesting(GarbageCollectionType)`, which wants the flag.
    let request: extern "C" fn(*mut c_void, c_int) = unsafe { transmute(request) };
    set(c"--expose-gc".as_ptr());
    request(isolate(), FULL);
    request(isolate(), MINOR);
    set(c"--no-expose-gc".as_ptr());
}

/// Lets forks have all of the heap as it is now.
pub(super) fn fork_all() -> io::Result<()> {
    let maps = fs::read_to_string("/proc/self/smaps")?;
    withheld(&maps).try_for_each(|(start, length)| sys::fork_also(start, length))
}

fn major(env: Handle) -> io::Result<u32> {
    let function = sys::find_function(c"napi_get_node_version").ok_or(io::ErrorKind::Unsupported)?;
    // SAFETY: `napi_status napi_get_node_version(napi_env, const napi_node_version **)`.
    let get: extern "C" fn(Handle, *mut *const Version) -> i32 = unsafe { transmute(function) };
    let mut version = ptr::null();
    if get(env, &raw mut version) != 0 {
        return Err(io::ErrorKind::Unsupported.into());
    }
    // SAFETY: Node has just said where its version is, which stays there.
    Ok(unsafe { ptr::read(version) }.major)
}

/// Ends the threads that Node has beside the one that runs JavaScript: those of V8's platform, for work that
/// `--single-threaded` keeps from them, and the one that would start a debugger. None of them holds a lock while it has
/// nothing to do, and a fork has none of them.
fn end_threads() -> io::Result<()> {
    let deadline = Instant::now() + QUIET_WITHIN;
    loop {
        let threads = sys::other_threads()?;
        // Nobody gives them anything to do while this looks.
        if sys::all_sleep(&threads)? {
            return sys::end_threads(&threads, deadline);
        }
        if Instant::now() > deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        rustix::thread::sched_yield();
    }
}

/// The mappings that V8 keeps from forks, so that programs are started faster: anonymous ones with the flag `dc`. What is
/// a file's, a device's or the kernel's is left as it is.
fn withheld(smaps: &str) -> impl Iterator<Item = (usize, usize)> {
    let mut last = None;
    smaps.lines().filter_map(move |line| {
        if let Some(flags) = line.strip_prefix("VmFlags:") {
            return flags.split_whitespace().any(|flag| flag == "dc").then(|| last.take()).flatten();
        }
        if let Some(range) = head(line) {
            last = range;
        }
        None
    })
}

/// `Some` for the first line of a mapping, and in it the range of one that is anonymous.
fn head(line: &str) -> Option<Option<(usize, usize)>> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    let mut others = words.skip(3);
    let is_anonymous =
        others.next() == Some("0") && others.next().is_none_or(|name| name.starts_with("[anon:"));
    Some(is_anonymous.then(|| (start, end.saturating_sub(start))))
}

#[cfg(test)]
mod tests {
    use super::withheld;

    #[test]
    fn only_what_v8_has_withheld_is_found() {
        let smaps = "3069ef00000-3069ef40000 rw-p 00000000 00:00 0 \n\
            Size: 256 kB\nVmFlags: rd wr mr mw me dc nr \n\
            3069ef40000-3069ef80000 rw-p 00000000 00:00 0 \nVmFlags: rd wr mr mw me nr \n\
            7f0000000000-7f0000001000 rw-p 00000000 00:00 0 [anon:v8]\nVmFlags: rd wr dc \n\
            7f0000001000-7f0000002000 rw-s 00000000 00:0f 77 /dev/ring\nVmFlags: rd wr dc \n\
            7f0000002000-7f0000003000 r--p 00000000 00:00 0 [vvar]\nVmFlags: rd dc \n";
        let found: Vec<_> = withheld(smaps).collect();
        assert_eq!(found, [(0x306_9ef0_0000, 0x4_0000), (0x7f00_0000_0000, 0x1000)]);
    }
}
