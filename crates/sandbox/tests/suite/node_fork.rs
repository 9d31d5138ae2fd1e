//! JavaScript as programs use it, whoever started it: in `warm.rs` by a Node that was there before, and by a fork of one
//! where its version is proved.

use std::collections::BTreeSet;

use execgate_sandbox::{InterpreterStart, Request, Sandbox, Stdin, Verdict, Warm};
use rustix::pipe::pipe;

use super::census::open_in;
use super::world::{NODE, PATIENCE, cold, comes_true, descendants, sandbox, start_as, start_cold, told};

/// One in which nothing waits but what runs JavaScript.
fn nodes() -> Sandbox {
    start_as(|config| config.languages.retain(|language| language.name == "javascript"))
}

fn javascript(code: &str) -> Request {
    Request::new("javascript", code)
}

/// Each with its value.
fn all_have_values(cases: &[(&str, &str)]) {
    let sandbox = nodes();
    for (code, value) in cases {
        let run = sandbox.run(javascript(code)).unwrap();
        assert_eq!(run.value.as_deref(), Some(*value), "{code}\n{}", told(&run));
        assert!(run.stderr.is_empty(), "{code}\n{}", told(&run));
    }
}

/// The versions of Node whose forks are proved: by these tests.
pub(super) const PROVED: &str = "[20, 22].includes(parseInt(process.versions.node))";

#[test]
fn a_node_that_is_proved_is_forked_and_any_other_waits() {
    let run = nodes().run(javascript(PROVED)).unwrap();
    let start = match run.value.as_deref() {
        _ if crate::RESIDENTS == 0 => InterpreterStart::Executed,
        Some("true") => InterpreterStart::Forked,
        _ => InterpreterStart::Waited,
    };
    assert_eq!(run.enforced.interpreter, start, "{}", told(&run));
}

#[test]
fn one_that_cannot_be_forked_waits_instead() {
    let sandbox = start_as(|config| {
        config.languages.retain(|language| language.name == "javascript");
        for warm in config.languages.iter_mut().flat_map(|language| &mut language.warm) {
            let Warm::ForkOrWait { fork, .. } = warm else { continue };
            // It has a thread that never sleeps.
            fork.truncate(1);
            fork.extend(["--single-threaded", "-e"].map(str::to_owned));
            fork.push(
                "new (require('worker_threads').Worker)('for (;;);', { eval: true }).on('online', () => {\n\
                const module = { exports: {} }; process.dlopen(module, '/proc/self/fd/4'); module.exports.serve() })"
                    .to_owned(),
            );
        }
    });
    let run = sandbox.run(javascript("6 * 7")).unwrap();
    assert_eq!(run.value.as_deref(), Some("42"), "{}", told(&run));
    let start = if crate::RESIDENTS == 0 { InterpreterStart::Executed } else { InterpreterStart::Waited };
    assert_eq!(run.enforced.interpreter, start);
}

#[test]
fn a_fork_whose_layer_fails_is_never_handed_out() {
    // This stem has drawn already, so that its forks would draw the same.
    const SABOTAGE: &str = "Math.random(); ";
    /// Until the stem is there, nobody asks it for a fork.
    const RUNS: usize = 30;
    let sandbox = start_cold(|config| {
        config.languages.retain(|language| language.name == "javascript");
        for warm in config.languages.iter_mut().flat_map(|language| &mut language.warm) {
            let Warm::ForkOrWait { fork, .. } = warm else { continue };
            let script = fork.iter().position(|part| part == "-e").unwrap() + 1;
            fork[script].insert_str(0, SABOTAGE);
        }
    });
    for _ in 0..RUNS {
        let run = sandbox.run(javascript("Math.random()")).unwrap();
        assert_eq!(run.verdict, Verdict::Value, "{}", told(&run));
        assert_ne!(run.enforced.interpreter, InterpreterStart::Forked);
    }
    assert_eq!(sandbox.quiesce(PATIENCE).unwrap(), 0);
}

