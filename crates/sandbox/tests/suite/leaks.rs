//! Many runs, one after the other and at once, leave things as they were.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use execgate_sandbox::{Sandbox, Verdict};

use super::world::{PATIENCE, bash, descendants, python, sandbox, told, value_in};

/// What may grow where something leaks.
#[derive(Debug, PartialEq, Eq)]
struct Census {
    own_descriptors: usize,
    helper_descriptors: usize,
    helper_mounts: usize,
    stem_descriptors: usize,
    processes: usize,
}

/// More folders than every slot can have: one a hierarchy and slot, and one a hierarchy.
const GROUPS_MAX: usize = 4 * (16 + 4 + 1);

fn count(path: impl Into<PathBuf>) -> usize {
    fs::read_dir(path.into()).unwrap().count()
}

fn census(sandbox: &Sandbox) -> Census {
    assert_eq!(sandbox.quiesce(PATIENCE).unwrap(), 0, "no slot may be quarantined");
    let helper = sandbox.helper_pid();
    let below = descendants(helper);
    let stem = below.iter().next().unwrap();
    // A slot's group, and its descriptor, are made when the slot is first used, and kept.
    let groups = groups_of(helper);
    assert!(groups <= GROUPS_MAX, "{groups} groups");
    Census {
        own_descriptors: count("/proc/self/fd"),
        helper_descriptors: descriptors_but_groups(helper),
        helper_mounts: fs::read_to_string(format!("/proc/{helper}/mountinfo")).unwrap().lines().count(),
        stem_descriptors: count(format!("/proc/{stem}/fd")),
        processes: below.len(),
    }
}

fn descriptors_but_groups(pid: i32) -> usize {
    let links =
        fs::read_dir(format!("/proc/{pid}/fd")).unwrap().map(|entry| fs::read_link(entry.unwrap().path()));
    links
        .filter(|link| !link.as_ref().is_ok_and(|path| path.to_string_lossy().contains("/execgate-")))
        .count()
}

/// How many folders of a helper there are among the cgroups, in every hierarchy.
pub(super) fn groups_of(helper: i32) -> usize {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let points =
        mounts.lines().filter(|line| line.contains(" - cgroup")).map(|line| line.split(' ').nth(4).unwrap());
    points.map(|point| folders_named(PathBuf::from(point), &format!("execgate-{helper}"))).sum()
}

fn folders_named(folder: PathBuf, name: &str) -> usize {
    let Ok(entries) = fs::read_dir(&folder) else { return 0 };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| {
            if entry.file_name() == name {
                1 + count_folders(entry.path())
            } else {
                folders_named(entry.path(), name)
            }
        })
        .sum()
}

fn count_folders(folder: PathBuf) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).count()
}

/// Runs one of the tests below in a process that nobody else opens descriptors in.
fn alone(test: &str) {
    #[expect(clippy::disallowed_methods, reason = "this test's own program, in a process of its own")]
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("suite::leaks::{test}"), "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("1 passed"), "{out}\n{err}");
}

#[test]
fn two_hundred_runs_one_after_the_other_leak_nothing() {
    alone("one_after_the_other");
}

#[test]
fn sixteen_runs_at_once_do_not_mix_and_leak_nothing() {
    alone("at_once");
}

#[test]
#[ignore = "counts the descriptors of its process, so `two_hundred_runs_…` gives it one of its own"]
fn one_after_the_other() {
    let sandbox = sandbox();
    assert_eq!(sandbox.run(bash("echo x > /tmp/x")).unwrap().verdict, Verdict::Value);
    let before = census(&sandbox);
    for number in 0..200 {
        let run = sandbox.run(bash(&format!("sleep 60 & echo {number} | tee /tmp/x"))).unwrap();
        assert_eq!((run.verdict, run.stdout), (Verdict::Value, format!("{number}\n").into_bytes()));
    }
    assert_eq!(census(&sandbox), before);
}

#[test]
#[ignore = "counts the descriptors of its process, so `sixteen_runs_…` gives it one of its own"]
fn at_once() {
    let sandbox = sandbox();
    let round = |rounds: usize| {
        std::thread::scope(|scope| {
            for lane in 0..16 {
                let sandbox = &sandbox;
                scope.spawn(move || {
                    for number in 0..rounds {
                        let code = format!(
                            "print({lane}); open('/tmp/x', 'x').write('y'); {lane} * 1000 + {number}"
                        );
                        let run = sandbox.run(python(&code)).unwrap();
                        assert_eq!(run.verdict, Verdict::Value, "{}", told(&run));
                        assert_eq!(run.value, Some((lane * 1000 + number).to_string()));
                        assert_eq!(run.stdout, format!("{lane}\n").into_bytes());
                    }
                });
            }
        });
    };
    round(3);
    let before = census(&sandbox);
    round(6);
    assert_eq!(census(&sandbox), before);
    assert_eq!(value_in(&sandbox, "1"), "1");
}

#[test]
fn a_sandbox_that_is_dropped_leaves_no_group_and_no_process() {
    let sandbox = sandbox();
    assert_eq!(value_in(&sandbox, "1"), "1");
    let helper = sandbox.helper_pid();
    assert!(groups_of(helper) > 0);
    drop(sandbox);
    assert_eq!((groups_of(helper), fs::exists(format!("/proc/{helper}")).unwrap()), (0, false));
}
