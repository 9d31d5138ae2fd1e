//! What an earlier run held is nowhere in a later one: not in its memory, its files, its environment; nor in what is the
//! parent of later ones.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;

use execgate_sandbox::{PlacedFile, Request, Sandbox, Stdin, Verdict};

use super::super::world::{PATIENCE, bash, descendants, python, sandbox, told};

/// A needle: long enough that none is found by chance.
const LENGTH: usize = 64;

/// What a looking program may hold of a needle in clear.
const HEAD: usize = 8;

/// The rest is passed by other bytes.
const MASK: u8 = 0x5a;

/// Bytes that are read at a time from a process's memory.
const CHUNK: usize = 1 << 20;

/// A text of random letters and digits.
fn needle() -> String {
    let mut bytes = [0; LENGTH / 2];
    File::open("/dev/urandom").unwrap().read_exact_at(&mut bytes, 0).unwrap();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hex(bytes: impl Iterator<Item = u8>) -> String {
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

/// A run that has the canary everywhere that a request or a program can put it.
fn holds(mut request: Request, canary: &str) -> Request {
    request.args = vec![canary.to_owned(); 3];
    request.stdin = Stdin::Bytes(canary.repeat(4000).into_bytes());
    request.files = ["a", "in/b", "/tmp/c"]
        .map(|path| PlacedFile::new(path, canary.repeat(1000).into_bytes()).unwrap())
        .into();
    request
}

/// Looks through everything that it can read for needles of which it knows the head and the masked rest.
const LOOKS: &str = r#"
import mmap, os, sys
def looked(chunk, head, rest):
    at = chunk.find(head)
    while at >= 0:
        if all(chunk[at + len(head) + n] ^ MASK == b for n, b in enumerate(rest) if at + len(head) + n < len(chunk)) \
                and at + len(head) + len(rest) <= len(chunk):
            return True
        at = chunk.find(head, at + 1)
    return False
def chunks():
    memory = os.open("/proc/self/mem", os.O_RDONLY)
    for line in open("/proc/self/maps").read().splitlines():
        area, mode = line.split()[:2]
        if "r" not in mode or line.endswith(("[vvar]", "[vvar_vclock]", "[vsyscall]")):
            continue
        start, end = (int(n, 16) for n in area.split("-"))
        for at in range(start, end, 1 << 20):
            try:
                yield os.pread(memory, min(end - at, (1 << 20) + 64), at)
            except OSError:
                pass
    fresh = mmap.mmap(-1, 32 << 20)
    yield fresh[:]
    for folder in ("/tmp", "/home/user", "/dev/shm"):
        with open(folder + "/fresh", "w+b") as f:
            f.truncate(4 << 20)
            os.posix_fallocate(f.fileno(), 0, 4 << 20)
            yield f.read()
    for root in ("/tmp", "/home/user", "/dev/shm"):
        for folder, _, files in os.walk(root):
            yield from (open(os.path.join(folder, file), "rb").read() for file in files)
    for file in ("environ", "cmdline", "mountinfo", "cgroup", "net/unix"):
        try:
            yield open("/proc/self/" + file, "rb").read()
        except OSError:
            pass
found, bytes_seen = set(), 0
for chunk in chunks():
    bytes_seen += len(chunk)
    for which, (head, rest) in enumerate(NEEDLES):
        if looked(chunk, head, rest):
            found.add(which)
sorted(found), bytes_seen > 40 << 20
"#;

/// The looking program: the first needle is the canary, the second one its own, which it must find.
fn looks(canary: &str, own: &str) -> Request {
    let told = |needle: &str| {
        let (head, rest) = needle.as_bytes().split_at(HEAD);
        format!(
            "(bytes.fromhex('{}'), bytes.fromhex('{}'))",
            hex(head.iter().copied()),
            hex(rest.iter().map(|b| b ^ MASK))
        )
    };
    let mut request = python(&format!("MASK = {MASK}\nNEEDLES = [{}, {}]\n{LOOKS}", told(canary), told(own)));
    request.args = vec![own.to_owned()];
    request.limits.memory_bytes = 1 << 30;
    request
}

#[test]
fn a_canary_of_one_run_is_nowhere_in_a_later_one() {
    let sandbox = sandbox();
    let (canary, own) = (needle(), needle());
    let holders = [
        format!(
            "import os, subprocess, sys\nc = '{canary}'\nkept = [c * 100 for _ in range(100)] + [sys.stdin.read()]\nos.environ['C'] = c\n\
             for folder in ('/tmp', '/home/user', '/dev/shm'): open(folder + '/kept', 'w').write(c * 20000)\n\
             subprocess.run(['bash', '-c', 'echo $C; cat > /dev/null'], input=c.encode())\nsys.stderr.write(c)\nprint(c * 100)\nc"
        ),
        format!("raise ValueError('{canary}')"),
    ];
    let looking = |sandbox: &Sandbox| {
        let run = sandbox.run(looks(&canary, &own)).unwrap();
        assert_eq!(run.value.as_deref(), Some("([1], True)"), "{}", told(&run));
    };
    for _ in 0..3 {
        for code in &holders {
            let run = sandbox.run(holds(python(code), &canary)).unwrap();
            assert!(matches!(run.verdict, Verdict::Value | Verdict::Exception), "{}", told(&run));
        }
        let run = sandbox
            .run(holds(bash(&format!("C={canary}; export C; cat > /tmp/x; echo $C")), &canary))
            .unwrap();
        assert_eq!(run.verdict, Verdict::Value, "{}", told(&run));
        // Those that waited while it was there, and those that were made after it.
        for _ in 0..crate::RESIDENTS + 1 {
            looking(&sandbox);
        }
    }
    sandbox.warm_up(PATIENCE).unwrap();
    sandbox.quiesce(PATIENCE).unwrap();
    for pid in descendants(sandbox.helper_pid()) {
        assert!(!remembers(pid, &canary), "process {pid} remembers");
    }
    assert!(remembers(i32::try_from(std::process::id()).unwrap(), &canary), "this one does");
}

/// Whether a needle is anywhere in the memory of a process.
fn remembers(pid: i32, needle: &str) -> bool {
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mut chunk = vec![0; CHUNK + LENGTH];
    for line in maps.lines().filter(|line| line.contains(" r") && !line.contains("[v")) {
        let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let [start, end] = [start, end].map(|text| u64::from_str_radix(text, 16).unwrap());
        for at in (start..end).step_by(CHUNK) {
            let wanted = usize::try_from(end - at).unwrap().min(chunk.len());
            let Ok(read) = memory.read_at(&mut chunk[..wanted], at) else { continue };
            // The canary is plain text, so what is no text around it may be told as it likes.
            if String::from_utf8_lossy(&chunk[..read]).contains(needle) {
                return true;
            }
        }
    }
    false
}
