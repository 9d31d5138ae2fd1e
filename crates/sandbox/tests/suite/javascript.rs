//! JavaScript in the jail is Node: what a program may rely on holds in a run too, whichever Node the image has.

use std::collections::BTreeMap;
use std::time::Duration;

use execgate_sandbox::{Exception, LimitKind, PlacedFile, Request, Run, Sandbox, Stdin, Verdict};

use super::world::{SLOWNESS, sandbox, told, with_limits};

/// The first Node that can take the types out of TypeScript.
const STRIPS_TYPES: (u32, u32) = (22, 13);

fn javascript(code: &str) -> Request {
    // Node alone takes a second where the machine is busy.
    with_limits(Request::new("javascript", code), |limits| {
        limits.wall = SLOWNESS * Duration::from_secs(20);
    })
}

fn run_in(sandbox: &Sandbox, code: &str) -> Run {
    sandbox.run(javascript(code)).unwrap()
}

fn value_in(sandbox: &Sandbox, code: &str) -> String {
    let run = run_in(sandbox, code);
    assert_eq!((run.verdict, run.stderr.as_slice()), (Verdict::Value, &b""[..]), "{code}\n{}", told(&run));
    run.value.unwrap_or_default()
}

fn exception_in(sandbox: &Sandbox, code: &str) -> Exception {
    let run = run_in(sandbox, code);
    assert_eq!(run.verdict, Verdict::Exception, "{code}\n{}", told(&run));
    let exception = run.exception.unwrap();
    for inner in ["node:internal", "node:vm", "[eval]"] {
        assert!(!exception.traceback.contains(inner), "{code}\n{}", exception.traceback);
    }
    exception
}

fn with_files(code: &str, files: &[(&str, &str)]) -> Request {
    let placed = |(path, text): &(&str, &str)| PlacedFile::new(path, text.as_bytes().to_vec()).unwrap();
    Request { files: files.iter().map(placed).collect(), ..javascript(code) }
}

fn version_in(sandbox: &Sandbox) -> (u32, u32) {
    let text = value_in(sandbox, "process.versions.node");
    let mut parts = text.trim_matches('\'').split('.').map(|part| part.parse().unwrap());
    (parts.next().unwrap(), parts.next().unwrap())
}

#[test]
fn the_last_expression_is_the_value_however_it_is_written() {
    let sandbox = sandbox();
    let cases = BTreeMap::from([
        ("1 +\n 2\n\n// the end\n", "3"),
        ("const a = 1;\nlet b = [a, { c: 'x' }];\nb ; ", "[ 1, { c: 'x' } ]"),
        ("'quoted'", "'quoted'"),
        ("null", "null"),
        ("undefined", ""),
        ("", ""),
        ("// nothing", ""),
        ("const x = 5", ""),
        ("'use strict';\nconst x = 5;", ""),
        ("if (true) { 5 }", "5"),
        ("undeclared = 010; undeclared", "8"),
        ("var await = 5; await + 1", "6"),
        ("#!/usr/bin/env node\n7", "7"),
        ("Promise.resolve({ a: 1 })", "{ a: 1 }"),
        ("async function f() { await null; return 9 }\nf()", "9"),
        ("10n ** 20n", "100000000000000000000n"),
        ("new Map([[1, new Set([2])]])", "Map(1) { 1 => Set(1) { 2 } }"),
        ("'a\\nb'.repeat(40).length", "120"),
    ]);
    for (code, expected) in cases {
        assert_eq!(value_in(&sandbox, code), expected, "{code}");
    }
}

#[test]
fn a_module_has_a_value_too() {
    let sandbox = sandbox();
    let cases = BTreeMap::from([
        ("const r = await Promise.resolve(3)\nr * 2", "6"),
        ("await (async () => 4)()", "4"),
        ("let s = 0\nfor await (const n of [1, Promise.resolve(2)]) s += n;\ns // sum", "3"),
        ("import fs, { existsSync } from 'node:fs'\nfs.existsSync === existsSync;", "true"),
        ("export const a = 5;\nexport default function f() {}\na + 1", "6"),
        ("export const a = 5", ""),
        ("await 0; (class {})", "[class (anonymous)]"),
        ("await 0; `a;`", "'a;'"),
        ("await 0; import.meta.dirname", "'/home/user'"),
        ("import.meta.url === `file://${process.argv[1]}`", "true"),
        ("let main = 0; if (import.meta.main) { main = 1 }\nmain", "1"),
        ("import 'fs'\nrequire('path').sep", "'/'"),
        ("import fs from 'fs'; fs.readdirSync('.')", "[]"),
    ]);
    for (code, expected) in cases {
        assert_eq!(value_in(&sandbox, code), expected, "{code}");
    }
}

