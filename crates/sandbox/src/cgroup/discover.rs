//! Where this process is in each hierarchy. Reads `/proc/self`; never writes.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The controllers without which there is no jail.
pub(super) const NEEDED: [&str; 3] = ["memory", "pids", "cpu"];

/// Counts processor time, where it is a hierarchy of its own.
const ACCOUNTING: &str = "cpuacct";

/// Our own group in each hierarchy.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Host {
    unified: Option<PathBuf>,
    /// Controller to our folder in it.
    legacy: BTreeMap<String, PathBuf>,
}

impl Host {
    pub(super) fn read() -> io::Result<Self> {
        Ok(Self::parse(
            &fs::read_to_string("/proc/self/cgroup")?,
            &fs::read_to_string("/proc/self/mountinfo")?,
        ))
    }

    fn parse(groups: &str, mounts: &str) -> Self {
        let mut host = Self { unified: None, legacy: BTreeMap::new() };
        for mount in mounts.lines().filter_map(Mount::parse) {
            for line in groups.lines() {
                let mut parts = line.splitn(3, ':').skip(1);
                let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
                let folder = mount.folder(path);
                if mount.kind == "cgroup2" && controllers.is_empty() {
                    host.unified = Some(folder);
                } else if mount.kind == "cgroup" {
                    for controller in
                        controllers.split(',').filter(|c| mount.options.split(',').any(|o| o == *c))
                    {
                        host.legacy.insert(controller.to_owned(), folder.clone());
                    }
                }
            }
        }
        host
    }

    /// Our v2 group, if it has every needed controller.
    pub(super) fn v2(&self) -> Option<PathBuf> {
        let folder = self.unified.clone()?;
        let controllers = fs::read_to_string(folder.join("cgroup.controllers")).ok()?;
        let has = |needed: &&str| controllers.split_whitespace().any(|c| c == *needed);
        NEEDED.iter().all(has).then_some(folder)
    }

    /// Our v1 groups, one a hierarchy, if every needed controller is mounted.
    pub(super) fn v1(&self) -> Option<BTreeMap<PathBuf, Vec<String>>> {
        if !NEEDED.iter().all(|needed| self.legacy.contains_key(*needed)) {
            return None;
        }
        let mut hierarchies: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
        for controller in NEEDED.into_iter().chain([ACCOUNTING]) {
            if let Some(folder) = self.legacy.get(controller) {
                hierarchies.entry(folder.clone()).or_default().push(controller.to_owned());
            }
        }
        Some(hierarchies)
    }
}

/// One line of `mountinfo` about a cgroup file system.
struct Mount<'a> {
    root: &'a str,
    point: &'a str,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let mut after = after.split(' ');
        let (root, point) = (before.next()?, before.next()?);
        let (kind, options) = (after.next()?, after.nth(1)?);
        matches!(kind, "cgroup" | "cgroup2").then_some(Self { root, point, kind, options })
    }

    /// Where a group is below this mount, which may show a part of the hierarchy only.
    fn folder(&self, group: &str) -> PathBuf {
        let below = if self.root == "/" { Some(group) } else { group.strip_prefix(self.root) };
        let below = below.unwrap_or_default().trim_start_matches('/');
        if below.is_empty() { Path::new(self.point).to_owned() } else { Path::new(self.point).join(below) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID_GROUPS: &str = "4:memory:/a/b\n2:cpu,cpuacct:/\n8:pids:/\n9:name=systemd:/\n0::/\n";
    const HYBRID_MOUNTS: &str = "\
30 25 0:26 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
31 25 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:3 - cgroup cgroup rw,cpu,cpuacct
32 25 0:28 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
33 25 0:29 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
34 25 0:30 / / rw,relatime - ext4 /dev/vda rw
";

    #[test]
    fn hierarchies_that_hold_several_controllers_are_joined_once() {
        let host = Host::parse(HYBRID_GROUPS, HYBRID_MOUNTS);
        let expected = BTreeMap::from([
            (PathBuf::from("/sys/fs/cgroup/cpu,cpuacct"), vec!["cpu".to_owned(), "cpuacct".to_owned()]),
            (PathBuf::from("/sys/fs/cgroup/memory/a/b"), vec!["memory".to_owned()]),
            (PathBuf::from("/sys/fs/cgroup/pids"), vec!["pids".to_owned()]),
        ]);
        assert_eq!(host.v1(), Some(expected));
        assert_eq!(host.unified, Some(PathBuf::from("/sys/fs/cgroup/unified")));
    }

    #[test]
    fn a_mount_of_a_part_of_the_hierarchy_is_understood() {
        let mounts = "30 25 0:26 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup rw";
        let host = Host::parse("0::/docker/abc/inner\n", mounts);
        assert_eq!(host.unified, Some(PathBuf::from("/sys/fs/cgroup/inner")));
    }

    #[test]
    fn without_a_needed_controller_there_is_no_v1_back_end() {
        let host = Host::parse("4:memory:/a/b\n", HYBRID_MOUNTS);
        assert_eq!(host.v1(), None);
    }
}