#[test]
fn no_signal_starts_a_debugger_in_a_fork() {
    let run = nodes()
        .run(javascript(
            "process.kill(process.pid, 'SIGUSR1'); await new Promise((done) => setTimeout(done, 100))\n\
            String(require('inspector').url())",
        ))
        .unwrap();
    if run.enforced.interpreter == InterpreterStart::Forked {
        assert_eq!(run.value.as_deref(), Some("'undefined'"), "{}", told(&run));
        assert!(run.stderr.is_empty(), "{}", told(&run));
    }
}

#[test]
fn timers_come_in_their_order() {
    all_have_values(&[
        (
            "const seen = []\n\
            setTimeout(() => seen.push('timeout'), 0); setImmediate(() => seen.push('immediate'))\n\
            process.nextTick(() => seen.push('tick')); queueMicrotask(() => seen.push('microtask'))\n\
            await new Promise((done) => setTimeout(done, 30)); seen.sort().join()",
            "'immediate,microtask,tick,timeout'",
        ),
        (
            "const begun = performance.now(); await require('timers/promises').setTimeout(50)\n\
            performance.now() - begun >= 49",
            "true",
        ),
        (
            "let left = 3; await new Promise((done) => { const i = setInterval(() => { if (--left === 0) { clearInterval(i); done() } }, 2) }); left",
            "0",
        ),
        (
            "const gone = AbortSignal.timeout(5)\n\
            await require('timers/promises').setTimeout(5000, 1, { signal: gone }).catch((error) => error.name)",
            "'AbortError'",
        ),
    ]);
}

#[test]
fn streams_zlib_and_crypto_use_the_thread_pool() {
    all_have_values(&[
        (
            "const { pipeline } = require('stream/promises'), { Readable } = require('stream'), z = require('zlib')\n\
            let size = 0\n\
            await pipeline(Readable.from(['a'.repeat(1e6), 'b'.repeat(1e6)]), z.createGzip(), z.createGunzip(),\n\
            async (parts) => { for await (const part of parts) size += part.length })\n\
            size",
            "2000000",
        ),
        ("require('zlib').gunzipSync(require('zlib').gzipSync('text')).toString()", "'text'"),
        (
            "await new Promise((done) => require('zlib').brotliCompress('a'.repeat(1e5), (error, made) => done(made.length < 100)))",
            "true",
        ),
        (
            "const c = require('crypto'), { promisify } = require('util')\n\
            const keys = await Promise.all([1, 2, 3, 4, 5, 6].map(() => promisify(c.pbkdf2)('a', 'b', 1000, 8, 'sha256')))\n\
            new Set(keys.map(String)).size",
            "1",
        ),
        ("(await require('util').promisify(require('crypto').randomBytes)(16)).length", "16"),
        ("(await crypto.subtle.digest('SHA-256', new Uint8Array(3))).byteLength", "32"),
        (
            "const fs = require('fs/promises'); await fs.writeFile('a', 'x'.repeat(1e6));\n\
            (await Promise.all([1, 2, 3, 4, 5].map(() => fs.readFile('a')))).map((file) => file.length).join()",
            "'1000000,1000000,1000000,1000000,1000000'",
        ),
    ]);
}

