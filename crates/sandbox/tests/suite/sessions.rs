//! Sessions: what a run leaves is there for the next one of its session and for nobody else, and whatever ends a session
//! leaves nothing.

use std::collections::BTreeSet;
use std::fs;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use execgate_sandbox::{
    Cancel, Cell, LimitKind, PlacedFile, Run, RunError, Sandbox, Session, SessionEnd, SessionRequest, Stdin,
    Tier, TierChoice, Verdict,
};
use rustix::process::{Pid, Signal, getpid, kill_process};

use super::census::{census, open_in};
use super::world::{
    PATIENCE, SLOWNESS, all_end, comes_true, counted, descendants, python, sandbox, start_as, told, value_in,
    watch,
};

pub(super) fn open(sandbox: &Sandbox) -> Session {
    open_with(sandbox, |_| ())
}

pub(super) fn open_with(sandbox: &Sandbox, change: impl FnOnce(&mut SessionRequest)) -> Session {
    let mut request = SessionRequest::new("python");
    request.limits.wall *= SLOWNESS;
    change(&mut request);
    sandbox.open_session(request).unwrap()
}

pub(super) fn run(session: &mut Session, code: &str) -> Run {
    session.run(Cell::new(code)).unwrap()
}

pub(super) fn value(session: &mut Session, code: &str) -> String {
    let run = run(session, code);
    assert_eq!(run.verdict, Verdict::Value, "{code}\n{}", told(&run));
    run.value.unwrap_or_default()
}

