//! A helper that dies takes what is under way with it, and nothing else: another takes its place, and holds as much.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use execgate_sandbox::{Cell, RunError, Sandbox, SessionRequest, Tier, TierChoice};
use rustix::process::{Pid, Signal, kill_process};

use super::census::groups_of;
use super::world::{
    all_end, comes_true, descendants, have_ended, python, sandbox, start_by, value_in, watch,
};

/// Kills a process, and waits until it is gone.
pub(super) fn kill(pid: i32) {
    let gone = watch([pid]);
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    assert!(all_end(&gone));
}

/// Whose child the helper is.
pub(super) fn parent_of_helpers(sandbox: &Sandbox) -> i32 {
    let status = fs::read_to_string(format!("/proc/{}/status", sandbox.helper_pid())).unwrap();
    status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().parse().unwrap()
}

fn children_of(pid: i32) -> Vec<i32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    list.split_whitespace().map(|child| child.parse().unwrap()).collect()
}

/// Waits for the helper that comes after so many.
pub(super) fn until_recovered(sandbox: &Sandbox, lost: u64) {
    assert!(comes_true(|| sandbox.helpers_lost() == lost && sandbox.is_alive()));
}

#[test]
fn another_takes_the_place_of_a_helper_that_is_killed_again_and_again() {
    let sandbox = sandbox();
    let enforced = sandbox.enforced();
    let mut before = None;
    for lost in 1..=3 {
        let helper = sandbox.helper_pid();
        assert_ne!(before, Some(helper));
        let mut session = sandbox.open_session(SessionRequest::new("python")).unwrap();
        std::thread::scope(|scope| {
            let (seen, sees) = mpsc::channel();
            let mut request = python("import time; print('up', flush=True); time.sleep(600)");
            request.sink = Some(Box::new(move |_, _| seen.send(()).unwrap()));
            let running = scope.spawn(|| sandbox.run(request));
            sees.recv().unwrap();
            assert_eq!(sandbox.depth().taken, 2);
            let watched = watch(descendants(helper));
            kill_process(Pid::from_raw(helper).unwrap(), Signal::KILL).unwrap();
            until_recovered(&sandbox, lost);
            // Before it has begun, and not some time after.
            assert!(have_ended(&watched), "what the dead one left is alive beside the next");
            assert!(matches!(running.join().unwrap(), Err(error @ RunError::HelperGone) if error.is_lost()));
        });
        assert!(session.run(Cell::new("1")).is_err());
        drop(session);
        assert_eq!(value_in(&sandbox, "6 * 7"), "42");
        assert_eq!((sandbox.enforced(), sandbox.depth().taken), (enforced.clone(), 0));
        assert_eq!(groups_of(helper), 0, "the cgroups of the dead one are still there");
        before = Some(helper);
    }
}

#[test]
fn a_place_that_was_taken_before_is_one_after() {
    let sandbox = sandbox();
    let slot = sandbox.reserve().unwrap();
    kill(sandbox.helper_pid());
    until_recovered(&sandbox, 1);
    assert_eq!(sandbox.run_in(slot, python("1")).unwrap().value.as_deref(), Some("1"));
    assert_eq!(sandbox.depth().taken, 0);
}

#[test]
fn one_that_is_killed_while_it_begins_is_followed_by_another() {
    let sandbox = sandbox();
    let parent = parent_of_helpers(&sandbox);
    let first = sandbox.helper_pid();
    // What is left of it is the parent's for a moment.
    let left = descendants(parent);
    kill(first);
    let mut begins = None;
    assert!(comes_true(|| {
        begins = children_of(parent).into_iter().find(|pid| !left.contains(pid));
        begins.is_some()
    }));
    // It may have begun by now, and be one that is lost too.
    kill(begins.unwrap());
    let others = [Some(first), begins];
    assert!(comes_true(|| sandbox.is_alive() && !others.contains(&Some(sandbox.helper_pid()))));
    assert_eq!(value_in(&sandbox, "6 * 7"), "42");
    assert!((1..=2).contains(&sandbox.helpers_lost()));
}

#[test]
fn a_helper_dies_with_its_parent_and_nothing_begins_after_that() {
    let sandbox = sandbox();
    let parent = parent_of_helpers(&sandbox);
    let watched = watch(descendants(parent));
    assert!(watched.len() >= 2, "the helper, a stem");
    kill(parent);
    assert!(all_end(&watched));
    assert!(comes_true(|| sandbox.helpers_lost() == 1));
    assert!(!sandbox.is_alive());
    assert!(matches!(sandbox.run(python("1")), Err(RunError::Send(_))));
}

#[test]
fn a_next_helper_that_would_hold_less_does_not_begin() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("helper");
    let script = format!(
        "#!/bin/sh\nexec unshare --mount {} __sandbox-helper\n",
        env!("CARGO_BIN_EXE_sandbox-helper")
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let sandbox = start_by(&program, |config| config.tier = TierChoice::Strongest);
    assert_eq!(sandbox.enforced().tier, Tier::Jail);
    // From now on this is a host where nobody counts memory.
    let namespace = format!("--mount=/proc/{}/ns/mnt", parent_of_helpers(&sandbox));
    #[expect(
        clippy::disallowed_methods,
        reason = "only who is in that namespace can unmount something in it"
    )]
    let unmounted = Command::new("nsenter")
        .args([&namespace, "sh", "-c", "umount -l /sys/fs/cgroup/memory || umount -l /sys/fs/cgroup"])
        .status();
    assert!(unmounted.unwrap().success());
    kill(sandbox.helper_pid());
    assert!(comes_true(|| sandbox.helpers_lost() == 1));
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(500) {
        assert!(sandbox.run(python("1")).is_err(), "a weaker tier was served");
    }
}
