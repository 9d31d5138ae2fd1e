//! Checkpoints of a session of JavaScript: what a copy has, what it shares with nobody, and what is not copied.

use std::collections::BTreeSet;
use std::time::Duration;

use execgate_sandbox::{Cell, LimitKind, RunError, Sandbox, Session, SessionEnd, SessionRequest, Verdict};

use super::census::census;
use super::node_fork::PROVED;
use super::sessions::{ended, run, value};
use super::tongues::open_in_language;
use super::world::{SLOWNESS, counted, sandbox, start_as, told};

/// A session of a Node that is proved; none where this host has another.
fn open(sandbox: &Sandbox, change: impl FnOnce(&mut SessionRequest)) -> Option<Session> {
    let mut session = open_in_language(sandbox, "javascript", change);
    (value(&mut session, PROVED) == "true").then_some(session)
}

fn sessions(count: usize) -> Option<(Sandbox, Vec<Session>)> {
    let sandbox = sandbox();
    let sessions = (0..count).map(|_| open(&sandbox, |_| ())).collect::<Option<_>>()?;
    Some((sandbox, sessions))
}

#[test]
fn a_node_that_is_not_proved_or_does_not_work_alone_is_not_copied() {
    let sandbox = sandbox();
    let mut session = open_in_language(&sandbox, "javascript", |_| ());
    let is_proved = value(&mut session, PROVED) == "true";
    let refused = session.checkpoint().err();
    assert_eq!(is_proved, refused.is_none(), "{refused:?}");
    assert!(is_proved || matches!(refused, Some(RunError::NoCheckpoints(name)) if name == "javascript"));
    assert_eq!(value(&mut session, "6 * 7"), "42");

    let helped = start_as(|config| {
        config.residents = 0;
        for language in &mut config.languages {
            let argv = language.session.iter_mut().flat_map(|session| [&mut session.argv]);
            argv.for_each(|argv| argv.retain(|word| word != "--single-threaded"));
        }
    });
    let mut session = open_in_language(&helped, "javascript", |_| ());
    assert!(matches!(session.checkpoint(), Err(RunError::NoCheckpoints(name)) if name == "javascript"));
    assert_eq!(value(&mut session, "6 * 7"), "42");
}

#[test]
fn memory_goes_back_to_a_checkpoint_and_files_do_not() {
    let Some((_sandbox, mut sessions)) = sessions(1) else { return };
    let session = &mut sessions[0];
    let begin = "const fs = require('fs'); const x = [1]; let hidden = 0; const count = () => (hidden += 1)\n\
                 class C { #n = 1; more() { return (this.#n += 1) } }; const c = new C(); const m = new Map([[x, 'm']])\n\
                 fs.writeFileSync('f', 'then'); process.env.A = 'then'; const weak = new WeakRef(x); const buffer = Buffer.alloc(1 << 20, 7)";
    run(session, begin);
    // Compiled as it is for what is run often, and old in the heap.
    value(
        session,
        "function hot(n) { let s = 0; for (let i = 0; i < n; i += 1) s += i % 7; return s }; hot(1e6)",
    );
    let kept = session.checkpoint().unwrap();
    let look = "[x.join(), count(), c.more(), m.get(x), weak.deref() === x, fs.readFileSync('f', 'utf8'), process.env.A, typeof y, \
                buffer[12345], hot(1000)].join('|')";
    let mut pids = BTreeSet::new();
    for round in 0..3 {
        run(
            session,
            "x.push(2); globalThis.y = 1; fs.writeFileSync('f', 'now'); process.env.A = 'now'; buffer.fill(8)",
        );
        assert_eq!(value(session, look), "'1,2|1|2|m|true|now|now|number|8|2997'", "{round}");
        assert!(pids.insert(value(session, "process.pid")), "{pids:?}");
        assert_eq!(value(session, "fs.readlinkSync('/proc/self') === `${process.pid}`"), "true");
        session.restore(&kept).unwrap();
        assert_eq!(value(session, look), "'1|1|2|m|true|now|then|undefined|7|2997'", "{round}");
        // So that something is collected.
        value(session, "for (let i = 0; i < 200; i += 1) globalThis.waste = new Array(10000).fill({ i }); 1");
        session.restore(&kept).unwrap();
    }
    // From a copy another is made, and the first goes on without the one that made it.
    value(session, "x.push('second')");
    let second = session.checkpoint().unwrap();
    value(session, "x.push('third')");
    session.restore(&kept).unwrap();
    assert_eq!(value(session, "x.join()"), "'1'");
    session.drop_checkpoint(kept).unwrap();
    assert_eq!(value(session, "x.push(5); x.join()"), "'1,5'");
    session.restore(&second).unwrap();
    assert_eq!(value(session, "x.join()"), "'1,second'");
}