pub(super) fn ended(session: &mut Session) -> SessionEnd {
    match session.run(Cell::new("1")) {
        Err(RunError::SessionEnded { end }) => end,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_run_leaves_is_there_for_the_next_one() {
    let sandbox = sandbox();
    let mut session = open(&sandbox);
    value(
        &mut session,
        "import math, os\nx = 41\ndef f(): return x + 1\nos.chdir('/tmp')\nos.environ['A'] = 'b'",
    );
    value(&mut session, "open('kept', 'w').write('here')\nclass C: pass\nc = C()");
    let seen =
        "f(), math.pi > 3, os.getcwd(), os.environ['A'], open('kept').read(), isinstance(c, C), __name__";
    assert_eq!(value(&mut session, seen), "(42, True, '/tmp', 'b', 'here', True, '__main__')");
    let path = "import sys; sys.path, sys.meta_path, sorted(globals())";
    value(&mut session, path);
    assert_eq!(value(&mut session, path), value(&mut session, path));
    let info = session.info();
    assert_eq!((info.runs, info.end), (6, None));
    assert!(info.cpu.unwrap() > Duration::ZERO && info.absolute_left <= Duration::from_secs(3600));
    session.close();
    assert_eq!(sandbox.quiesce(PATIENCE).unwrap(), 0);
}

#[test]
fn each_run_has_its_own_output_input_arguments_and_files() {
    let sandbox = sandbox();
    let mut session = open_with(&sandbox, |request| {
        request.files = vec![PlacedFile::new("first.txt", b"one".to_vec()).unwrap()];
    });
    assert_eq!(
        value(&mut session, "import sys\nprint('a'); sys.stderr.write('b'); open('first.txt').read()"),
        "'one'"
    );
    for number in 0..3 {
        let mut cell = Cell::new("print(input(), sys.argv[1:]); open('first.txt').read()");
        cell.args = vec![format!("arg {number}")];
        cell.stdin = Stdin::Bytes(format!("line {number}\nmore").into_bytes());
        cell.files = vec![PlacedFile::new("first.txt", format!("file {number}").into_bytes()).unwrap()];
        let run = session.run(cell).unwrap();
        assert_eq!(run.value, Some(format!("'file {number}'")), "{}", told(&run));
        assert_eq!(run.stdout, format!("line {number} ['arg {number}']\n").into_bytes());
        assert!(run.stderr.is_empty());
    }
    let run = run(&mut session, "input()");
    assert_eq!(run.exception.unwrap().name, "EOFError");
    let mut cell = Cell::new("1");
    cell.files = vec![PlacedFile::new("first.txt/below", Vec::new()).unwrap()];
    let run = session.run(cell).unwrap();
    assert_eq!((run.verdict, run.exception.unwrap().name.as_str()), (Verdict::Exception, "OSError"));
    assert_eq!(value(&mut session, "6 * 7"), "42");
}

#[test]
fn an_error_ends_a_run_and_not_its_session() {
    let sandbox = sandbox();
    let mut session = open(&sandbox);
    value(&mut session, "def fails():\n    raise ValueError('no')");
    let failed = run(&mut session, "x = 1\nfails()");
    let exception = failed.exception.unwrap();
    assert_eq!((failed.verdict, exception.name.as_str()), (Verdict::Exception, "ValueError"));
    assert!(
        exception.traceback.contains("<code-1>\", line 2")
            && exception.traceback.contains("raise ValueError('no')")
    );
    assert!(!exception.traceback.contains("<string>"), "{}", exception.traceback);
    assert_eq!(run(&mut session, "x +").exception.unwrap().name, "SyntaxError");
    let left = run(&mut session, "import sys; sys.exit(3)");
    assert_eq!((left.verdict, left.exception.unwrap().message.as_str()), (Verdict::Exception, "3"));
    assert_eq!(run(&mut session, "exit()").verdict, Verdict::Value);
    assert_eq!(value(&mut session, "import asyncio\nawait asyncio.sleep(0, x)"), "1");
    assert_eq!(session.info().end, None);
}

#[test]
fn an_interpreter_that_really_ends_takes_its_session_with_it() {
    let sandbox = sandbox();
    let mut session = open(&sandbox);
    assert_eq!(run(&mut session, "import os; os._exit(3)").verdict, Verdict::Exit(3));
    assert_eq!(ended(&mut session), SessionEnd::Run(Verdict::Exit(3)));
    let mut session = open(&sandbox);
    let killed = run(&mut session, "import ctypes; ctypes.string_at(0)");
    assert_eq!(killed.verdict, Verdict::Limit(LimitKind::Killed), "{}", told(&killed));
    let mut session = open(&sandbox);
    value(&mut session, "import os, threading, time\nthreading.Timer(1, os._exit, [0]).start()");
    assert!(comes_true(|| session.info().end.is_some()));
    assert_eq!(ended(&mut session), SessionEnd::Died);
    assert_eq!(value_in(&sandbox, "1"), "1");
}

#[test]
fn two_sessions_and_the_runs_beside_them_see_nothing_of_each_other() {
    let sandbox = sandbox();
    let canary = "canary-of-a-session";
    let mut sessions = [open(&sandbox), open(&sandbox)];
    for (number, session) in sessions.iter_mut().enumerate() {
        let code = format!(
            "x = {number}; kept = ['{canary}' * 1000 for _ in range(100)]\nopen('/tmp/f', 'w').write('{canary}')"
        );
        value(session, &code);
    }
    assert_eq!(sessions.each_mut().map(|session| value(session, "x")), ["0", "1"]);
    let look = "import os\npids = [p for p in os.listdir('/proc') if p.isdigit()]\n\
                needle = bytes(c ^ 1 for c in b'b`o`sx,ng,`,rdrrhno')\nfound = 0\n\
                for line in open('/proc/self/maps'):\n    at, how = line.split()[:2]\n    \
                if 'r' not in how or 'vsyscall' in line or 'vvar' in line: continue\n    \
                a, b = (int(n, 16) for n in at.split('-'))\n    \
                with open('/proc/self/mem', 'rb', 0) as m:\n        m.seek(a)\n        \
                try: found += m.read(b - a).count(needle)\n        except OSError: pass\n\
                os.listdir('/tmp'), len(pids) < 3, needle.decode(), found < 100";
    // What it looks for it has itself, some times over; a session had it 100,000 times.
    let nothing = format!("([], True, '{canary}', True)");
    assert_eq!(value_in(&sandbox, look), nothing);
    drop(sessions);
    for _ in 0..4 {
        assert_eq!(value_in(&sandbox, look), nothing);
    }
    assert_eq!(sandbox.quiesce(PATIENCE).unwrap(), 0);
}

#[test]
fn every_limit_that_a_run_meets_ends_its_session_and_leaves_nothing() {
    let sandbox = counted(&["python"]);
    let before = census(&sandbox);
    let cases = [
        ("while True: pass", Verdict::Timeout),
        ("b = []\nwhile True: b.append(bytearray(1 << 20))", Verdict::Limit(LimitKind::OutOfMemory)),
        (
            "import threading, time\nfor n in range(200): threading.Thread(target=time.sleep, args=(30,), daemon=True).start()",
            Verdict::Limit(LimitKind::ProcessLimit),
        ),
        (
            "f = open('/tmp/x', 'wb', 0)\nwhile True: f.write(b'x' * 65536)",
            Verdict::Limit(LimitKind::DiskFull),
        ),
        ("import os\nwhile True: os.write(1, b'x' * 65536)", Verdict::Limit(LimitKind::OutputLimit)),
    ];
    for (code, verdict) in cases {
        let mut session = open_with(&sandbox, |request| {
            request.limits.wall =
                SLOWNESS * Duration::from_secs(if verdict == Verdict::Timeout { 1 } else { 20 });
            request.limits.memory_bytes = 64 << 20;
            request.limits.processes = 24;
            request.limits.disk_bytes = 8 << 20;
            request.limits.output_discard_bytes = 4 << 20;
        });
        value(
            &mut session,
            "import os, subprocess\np = subprocess.Popen(['sleep', '600'], start_new_session=True)",
        );
        let run = run(&mut session, code);
        assert_eq!(run.verdict, verdict, "{code}\n{}", told(&run));
        assert_eq!(ended(&mut session), SessionEnd::Run(verdict));
        drop(session);
        assert_eq!(census(&sandbox), before, "{code}");
    }
}

#[test]
fn a_session_ends_when_it_idles_and_when_its_time_is_over() {
    let sandbox = start_as(|config| {
        config.languages.retain(|language| language.name == "python");
        config.slots = 1;
    });
    let mut session = open_with(&sandbox, |request| request.idle = SLOWNESS * Duration::from_secs(1));
    let watched = watch(descendants(sandbox.helper_pid()));
    value(&mut session, "1");
    // Its owner has not looked, and its slot is free all the same.
    assert!(comes_true(|| sandbox.run(python("2")).is_ok()));
    assert!(!watched.is_empty());
    assert_eq!(ended(&mut session), SessionEnd::Idle);
    let absolute = SLOWNESS * Duration::from_secs(3);
    let mut session = open_with(&sandbox, |request| request.absolute = absolute);
    assert!(matches!(sandbox.run(python("1")), Err(RunError::Full { .. })));
    let run = run(&mut session, "while True: pass");
    assert_eq!(run.verdict, Verdict::Timeout);
    assert_eq!(ended(&mut session), SessionEnd::Expired);
    let session = open_with(&sandbox, |request| request.absolute = Duration::from_millis(300));
    assert!(comes_true(|| session.info().end == Some(SessionEnd::Expired)));
    assert_eq!(sandbox.quiesce(PATIENCE).unwrap(), 0);
}

#[test]
fn a_cord_ends_a_run_and_its_session_from_another_thread() {
    let sandbox = sandbox();
    let mut session = open(&sandbox);
    let cord = Cancel::new().unwrap();
    let (seen, sees) = mpsc::channel();
    let mut cell = Cell::new("print(1, flush=True)\nwhile True: pass");
    cell.cancel = Some(cord.clone());
    cell.sink = Some(Box::new(move |_, _| seen.send(()).unwrap()));
    thread::scope(|scope| {
        let running = scope.spawn(|| session.run(cell).unwrap());
        sees.recv().unwrap();
        cord.cancel();
        assert_eq!(running.join().unwrap().verdict, Verdict::Cancelled);
    });
    assert_eq!(ended(&mut session), SessionEnd::Run(Verdict::Cancelled));
    assert_eq!(sandbox.quiesce(PATIENCE).unwrap(), 0);
}

#[test]
fn nothing_of_a_session_outlives_its_helper() {
    let sandbox = sandbox();
    let mut session = open(&sandbox);
    value(&mut session, "import subprocess; p = subprocess.Popen(['sleep', '600'], start_new_session=True)");
    let kept = session.checkpoint().unwrap();
    let watched = watch(descendants(sandbox.helper_pid()));
    kill_process(Pid::from_raw(sandbox.helper_pid()).unwrap(), Signal::KILL).unwrap();
    assert!(all_end(&watched));
    assert!(matches!(session.restore(&kept), Err(RunError::SessionEnded { end: SessionEnd::HelperGone })));
    assert_eq!(ended(&mut session), SessionEnd::HelperGone);
}

#[test]
fn a_language_without_sessions_says_so() {
    let sandbox = start_as(|config| {
        for language in &mut config.languages {
            if language.name == "bash" {
                language.session = None;
            }
        }
    });
    let refused = sandbox.open_session(SessionRequest::new("bash"));
    assert!(matches!(refused, Err(RunError::NoSession(name)) if name == "bash"));
    assert!(!sandbox.session_languages().any(|name| name == "bash"));
    let refused = sandbox.open_session(SessionRequest::new("ruby"));
    assert!(matches!(refused, Err(RunError::UnknownLanguage(name)) if name == "ruby"));
    let mut few = SessionRequest::new("python");
    few.limits.descriptors = 12;
    assert!(matches!(sandbox.open_session(few), Err(RunError::SessionDescriptors { min: 64 })));
}

#[test]
fn what_threads_write_between_two_runs_is_nowhere() {
    let sandbox = sandbox();
    let mut session = open(&sandbox);
    let code = "import os, subprocess, threading, time\ndef talk():\n    \
                while os.readlink('/proc/self/fd/1') != '/dev/null': time.sleep(0.001)\n    \
                print('between'); os.write(1, b'raw'); subprocess.Popen(['sleep', '600'])\n\
                threading.Thread(target=talk, daemon=True).start()\nprint('first')";
    let first = run(&mut session, code);
    assert_eq!((first.verdict, first.stdout.as_slice()), (Verdict::Value, &b"first\n"[..]));
    // It goes on while nothing runs, and shows when it has spoken.
    let speaks =
        |pid: i32| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == b"sleep\x00600\0");
    assert!(comes_true(|| descendants(sandbox.helper_pid()).into_iter().any(speaks)));
    let second = run(&mut session, "print('second')");
    assert_eq!(second.stdout, b"second\n", "{}", told(&second));
    assert_eq!(value(&mut session, "pid = os.fork()\nif not pid: x = 1"), "");
    assert_eq!(
        value(&mut session, "os.waitpid(pid, 0)[1]"),
        "0",
        "a fork that comes to the end is none of the session's"
    );
}

#[test]
fn what_goes_on_between_two_runs_is_counted() {
    let sandbox = sandbox();
    let mut session = open(&sandbox);
    let code = "import os, subprocess, threading, time\ndef burn():\n    \
                while os.readlink('/proc/self/fd/1') != '/dev/null': time.sleep(0.001)\n    \
                end = time.process_time() + 0.5\n    while time.process_time() < end: pass\n    \
                subprocess.Popen(['sleep', '601'])\nthreading.Thread(target=burn, daemon=True).start()";
    run(&mut session, code);
    let has_burnt =
        |pid: i32| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == b"sleep\x00601\0");
    assert!(comes_true(|| descendants(sandbox.helper_pid()).into_iter().any(has_burnt)));
    let second = run(&mut session, "1");
    // Less than all of it: what is burnt before the end of the first run is read is the first run's.
    let burnt = Duration::from_millis(300);
    assert!(second.usage.cpu_between.unwrap() >= burnt, "{:?}", second.usage);
    assert!(second.usage.cpu.unwrap() < burnt, "{:?}", second.usage);
    assert!(session.info().cpu.unwrap() >= burnt);
    assert!(run(&mut session, "2").usage.cpu_between.unwrap() < burnt);
    assert_eq!(sandbox.run(python("1")).unwrap().usage.cpu_between, None);
}

