//! Many runs, one after the other and at once, leave things as they were.

use std::fs;
use std::path::PathBuf;

use execgate_sandbox::{Sandbox, Verdict};

use super::parts::stem_of;
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
        helper_descriptors: descriptors_but(helper, "/execgate-"),
        helper_mounts: fs::read_to_string(format!("/proc/{helper}/mountinfo")).unwrap().lines().count(),
        // As with the groups: a slot's network namespace is made when the slot is first used, and kept.
        stem_descriptors: descriptors_but(*stem, "net:["),
        processes: below.len(),
    }
}

fn descriptors_but(pid: i32, kept: &str) -> usize {
    let links =
        fs::read_dir(format!("/proc/{pid}/fd")).unwrap().map(|entry| fs::read_link(entry.unwrap().path()));
    links.filter(|link| !link.as_ref().is_ok_and(|path| path.to_string_lossy().contains(kept))).count()
}

/// How many folders of a helper there are among the cgroups, in every hierarchy.
pub(super) fn groups_of(helper: i32) -> usize {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let points =
        mounts.lines().filter(|line| line.contains(" - cgroup")).map(|line| line.split(' ').nth(4).unwrap());
    points.map(|point| folders_named(PathBuf::from(point), &format!("execgate-{helper}"))).sum()
}

/// The groups of a helper that somebody lives in.
pub(super) fn groups_in_use(helper: i32) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let points =
        mounts.lines().filter(|line| line.contains(" - cgroup")).map(|line| line.split(' ').nth(4).unwrap());
    let bases = points.map(|point| PathBuf::from(point).join(format!("execgate-{helper}")));
    let slots =
        bases.filter_map(|base| fs::read_dir(base).ok()).flatten().flatten().map(|entry| entry.path());
    slots.filter(|slot| fs::read(slot.join("cgroup.procs")).is_ok_and(|procs| !procs.is_empty())).collect()
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

// The next two count the descriptors of their process, so each needs one of its own, which nextest gives.

#[test]
fn two_hundred_runs_one_after_the_other_leak_nothing() {
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
fn the_helper_and_its_stem_do_not_grow() {
    let sandbox = sandbox();
    let rounds = |rounds: usize| {
        for _ in 0..rounds {
            assert_eq!(sandbox.run(bash("echo x > /tmp/x")).unwrap().verdict, Verdict::Value);
        }
    };
    rounds(100);
    let pids = [sandbox.helper_pid(), stem_of(&sandbox)];
    let before = pids.map(resident_kib);
    rounds(200);
    for (pid, before) in pids.into_iter().zip(before) {
        let after = resident_kib(pid);
        assert!(after <= before + 128, "{before} KiB and then {after} KiB");
    }
}

fn resident_kib(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn sixteen_runs_at_once_do_not_mix_and_leak_nothing() {
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