#[test]
fn what_waits_for_its_time_comes_in_every_copy() {
    let Some((_sandbox, mut sessions)) = sessions(1) else { return };
    let session = &mut sessions[0];
    let code = "let ticks = 0; setInterval(() => (ticks += 1), 1); const later = new Promise((done) => setTimeout(done, 50, 'came'))\n\
                const seen = []; process.on('SIGUSR2', () => seen.push('signal')); let resolve; const never = new Promise((done) => (resolve = done))";
    run(session, code);
    let kept = session.checkpoint().unwrap();
    let before: u64 = value(session, "ticks").parse().unwrap();
    for round in 0..3 {
        assert_eq!(value(session, "await later"), "'came'", "{round}");
        let waits = "const from = ticks; while (ticks < from + 5) await new Promise((done) => setTimeout(done, 1)); from";
        let from: u64 = value(session, waits).parse().unwrap();
        assert!(round == 0 || from <= before + 100, "{round}: {before}, then {from}");
        let signal = "process.kill(process.pid, 'SIGUSR2'); while (seen.length === 0) await new Promise((done) => setTimeout(done, 1)); seen";
        assert_eq!(value(session, signal), "[ 'signal' ]", "{round}");
        assert_eq!(value(session, "resolve(round = 7); await never"), "7");
        session.restore(&kept).unwrap();
    }
}

#[test]
fn a_copy_does_all_that_a_node_does() {
    let Some((_sandbox, mut sessions)) = sessions(1) else { return };
    let session = &mut sessions[0];
    // Once before, so that there is something to go on with; and once in each copy.
    let code = "await import('node:fs/promises').then(async (fs) => { await fs.writeFile('a', 'text'); return fs.readFile('a', 'utf8') })\n\
        + await new Promise((done) => require('zlib').gzip('x'.repeat(1e5), (error, data) => done(require('zlib').gunzipSync(data).length)))\n\
        + require('child_process').execFileSync('echo', ['child'])\n\
        + await new Promise((done) => require('child_process').exec('exit 3', (error) => done(error.code)))\n\
        + await new Promise((done) => new (require('worker_threads').Worker)('require(\"worker_threads\").parentPort.postMessage(40 + 2)', { eval: true })\n\
            .on('message', (told) => (message = told)).on('exit', () => done(message)))\n\
        + (await WebAssembly.instantiate(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 127, 3, 2, 1, 0, 7, 5, 1, 1, 102, 0, 0, 10, 6, 1, 4, 0, 65, 9, 11]))).instance.exports.f()\n\
        + await new Promise((done) => require('crypto').pbkdf2('a', 'b', 1000, 8, 'sha256', (error, key) => done(key.length)))\n\
        + await new Promise((done) => { const net = require('net'); const server = net.createServer((peer) => peer.end('served'))\n\
            .listen(`/tmp/${process.pid}`, () => net.connect(`/tmp/${process.pid}`).on('data', (data) => { server.close(); done(String(data)) })) })";
    let all = "'text100000child\\n34298served'";
    let code = format!("var message\n{code}");
    assert_eq!(value(session, &code), all);
    let kept = session.checkpoint().unwrap();
    assert_eq!(value(session, &code), all, "in the one that was copied");
    for round in 0..3 {
        session.restore(&kept).unwrap();
        assert_eq!(value(session, &code), all, "{round}");
        assert_eq!(value(session, &code), all, "{round}, again");
    }
}