#[test]
fn what_goes_on_after_the_last_run_is_told_at_the_end() {
    let sandbox = sandbox();
    let mut session = open(&sandbox);
    let code = "import os, subprocess, threading, time\ndef burn():\n    \
                while os.readlink('/proc/self/fd/1') != '/dev/null': time.sleep(0.001)\n    \
                end = time.process_time() + 0.5\n    while time.process_time() < end: pass\n    \
                subprocess.Popen(['sleep', '602'])\nthreading.Thread(target=burn, daemon=True).start()";
    run(&mut session, code);
    let before = session.info();
    assert_eq!(before.cpu_after, None);
    let has_burnt =
        |pid: i32| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == b"sleep\x00602\0");
    assert!(comes_true(|| descendants(sandbox.helper_pid()).into_iter().any(has_burnt)));
    let closed = session.close();
    assert!(closed.cpu_after.unwrap() >= Duration::from_millis(300), "{closed:?}");
    assert_eq!(closed.cpu, before.cpu.zip(closed.cpu_after).map(|(before, after)| before + after));

    let session = open_with(&sandbox, |request| request.idle = Duration::from_millis(50));
    assert!(comes_true(|| session.info().end == Some(SessionEnd::Idle)));
    assert!(session.info().cpu_after.is_some(), "it is told however it ends");
    let mut session = open(&sandbox);
    assert_eq!(run(&mut session, "import os; os._exit(3)").verdict, Verdict::Exit(3));
    assert!(session.close().cpu_after.is_none_or(|after| after.is_zero()), "all of it was the run's");
}

