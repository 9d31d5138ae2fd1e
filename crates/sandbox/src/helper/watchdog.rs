//! Stands in for a memory cgroup where there is none: sums what a jail's processes hold. A guest can outrun it
//! between two looks; that is why the tier is for development and is named in every receipt.

use std::fs;
use std::time::Duration;

use rustix::param::page_size;

/// How often a look is taken.
pub(super) const EVERY: Duration = Duration::from_millis(50);

/// The most processes that are looked at; a jail's own limit is below it.
const PROCESSES_MAX: usize = 8192;

/// Memory that an init and all its descendants hold, in bytes.
pub(super) fn resident(init: i32) -> u64 {
    let page = u64::try_from(page_size()).unwrap_or(4096);
    let mut pages = 0_u64;
    let mut to_see = vec![init];
    let mut seen = 0;
    while let Some(pid) = to_see.pop() {
        seen += 1;
        if seen > PROCESSES_MAX {
            break;
        }
        pages = pages.saturating_add(pages_of(pid));
        to_see.extend(children_of(pid));
    }
    pages.saturating_mul(page)
}

/// Resident pages that are not shared with files.
fn pages_of(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let mut numbers = text.split_whitespace().skip(1).filter_map(|number| number.parse::<u64>().ok());
    let (resident, shared) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    resident.saturating_sub(shared)
}

/// The children that each of its threads has made.
fn children_of(pid: i32) -> Vec<i32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|text| text.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<i32>>())
        .collect()
}
