//! Sessions of every language that tells its ends by frames: one body for each promise, and the programs that try it.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use execgate_sandbox::{
    Cell, LimitKind, PlacedFile, Sandbox, Session, SessionEnd, SessionRequest, Stdin, Verdict,
};
use rustix::process::getpid;

use super::census::{census, open_in};
use super::sessions::{ended, run, value};
use super::world::{PATIENCE, SLOWNESS, comes_true, counted, descendants, sandbox, told};

/// A language, and the programs in it.
struct Tongue {
    name: &'static str,
    /// Leave things, one after the other; the last shows them.
    leaves: [&'static str; 2],
    looks: (&'static str, &'static str),
    /// Prints a line of its input, its arguments; its value is the content of `first.txt`.
    reads: &'static str,
    quoted: fn(&str) -> String,
    /// Asks for input where there is none; the error's name.
    asks: (&'static str, &'static str),
    /// A function that fails, with its name; how it is called; the error's name, and what its traceback holds.
    fails: [&'static str; 2],
    failed: (&'static str, &'static [&'static str]),
    /// What cannot be read, and the error's name.
    nonsense: (&'static str, &'static str),
    /// `f` of this is 42, whatever failed before.
    sane: (&'static str, &'static str),
    exits: &'static str,
    kills_itself: &'static str,
    /// Starts a process that nobody waits for.
    leaves_process: &'static str,
    limits: &'static [(&'static str, Verdict)],
    /// A number of descriptors of its own.
    descriptors: &'static str,
    /// Prints a number, and has it as a variable `n` and as its value.
    counts: fn(usize) -> (String, String),
}

const TIMEOUT: Verdict = Verdict::Timeout;
const MEMORY: Verdict = Verdict::Limit(LimitKind::OutOfMemory);
const PROCESSES: Verdict = Verdict::Limit(LimitKind::ProcessLimit);
const DISK: Verdict = Verdict::Limit(LimitKind::DiskFull);
const OUTPUT: Verdict = Verdict::Limit(LimitKind::OutputLimit);

const JAVASCRIPT: Tongue = Tongue {
    name: "javascript",
    leaves: [
        "const os = require('os'); let x = 41; function f() { return x + 1 }\nprocess.chdir('/tmp')\n\
        process.env.A = 'b'; var v = 1; class C {}\nconst { readFileSync, ...rest } = require('fs')",
        "rest.writeFileSync('kept', 'here'); const c = new C()",
    ],
    looks: (
        "[f(), typeof os.cpus, process.cwd(), process.env.A, readFileSync('kept', 'utf8'), c instanceof C, v].join('|')",
        "'42|function|/tmp|b|here|true|1'",
    ),
    reads: "const line = await new Promise((done) => require('readline').createInterface(process.stdin).once('line', done))\n\
            console.log(line, process.argv.slice(2)); require('fs').readFileSync('first.txt', 'utf8')",
    quoted: |text| format!("'{text}'"),
    asks: (
        "await new Promise((done) => require('readline').createInterface(process.stdin).once('line', done))",
        "UnsettledAwait",
    ),
    fails: ["function fails() {\n  throw new TypeError('no')\n}", "const y = 1\n  fails()"],
    failed: ("TypeError", &["at fails (<code-1>:2:9)", "at <code-2>:2:3"]),
    nonsense: ("let z = ;", "SyntaxError"),
    sane: ("await Promise.resolve(y + 41)", "42"),
    exits: "process.exit(3)",
    kills_itself: "process.kill(process.pid, 'SIGKILL'); for (;;);",
    leaves_process: "require('child_process').spawn('sleep', ['600'], { detached: true, stdio: 'ignore' }).unref()",
    limits: &[
        ("for (;;);", TIMEOUT),
        ("await new Promise((done) => setInterval(() => {}, 10))", TIMEOUT),
        ("const b = []; for (;;) b.push(Buffer.alloc(1 << 20, 1))", MEMORY),
        (
            "const { spawn } = require('child_process'); for (let i = 0; i < 200; i++) spawn('sleep', ['30']).on('error', (e) => { throw e })\n\
            await new Promise((done) => setTimeout(done, 5000))",
            PROCESSES,
        ),
        (
            "const fd = require('fs').openSync('/tmp/x', 'w'); for (;;) require('fs').writeSync(fd, 'x'.repeat(65536))",
            DISK,
        ),
        ("for (;;) require('fs').writeSync(1, 'x'.repeat(65536))", OUTPUT),
    ],
    descriptors: "require('fs').readdirSync('/proc/self/fd').length",
    counts: |n| (format!("console.log({n}); const n = {n}; n"), n.to_string()),
};

const R: Tongue = Tongue {
    name: "r",
    leaves: [
        "library(stats4); x <- 41; f <- function() x + 1; setwd('/tmp'); Sys.setenv(A = 'b'); options(digits = 4)",
        "writeLines('here', 'kept'); setClass('C', representation(n = 'numeric')); one <- new('C', n = pi)",
    ],
    looks: (
        "paste(f(), getwd(), Sys.getenv('A'), readLines('kept'), is(one, 'C'), 'package:stats4' %in% search(), format(one@n))",
        "[1] \"42 /tmp b here TRUE TRUE 3.142\"",
    ),
    reads: "cat(readline(), ' [\\'', commandArgs(TRUE), '\\']\\n', sep = ''); paste(readLines('first.txt', warn = FALSE), collapse = '\\n')",
    quoted: |text| format!("[1] \"{text}\""),
    asks: ("readline()", "Error"),
    fails: ["fails <- function() {\n  stop('no')\n}", "y <- 1\nfails()"],
    failed: ("Error", &["Error in fails() : no", "fails() at <code-2>#2"]),
    nonsense: ("z <- <-", "SyntaxError"),
    sane: ("y + 41", "[1] 42"),
    exits: "quit(status = 3)",
    kills_itself: "tools::pskill(Sys.getpid(), tools::SIGKILL); Sys.sleep(20)",
    leaves_process: "system('sleep 600', wait = FALSE)",
    limits: &[
        ("repeat {}", TIMEOUT),
        ("b <- list(); repeat b[[length(b) + 1L]] <- numeric(1e6) + 1", MEMORY),
        (
            "for (i in 1:200) system('sleep 30', wait = FALSE, ignore.stderr = TRUE); stop('none is left')",
            PROCESSES,
        ),
        ("options(warn = 2); f <- file('/tmp/x', 'wb'); repeat { writeBin(raw(65536) , f); flush(f) }", DISK),
        ("repeat cat(strrep('x', 65536))", OUTPUT),
    ],
    descriptors: "length(list.files('/proc/self/fd'))",
    counts: |n| (format!("cat({n}, '\\n', sep = ''); n <- {n}; n"), format!("[1] {n}")),
};

const TONGUES: [Tongue; 2] = [JAVASCRIPT, R];

pub(super) fn open_in_language(
    sandbox: &Sandbox,
    language: &str,
    change: impl FnOnce(&mut SessionRequest),
) -> Session {
    let mut request = SessionRequest::new(language);
    request.limits.wall *= SLOWNESS;
    change(&mut request);
    sandbox.open_session(request).unwrap()
}

fn open(sandbox: &Sandbox, tongue: &Tongue) -> Session {
    open_in_language(sandbox, tongue.name, |_| ())
}

#[test]
fn what_a_run_leaves_is_there_for_the_next_one_of_any_language() {
    let sandbox = sandbox();
    for tongue in &TONGUES {
        let mut session = open(&sandbox, tongue);
        for code in tongue.leaves {
            assert_eq!(value(&mut session, code), "", "{code}");
        }
        assert_eq!(value(&mut session, tongue.looks.0), tongue.looks.1);
        let info = session.info();
        assert_eq!((info.runs, info.end), (3, None));
        let mut other = open(&sandbox, tongue);
        assert_eq!(
            run(&mut other, tongue.looks.0).verdict,
            Verdict::Exception,
            "no other session has any of it"
        );
        session.close();
    }
    assert_eq!(sandbox.quiesce(PATIENCE).unwrap(), 0);
}

#[test]
fn each_run_of_any_language_has_its_own_output_input_arguments_and_files() {
    let sandbox = sandbox();
    for tongue in &TONGUES {
        let mut session = open(&sandbox, tongue);
        for number in 0..3 {
            let mut cell = Cell::new(tongue.reads);
            cell.args = vec![format!("arg{number}")];
            cell.stdin = Stdin::Bytes(format!("line {number}\nmore").into_bytes());
            cell.files = vec![PlacedFile::new("first.txt", format!("file {number}").into_bytes()).unwrap()];
            let run = session.run(cell).unwrap();
            assert_eq!(run.value, Some((tongue.quoted)(&format!("file {number}"))), "{}", told(&run));
            let out = String::from_utf8(run.stdout).unwrap().replace(' ', "");
            assert_eq!(out, format!("line{number}['arg{number}']\n"));
            assert!(run.stderr.is_empty());
        }
        let run = run(&mut session, tongue.asks.0);
        assert_eq!(run.exception.as_ref().map(|e| e.name.as_str()), Some(tongue.asks.1), "{}", told(&run));
        let mut cell = Cell::new("1");
        cell.files = vec![PlacedFile::new("first.txt/below", Vec::new()).unwrap()];
        let run = session.run(cell).unwrap();
        assert_eq!((run.verdict, run.exception.unwrap().name.as_str()), (Verdict::Exception, "OSError"));
        assert_eq!(session.info().end, None);
    }
}

#[test]
fn what_a_javascript_has_begun_to_read_takes_nothing_of_the_next_ones_input() {
    let sandbox = sandbox();
    let mut session = open(&sandbox, &JAVASCRIPT);
    for number in 0..50 {
        for (code, line) in [("process.stdin.on('data', () => {}); 1", 100), (JAVASCRIPT.reads, number)] {
            let mut cell = Cell::new(code);
            cell.stdin = Stdin::Bytes(format!("line {line}\nmore").into_bytes());
            cell.files = vec![PlacedFile::new("first.txt", Vec::new()).unwrap()];
            let run = session.run(cell).unwrap();
            assert_eq!(run.verdict, Verdict::Value, "{number}: {}", told(&run));
            assert!(line == 100 || run.stdout == format!("line {line} []\n").as_bytes(), "{}", told(&run));
        }
    }
}

#[test]
fn an_error_of_any_language_ends_a_run_and_not_its_session() {
    let sandbox = sandbox();
    for tongue in &TONGUES {
        let mut session = open(&sandbox, tongue);
        value(&mut session, tongue.fails[0]);
        let failed = run(&mut session, tongue.fails[1]);
        let exception = failed.exception.as_ref().unwrap();
        assert_eq!((failed.verdict, exception.name.as_str()), (Verdict::Exception, tongue.failed.0));
        for part in tongue.failed.1 {
            assert!(exception.traceback.contains(part), "{}", exception.traceback);
        }
        assert!(!exception.traceback.contains("[eval]"), "{}", exception.traceback);
        let nonsense = run(&mut session, tongue.nonsense.0);
        assert_eq!(nonsense.exception.unwrap().name, tongue.nonsense.1);
        assert_eq!(value(&mut session, tongue.sane.0), tongue.sane.1);
        assert_eq!(session.info().end, None);
    }
}

#[test]
fn an_interpreter_of_any_language_that_really_ends_takes_its_session_with_it() {
    let sandbox = sandbox();
    for tongue in &TONGUES {
        let mut session = open(&sandbox, tongue);
        assert_eq!(run(&mut session, tongue.exits).verdict, Verdict::Exit(3));
        assert_eq!(ended(&mut session), SessionEnd::Run(Verdict::Exit(3)));
        let mut session = open(&sandbox, tongue);
        let killed = run(&mut session, tongue.kills_itself);
        assert_eq!(killed.verdict, Verdict::Limit(LimitKind::Killed), "{}", told(&killed));
    }
    assert_eq!(sandbox.quiesce(PATIENCE).unwrap(), 0);
}

#[test]
fn every_limit_that_a_run_of_any_language_meets_ends_its_session() {
    for tongue in &TONGUES {
        let sandbox = counted(&[tongue.name]);
        let before = census(&sandbox);
        for (code, verdict) in tongue.limits {
            let mut session = open_in_language(&sandbox, tongue.name, |request| {
                request.limits.wall =
                    SLOWNESS * Duration::from_secs(if *verdict == TIMEOUT { 1 } else { 20 });
                request.limits.memory_bytes = 160 << 20;
                request.limits.processes = 24;
                request.limits.disk_bytes = 8 << 20;
                request.limits.output_discard_bytes = 4 << 20;
            });
            value(&mut session, tongue.leaves_process);
            let run = run(&mut session, code);
            assert_eq!(run.verdict, *verdict, "{code}\n{}", told(&run));
            assert_eq!(ended(&mut session), SessionEnd::Run(*verdict));
            drop(session);
            assert_eq!(census(&sandbox), before, "{code}");
        }
    }
}

#[test]
fn a_hundred_runs_in_one_session_of_any_language_leak_nothing() {
    for tongue in &TONGUES {
        let sandbox = counted(&[tongue.name]);
        let mut session = open(&sandbox, tongue);
        let counts = |session: &mut Session| {
            let own = value(session, tongue.descriptors);
            sandbox.warm_up(PATIENCE).unwrap();
            (own, [sandbox.helper_pid(), getpid().as_raw_pid()].map(|pid| open_in(pid).len()))
        };
        for number in 0..5 {
            value(&mut session, &(tongue.counts)(number).0);
        }
        let before = counts(&mut session);
        for number in 0..100 {
            let (code, expected) = (tongue.counts)(number);
            let run = run(&mut session, &code);
            assert_eq!(run.stdout, format!("{number}\n").into_bytes(), "{}", told(&run));
            assert_eq!(run.value, Some(expected));
        }
        assert_eq!(counts(&mut session), before);
        session.close();
        assert_eq!(sandbox.quiesce(PATIENCE).unwrap(), 0);
    }
}

#[test]
fn what_holds_a_session_of_any_language_is_what_holds_a_run() {
    let sandbox = sandbox();
    let look = [
        (
            "javascript",
            "console.log(require('fs').readFileSync('/proc/self/status', 'utf8'), require('fs').readFileSync('/proc/self/limits', 'utf8'))",
        ),
        ("r", "writeLines(readLines('/proc/self/status')); writeLines(readLines('/proc/self/limits'))"),
    ];
    for (language, code) in look {
        let held = |run: execgate_sandbox::Run| {
            let out = String::from_utf8(run.stdout).unwrap();
            let names = ["Gid", "Groups", "Seccomp", "NoNewPrivs", "Cap", "Max "];
            let kept = out.lines().filter(|line| names.iter().any(|name| line.starts_with(name)));
            (kept.map(str::to_owned).collect::<BTreeSet<_>>(), run.enforced)
        };
        let (plain, enforced) = held(sandbox.run(execgate_sandbox::Request::new(language, code)).unwrap());
        let mut session = open_in_language(&sandbox, language, |_| ());
        let (of_session, enforced_too) = held(run(&mut session, code));
        // Each slot has its own user.
        let but_gid = |lines: BTreeSet<String>| {
            lines.into_iter().filter(|line| !line.starts_with("Gid")).collect::<BTreeSet<_>>()
        };
        assert_eq!(but_gid(of_session), but_gid(plain));
        assert_eq!(enforced_too, enforced);
    }
}

#[test]
fn javascript_may_declare_a_name_again_and_await_and_import_anywhere() {
    let sandbox = sandbox();
    let mut session = open(&sandbox, &JAVASCRIPT);
    let cases = [
        (
            "const a = 1; let b = 2; var c = 3; class D { static n = 4 }; function e() { return 5 }; a + b + c + D.n + e()",
            "15",
        ),
        (
            "const a = 10; let b = 20; var c = 30; class D { static n = 40 }; function e() { return 50 }; a + b + c + D.n + e()",
            "150",
        ),
        ("let c = 1, e = 2; const D = 3; [a, b, c, D, e].join()", "'10,20,1,3,2'"),
        ("function b() { return 'b' }\nb()", "'b'"),
        ("let { x, y: [z = 7] } = { x: 1, y: [] }, w\n;[x, z, w].join()", "'1,7,'"),
        ("const f = () => f.name\nf()", "'f'"),
        ("let g\nlet h = 2\nfor await (const one of [h]) g = one\ng", "2"),
        ("for (var b = 0; b < 3; b++); b", "3"),
        ("for (const i of [1]) { var q = i } q", "1"),
        (
            "import { basename as base } from 'node:path'\nimport fs, { existsSync } from 'node:fs'\nimport * as os from 'node:os'\nbase('/a/b') + existsSync('/tmp') + typeof fs.readFileSync + typeof os.cpus",
            "'btruefunctionfunction'",
        ),
        ("base('/c/d')", "'d'"),
        ("const { basename: later } = await import('node:path'); later('/e/f')", "'f'"),
        (
            "const p = await Promise.resolve(6); async function q2() { return (await null) ?? p }\nawait q2()",
            "6",
        ),
        ("await q2() + p", "12"),
        ("await main(); async function main() { await null; x = 'set' }\nx", "'set'"),
        ("'use strict'; const s = (function () { return this })(); s === undefined", "true"),
        ("const crypto = require('crypto'); crypto.randomBytes(2).length", "2"),
        ("const t = 1", ""),
        ("(() => { let a = 'inner'; return a })() + a", "'inner10'"),
        ("label: { let z = 1 } z", "7"),
        ("typeof globalThis.a + typeof globalThis.require", "'undefinedfunction'"),
        ("undeclared = 010; undeclared", "8"),
        ("Promise.resolve({ a: 1 })", "{ a: 1 }"),
        ("this === globalThis", "true"),
    ];
    for (code, expected) in cases {
        assert_eq!(value(&mut session, code), expected, "{code}");
    }
    let failed = run(&mut session, "const ok = 1\nawait null; throw new Error('x')");
    let traceback = failed.exception.unwrap().traceback;
    assert!(traceback.contains(":2:19"), "{traceback}");
    assert_eq!(value(&mut session, "ok"), "1");
    // A declaration that failed can be made again.
    run(&mut session, "const again = fails()");
    assert_eq!(value(&mut session, "const again = 2; again"), "2");
}

/// Whether this process is a `sleep` of so many seconds.
fn sleeps(pid: i32, seconds: u32) -> bool {
    let line = format!("sleep\0{seconds}\0").into_bytes();
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|found| found == line)
}

#[test]
fn timers_and_servers_of_javascript_go_on_between_two_runs() {
    let sandbox = sandbox();
    let mut session = open(&sandbox, &JAVASCRIPT);
    let code = "let ticks = 0; setInterval(() => { ticks++; console.log('tick') }, 1)\n\
                const server = require('net').createServer((s) => s.end('served ' + ticks)).listen('/tmp/s')\n\
                await new Promise((done) => server.once('listening', done))\n\
                const other = require('child_process').spawn('sh', ['-c', 'while [ ! -e /tmp/go ]; do sleep 0.01; done; exec sleep 777'])\n\
                setTimeout(() => require('fs').writeFileSync('/tmp/go', ''), 20); console.log('first')";
    let first = run(&mut session, code);
    assert_eq!(first.verdict, Verdict::Value, "{}", told(&first));
    assert!(String::from_utf8(first.stdout).unwrap().ends_with("first\n"));
    // The timer comes while nothing runs, and shows by the process that waits for it.
    assert!(comes_true(|| descendants(sandbox.helper_pid()).into_iter().any(|pid| sleeps(pid, 777))));
    let served = value(
        &mut session,
        "await new Promise((done) => require('net').connect('/tmp/s').on('data', (d) => done(String(d))))",
    );
    assert!(served.starts_with("'served ") && served != "'served 0'", "{served}");
    assert_eq!(value(&mut session, "ticks > 5"), "true");
    session.close();
    assert_eq!(sandbox.quiesce(PATIENCE).unwrap(), 0);
}

#[test]
fn what_goes_wrong_in_the_background_of_javascript_is_the_running_codes_or_nobodys() {
    let sandbox = sandbox();
    let mut session = open(&sandbox, &JAVASCRIPT);
    let fails_between = "const { readlinkSync } = require('fs'), { spawn } = require('child_process')\n\
                         const timer = setInterval(() => { if (readlinkSync('/proc/self/fd/1') !== '/dev/null') return\n\
                         clearInterval(timer); spawn('sleep', ['778']); throw new Error('between') }, 1); 1";
    assert_eq!(value(&mut session, fails_between), "1");
    assert!(comes_true(|| descendants(sandbox.helper_pid()).into_iter().any(|pid| sleeps(pid, 778))));
    assert_eq!(value(&mut session, "2"), "2");
    let failed = run(
        &mut session,
        "setTimeout(() => { throw new RangeError('own') }, 1); await new Promise(() => setInterval(() => {}, 1000))",
    );
    assert_eq!(failed.exception.unwrap().name, "RangeError");
    let rejected = run(&mut session, "Promise.reject(new TypeError('nobody takes it')); 3");
    assert_eq!(rejected.exception.unwrap().name, "TypeError", "it is known before the end");
    assert_eq!(
        value(
            &mut session,
            "process.once('uncaughtException', (e) => { seen = e.message }); setTimeout(() => { throw new Error('taken') }, 1)\nawait new Promise((d) => setTimeout(d, 50)); seen"
        ),
        "'taken'"
    );
    let waits = run(&mut open(&sandbox, &JAVASCRIPT), "await new Promise(() => {})");
    assert_eq!(waits.exception.unwrap().name, "UnsettledAwait");
    assert_eq!(value(&mut session, "process.removeAllListeners(); process.stdout.write('x'); 4"), "4");
    assert_eq!(value(&mut session, "5"), "5");
    assert_eq!(session.info().end, None);
}