#[test]
fn what_holds_a_session_is_what_holds_a_run() {
    let sandbox = sandbox();
    let code = "import os, resource\n[l for l in open('/proc/self/status') if l.split(':')[0] in \
                ('Uid', 'Gid', 'Groups', 'Seccomp', 'NoNewPrivs', 'CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb')][2:], \
                [resource.getrlimit(n) for n in range(16)], os.getresuid()[0] >= 1000, \
                [l.split()[4:6] for l in open('/proc/self/mountinfo')]";
    let plain = sandbox.run(python(code)).unwrap();
    let mut session = open(&sandbox);
    let kept = session.checkpoint().unwrap();
    let first = run(&mut session, code);
    session.restore(&kept).unwrap();
    let restored = run(&mut session, code);
    for run in [&first, &restored] {
        assert_eq!((&run.value, &run.enforced), (&plain.value, &plain.enforced), "{}", told(run));
    }
}

#[test]
fn two_hundred_runs_in_one_session_leak_nothing() {
    let sandbox = counted(&["python"]);
    let mut session = open(&sandbox);
    let own = "import os; len(os.listdir('/proc/self/fd'))";
    for _ in 0..5 {
        value(&mut session, own);
    }
    let counts = |session: &mut Session| {
        let own = value(session, own);
        // So that nobody is on the way to wait, for whom the helper has more open.
        sandbox.warm_up(PATIENCE).unwrap();
        (own, [sandbox.helper_pid(), getpid().as_raw_pid()].map(|pid| open_in(pid).len()))
    };
    let before = counts(&mut session);
    for number in 0..200 {
        let run = run(&mut session, &format!("print({number}); n = {number}; n"));
        assert_eq!(run.stdout, format!("{number}\n").into_bytes());
        assert_eq!(run.value, Some(number.to_string()));
    }
    assert_eq!(counts(&mut session), before);
    let kept = session.checkpoint().unwrap();
    let before = descendants(sandbox.helper_pid()).len();
    for _ in 0..20 {
        session.restore(&kept).unwrap();
        value(&mut session, "n");
    }
    assert!(comes_true(|| descendants(sandbox.helper_pid()).len() <= before + 1));
    session.close();
    assert_eq!(sandbox.quiesce(PATIENCE).unwrap(), 0);
}