#[test]
fn what_is_open_is_open_in_a_copy_and_none_is_left_over() {
    let sandbox = counted(&["javascript"]);
    let before = census(&sandbox);
    let Some(mut session) = open(&sandbox, |_| ()) else { return };
    let code = "const fs = require('fs'), net = require('net'); const fd = fs.openSync('f', 'w+')\n\
                const server = net.createServer((peer) => peer.end(`from ${process.pid}`)); await new Promise((done) => server.listen('/tmp/s', done))\n\
                const ask = () => new Promise((done) => net.connect('/tmp/s').on('data', (data) => done(String(data))))\n\
                const open = () => fs.readdirSync('/proc/self/fd').length";
    run(&mut session, code);
    let count = value(&mut session, "open()");
    // What a connection has left is closed by and by.
    let count_again = format!(
        "for (let turn = 0; turn < 1000 && open() !== {count}; turn += 1) await new Promise((done) => setTimeout(done, 1)); open()"
    );
    let kept = session.checkpoint().unwrap();
    assert_eq!(value(&mut session, "open()"), count, "in the one that was copied");
    for round in 0..20 {
        session.restore(&kept).unwrap();
        assert_eq!(value(&mut session, "await ask() === `from ${process.pid}`"), "true", "{round}");
        assert_eq!(value(&mut session, &count_again), count, "{round}");
        let code = format!("fs.writeSync(fd, '{round};'); console.log('out'); fs.readFileSync('f', 'utf8')");
        let run = run(&mut session, &code);
        let told = run.value.as_deref().is_some_and(|text| text.ends_with(&format!("{round};'")));
        assert!(told && run.stdout == b"out\n", "{round}: {run:?}");
    }
    session.close();
    assert_eq!(census(&sandbox), before);
}

#[test]
fn what_is_random_differs_between_two_copies_of_one_checkpoint() {
    let Some((_sandbox, mut sessions)) = sessions(1) else { return };
    let session = &mut sessions[0];
    // Each has drawn before, so that something is left of what was drawn at once.
    let code = "(() => { const c = require('crypto'); return [Math.random(), Math.random(), c.randomUUID(), c.randomInt(2 ** 40), \
                c.randomBytes(8).toString('hex'), crypto.getRandomValues(new Uint32Array(2)).join('-'), c.webcrypto.randomUUID(), \
                require('fs').mkdtempSync('/tmp/x'), c.generateKeyPairSync('x25519').publicKey.export({ type: 'spki', format: 'der' }).toString('hex'), \
                c.randomFillSync(Buffer.alloc(8)).toString('hex')].join(' ') })()";
    value(session, code);
    let kept = session.checkpoint().unwrap();
    let mut seen = BTreeSet::new();
    for _ in 0..5 {
        let drawn = value(session, code);
        seen.extend(drawn.trim_matches('\'').split(' ').map(str::to_owned));
        session.restore(&kept).unwrap();
    }
    assert_eq!(seen.len(), 5 * 10, "{seen:?}");
    // What is drawn later differs as well, and what one draws does not come again.
    let many = "Array.from({ length: 300 }, () => Math.random()).concat(Array.from({ length: 300 }, () => crypto.randomUUID()))\n\
                .concat(Array.from({ length: 1500 }, () => require('crypto').randomInt(2 ** 47))).join(' ')";
    let mut seen = BTreeSet::new();
    for _ in 0..3 {
        session.restore(&kept).unwrap();
        seen.extend(value(session, many).trim_matches('\'').split(' ').map(str::to_owned));
    }
    assert_eq!(seen.len(), 3 * 2100);
}

