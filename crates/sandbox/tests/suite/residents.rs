//! Interpreters that wait in finished jails: each is for one run, shares nothing with the next, shows nothing of having
//! waited, and is worth no more than its stem.

use std::collections::BTreeSet;
use std::fs;
use std::sync::mpsc;
use std::thread;

use execgate_sandbox::{
    InterpreterStart, PlacedFile, Request, Sandbox, Stdin, Tier, TierChoice, Verdict, Waiting,
};
use execgate_tool::code;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use super::census::open_in;
use super::world::{
    PATIENCE, all_end, bash, cold, comes_true, descendants, python, sandbox, start_as, told, value_in, watch,
    with_limits,
};

/// One in which nothing waits but forks of one interpreter.
fn pythons() -> Sandbox {
    start_as(|config| config.languages.retain(|language| language.name == "python"))
}

/// The processes below the helper that have another parent than the helper: inits, and what they have forked.
pub(super) fn jailed(sandbox: &Sandbox) -> BTreeSet<i32> {
    let all = descendants(sandbox.helper_pid());
    all.into_iter().filter(|pid| parent(*pid) != sandbox.helper_pid()).collect()
}

/// The stems that are pythons: one, and for a while two where one makes room.
pub(super) fn interpreters(sandbox: &Sandbox) -> BTreeSet<i32> {
    let is_python = |pid: &i32| {
        parent(*pid) == sandbox.helper_pid()
            && fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| line.starts_with(b"/usr/bin/python3"))
    };
    descendants(sandbox.helper_pid()).into_iter().filter(is_python).collect()
}

/// The one that there is.
fn interpreter(sandbox: &Sandbox) -> i32 {
    let found = Vec::from_iter(interpreters(sandbox));
    assert_eq!(found.len(), 1, "{found:?}");
    found[0]
}

pub(super) fn parent(pid: i32) -> i32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap_or("0");
    line.trim().parse().unwrap()
}

fn kill(pid: i32) {
    let killed = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
    assert!(matches!(killed, Ok(()) | Err(Errno::SRCH)), "{killed:?}");
}

#[test]
fn a_run_is_served_by_one_that_waited_and_by_each_once() {
    let sandbox = pythons();
    let waiting = jailed(&sandbox);
    assert!(!waiting.is_empty(), "an init and an interpreter for each that waits");
    let watched = watch(waiting.iter().copied().take(2));
    let (input, held) = rustix::pipe::pipe().unwrap();
    let mut request = python("import sys; print(1, flush=True); sys.stdin.read()");
    request.stdin = Stdin::Inherit(input);
    let (seen, sees) = mpsc::channel();
    request.sink = Some(Box::new(move |_, _| seen.send(()).unwrap()));
    thread::scope(|scope| {
        let running = scope.spawn(|| sandbox.run(request).unwrap());
        sees.recv().unwrap();
        assert!(waiting.is_subset(&jailed(&sandbox)), "it was there before");
        drop(held);
        assert_eq!(running.join().unwrap().verdict, Verdict::Value);
    });
    assert!(all_end(&watched), "and is not kept");
}

#[test]
fn those_that_wait_are_as_the_last_run_that_missed_one_wanted_them() {
    let sandbox = start_as(|config| {
        config.languages.retain(|language| language.name == "python");
        config.residents = 1;
    });
    let run = || {
        let mut request = python("6 * 7");
        request.limits.inodes = 9_000;
        assert_eq!(sandbox.run(request).unwrap().verdict, Verdict::Value);
    };
    run();
    sandbox.warm_up(PATIENCE).unwrap();
    sandbox.quiesce(PATIENCE).unwrap();
    let waiting = jailed(&sandbox);
    assert_eq!(waiting.len(), 2, "an init and its interpreter: {waiting:?}");
    let watched = watch(waiting);
    run();
    assert!(all_end(&watched), "one of another shape would wait on");
}