#[test]
fn rich_results_are_those_of_their_run() {
    let sandbox = sandbox();
    let mut session = open(&sandbox);
    let rich = |session: &mut Session, code: &str, rich: bool| {
        let mut cell = Cell::new(code);
        cell.rich = rich;
        let run = session.run(cell).unwrap();
        assert_eq!(run.verdict, Verdict::Value, "{}", told(&run));
        run.displays
    };
    assert_eq!(rich(&mut session, "display({'a': 1}); old = display; [1]", true).len(), 2);
    assert_eq!(rich(&mut session, "old(1); display(2)", false).len(), 0);
    let shown = rich(&mut session, "old(5); display(6)", true);
    assert_eq!(shown.len(), 2, "{shown:?}");
    assert_eq!(
        rich(
            &mut session,
            "sum(type(one).__name__ == 'Changes' for one in __import__('sys').meta_path)",
            true
        )
        .len(),
        1
    );
}

#[test]
fn without_cgroups_a_session_is_watched_between_its_runs_too() {
    let sandbox = start_as(|config| {
        config.tier = TierChoice::Exactly(Tier::JailNoCgroup);
        config.slots = 2;
    });
    let mut session = open_with(&sandbox, |request| request.limits.memory_bytes = 100 << 20);
    let grows = "import subprocess, sys\np = [subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(0.5); x = bytearray(60 << 20); time.sleep(60)']) for _ in range(3)]";
    value(&mut session, grows);
    assert!(comes_true(|| session.info().end == Some(SessionEnd::Died)));
    assert_eq!(value_in(&sandbox, "1"), "1");
}

