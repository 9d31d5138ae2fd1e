//! Checkpoints of a session: memory goes back and nothing else does, copies share no randomness and no more than their
//! session's limits, and what a copy comes to is told as of any other interpreter.

use std::collections::BTreeSet;

use execgate_sandbox::{LimitKind, RunError, SessionEnd, Verdict};

use super::census::census;
use super::sessions::{ended, open, open_with, run, value};
use super::tongues::open_in_language;
use super::world::{counted, sandbox, told};

#[test]
fn memory_goes_back_to_a_checkpoint_and_files_do_not() {
    let sandbox = sandbox();
    let mut session = open(&sandbox);
    value(
        &mut session,
        "import os, threading\nx = [1]\nopen('f', 'w').write('then')\nos.environ['A'] = 'then'",
    );
    let kept = session.checkpoint().unwrap();
    let look = "x, open('f').read(), os.environ['A'], 'y' in globals()";
    for round in 0..3 {
        value(
            &mut session,
            "x.append(2); y = 1; open('f', 'w').write('now'); os.environ['A'] = 'now'; os.chdir('/tmp')",
        );
        value(&mut session, "os.chdir('/home/user')");
        assert_eq!(value(&mut session, look), "([1, 2], 'now', 'now', True)", "{round}");
        session.restore(&kept).unwrap();
        assert_eq!(value(&mut session, look), "([1], 'now', 'then', False)", "{round}");
    }
    // From a copy another is made, and the first goes on without the one that made it.
    value(&mut session, "x = 'second'");
    let second = session.checkpoint().unwrap();
    value(&mut session, "x = 'third'");
    session.restore(&kept).unwrap();
    assert_eq!(value(&mut session, "x"), "[1]");
    session.drop_checkpoint(kept).unwrap();
    assert_eq!(value(&mut session, "x.append(5); x"), "[1, 5]");
    session.restore(&second).unwrap();
    assert_eq!(value(&mut session, "x"), "'second'");
    assert_eq!(session.info().checkpoints, 1);
    let mut other = open(&sandbox);
    assert!(matches!(other.restore(&second), Err(RunError::NoCheckpoint)));
}

#[test]
fn how_a_restored_interpreter_ends_is_told() {
    let sandbox = sandbox();
    for (code, verdict) in [
        ("import os; os._exit(7)", Verdict::Exit(7)),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", Verdict::Limit(LimitKind::Killed)),
        ("b = []\nwhile True: b.append(bytearray(1 << 20))", Verdict::Limit(LimitKind::OutOfMemory)),
    ] {
        let mut session = open_with(&sandbox, |request| request.limits.memory_bytes = 96 << 20);
        let kept = session.checkpoint().unwrap();
        session.restore(&kept).unwrap();
        session.drop_checkpoint(kept).unwrap();
        assert_eq!(value(&mut session, "40 + 2"), "42");
        let run = run(&mut session, code);
        assert_eq!(run.verdict, verdict, "{code}\n{}", told(&run));
        assert_eq!(ended(&mut session), SessionEnd::Run(verdict));
    }
}