#[test]
fn one_with_something_under_way_is_not_copied_and_says_so() {
    let Some((_sandbox, mut sessions)) = sessions(1) else { return };
    let session = &mut sessions[0];
    run(
        session,
        "const { spawn, execFileSync } = require('child_process'); const { Worker } = require('worker_threads'); const fs = require('fs')",
    );
    let cases = [
        (
            "const child = spawn('sleep', ['600'])",
            "child.kill(); await new Promise((done) => child.on('exit', done)); 1",
        ),
        (
            "const alone = spawn('sleep', ['600'], { detached: true, stdio: 'ignore' }); alone.unref()",
            "alone.ref(); alone.kill(); await new Promise((done) => alone.on('exit', done)); 1",
        ),
        (
            "const worker = new Worker('setInterval(() => {}, 1000)', { eval: true }); worker.unref()",
            "await worker.terminate(); 1",
        ),
        (
            "const busy = new Worker('for (;;);', { eval: true }); await new Promise((done) => busy.on('online', done))",
            "await busy.terminate(); 1",
        ),
        (
            "execFileSync('mkfifo', ['/tmp/pipe']); const reads = fs.promises.readFile('/tmp/pipe', 'utf8')",
            "fs.writeFileSync('/tmp/pipe', 'x'); await reads; 1",
        ),
    ];
    for (begins, ends) in cases {
        let begun = run(session, begins);
        assert!(begun.exception.is_none(), "{begins}\n{}", told(&begun));
        let refused = session.checkpoint().unwrap_err();
        assert!(matches!(refused, RunError::NotQuiet), "{begins}: {refused:?}");
        assert_eq!(session.info().checkpoints, 0);
        assert_eq!(value(session, ends), "1", "{begins}: it goes on as it is");
        let kept = session.checkpoint().unwrap_or_else(|error| panic!("{ends}: {error:?}"));
        session.restore(&kept).unwrap();
        session.drop_checkpoint(kept).unwrap();
        assert_eq!(value(session, "6 * 7"), "42", "{ends}");
    }
}

#[test]
fn how_a_restored_node_ends_is_told() {
    let sandbox = sandbox();
    for (code, verdict) in [
        ("process.exit(7)", Verdict::Exit(7)),
        ("process.kill(process.pid, 'SIGKILL'); for (;;);", Verdict::Limit(LimitKind::Killed)),
        ("const b = []; for (;;) b.push(Buffer.alloc(1 << 20, 1))", Verdict::Limit(LimitKind::OutOfMemory)),
        ("for (;;);", Verdict::Timeout),
    ] {
        let Some(mut session) = open(&sandbox, |request| request.limits.memory_bytes = 128 << 20) else {
            return;
        };
        let kept = session.checkpoint().unwrap();
        session.restore(&kept).unwrap();
        session.drop_checkpoint(kept).unwrap();
        assert_eq!(value(&mut session, "40 + 2"), "42");
        let thrown = run(&mut session, "null.x");
        assert_eq!(
            thrown.exception.as_ref().map(|told| told.name.as_str()),
            Some("TypeError"),
            "{}",
            told(&thrown)
        );
        let mut cell = Cell::new(code);
        cell.wall = Some(SLOWNESS * Duration::from_secs(3));
        let run = session.run(cell).unwrap();
        assert_eq!(run.verdict, verdict, "{code}\n{}", told(&run));
        assert_eq!(ended(&mut session), SessionEnd::Run(verdict));
    }
}

#[test]
fn copies_have_no_more_than_their_sessions_limits() {
    let sandbox = counted(&["javascript"]);
    let before = census(&sandbox);
    let Some(mut session) = open(&sandbox, |request| request.limits.processes = 8) else { return };
    let mut kept = Vec::new();
    let refused = (0..8).find_map(|_| session.checkpoint().map(|one| kept.push(one)).err());
    assert!(matches!(refused, Some(RunError::NotCopied(_))), "{refused:?}");
    assert_eq!(value(&mut session, "6 * 7"), "42", "it goes on as it is");
    session.close();

    let Some(mut session) = open(&sandbox, |request| request.limits.memory_bytes = 192 << 20) else { return };
    let mut checkpoints = Vec::new();
    let met = (0..8).find_map(|_| {
        let run = run(&mut session, "b = Buffer.alloc(30 << 20, Math.random() * 255); b.length");
        if run.verdict != Verdict::Value {
            return Some(run.verdict);
        }
        checkpoints.extend(session.checkpoint().ok());
        None
    });
    assert_eq!(met, Some(Verdict::Limit(LimitKind::OutOfMemory)));
    drop((session, checkpoints));
    assert_eq!(census(&sandbox), before);
}