#[test]
fn a_shell_keeps_what_a_run_leaves_and_goes_back_to_a_checkpoint() {
    let sandbox = sandbox();
    let mut session = sandbox.open_session(SessionRequest::new("bash")).unwrap();
    let out = |session: &mut Session, code: &str| {
        let run = run(session, code);
        assert_eq!(run.verdict, Verdict::Value, "{code}\n{}", told(&run));
        String::from_utf8(run.stdout).unwrap()
    };
    assert_eq!(out(&mut session, "x=1; f() { echo \"f $x $1\"; }; cd /tmp; export A=b; echo one >&2"), "");
    let kept = session.checkpoint().unwrap();
    assert_eq!(out(&mut session, "f 2; pwd; x=3; printenv A; echo \"$#\""), "f 1 2\n/tmp\nb\n0\n");
    let mut cell = Cell::new("echo \"$1 $x\"; read -r line; echo \"$line\"; false");
    cell.args = vec!["an arg".to_owned()];
    cell.stdin = Stdin::Bytes(b"a line\n".to_vec());
    let failed = session.run(cell).unwrap();
    assert_eq!(failed.stdout, b"an arg 3\na line\n", "{}", told(&failed));
    let exception = failed.exception.unwrap();
    assert_eq!(
        (failed.verdict, exception.name.as_str(), exception.message.as_str()),
        (Verdict::Exception, "ExitCode", "1")
    );
    assert_eq!(out(&mut session, "break; continue; echo \"$x\""), "");
    let draws: BTreeSet<String> = (0..3)
        .map(|_| {
            session.restore(&kept).unwrap();
            out(&mut session, "echo \"$x $RANDOM $RANDOM $RANDOM\"")
        })
        .collect();
    assert!(draws.len() == 3 && draws.iter().all(|line| line.starts_with("1 ")), "{draws:?}");
    assert_eq!(run(&mut session, "exit 4").verdict, Verdict::Exit(4));
    assert_eq!(ended(&mut session), SessionEnd::Run(Verdict::Exit(4)));
}