#[test]
fn files_and_packages_are_found_from_the_home_folder() {
    let sandbox = sandbox();
    let files = [
        ("node_modules/lodash/package.json", r#"{"name": "lodash", "main": "index.js"}"#),
        ("node_modules/lodash/index.js", "exports.one = 1"),
        (
            "node_modules/@own/esm/package.json",
            r#"{"name": "@own/esm", "type": "module", "exports": "./a.js"}"#,
        ),
        ("node_modules/@own/esm/a.js", "export default 2"),
        ("counter.mjs", "export let count = 0; export function more() { count++ }"),
        ("data.json", r#"{"x": 4}"#),
        ("package.json", r#"{"type": "commonjs"}"#),
    ];
    let cases = [
        ("require('lodash').one + require('./data.json').x", "5"),
        ("import { one } from 'lodash'\nimport two from '@own/esm'\none + two", "3"),
        ("import { count, more } from './counter.mjs'\nmore(); more()\ncount", "2"),
        ("import('./counter.mjs').then((made) => made.count)", "0"),
        ("require.main === module && __dirname", "'/home/user'"),
    ];
    for (code, expected) in cases {
        let run = sandbox.run(with_files(code, &files)).unwrap();
        assert_eq!((run.value.as_deref(), run.stderr), (Some(expected), Vec::new()), "{code}");
    }
    let typed = "import data from './data.json' with { type: 'json' }\nconsole.log(data.x)\ndata";
    let run = sandbox.run(with_files(typed, &files)).unwrap();
    assert_eq!((run.verdict, run.stdout.as_slice()), (Verdict::Value, &b"4\n"[..]), "{}", told(&run));
    // Debian gives its Node a parser of its own choice.
    let parser = value_in(&sandbox, "process.versions.acorn.split('.')[1] >= 14");
    assert_eq!(run.value.as_deref(), (parser == "true").then_some("{ x: 4 }"));
    assert!(exception_in(&sandbox, "require('nowhere')").message.starts_with("Cannot find module 'nowhere'"));
    assert!(exception_in(&sandbox, "import 'nowhere'").message.starts_with("Cannot find package 'nowhere'"));
}

#[test]
fn an_error_of_syntax_shows_the_line_and_the_place() {
    let sandbox = sandbox();
    let text = "<code>:3\nlet y = = 2\n        ^\n\nSyntaxError: Unexpected token '='";
    for code in [
        "let x = 1\n\nlet y = = 2",
        "import 'fs'\n\nlet y = = 2",
        "await 1\nconsole.log(await 2)\nlet y = = 2",
    ] {
        let told = exception_in(&sandbox, code);
        assert_eq!((told.name.as_str(), told.traceback.as_str()), ("SyntaxError", text), "{code}");
    }
    assert_eq!(exception_in(&sandbox, "return 5").message, "Illegal return statement");
    assert_eq!(exception_in(&sandbox, "def f(x):\n    return x").name, "SyntaxError");
    let missing = exception_in(&sandbox, "\nimport { nothing } from 'fs'");
    assert!(missing.traceback.starts_with("<code>:2\nimport { nothing }"), "{}", missing.traceback);
}

#[test]
fn a_traceback_shows_the_users_frames_where_they_are() {
    let sandbox = sandbox();
    let expected = "RangeError: bad\n    at f (<code>:2:22)\n    at <code>:3:5";
    for first in ["'script'", "await 'module'"] {
        let code = format!("{first}\nfunction f() {{ throw new RangeError('bad') }}\n[1, f()]");
        assert_eq!(exception_in(&sandbox, &code).traceback, expected, "{code}");
    }
    let waiting =
        "async function g() { await null; throw new Error('q') }\nasync function f() { await g() }\nf()";
    assert_eq!(
        exception_in(&sandbox, waiting).traceback,
        "Error: q\n    at g (<code>:1:40)\n    at async f (<code>:2:22)"
    );
    let file = exception_in(&sandbox, "require('fs').readFileSync('nowhere')");
    assert_eq!(file.message, "ENOENT: no such file or directory, open 'nowhere'");
    assert!(file.traceback.contains("at <code>:1:15") && file.traceback.contains("code: 'ENOENT'"));
    let library = exception_in(&sandbox, "require('child_process').execSync('false')");
    assert!(library.traceback.starts_with("Error: Command failed: false\n"), "{}", library.traceback);
}

#[test]
fn names_causes_and_members_of_errors_are_told() {
    let sandbox = sandbox();
    let name_of = |code: &str| exception_in(&sandbox, code).name;
    assert_eq!(name_of("class Mine extends TypeError {}\nthrow new Mine('x')"), "Mine");
    assert_eq!(name_of("throw Object.assign(new Error('x'), { name: 'Given' })"), "Given");
    assert_eq!(name_of("require('assert').equal(1, 2)"), "AssertionError");
    assert_eq!(name_of("structuredClone(() => {})"), "DataCloneError");
    let chained = exception_in(
        &sandbox,
        "try { JSON.parse('{') } catch (cause) { throw new Error('outer', { cause }) }",
    );
    assert!(chained.traceback.contains("[cause]: SyntaxError"), "{}", chained.traceback);
    let many =
        exception_in(&sandbox, "Promise.any([Promise.reject(new RangeError('one')), Promise.reject(2)])");
    assert!(
        many.name == "AggregateError" && many.traceback.contains("RangeError: one"),
        "{}",
        many.traceback
    );
    for (code, message) in [
        ("throw 'text'", "'text'"),
        ("throw { a: 1 }", "{ a: 1 }"),
        ("await 0; throw undefined", "undefined"),
    ] {
        let told = exception_in(&sandbox, code);
        assert_eq!((told.name.as_str(), told.message.as_str()), ("Uncaught", message), "{code}");
    }
}

#[test]
fn what_fights_back_is_told_all_the_same() {
    let sandbox = sandbox();
    let mute = "throw Object.defineProperty(new Error('x'), 'message', { get() { throw 1 } })";
    assert_eq!(exception_in(&sandbox, mute).message, "<no message>");
    let stackless = "throw Object.defineProperty(new Error('x'), 'stack', { get() { throw 1 } })";
    assert_eq!(exception_in(&sandbox, stackless).message, "x");
    let circle = "const a = new Error('a'), b = new Error('b'); a.cause = b; b.cause = a; throw a";
    assert_eq!(exception_in(&sandbox, circle).message, "a");
    assert_eq!(exception_in(&sandbox, "const f = () => f()\nf()").name, "RangeError");
    let huge = exception_in(&sandbox, "throw new Error('x'.repeat(30e6))");
    assert!(huge.message.len() == (1 << 20) + 4 && huge.traceback.len() <= (1 << 20) + 4);
    assert_eq!(value_in(&sandbox, "'é'.repeat(3e6)").len(), (1 << 20) + 3);
    let custom = "class A { [require('util').inspect.custom]() { throw 1 } }\nnew A()";
    assert_eq!(value_in(&sandbox, custom), "A {}");
    let trap = "new Proxy({}, { get() { throw 1 }, ownKeys() { throw 2 } }) && ({ get a() { throw 1 }, toString: null })";
    assert_eq!(value_in(&sandbox, trap), "{ a: [Getter], toString: null }");
    let broken =
        "Array.prototype.map = String.prototype.split = null; JSON = Buffer = Error = process = null; 5";
    assert_eq!(value_in(&sandbox, broken), "5");
}

#[test]
fn every_way_of_leaving_gives_the_exit_code_of_a_program() {
    let sandbox = sandbox();
    let cases = [
        ("process.exit(3)", 3),
        ("await 0; process.exit(3)", 3),
        ("process.exitCode = 4; 5", 4),
        ("setTimeout(() => process.exit(6), 5)", 6),
        ("process.on('exit', () => { process.exitCode = 9 })", 9),
        ("process.on('exit', () => process.exit(8))", 8),
        ("setTimeout(() => process.exit(2), 5); await new Promise(() => {})", 2),
    ];
    for (code, status) in cases {
        let run = run_in(&sandbox, code);
        assert_eq!((run.verdict, run.value), (Verdict::Exit(status), None), "{code}");
    }
    assert_eq!(value_in(&sandbox, "setTimeout(() => process.exit(0), 5); 42"), "42");
    assert_eq!(run_in(&sandbox, "process.kill(process.pid)").verdict, Verdict::Limit(LimitKind::Killed));
}

#[test]
fn what_runs_after_the_code_is_done_before_the_verdict() {
    let sandbox = sandbox();
    let code = "process.on('exit', (code) => console.log('exit', code))\n\
                process.once('beforeExit', () => setTimeout(() => console.log('more'), 5))\n\
                setTimeout(() => console.log('timer'), 5)\n41 + 1";
    let run = run_in(&sandbox, code);
    assert_eq!((run.value.as_deref(), run.stdout), (Some("42"), b"timer\nmore\nexit 0\n".to_vec()));
    let run =
        run_in(&sandbox, "process.on('exit', (code) => console.log('exit', code)); throw new Error('x')");
    assert_eq!((run.verdict, run.stdout), (Verdict::Exception, b"exit 1\n".to_vec()));
    let cases = [
        "setTimeout(() => { throw new RangeError('late') }, 5); 1",
        "setTimeout(async () => { throw new RangeError('late') }, 5); 1",
        "Promise.reject(new RangeError('late')); 1",
        "process.on('exit', () => { throw new RangeError('late') }); 1",
        "new Promise((_, reject) => setTimeout(reject, 5, new RangeError('late')))",
    ];
    for code in cases {
        let told = exception_in(&sandbox, code);
        assert_eq!((told.name.as_str(), told.message.as_str()), ("RangeError", "late"), "{code}");
    }
}

#[test]
fn handlers_of_the_code_keep_their_say() {
    let sandbox = sandbox();
    let cases = [
        (
            "process.on('uncaughtException', (e) => console.log(e.message)); setTimeout(() => console.log('on'), 5); throw new Error('x')",
            "x\non\n",
        ),
        (
            "process.on('uncaughtException', (e) => console.log(e.message)); await 0; throw new Error('x')",
            "x\n",
        ),
        (
            "process.on('unhandledRejection', (e) => console.log(e.message)); Promise.reject(new Error('x')); 1",
            "x\n",
        ),
        (
            "process.setUncaughtExceptionCaptureCallback((e) => console.log(e.message)); throw new Error('x')",
            "x\n",
        ),
    ];
    for (code, expected) in cases {
        let run = run_in(&sandbox, code);
        assert_eq!((run.verdict, run.stdout.as_slice()), (Verdict::Value, expected.as_bytes()), "{code}");
    }
}

#[test]
fn a_promise_that_nothing_settles_is_an_exception() {
    let sandbox = sandbox();
    for code in ["await new Promise(() => {})", "new Promise(() => {})"] {
        assert_eq!(exception_in(&sandbox, code).name, "UnsettledAwait", "{code}");
    }
    let question = "import { createInterface } from 'readline/promises'\n\
                    const lines = createInterface({ input: process.stdin, output: process.stdout })\n\
                    const name = await lines.question('name? ')\nlines.close()\nname";
    let unanswered = exception_in(&sandbox, question).message;
    assert!(unanswered.contains("send `stdin`"), "{unanswered}");
    let given = Request { stdin: Stdin::Bytes(b"ada\n".to_vec()), ..javascript(question) };
    let run = sandbox.run(given).unwrap();
    assert_eq!(
        (run.value.as_deref(), run.stdout.as_slice()),
        (Some("'ada'"), &b"name? "[..]),
        "{}",
        told(&run)
    );
}

#[test]
fn output_is_whole_and_in_order_however_the_code_leaves() {
    let sandbox = sandbox();
    let whole = |code: &str| {
        let request = with_limits(javascript(code), |limits| limits.output_bytes = 16 << 20);
        sandbox.run(request).unwrap()
    };
    for end in ["1", "process.exit(0)", "process.exit(3)", "throw 1"] {
        let run = whole(&format!("console.log('x'.repeat(1e7)); console.error('y'.repeat(1e5)); {end}"));
        assert_eq!((run.stdout.len(), run.stderr.len()), (10_000_001, 100_001), "{end}");
    }
    let run = whole(
        "const { execSync } = require('child_process'); console.log('a')\n\
         execSync('echo b; echo c >&2; head -c 3000000 /dev/zero', { stdio: 'inherit' }); console.log('d')",
    );
    assert!(run.stdout.starts_with(b"a\nb\n") && run.stdout.ends_with(b"\0d\n"), "{}", told(&run));
    assert_eq!((run.stdout.len(), run.stderr.as_slice()), (3_000_006, &b"c\n"[..]));
}

#[test]
fn threads_processes_and_sockets_work_as_far_as_the_jail_lets_them() {
    let sandbox = sandbox();
    let worker = "const { Worker, isMainThread, parentPort } = require('worker_threads')\n\
                  if (isMainThread) new Promise((done, fail) => new Worker(__filename).on('message', done).on('error', fail))\n\
                  else parentPort.postMessage('from a worker')";
    assert_eq!(value_in(&sandbox, worker), "'from a worker'");
    let fork = "import { fork } from 'child_process'\nlet got\n\
                if (process.send) { process.send(process.execArgv.length); process.disconnect() }\n\
                else got = await new Promise((done) => fork(import.meta.filename).on('message', done))\ngot";
    assert_eq!(value_in(&sandbox, fork), "0");
    let socket = "const http = require('http'); new Promise((done) => {\n\
                  const server = http.createServer((_, answer) => { answer.end('over a socket'); server.close() })\n\
                  server.listen('./s', () => http.get({ socketPath: './s' }, (a) => a.on('data', (d) => done(String(d)))))})";
    assert_eq!(value_in(&sandbox, socket), "'over a socket'");
    let pool = "const { promisify } = require('util'); const gzip = promisify(require('zlib').gzip)\n\
                Promise.all(Array.from({ length: 8 }, () => gzip('x'))).then((all) => all.length)";
    assert_eq!(value_in(&sandbox, pool), "8");
    let told = exception_in(&sandbox, "await fetch('http://127.0.0.1:9/')");
    assert_eq!((told.name.as_str(), told.message.as_str()), ("TypeError", "fetch failed"));
    assert!(told.traceback.contains("[cause]"), "{}", told.traceback);
}

#[test]
fn the_code_sees_nothing_of_what_started_it() {
    let sandbox = sandbox();
    let request =
        Request { args: vec!["--a".to_owned(), "-".to_owned()], ..javascript("process.argv.slice(1)") };
    let run = sandbox.run(request).unwrap();
    assert_eq!(run.value.as_deref(), Some("[ '/home/user/__code__.js', '--a', '-' ]"));
    assert_eq!(
        value_in(&sandbox, "[process.execArgv, '_eval' in process, typeof display]"),
        "[ [], false, 'undefined' ]"
    );
    // What was tried out before is nowhere in its streams, in its globals and in what it counts.
    assert_eq!(
        value_in(
            &sandbox,
            "[process.stdout, process.stderr].map((one) => [one._type, one.fd, one.bytesWritten])"
        ),
        "[ [ 'pipe', 1, 0 ], [ 'pipe', 2, 0 ] ]"
    );
    assert_eq!(
        value_in(&sandbox, "[process.exitCode, module.children.length, process.uptime() > 0]"),
        "[ undefined, 0, true ]"
    );
    let globals = "require('fs').writeFileSync('p.js', 'console.log(JSON.stringify(Object.getOwnPropertyNames(globalThis)))')\n\
                   const plain = JSON.parse(require('child_process').execFileSync(process.execPath, ['p.js']))\n\
                   Object.getOwnPropertyNames(globalThis).filter((name) => !plain.includes(name)).sort().join()";
    assert_eq!(value_in(&sandbox, globals), "'__dirname,__filename,exports,module,require'");
    let open = "require('child_process').execFileSync('/bin/sh', ['-c', 'for f in /proc/self/fd/*; do readlink $f; done; true']).toString()";
    assert!(!value_in(&sandbox, open).contains("memfd"));
    assert_eq!(
        value_in(&sandbox, "try { require('internal/util') } catch (e) { e.code }"),
        "'MODULE_NOT_FOUND'"
    );
    assert_eq!(value_in(&sandbox, "require('fs').readdirSync('.')"), "[]");
}

#[test]
fn closing_the_channel_loses_the_value_and_nothing_else() {
    let code =
        "for (let fd = 3; fd < 64; fd++) try { require('fs').closeSync(fd) } catch {}\nconsole.log('on'); 7";
    let run = run_in(&sandbox(), code);
    assert_eq!((run.value, run.stdout), (None, b"on\n".to_vec()));
}

#[test]
fn types_are_stripped_where_node_can_do_it() {
    let sandbox = sandbox();
    let typed = |code: &str| Request { words: vec!["typescript".to_owned()], ..javascript(code) };
    let code = "interface A { a: number }\nconst f = (x: A): number => x.a\nf({ a: 5 } as A)";
    let run = sandbox.run(typed(code)).unwrap();
    if version_in(&sandbox) < STRIPS_TYPES {
        let told = run.exception.unwrap();
        assert!(
            told.name == "UnsupportedTypeScript" && told.message.contains("Node 22.13"),
            "{}",
            told.message
        );
        assert_eq!(exception_in(&sandbox, code).name, "SyntaxError");
        return;
    }
    assert_eq!((run.value.as_deref(), run.stderr), (Some("5"), Vec::new()));
    assert_eq!(value_in(&sandbox, code), "5");
    // What is more than types moves lines, and their numbers are told as they were; the newest Node refuses it.
    let more = ["", "enum E { A = 3 }\n"];
    for (moved, first) in more.into_iter().enumerate() {
        let line = format!("{first}interface A {{\n  a: 1 }}\nconst y: number = await 1;\n(null as any).b");
        let told = sandbox.run(typed(&line)).unwrap().exception.unwrap();
        let is_refused = told.name == "SyntaxError" && told.message.contains("enum");
        let place = format!("at <code>:{}:", 4 + moved);
        assert!(told.traceback.contains(&place) || (moved == 1 && is_refused), "{}", told.traceback);
    }
    let broken = exception_in(&sandbox, "const a: number = = 5");
    assert_eq!(
        (broken.name.as_str(), broken.message.as_str()),
        ("SyntaxError", "Missing initializer in const declaration")
    );
}

#[test]
fn rich_results_are_told_beside_the_value() {
    let sandbox = sandbox();
    let displays = |code: &str| {
        let run = sandbox.run(Request { rich: true, ..javascript(code) }).unwrap();
        (run.value, run.displays)
    };
    let code = "display({ 'text/html': '<b>', 'image/png': Buffer.from('png!') }, [1]);\n({ a: [1, null] })";
    let expected = [
        r#"{"html":"<b>","png":"cG5nIQ==","is_main_result":false}"#,
        r#"{"text":"[ 1 ]","json":[1],"is_main_result":false}"#,
        r#"{"text":"{ a: [ 1, null ] }","json":{"a":[1,null]},"is_main_result":true}"#,
    ];
    assert_eq!(displays(code), (Some("{ a: [ 1, null ] }".to_owned()), expected.map(str::to_owned).to_vec()));
    for lossy in ["new Map()", "[NaN]", "({ f() {} })", "[1n]", "const a = {}; a.a = a; a"] {
        assert!(!displays(lossy).1[0].contains("\"json\""), "{lossy}");
    }
    assert_eq!(displays("let a = 1"), (None, Vec::new()));
    let (_, large) = displays("display({ 'text/html': 'x'.repeat(4e6), 'text/plain': 'short' })");
    assert_eq!(large, [r#"{"text":"short","is_main_result":false}"#]);
}

#[test]
fn source_that_is_not_utf8_or_holds_odd_characters_still_runs() {
    let sandbox = sandbox();
    let value = |code: &[u8]| sandbox.run(Request::new("javascript", code.to_vec())).unwrap().value;
    assert_eq!(value(b"'\xff'").as_deref(), Some("'\u{fffd}'"));
    assert_eq!(value(b"'a\0b'.length").as_deref(), Some("3"));
    assert_eq!(value(b"\xef\xbb\xbf8").as_deref(), Some("8"));
}

#[test]
fn garbage_is_collected_before_the_memory_of_the_jail_is_full() {
    let code = "const kept = []\nfor (let i = 0; i < 7e5; i++) kept.push({ a: i, b: [i, i], s: 'x' + i })\n\
                let made = 0\nfor (let round = 0; round < 30; round++) {\n\
                const gone = []\nfor (let i = 0; i < 3e5; i++) gone.push({ a: i, b: [i] })\nmade += gone.length\n}\nmade";
    assert_eq!(value_in(&sandbox(), code), "9000000");
}