#[test]
fn what_is_random_differs_between_two_forks_of_one_interpreter() {
    let sandbox = start_as(|config| config.languages = code::present(&config.image.path));
    let code = "import random, os, uuid, secrets, numpy, tempfile, ssl\n\
        [random.random(), os.urandom(8).hex(), uuid.uuid4(), secrets.token_hex(), numpy.random.random(), \
        numpy.random.default_rng().random(), ssl.RAND_bytes(8).hex(), tempfile.mktemp(), random.SystemRandom().random()]";
    let seen: BTreeSet<String> = (0..8)
        .flat_map(|number| {
            // Of the interpreter that has numpy, and of the other.
            let run = sandbox.run(Request { warm: number % 2, ..python(code) }).unwrap();
            let told = run.value.unwrap();
            told.split(", ").map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(seen.len(), 8 * 9, "{seen:?}");
}

#[test]
fn the_one_library_with_random_state_of_its_own_is_the_one_that_is_reseeded() {
    let sandbox = pythons();
    let stem = interpreter(&sandbox);
    let maps = fs::read_to_string(format!("/proc/{stem}/maps")).unwrap();
    let mapped: BTreeSet<&str> = maps.lines().filter_map(|line| line.split_whitespace().nth(5)).collect();
    // Whoever has a generator of OpenSSL's in itself has the name of its source in itself.
    let of_openssl = mapped.into_iter().filter(|path| {
        let content = fs::read(format!("/proc/{stem}/root{path}")).unwrap_or_default();
        String::from_utf8_lossy(&content).contains("providers/implementations/rands/")
    });
    let names: Vec<_> = of_openssl.map(|path| path.rsplit('/').next().unwrap()).collect();
    assert_eq!(names, ["libcrypto.so.3"]);
    // It knows a fork by another process id alone, so no child may have that of its parent.
    let ids = fs::read_to_string(format!("/proc/{stem}/status")).unwrap();
    let ids = ids.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap();
    assert_ne!(value_in(&sandbox, "import os; os.getpid()"), ids.split_whitespace().last().unwrap());
}

/// What code can see of its process without looking at the modules that are there.
const VISIBLE: &str = r#"
import builtins, gc, os, resource, signal, sys, threading
def look(fd):
    try:
        return os.readlink(f"/proc/self/fd/{fd}").split(":")[0]
    except OSError:
        return None
shapes = [
    (s.name, s.mode, s.encoding, s.errors, s.newlines, s.line_buffering, s.write_through, s.seekable(),
        s.buffer.raw.name, s.buffer.raw.closefd, type(s.buffer).__name__, s.fileno(), s.isatty())
    for s in (sys.stdin, sys.stdout, sys.stderr)
]
{
    "environment": sorted(os.environ.items()), "raw": sorted(os.environb.items()), "folder": os.getcwd(),
    "umask": os.umask(0o22), "open": [(fd, look(fd)) for fd in range(256) if look(fd)],
    "inherited": [fd for fd in range(64) if look(fd) and os.get_inheritable(fd)],
    "signals": [str(signal.getsignal(s)) for s in signal.valid_signals()],
    "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "limits": [resource.getrlimit(l) for l in range(16)], "ids": os.getresuid()[0] >= 1000,
    "groups": os.getgroups(), "pids": (os.getpid(), os.getppid(), os.getsid(0), os.getpgrp()),
    "argv": sys.argv, "path": sys.path, "flags": sys.flags, "globals": sorted(globals()), "name": __name__,
    "threads": (threading.active_count(), threading.main_thread() is threading.current_thread(),
        threading.main_thread().native_id == threading.get_native_id() == os.getpid()),
    "streams": shapes, "same": sys.stdout is sys.__stdout__, "gc": (gc.isenabled(), gc.get_threshold()),
    "builtins": sorted(vars(builtins)), "input": builtins.input.__module__,
    "own": (len(open("/proc/self/environ", "rb").read()), open("/proc/self/io").readline()[:6]),
    "hooks": (sys.excepthook is sys.__excepthook__, sys.displayhook is sys.__displayhook__),
    "limit": sys.getrecursionlimit(), "bytecode": sys.dont_write_bytecode, "main": "__main__" in sys.modules,
    "files": sorted(os.listdir("/tmp") + os.listdir(".") + os.listdir("/dev/shm")), "nice": os.nice(0),
    "status": [l for l in open("/proc/self/status") if l.split(":")[0] in (
        "Seccomp", "NoNewPrivs", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "SigBlk", "SigIgn", "Umask")],
}
"#;

#[test]
fn code_sees_the_same_process_whether_it_waited_or_not() {
    let mut seen = [cold(), sandbox()].map(|sandbox| {
        let mut request = python(VISIBLE);
        request.args = vec!["one".to_owned(), "zwei ä".to_owned()];
        let run = sandbox.run(request).unwrap();
        assert_eq!(run.verdict, Verdict::Value, "{}", told(&run));
        assert!(run.stdout.is_empty() && run.stderr.is_empty(), "{}", told(&run));
        run.value.unwrap().replace("), (", "),\n(").replace("', '", "',\n'").replace("], '", "],\n'")
    });
    let warm = seen[1].split_off(0);
    for (one, other) in seen[0].lines().zip(warm.lines()) {
        assert_eq!(one, other);
    }
    assert_eq!(seen[0], warm);
}

#[test]
fn one_that_dies_while_it_waits_is_never_handed_out() {
    let sandbox = pythons();
    for _ in 0..3 {
        let waiting = jailed(&sandbox);
        let watched = watch(waiting.iter().copied());
        waiting.iter().for_each(|pid| kill(*pid));
        assert!(all_end(&watched));
        assert_eq!(value_in(&sandbox, "6 * 7"), "42");
        sandbox.warm_up(PATIENCE).unwrap();
        assert!(jailed(&sandbox).is_disjoint(&waiting));
    }
    assert_eq!(sandbox.quiesce(PATIENCE).unwrap(), 0);
}

#[test]
fn an_interpreter_that_dies_is_made_anew_and_takes_what_it_forked_with_it() {
    let sandbox = pythons();
    let before = interpreter(&sandbox);
    let watched = watch(jailed(&sandbox));
    kill(before);
    assert!(all_end(&watched));
    // By an interpreter of its own, until there is a warm one again.
    assert_eq!(value_in(&sandbox, "6 * 7"), "42");
    sandbox.warm_up(PATIENCE).unwrap();
    assert_ne!(interpreter(&sandbox), before);
    assert_eq!(value_in(&sandbox, "6 * 7"), "42");
}

#[test]
fn an_interpreter_that_dies_under_a_run_ends_it_and_no_other() {
    let sandbox = pythons();
    let (seen, sees) = mpsc::channel();
    let mut request = python("print(1, flush=True); import time; time.sleep(60)");
    request.sink = Some(Box::new(move |_, _| seen.send(()).unwrap()));
    thread::scope(|scope| {
        let running = scope.spawn(|| sandbox.run(request));
        sees.recv().unwrap();
        kill(interpreter(&sandbox));
        let ended = running.join().unwrap();
        assert!(!ended.is_ok_and(|run| run.verdict == Verdict::Value));
    });
    assert_eq!(value_in(&sandbox, "6 * 7"), "42");
    assert_eq!(sandbox.quiesce(PATIENCE).unwrap(), 0);
}

#[test]
fn nothing_that_waits_outlives_the_helper() {
    let sandbox = pythons();
    let watched = watch(descendants(sandbox.helper_pid()));
    assert!(watched.len() >= 4, "two stems, an init, an interpreter");
    kill(sandbox.helper_pid());
    assert!(all_end(&watched));
}

#[test]
fn what_waits_is_counted_and_weighed() {
    let sandbox = pythons();
    let waiting = sandbox.waiting(PATIENCE).unwrap();
    assert_eq!((waiting.interpreters, waiting.forking), (jailed(&sandbox).len() / 2, 1));
    // The one that forks is no small program; those that wait are written to little.
    let stem = held(interpreter(&sandbox)) << 10;
    assert!(waiting.bytes > stem / 2 && waiting.bytes < stem + (100 << 20), "{waiting:?} beside {stem}");
    // Nothing waits where nothing may, and that is what it costs.
    let none = cold();
    assert_eq!(value_in(&none, "1"), "1");
    assert_eq!(none.waiting(PATIENCE).unwrap(), Waiting { interpreters: 0, forking: 0, bytes: 0 });
    let gone = watch([none.helper_pid()]);
    kill(parent(none.helper_pid()));
    assert!(all_end(&gone));
    assert!(none.waiting(PATIENCE).is_err());
}

#[test]
fn a_run_has_its_own_limits_whoever_waited() {
    let sandbox = sandbox();
    let limits = "import resource as r\nr.getrlimit(r.RLIMIT_NOFILE)[0], r.getrlimit(r.RLIMIT_FSIZE)[0]";
    for (descriptors, disk_bytes) in [(64, 1 << 20), (256, 256 << 20), (100, 2 << 20), (100, 2 << 20)] {
        let run = sandbox.run(with_limits(python(limits), |limits| {
            limits.descriptors = descriptors;
            limits.disk_bytes = disk_bytes;
        }));
        assert_eq!(run.unwrap().value.unwrap(), format!("({descriptors}, {disk_bytes})"));
    }
    let grows = "b = bytearray(200 << 20); len(b)";
    let run = sandbox.run(with_limits(python(grows), |limits| limits.memory_bytes = 100 << 20)).unwrap();
    assert_ne!(run.verdict, Verdict::Value);
    assert_eq!(value_in(&sandbox, grows), (200 << 20).to_string());
}

#[test]
fn a_module_of_the_runs_own_goes_before_one_that_was_imported_already() {
    for sandbox in [cold(), sandbox()] {
        let mut request =
            python("import statistics, json.decoder\nstatistics.WHOSE, json.WHOSE, json.decoder.WHOSE");
        let own = |path: &str| PlacedFile::new(path, b"WHOSE = 'the run'".to_vec()).unwrap();
        request.files = ["statistics.py", "json/__init__.py", "json/decoder.py"].map(own).into();
        let run = sandbox.run(request).unwrap();
        assert_eq!(run.value.as_deref(), Some("('the run', 'the run', 'the run')"), "{}", told(&run));
    }
}

#[test]
fn few_descriptors_and_little_memory_are_no_reason_not_to_run() {
    let sandbox = sandbox();
    for (descriptors, memory_bytes) in [(12, 512 << 20), (63, 512 << 20), (64, 24 << 20), (256, 24 << 20)] {
        let run = sandbox.run(with_limits(python("6 * 7"), |limits| {
            limits.descriptors = descriptors;
            limits.memory_bytes = memory_bytes;
        }));
        assert_eq!(run.unwrap().value.as_deref(), Some("42"), "{descriptors} {memory_bytes}");
    }
    assert_eq!(sandbox.quiesce(PATIENCE).unwrap(), 0);
}

#[test]
fn many_runs_one_after_the_other_and_at_once_leave_what_was_there() {
    let sandbox = pythons();
    let count = |sandbox: &Sandbox| {
        sandbox.warm_up(PATIENCE).unwrap();
        assert_eq!(sandbox.quiesce(PATIENCE).unwrap(), 0);
        (open_in(interpreter(sandbox)).len() < 64, jailed(sandbox).len())
    };
    let rounds = |rounds: usize| {
        thread::scope(|scope| {
            for lane in 0..4 {
                let sandbox = &sandbox;
                scope.spawn(move || {
                    for round in 0..rounds {
                        let code = format!("open('/tmp/x', 'x').write('{round}'); print({lane}); {round}");
                        let run = sandbox.run(python(&code)).unwrap();
                        assert_eq!(run.value.as_deref(), Some(round.to_string().as_str()), "{}", told(&run));
                        assert_eq!(run.stdout, format!("{lane}\n").into_bytes());
                    }
                });
            }
        });
    };
    rounds(5);
    let before = count(&sandbox);
    assert_eq!(before, (true, 4), "two wait, each with its init");
    rounds(50);
    assert!(comes_true(|| count(&sandbox) == before));
}

#[test]
fn without_cgroups_they_wait_and_are_watched_all_the_same() {
    let sandbox = start_as(|config| {
        config.tier = TierChoice::Exactly(Tier::JailNoCgroup);
        config.slots = 2;
    });
    assert_eq!(value_in(&sandbox, "6 * 7"), "42");
    let grows = "b = []\nwhile True: b.append(bytearray(1 << 20))";
    let run = sandbox.run(with_limits(python(grows), |limits| limits.memory_bytes = 100 << 20)).unwrap();
    assert_ne!(run.verdict, Verdict::Value, "{}", told(&run));
}

#[test]
fn the_init_of_a_resident_is_a_small_process_that_the_guest_cannot_look_into() {
    let sandbox = pythons();
    // An interpreter may wait a moment before its init is that program.
    let mut inits = BTreeSet::new();
    assert!(comes_true(|| {
        inits = jailed(&sandbox);
        inits.retain(|pid| command_of(*pid).starts_with("init"));
        !inits.is_empty()
    }));
    for init in inits {
        let status = fs::read_to_string(format!("/proc/{init}/status")).unwrap();
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kib: u64 = kib.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(kib < 100, "{kib} KiB");
    }
    let code = "import os\n\
        def told(act):\n    try:\n        return act()\n    except OSError as error:\n        return error.errno\n\
        [told(lambda: os.open('/proc/1/' + name, os.O_RDONLY)) for name in ('mem', 'maps', 'environ', 'exe', 'fd/7')]";
    let (missing, denied) = (Errno::NOENT.raw_os_error(), Errno::ACCESS.raw_os_error());
    for _ in 0..20 {
        // Soon after its start too, where none waits.
        let told = value_in(&sandbox, code);
        let told: Vec<i32> =
            told.trim_matches(['[', ']']).split(", ").map(|one| one.parse().unwrap()).collect();
        assert!(told.iter().all(|errno| [missing, denied].contains(errno)), "{told:?}");
    }
}

#[test]
fn an_interpreter_does_not_grow_by_what_its_inits_do_in_its_memory() {
    let sandbox = pythons();
    let stem = || held(interpreter(&sandbox));
    for _ in 0..20 {
        assert_eq!(value_in(&sandbox, "1"), "1");
    }
    // What the kernel does once, as joining pages, is no growth; what each fork leaves is there after the next ones too.
    let mut seen = vec![stem()];
    let is_steady = (0..3).any(|_| {
        for _ in 0..300 {
            assert_eq!(value_in(&sandbox, "1"), "1");
        }
        seen.push(stem());
        matches!(seen[..], [.., before, after] if after <= before + 64)
    });
    assert!(is_steady, "KiB after 300 forks each: {seen:?}");
}

/// What a process was started with.
fn command_of(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().replace('\0', " ")
}

/// What a process holds that is no file's, in KiB.
pub(super) fn held(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kib = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or("0 kB");
    kib.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_run_says_how_its_interpreter_came_to_it() {
    let sandbox = sandbox();
    let start_of = |request: Request| sandbox.run(request).unwrap().enforced.interpreter;
    assert_eq!(start_of(python("1")), InterpreterStart::Forked);
    assert_eq!(start_of(bash("true")), InterpreterStart::Waited);
    // Too few descriptors for one that waits.
    let few = with_limits(python("1"), |limits| limits.descriptors = 32);
    assert_eq!(start_of(few), InterpreterStart::Executed);
    assert_eq!(cold().run(python("1")).unwrap().enforced.interpreter, InterpreterStart::Executed);
}
