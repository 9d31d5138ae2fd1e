//! What there is of a sandbox when nothing runs: what may grow where something leaks.

use std::fs;
use std::path::PathBuf;

use execgate_sandbox::Sandbox;

use super::world::{PATIENCE, descendants};

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
        own_descriptors: fs::read_dir("/proc/self/fd").unwrap().count(),
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
    let Ok(links) = fs::read_dir(format!("/proc/{pid}/fd")) else { return 0 };
    let links = links.flatten().map(|entry| fs::read_link(entry.path()));
    links.filter(|link| !link.as_ref().is_ok_and(|path| path.to_string_lossy().contains(kept))).count()
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
