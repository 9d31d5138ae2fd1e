//! What there is of a running server, below it and in the kernel: what grows where something leaks.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirEntry};
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::bench::{Server, living_descendants};

/// Counts that may not grow, by what they count.
pub(crate) type Counts = BTreeMap<&'static str, u64>;

/// Kernel objects by which a leak shows that no process holds: caches of `/proc/slabinfo`.
const CACHES: [&str; 6] =
    ["pid_namespace", "net_namespace", "user_namespace", "mnt_cache", "cred_jar", "shmem_inode_cache"];

/// Everything that was counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Census {
    /// What is exact: processes, descriptors, mounts, namespaces, folders of cgroups, files.
    pub(crate) exact: Counts,
    /// Memory of each part in KiB: that which is nobody else's.
    pub(crate) memory_kib: Counts,
    /// Objects of the kernel, of the whole machine. The kernel gives them back when it likes.
    pub(crate) kernel: Counts,
}

impl Census {
    /// Counts now. A slot's group is made when the slot is first used, and kept: a second one of it counts.
    pub(crate) fn of(server: &Server) -> Self {
        let below = living_descendants();
        let own = i32::try_from(server.id()).unwrap_or_default();
        let helpers: Vec<i32> = below.iter().copied().filter(|id| parent(*id) == own).collect();
        let mut census = Self { kernel: kernel(), ..Self::default() };
        let exact = &mut census.exact;
        exact.insert("processes", count(below.len()));
        exact.insert("descriptors", below.iter().map(|id| descriptors(*id)).sum());
        exact.insert(
            "mounts of the helper",
            helpers.iter().map(|id| lines(&format!("/proc/{id}/mountinfo"))).sum(),
        );
        exact.insert("namespaces", namespaces(&below));
        let groups = helpers.iter().flat_map(|id| groups_of(*id));
        exact.insert("cgroups that no slot has", groups.map(|names| spare(&names)).sum());
        exact.insert("files of the server", files(server.home()));
        exact.insert("their files in /dev/shm", files_of(Path::new("/dev/shm"), &ids_of(&below)));
        for id in below {
            let part = match id {
                id if id == own => "server",
                id if helpers.contains(&id) => "helper",
                _ => "stems and those that wait",
            };
            *census.memory_kib.entry(part).or_default() += memory(id);
        }
        census
    }

    /// The memory of the server, in KiB.
    pub(crate) fn server_kib(&self) -> u64 {
        self.memory_kib.get("server").copied().unwrap_or_default()
    }

    /// What is more than it was, of what is exact.
    pub(crate) fn grown(&self, before: &Self) -> Vec<String> {
        let grown = self.exact.iter().filter_map(|(what, now)| {
            let then = before.exact.get(what).copied().unwrap_or_default();
            (*now > then).then(|| format!("{what}: {then} and now {now}"))
        });
        grown.collect()
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn lines(path: &str) -> u64 {
    count(read(path).lines().count())
}

fn field(id: i32, name: &str) -> String {
    let status = read(&format!("/proc/{id}/status"));
    status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned()
}

fn parent(id: i32) -> i32 {
    field(id, "PPid:").parse().unwrap_or_default()
}

fn memory(id: i32) -> u64 {
    field(id, "RssAnon:").trim_end_matches(" kB").parse().unwrap_or_default()
}

/// Descriptors but those of the slots, which are made when a slot is first used, and kept.
fn descriptors(id: i32) -> u64 {
    let Ok(entries) = fs::read_dir(format!("/proc/{id}/fd")) else { return 0 };
    let links = entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    count(
        links
            .filter(|link| !link.to_string_lossy().contains("/execgate-") && !link.starts_with("net:"))
            .count(),
    )
}

/// Namespaces that somebody below the server lives in.
fn namespaces(below: &[i32]) -> u64 {
    let mut all = BTreeSet::new();
    for id in below {
        let entries = fs::read_dir(format!("/proc/{id}/ns")).into_iter().flatten().flatten();
        all.extend(entries.filter_map(|entry| fs::read_link(entry.path()).ok()));
    }
    count(all.len())
}

/// The names of a helper's groups, in each hierarchy of cgroups.
fn groups_of(helper: i32) -> Vec<Vec<String>> {
    let mounts = read("/proc/self/mountinfo");
    let points =
        mounts.lines().filter(|line| line.contains(" - cgroup")).filter_map(|line| line.split(' ').nth(4));
    points.flat_map(|point| folders(PathBuf::from(point), &format!("execgate-{helper}"))).collect()
}

fn folders(folder: PathBuf, name: &str) -> Vec<Vec<String>> {
    let below = |folder: PathBuf| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
    };
    let look = |entry: DirEntry| {
        if entry.file_name() == name {
            vec![below(entry.path()).map(|group| group.file_name().to_string_lossy().into_owned()).collect()]
        } else {
            folders(entry.path(), name)
        }
    };
    below(folder).flat_map(look).collect()
}

/// How many groups of one hierarchy are there beside the one of each slot. They are called `s7`, or `s7-42` where each new
/// one has a name of its own.
fn spare(names: &[String]) -> u64 {
    let slots: BTreeSet<&str> = names.iter().filter_map(|name| name.split('-').next()).collect();
    count(names.len() - slots.len())
}

/// The users of these processes and of the user namespaces that they live in, but for root: others leave files of their own where
/// everybody may, and other servers have guests of their own.
fn ids_of(below: &[i32]) -> Vec<RangeInclusive<u32>> {
    let users = below.iter().filter_map(|id| field(*id, "Uid:").split_whitespace().nth(1)?.parse().ok());
    let mut ids: Vec<_> = users.filter(|user| *user != 0).map(|user| user..=user).collect();
    for id in below {
        let map = read(&format!("/proc/{id}/uid_map"));
        let numbers =
            |line: &str| line.split_whitespace().filter_map(|n| n.parse().ok()).collect::<Vec<u32>>();
        ids.extend(map.lines().filter_map(|line| match numbers(line)[..] {
            // The one of the machine has every id.
            [_, first, count] if count != u32::MAX => Some(first..=first.saturating_add(count.max(1) - 1)),
            _ => None,
        }));
    }
    ids
}

/// Files and folders in one that are of these users.
fn files_of(folder: &Path, ids: &[RangeInclusive<u32>]) -> u64 {
    let is_theirs = |id: u32| ids.iter().any(|range| range.contains(&id));
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let all = entries.filter_map(|entry| entry.metadata().ok());
    count(all.filter(|about| is_theirs(about.uid())).count())
}

/// Files and folders below one.
fn files(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| 1 + if entry.path().is_dir() { files(&entry.path()) } else { 0 }).sum()
}