#[test]
fn checkpoints_are_bounded_and_count_against_their_session() {
    let sandbox = counted(&["python"]);
    let before = census(&sandbox);
    let mut session = open(&sandbox);
    let mut kept: Vec<_> = (0..8).map(|_| session.checkpoint().unwrap()).collect();
    assert!(matches!(session.checkpoint(), Err(RunError::ManyCheckpoints { max: 8 })));
    session.drop_checkpoint(kept.pop().unwrap()).unwrap();
    kept.push(session.checkpoint().unwrap());
    session.restore(&kept[7]).unwrap();
    session.close();
    assert_eq!(census(&sandbox), before);

    let mut session = open_with(&sandbox, |request| request.limits.processes = 3);
    let _first = session.checkpoint().unwrap();
    let refused = (0..3).find_map(|_| session.checkpoint().err()).unwrap();
    assert!(matches!(refused, RunError::NotCopied(_)), "{refused:?}");
    assert_eq!(value(&mut session, "6 * 7"), "42", "it goes on as it is");
    session.close();

    let mut session = open_with(&sandbox, |request| request.limits.memory_bytes = 96 << 20);
    let fill = "b = bytearray(os.urandom(1)) * (20 << 20); len(b)";
    value(&mut session, "import os");
    let mut checkpoints = Vec::new();
    let met = (0..8).find_map(|_| {
        let run = run(&mut session, fill);
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

#[test]
fn a_checkpoint_is_not_seen_by_code_that_waits_for_its_children() {
    let sandbox = sandbox();
    let mut session = open(&sandbox);
    value(
        &mut session,
        "import os\ndef waits():\n    try: return os.wait()\n    except ChildProcessError: return 'none'",
    );
    let kept = session.checkpoint().unwrap();
    assert_eq!(value(&mut session, "waits()"), "'none'");
    session.restore(&kept).unwrap();
    assert_eq!(value(&mut session, "waits()"), "'none'");
}

#[test]
fn what_is_random_differs_between_two_copies_of_one_checkpoint() {
    let sandbox = sandbox();
    let mut session = open(&sandbox);
    value(
        &mut session,
        "import random, os, uuid, secrets, numpy, tempfile, ssl\nrandom.random(), ssl.RAND_bytes(8), numpy.random.random()",
    );
    let kept = session.checkpoint().unwrap();
    let code = "[random.random(), os.urandom(8).hex(), uuid.uuid4(), secrets.token_hex(), numpy.random.random(), \
                numpy.random.default_rng().random(), ssl.RAND_bytes(8).hex(), tempfile.mktemp(), random.SystemRandom().random()]";
    let mut seen = BTreeSet::new();
    for _ in 0..4 {
        seen.extend(value(&mut session, code).split(", ").map(str::to_owned));
        session.restore(&kept).unwrap();
    }
    assert_eq!(seen.len(), 4 * 9, "{seen:?}");
}

#[test]
fn a_checkpoint_that_the_code_kills_is_no_more() {
    let sandbox = sandbox();
    let mut session = open(&sandbox);
    let kept = session.checkpoint().unwrap();
    let code = "import os, signal\nothers = [int(p) for p in os.listdir('/proc') if p.isdigit() and int(p) not in (1, os.getpid())]\n\
                [os.kill(p, signal.SIGKILL) for p in others]\nlen(others)";
    assert_eq!(value(&mut session, code), "1");
    assert!(matches!(session.restore(&kept), Err(RunError::NoCheckpoint)));
    assert_eq!(value(&mut session, "6 * 7"), "42");
}

#[test]
fn an_r_goes_back_to_a_checkpoint_and_shares_no_randomness_with_its_copies() {
    let sandbox = sandbox();
    let mut session = open_in_language(&sandbox, "r", |_| ());
    value(
        &mut session,
        "x <- 1; writeLines('then', 'f'); Sys.setenv(A = 'then'); set.seed(7); d <- runif(1)",
    );
    let kept = session.checkpoint().unwrap();
    let look = "cat(x, readLines('f'), Sys.getenv('A'), exists('y'))";
    let mut drawn = BTreeSet::new();
    for round in 0..3 {
        value(&mut session, "x <- x + 1; y <- 1; writeLines('now', 'f'); Sys.setenv(A = 'now')");
        assert_eq!(run(&mut session, look).stdout, b"2 now now TRUE", "{round}");
        session.restore(&kept).unwrap();
        assert_eq!(run(&mut session, look).stdout, b"1 now then FALSE", "{round}");
        let code = "cat(runif(1), sample(1e9, 1), rnorm(1), tempfile(), sep = '\\n')";
        let draws = run(&mut session, code).stdout;
        drawn.extend(String::from_utf8(draws).unwrap().lines().map(str::to_owned));
    }
    assert_eq!(drawn.len(), 3 * 4, "{drawn:?}");
    let forks = "p <- parallel:::mcfork(); if (inherits(p, 'masterProcess')) y <- 1; 'own'";
    assert_eq!(
        value(&mut session, forks),
        "[1] \"own\"",
        "a fork that comes to the end is none of the session's"
    );
    assert_eq!(value(&mut session, "x"), "[1] 1");
    session.restore(&kept).unwrap();
    assert_eq!(run(&mut session, "quit(status = 7)").verdict, Verdict::Exit(7));
    assert_eq!(ended(&mut session), SessionEnd::Run(Verdict::Exit(7)));
}
