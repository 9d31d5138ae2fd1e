//! What there is of a sandbox when nothing runs: what may grow where something leaks.

use std::fs;
use std::path::PathBuf;

use execgate_sandbox::Sandbox;
use rustix::process::getpid;

use super::world::{PATIENCE, comes_true, descendants};

/// What may grow where something leaks.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Census {
    own_descriptors: usize,
    helper_descriptors: usize,
    helper_mounts: usize,
    stem_descriptors: usize,
    processes: usize,
    zombies: usize,
}

/// The most slots that a test here has, and the quarter that a helper has beside them.
const SLOTS_MAX: usize = 64 + 16;

/// More folders than every slot can have: one a hierarchy and slot, and one a hierarchy.
const GROUPS_MAX: usize = 4 * (SLOTS_MAX + 1);

/// What a process has open. It sleeps then, so that it has let go of whatever it was answering on.
pub(super) fn open_in(pid: i32) -> Vec<String> {
    let is_awake = || ["R", "D"].iter().any(|state| field(pid, "State:").starts_with(state));
    assert!(comes_true(|| pid == getpid().as_raw_pid() || !is_awake()));
    let links = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    links.filter_map(|link| Some(fs::read_link(link.path()).ok()?.to_string_lossy().into_owned())).collect()
}

/// The kinds of what a process has open, in order.
pub(super) fn kinds_open_in(pid: i32) -> Vec<String> {
    let kind = |link: &String| link.split(['[', ' ']).next().unwrap_or_default().to_owned();
    let mut kinds: Vec<_> = open_in(pid).iter().map(kind).collect();
    kinds.sort();
    kinds
}

/// Counts, once nothing runs and all that is to wait is there.
pub(super) fn census(sandbox: &Sandbox) -> Census {
    sandbox.warm_up(PATIENCE).unwrap();
    assert_eq!(sandbox.quiesce(PATIENCE).unwrap(), 0, "no slot may be quarantined");
    let helper = sandbox.helper_pid();
    let below = descendants(helper);
    // A slot's group, and its descriptor, are made when the slot is first used, and kept.
    let groups = groups_of(helper);
    assert!(groups <= GROUPS_MAX, "{groups} groups");
    let stems = below.iter().filter(|pid| field(**pid, "PPid:") == helper.to_string());
    Census {
        own_descriptors: open_in(getpid().as_raw_pid()).len(),
        helper_descriptors: descriptors_but(helper, "/execgate-"),
        // What is not ours to read is the same nothing before and after.
        helper_mounts: fs::read_to_string(format!("/proc/{helper}/mountinfo"))
            .unwrap_or_default()
            .lines()
            .count(),
        // As with the groups: a slot's network namespace is made when the slot is first used, and kept.
        stem_descriptors: stems.map(|stem| descriptors_but(*stem, "net:[")).sum(),
        processes: below.len(),
        zombies: below.iter().filter(|pid| field(**pid, "State:").starts_with('Z')).count(),
    }
}

fn field(pid: i32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned()
}

fn descriptors_but(pid: i32, kept: &str) -> usize {
    open_in(pid).iter().filter(|link| !link.contains(kept)).count()
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
