//! Stands in for a memory cgroup where there is none: sums what a jail's processes hold. A guest can outrun it
//! between two looks; that is why the tier is for development and is named in every receipt. What no process has
//! mapped it cannot see; that is why the filter of that tier has no memory files.

use std::fs;
use std::time::Duration;

use crate::offspring::children_of;

/// How often a look is taken.
pub(super) const EVERY: Duration = Duration::from_millis(50);

/// The most processes that are looked at; a jail's own limit is below it.
const PROCESSES_MAX: usize = 8192;

/// Memory that an init and all its descendants hold, in bytes.
pub(super) fn resident(init: i32) -> u64 {
    let mut kib = 0_u64;
    let mut to_see = vec![init];
    let mut seen = 0;
    while let Some(pid) = to_see.pop() {
        seen += 1;
        if seen > PROCESSES_MAX {
            break;
        }
        kib = kib.saturating_add(held_by(pid));
        to_see.extend(children_of(pid));
    }
    kib.saturating_mul(1024)
}

/// Memory of one process alone that is no file's, in bytes, quickly told: what it shares with its forks is its own.
pub(super) fn resident_alone(pid: i32) -> u64 {
    whole_of(pid).saturating_mul(1024)
}

/// The same in KiB.
fn whole_of(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    sum_of(&status, ["RssAnon:", "RssShmem:"]).unwrap_or(0)
}

/// Memory that is no file's, in KiB. What processes share is divided among them, where the kernel tells.
fn held_by(pid: i32) -> u64 {
    let shares = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    sum_of(&shares, ["Pss_Anon:", "Pss_Shmem:"]).unwrap_or_else(|| whole_of(pid))
}

/// The sum of two lines of `name: number kB`; `None` where one is missing.
fn sum_of(text: &str, names: [&str; 2]) -> Option<u64> {
    let [first, second] = names.map(|name| {
        let value = text.lines().find_map(|line| line.strip_prefix(name))?;
        value.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
    });
    first?.checked_add(second?)
}

#[cfg(test)]
mod tests {
    use super::{held_by, sum_of};

    #[test]
    fn what_a_process_holds_is_told_by_the_kernel_in_kib() {
        let text = "Rss:  9 kB\nPss_Anon:      12 kB\nPss_File: 7 kB\nPss_Shmem:   30 kB\n";
        assert_eq!(sum_of(text, ["Pss_Anon:", "Pss_Shmem:"]), Some(42));
        assert_eq!(sum_of("Pss_Anon: 1 kB\n", ["Pss_Anon:", "Pss_Shmem:"]), None);
        let own = rustix::process::getpid().as_raw_pid();
        assert!(held_by(own) > 100);
    }
}
