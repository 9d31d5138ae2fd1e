//! Nothing survives: not its run, not its client, not its helper.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use execgate_sandbox::{RunError, Verdict};
use rustix::process::{Pid, Signal, kill_process};

use super::census::groups_of;
use super::parts::{PART, plays, stem_of};
use super::world::{
    PATIENCE, all_end, bash, comes_true, descendants, python, sandbox, told, value_in, watch, with_limits,
};

/// A run that goes on until it is killed.
const ENDLESS: &str = "import os, subprocess\nsubprocess.Popen(['sleep', '600'], start_new_session=True)\n\
                       print('up', flush=True)\nos.wait()";

#[test]
fn a_daemon_that_forked_twice_does_not_survive() {
    let sandbox = sandbox();
    let stem = stem_of(&sandbox);
    let code = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        \
                time.sleep(600)\n    os._exit(0)\nos.wait()\n'left'";
    assert_eq!(value_in(&sandbox, code), "'left'");
    let run =
        sandbox.run(bash("(sleep 600 & disown) & (trap '' TERM HUP; sleep 600 &) ; exec true")).unwrap();
    assert_eq!(run.verdict, Verdict::Value, "{}", told(&run));
    assert_eq!(sandbox.quiesce(PATIENCE).unwrap(), 0);
    assert_eq!(descendants(sandbox.helper_pid()), [stem].into());
}

#[test]
fn an_orphan_that_holds_the_output_does_not_delay_the_answer() {
    let sandbox = sandbox();
    let before = Instant::now();
    let run = sandbox.run(bash("sleep 600 & echo done")).unwrap();
    assert_eq!((run.verdict, run.stdout), (Verdict::Value, b"done\n".to_vec()));
    assert!(before.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_deadline_leaves_nothing_alive() {
    let sandbox = sandbox();
    let stem = stem_of(&sandbox);
    let run =
        sandbox.run(with_limits(python(ENDLESS), |limits| limits.wall = Duration::from_secs(1))).unwrap();
    assert_eq!(run.verdict, Verdict::Timeout, "{}", told(&run));
    assert_eq!(sandbox.quiesce(PATIENCE).unwrap(), 0);
    assert_eq!(descendants(sandbox.helper_pid()), [stem].into());
}

#[test]
fn a_stem_that_dies_is_made_anew() {
    let sandbox = sandbox();
    let stem = stem_of(&sandbox);
    std::thread::scope(|scope| {
        let (seen, sees) = mpsc::channel();
        let mut request = python(ENDLESS);
        request.sink = Some(Box::new(move |_, _| seen.send(()).unwrap()));
        let running = scope.spawn(|| sandbox.run(request));
        sees.recv().unwrap();
        kill_process(Pid::from_raw(stem).unwrap(), Signal::KILL).unwrap();
        let run = running.join().unwrap().unwrap();
        assert!(matches!(run.verdict, Verdict::Limit(_)), "{}", told(&run));
    });
    assert_eq!(value_in(&sandbox, "1 + 1"), "2");
    assert_ne!(stem_of(&sandbox), stem);
}

#[test]
fn a_run_that_had_not_begun_when_its_stem_died_is_given_to_the_next_one() {
    let sandbox = sandbox();
    let stem = Pid::from_raw(stem_of(&sandbox)).unwrap();
    // It is told of the run and cannot do anything about it.
    kill_process(stem, Signal::STOP).unwrap();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| value_in(&sandbox, "40 + 2"));
        kill_process(stem, Signal::KILL).unwrap();
        assert_eq!(running.join().unwrap(), "42");
    });
    assert_ne!(stem_of(&sandbox), stem.as_raw_nonzero().get());
}

#[test]
fn a_stem_that_hangs_is_replaced() {
    let sandbox = sandbox();
    let stem = Pid::from_raw(stem_of(&sandbox)).unwrap();
    kill_process(stem, Signal::STOP).unwrap();
    assert_eq!(value_in(&sandbox, "40 + 2"), "42");
    assert_ne!(stem_of(&sandbox), stem.as_raw_nonzero().get());
}