/// Objects of the kernel that hold what processes no longer do.
fn kernel() -> Counts {
    let mut counts = Counts::new();
    let slabs = read("/proc/slabinfo");
    for cache in CACHES {
        let line =
            slabs.lines().find_map(|line| line.strip_prefix(cache)?.split_whitespace().next()?.parse().ok());
        counts.extend(line.map(|count| (cache, count)));
    }
    let controllers = read("/proc/cgroups");
    let memory = controllers
        .lines()
        .find_map(|line| line.strip_prefix("memory")?.split_whitespace().nth(1)?.parse().ok());
    counts.extend(memory.map(|count| ("memory cgroups, dead ones too", count)));
    let open = read("/proc/sys/fs/file-nr").split_whitespace().next().and_then(|text| text.parse().ok());
    counts.extend(open.map(|count| ("open files of the machine", count)));
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_more_is_told_and_what_is_less_is_not() {
        let of = |processes, descriptors| Census {
            exact: Counts::from([("processes", processes), ("descriptors", descriptors)]),
            ..Census::default()
        };
        assert_eq!(of(3, 10).grown(&of(3, 9)), ["descriptors: 9 and now 10"]);
        assert!(of(2, 9).grown(&of(3, 9)).is_empty());
    }

    #[test]
    fn groups_of_slots_that_were_not_used_before_are_no_leak_and_any_more_are() {
        let spare = |names: &[&str]| spare(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!([spare(&["s0", "s1", "s10"]), spare(&["s0-1", "s1-2", "s10-3"])], [0, 0]);
        assert_eq!(spare(&["s0-1", "s1-2", "s0-9", "s10-3", "s0-11"]), 2);
    }

    #[test]
    fn what_is_counted_of_a_process_is_there() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(descriptors(own) >= 3 && memory(own) > 0 && parent(own) > 0 && namespaces(&[own]) >= 5);
        assert!(kernel().contains_key("open files of the machine"));
    }

    #[test]
    fn files_are_of_the_users_that_processes_have() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "x").unwrap();
        let uid = fs::metadata(folder.path()).unwrap().uid();
        assert_eq!(files_of(folder.path(), &[uid..=uid]), 1);
        assert_eq!(files_of(folder.path(), &[uid + 1..=u32::MAX]), 0);
        let own = ids_of(&[i32::try_from(std::process::id()).unwrap()]);
        let map = read("/proc/self/uid_map");
        let is_of_the_machine = map.split_whitespace().eq(["0", "0", "4294967295"]);
        assert!(!is_of_the_machine || own == if uid == 0 { vec![] } else { vec![uid..=uid] }, "{own:?}");
    }
}
