//! Interpreters of sessions that say what none says, or nothing: each harms its own session, and nobody else.

use std::fs;
use std::time::Duration;

use execgate_sandbox::{Cell, Collect, LimitKind, NotCollected, RunError, SessionEnd, Verdict};

use super::census::census;
use super::sessions::{ended, open, open_with, run, value};
use super::tongues::open_in_language;
use super::world::{PATIENCE, SLOWNESS, comes_true, counted, descendants, sandbox, told, value_in};

#[test]
fn files_come_back_from_under_a_guest_that_swaps_them() {
    let sandbox = sandbox();
    let mut session = open(&sandbox);
    let code = "import os, threading\nopen('real', 'w').write('mine' * 100)\ndef swap():\n    \
                while True:\n        for one in steps:\n            try: one()\n            except OSError: pass\n\
                def put(): open('f', 'w').write('mine'); os.replace('f', 'swapped')\n\
                def fill(): os.makedirs('d/e', exist_ok=True); open('d/e/x', 'w').write('mine')\n\
                steps = [lambda: os.symlink('/etc/passwd', 'l'), lambda: os.replace('l', 'swapped'), put,\n    \
                lambda: os.truncate('big', 1 << 22), lambda: os.truncate('big', 1 << 10), fill,\n    \
                lambda: os.rename('d', 'gone'), lambda: os.symlink('/etc', 'd'), lambda: os.unlink('d'),\n    \
                lambda: os.rename('gone', 'd'), lambda: os.mkfifo('p'), lambda: os.replace('p', 'swapped')]\n\
                open('big', 'wb').close()\n\
                for _ in range(2): threading.Thread(target=swap, daemon=True).start()";
    value(&mut session, code);
    for _ in 0..20 {
        let mut cell = Cell::new("1");
        let patterns = ["swapped", "real", "big", "d/**"].map(str::to_owned).into();
        cell.collect =
            Some(Collect { patterns, file_bytes_max: 1 << 20, total_bytes_max: 2 << 20, files_max: 8 });
        let run = session.run(cell).unwrap();
        assert_eq!(run.verdict, Verdict::Value, "{}", told(&run));
        for file in &run.files {
            match &file.content {
                Ok(content) if file.path == "big" => {
                    assert!(content.len() <= 1 << 20 && content.iter().all(|b| *b == 0))
                }
                Ok(content) => assert!(b"mine".repeat(100).starts_with(content), "{}", file.path),
                Err(why) => assert!(
                    !matches!(why, NotCollected::BrokeOff | NotCollected::Many),
                    "{why:?} {}",
                    file.path
                ),
            }
        }
        let real = run.files.iter().find(|file| file.path == "real").unwrap();
        assert_eq!(real.content.as_ref().map(Vec::len), Ok(400));
    }
}

/// Finds the session's socket, as code of a guest can.
const LINE: &str = "import os, socket, time, threading\ndef look(fd):\n    try: return os.readlink(f'/proc/self/fd/{fd}')\n    \
                    except OSError: return ''\nfd = [fd for fd in range(100, 256) if look(fd).startswith('socket')][0]\n\
                    line = socket.socket(fileno=os.dup(fd))\n\
                    frames = [fd for fd in range(100, 256) if look(fd).startswith('pipe')][0]\n";

#[test]
fn a_hostile_interpreter_ends_its_own_session_and_harms_nobody() {
    let sandbox = counted(&["python"]);
    let before = census(&sandbox);
    let killed = Verdict::Limit(LimitKind::Killed);
    let cases = [
        // What it may say only once, what it may not say, what nobody says, and what is no message.
        ("line.send(bytes([3]) + bytes(127)); time.sleep(60)", killed),
        ("line.send(bytes([1]) + bytes(127)); time.sleep(60)", killed),
        ("line.send(bytes([4]) + bytes(127)); time.sleep(60)", killed),
        ("line.send(bytes([99]) + bytes(127)); time.sleep(60)", killed),
        ("line.send(b'x'); time.sleep(60)", killed),
        // It may see that nobody listens before it is killed, and say so.
        ("while True: line.send(bytes([3]) + bytes(127))", Verdict::Exception),
        ("socket.send_fds(line, [bytes([3]) + bytes(127)], [0, 1, 2]); time.sleep(60)", killed),
        // It cannot be given another run.
        ("line.close(); os.close(fd)", Verdict::Value),
        ("line.shutdown(socket.SHUT_RDWR)", Verdict::Value),
        ("os.write(frames, b'\\x02'); line.send(bytes([1]) + bytes(127)); time.sleep(60)", Verdict::Value),
    ];
    for (attack, verdict) in cases {
        let mut session = open_with(&sandbox, |request| request.limits.wall = PATIENCE);
        let run = run(&mut session, &format!("{LINE}{attack}"));
        assert!(run.verdict == verdict || run.verdict == killed, "{attack}\n{}", told(&run));
        assert!(comes_true(|| session.info().end.is_some()), "{attack}");
        assert!(matches!(session.run(Cell::new("1")), Err(RunError::SessionEnded { .. })), "{attack}");
        drop(session);
        assert_eq!(census(&sandbox), before, "{attack}");
        assert_eq!(value_in(&sandbox, "6 * 7"), "42");
    }
}