#[test]
fn a_slot_whose_group_is_not_empty_is_withdrawn_until_it_is() {
    let sandbox = sandbox();
    #[expect(clippy::disallowed_methods, reason = "a process that no kill of a run reaches")]
    let mut stranger = Command::new("sleep").arg("600").spawn().unwrap();
    let (seen, sees) = mpsc::channel();
    let mut request = python("import time\nprint(1, flush=True)\ntime.sleep(1)");
    request.sink = Some(Box::new(move |_, _| seen.send(()).unwrap()));
    std::thread::scope(|scope| {
        let running = scope.spawn(|| sandbox.run(request).unwrap());
        sees.recv().unwrap();
        let groups = super::leaks::groups_in_use(sandbox.helper_pid());
        assert!(!groups.is_empty());
        for group in groups {
            fs::write(group.join("cgroup.procs"), stranger.id().to_string()).unwrap();
        }
        assert_eq!(running.join().unwrap().verdict, Verdict::Value);
    });
    // Where a group can be killed as a whole, it was.
    let is_spared = sandbox.enforced().cgroup != "v2";
    assert_eq!(sandbox.quiesce(PATIENCE).unwrap(), u32::from(is_spared), "the slot is withdrawn");
    assert_eq!(value_in(&sandbox, "1"), "1");
    assert_eq!(stranger.try_wait().unwrap().is_none(), is_spared);
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    assert!(comes_true(|| sandbox.quiesce(PATIENCE).unwrap() == 0), "and comes back");
}

#[test]
fn output_after_the_verdict_is_not_taken() {
    let sandbox = sandbox();
    let code = "import os, sys\nr, w = os.pipe()\nif os.fork() == 0:\n    os.read(r, 1)\n    \
                while True: os.write(1, b'late' * 256)\nprint('before', flush=True)\n\
                os.write(4, b'\\x02')\nos.write(w, b'x')\nwhile True: pass";
    let run = sandbox.run(python(code)).unwrap();
    assert_eq!((run.verdict, run.value.as_deref()), (Verdict::Value, None));
    assert!(run.stdout.starts_with(b"before\n") && run.stdout.len() <= 1 << 20);
}

#[test]
fn a_helper_that_is_killed_takes_every_run_with_it() {
    let sandbox = sandbox();
    std::thread::scope(|scope| {
        let (seen, sees) = mpsc::channel();
        let mut request = python(ENDLESS);
        request.sink = Some(Box::new(move |_, _| seen.send(()).unwrap()));
        let running = scope.spawn(|| sandbox.run(request));
        sees.recv().unwrap();
        let watched = watch(descendants(sandbox.helper_pid()));
        assert!(watched.len() >= 4, "stem, init, interpreter, its child");
        kill_process(Pid::from_raw(sandbox.helper_pid()).unwrap(), Signal::KILL).unwrap();
        assert!(matches!(running.join().unwrap(), Err(RunError::HelperGone)));
        assert!(all_end(&watched));
    });
}

#[test]
fn a_client_that_is_killed_takes_everything_with_it() {
    #[expect(clippy::disallowed_methods, reason = "this test's own program is the client that dies")]
    let mut client = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "suite::lifetime::an_endless_client", "--nocapture"])
        .env(PART, "endless client")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(client.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("the run is up")));
    let pid = i32::try_from(client.id()).unwrap();
    let below = descendants(pid);
    let helpers: Vec<i32> = below.iter().copied().filter(|pid| has_group(*pid)).collect();
    assert_eq!(helpers.len(), 1, "one helper, with cgroups of its own");
    let watched = watch(below);
    assert!(watched.len() >= 5, "helper, stem, init, interpreter, its child");
    client.kill().unwrap();
    client.wait().unwrap();
    assert!(all_end(&watched));
    assert!(comes_true(|| !has_group(helpers[0])), "the helper removes its cgroups when its client is gone");
}

/// Whether a helper of this process id has folders among the cgroups.
fn has_group(pid: i32) -> bool {
    groups_of(pid) > 0
}

/// The part of the client that `a_client_that_is_killed_takes_everything_with_it` starts and kills.
#[test]
fn an_endless_client() {
    if !plays("endless client") {
        return;
    }
    let sandbox = sandbox();
    let mut request = with_limits(python(ENDLESS), |limits| limits.wall = Duration::from_secs(60));
    request.sink = Some(Box::new(|_, _| println!("the run is up")));
    drop(sandbox.run(request));
}