#[test]
fn processes_threads_and_signals_are_its_own() {
    all_have_values(&[
        ("require('child_process').execSync('echo $((6 * 7))').toString()", "'42\\n'"),
        (
            "await new Promise((done) => require('child_process').exec('exit 3', (error) => done(error.code)))",
            "3",
        ),
        (
            "const child = require('child_process').spawn('cat'); let text = ''\n\
            child.stdout.on('data', (part) => { text += part }); child.stdin.end('through')\n\
            await new Promise((done) => child.on('close', done)); text",
            "'through'",
        ),
        (
            "require('fs').writeFileSync('other.js', 'process.on(\"message\", (m) => { process.send(m + 1); process.disconnect() })')\n\
            const child = require('child_process').fork('./other.js'); child.send(41)\n\
            await new Promise((done) => child.on('message', done))",
            "42",
        ),
        (
            "const { Worker } = require('worker_threads')\n\
            const made = [1, 2, 3].map((n) => new Promise((done, fail) => new Worker(\n\
            `require('worker_threads').parentPort.postMessage(${n} + Math.random() * 0)`, { eval: true }).on('message', done).on('error', fail)));\n\
            (await Promise.all(made)).join()",
            "'1,2,3'",
        ),
        (
            "const { Worker } = require('worker_threads'), shared = new Int32Array(new SharedArrayBuffer(4))\n\
            const worker = new Worker(`const { workerData: shared } = require('worker_threads'); Atomics.store(shared, 0, 7); Atomics.notify(shared, 0)`,\n\
            { eval: true, workerData: shared })\n\
            Atomics.wait(shared, 0, 0, 5000); await new Promise((done) => worker.on('exit', done)); shared[0]",
            "7",
        ),
        ("Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5)", "'timed-out'"),
        (
            "await new Promise((done) => { process.on('SIGTERM', done); process.kill(process.pid, 'SIGTERM'); setTimeout(() => {}, 1000) })",
            "'SIGTERM'",
        ),
        ("[process.pid, process.ppid]", "[ 2, 1 ]"),
    ]);
}

#[test]
fn web_assembly_modules_and_hot_loops_need_no_helper() {
    let add = "Uint8Array.from([0,97,115,109,1,0,0,0,1,7,1,96,2,127,127,1,127,3,2,1,0,7,7,1,3,97,100,100,0,0,10,9,1,7,0,32,0,32,1,106,11])";
    let instantiated = format!("(await WebAssembly.instantiate({add})).instance.exports.add(40, 2)");
    let hot = format!(
        "const {{ add }} = new WebAssembly.Instance(new WebAssembly.Module({add})).exports\n\
        let sum = 0; for (let i = 0; i < 1e6; i++) sum = add(sum, 1); sum"
    );
    all_have_values(&[
        (&instantiated, "42"),
        (&hot, "1000000"),
        ("let x = 0; for (let i = 0; i < 3e7; i++) x = (x + i * 3) | 0; x", "1539553984"),
        ("const f = (n) => n < 2 ? n : f(n - 1) + f(n - 2); f(27)", "196418"),
        (
            "let kept = []; for (let i = 0; i < 4e6; i++) { if (i % 1e5 === 0) kept = []; kept.push({ i, s: 's' + i }) }\nkept.length",
            "100000",
        ),
        ("const { basename } = await import('node:path'); basename('/a/b')", "'b'"),
        ("(await import('data:text/javascript,export default 5')).default", "5"),
        ("await (await fetch('data:text/plain,hello')).text()", "'hello'"),
        ("new Intl.NumberFormat('de').format(1234.5)", "'1.234,5'"),
        ("structuredClone(new Map([[1, { a: [new Date(0)] }]])).get(1).a[0].getTime()", "0"),
    ]);
}

#[test]
fn what_is_random_differs_between_two_forks_of_one_node() {
    let sandbox = nodes();
    let code = "const c = require('crypto'); [Math.random(), Math.random(), c.randomBytes(8).toString('hex'), c.randomUUID(), \
        c.randomInt(2 ** 47), crypto.getRandomValues(new Uint32Array(2)).join('-'), \
        c.generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' }).x, \
        require('fs').mkdtempSync('/tmp/'), require('vm').runInNewContext('Math.random()')].join()";
    let mut seen = BTreeSet::new();
    for _ in 0..8 {
        let run = sandbox.run(javascript(code)).unwrap();
        assert_eq!(run.verdict, Verdict::Value, "{}", told(&run));
        let value = run.value.unwrap();
        seen.extend(value.trim_matches('\'').split(',').map(str::to_owned));
    }
    assert_eq!(seen.len(), 8 * 9, "{seen:?}");
}