#[test]
fn an_interpreter_that_forges_its_end_or_does_not_read_meets_its_deadline() {
    let sandbox = sandbox();
    for attack in [
        "os.write(frames, b'\\x02')\nwhile True: time.sleep(1)",
        "os.write(frames, b'\\x02' * 9)\nwhile True: pass",
    ] {
        let mut session = open(&sandbox);
        assert_eq!(run(&mut session, &format!("{LINE}{attack}")).verdict, Verdict::Value);
        let mut cell = Cell::new("1");
        cell.wall = Some(Duration::from_secs(1));
        let run = session.run(cell).unwrap();
        assert_eq!(run.verdict, Verdict::Timeout, "{}", told(&run));
        assert_eq!(ended(&mut session), SessionEnd::Run(Verdict::Timeout));
    }
    assert_eq!(sandbox.quiesce(PATIENCE).unwrap(), 0);
}

#[test]
fn a_child_that_steals_the_socket_serves_its_own_session_alone() {
    let sandbox = counted(&["python"]);
    let before = census(&sandbox);
    let mut session = open(&sandbox);
    let steal = "import signal, array\nif os.fork() == 0:\n    parent = os.getppid()\n    \
                 while os.path.lexists(f'/proc/{parent}/fd/{frames}'): time.sleep(0.001)\n    \
                 os.kill(parent, signal.SIGSTOP)\n    while True:\n        \
                 data, extra, *_ = line.recvmsg(128, 512)\n        if not data: os._exit(0)\n        \
                 fds = array.array('i', extra[0][2])\n        line.send(bytes([3]) + bytes(127))\n        \
                 os.write(fds[4], b'\\x01\\x06\\x00\\x00\\x00stolen')\n        [os.close(fd) for fd in fds]";
    value(&mut session, &format!("{LINE}{steal}"));
    let is_stopped =
        |pid: i32| fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") T "));
    assert!(comes_true(|| descendants(sandbox.helper_pid()).into_iter().any(is_stopped)));
    for _ in 0..3 {
        assert_eq!(value(&mut session, "'own'"), "stolen");
    }
    assert_eq!(value_in(&sandbox, "6 * 7"), "42");
    session.close();
    assert_eq!(census(&sandbox), before);
}

/// The same in javascript.
const LINE_OF_NODE: &str = "const fs = require('fs'), look = (fd) => { try { return fs.readlinkSync('/proc/self/fd/' + fd) } catch { return '' } }\n\
                            const high = fs.readdirSync('/proc/self/fd').map(Number).filter((fd) => fd >= 100)\n\
                            const line = high.find((fd) => look(fd).startsWith('socket')), frames = high.find((fd) => look(fd).startsWith('pipe'))\n\
                            const say = (...bytes) => fs.writeSync(line, Buffer.concat([Buffer.from(bytes), Buffer.alloc(128 - bytes.length)]))\n\
                            const sleep = () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60000)\n";

#[test]
fn a_hostile_node_ends_its_own_session_and_harms_nobody() {
    let sandbox = counted(&["javascript", "python"]);
    let before = census(&sandbox);
    let killed = Verdict::Limit(LimitKind::Killed);
    let cases = [
        ("say(3); sleep()", killed),
        ("say(1); sleep()", killed),
        ("say(4, 1); sleep()", killed),
        ("say(99); sleep()", killed),
        ("fs.writeSync(line, 'x'); sleep()", killed),
        ("for (;;) say(3)", Verdict::Exception),
        ("fs.closeSync(line)", Verdict::Value),
        ("fs.writeSync(frames, Buffer.from([2])); say(1); sleep()", Verdict::Value),
        ("for (const fd of high) fs.closeSync(fd)", killed),
        (
            "process.reallyExit = 5; fs.writeSync = fs.closeSync = process.emit = null; fs.readFileSync = () => '7'; 6",
            Verdict::Value,
        ),
    ];
    for (attack, verdict) in cases {
        let mut session = open_in_language(&sandbox, "javascript", |request| {
            request.limits.wall = PATIENCE;
        });
        let run = run(&mut session, &format!("{LINE_OF_NODE}{attack}"));
        assert!(run.verdict == verdict || run.verdict == killed, "{attack}\n{}", told(&run));
        if attack.ends_with('6') {
            assert_eq!(value(&mut session, "40 + 2"), "42", "its own functions are not the runner's");
            session.close();
        } else {
            assert!(comes_true(|| session.info().end.is_some()), "{attack}");
            drop(session);
        }
        assert_eq!(census(&sandbox), before, "{attack}");
        assert_eq!(value_in(&sandbox, "6 * 7"), "42");
    }
}

#[test]
fn an_interpreter_of_any_language_that_takes_no_further_run_meets_its_deadline() {
    let sandbox = sandbox();
    let cases = [
        ("javascript", "fs.writeSync(frames, Buffer.from([2])); for (;;);", Verdict::Value),
        ("r", "told <- .C(native$tell, as.raw(2L), 1L, 1L); repeat {}", Verdict::Value),
        ("r", "taken <- .C(native$take, 'x', 1L, integer(3L)); 1", Verdict::Timeout),
        ("r", ".C(native$serve, 0L)", Verdict::Exit(2)),
    ];
    for (language, attack, verdict) in cases {
        let mut session = open_in_language(&sandbox, language, |request| {
            request.limits.wall = SLOWNESS * Duration::from_secs(2);
        });
        let line = if language == "r" {
            "native <- get('native', environment(commandArgs))\n"
        } else {
            LINE_OF_NODE
        };
        let first = run(&mut session, &format!("{line}{attack}"));
        assert_eq!(first.verdict, verdict, "{attack}\n{}", told(&first));
        if first.verdict == Verdict::Value {
            let second = run(&mut session, "1");
            assert_eq!(second.verdict, Verdict::Timeout, "{attack}\n{}", told(&second));
        }
        assert!(session.info().end.is_some());
    }
    assert_eq!(sandbox.quiesce(PATIENCE).unwrap(), 0);
}