#[test]
fn input_and_much_output_pass_through() {
    let sandbox = nodes();
    let (input, to_input) = pipe().unwrap();
    rustix::io::write(&to_input, b"one\ntwo\n").unwrap();
    drop(to_input);
    let mut request = javascript(
        "let n = 0; for await (const line of require('readline').createInterface(process.stdin)) n++; n",
    );
    request.stdin = Stdin::Inherit(input);
    let run = sandbox.run(request).unwrap();
    assert_eq!(run.value.as_deref(), Some("2"), "{}", told(&run));
    let run = sandbox.run(javascript("process.stdout.write('x'.repeat(200000)); process.exit(0)")).unwrap();
    assert_eq!((run.verdict, run.stdout.len()), (Verdict::Value, 200_000));
}

#[test]
fn code_that_takes_every_listener_away_ends_all_the_same() {
    let sandbox = nodes();
    let code = "for (const name of process.eventNames()) process.removeAllListeners(name); console.log(5)";
    for _ in 0..3 {
        let run = sandbox.run(javascript(code)).unwrap();
        assert_eq!(
            (run.verdict, run.stdout.as_slice()),
            (Verdict::Value, b"5\n".as_slice()),
            "{}",
            told(&run)
        );
    }
}

#[test]
fn many_runs_in_a_row_leave_what_was_there() {
    /// Each may be a process of its own, which takes a twentieth of a second. Where a Node is to be proved, it is.
    const RUNS: usize = if NODE.is_some() { 1000 } else { 100 };
    let sandbox = nodes();
    // Processes, and what they have open.
    let count = || {
        sandbox.warm_up(PATIENCE).unwrap();
        assert_eq!(sandbox.quiesce(PATIENCE).unwrap(), 0);
        let mut all = descendants(sandbox.helper_pid());
        all.insert(sandbox.helper_pid());
        // A slot's groups and its network are made when it is first used, and kept.
        let is_kept = |link: &str| link.contains("/execgate-") || link.starts_with("net:");
        let open = |pid: &i32| open_in(*pid).iter().filter(|link| !is_kept(link)).count();
        (all.len(), all.iter().map(open).sum::<usize>())
    };
    let mut before = (0, 0);
    for round in 0..RUNS {
        if round == RUNS / 2 {
            before = count();
        }
        let run =
            sandbox.run(javascript(&format!("setTimeout(() => console.log({round}), 0); {round}"))).unwrap();
        assert_eq!(run.value, Some(round.to_string()), "{}", told(&run));
        assert_eq!(run.stdout, format!("{round}\n").into_bytes());
    }
    assert!(comes_true(|| count() == before));
}

#[test]
fn code_sees_the_same_globals_whether_it_waited_or_not() {
    let look = "const names = (some) => Object.getOwnPropertyNames(some).sort().map((name) => {\n\
        const { get, set, writable, enumerable, configurable } = Object.getOwnPropertyDescriptor(some, name)\n\
        return [name, !!get, !!set, writable, enumerable, configurable].join(':')\n\
        })\n\
        JSON.stringify([names(globalThis), names(process), process.argv, process.execArgv, process.cwd(), process.title,\n\
        Object.entries(process.env).sort(), process.pid, process.ppid, process.exitCode ?? null, process.umask(),\n\
        process.eventNames().map(String).sort(), Object.keys(require.cache).sort(), process.mainModule?.filename,\n\
        require('fs').readdirSync('/tmp'), require('fs').readdirSync('.'), process.getMaxListeners(),\n\
        require('module').globalPaths]).replaceAll('\",\"', '\",\\n\"')";
    let seen = [cold(), sandbox()].map(|sandbox| {
        let run = sandbox.run(javascript(&format!("console.log(eval({look:?}))"))).unwrap();
        assert_eq!(run.verdict, Verdict::Value, "{}", told(&run));
        String::from_utf8(run.stdout).unwrap()
    });
    for (one, other) in seen[0].lines().zip(seen[1].lines()) {
        assert_eq!(one, other);
    }
    assert_eq!(seen[0], seen[1]);
}
