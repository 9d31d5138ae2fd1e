//! Processor time, read from `/proc`: of the processes under test, of finished peers, of the client.
//!
//! Format: `proc_pid_stat(5)`, in clock ticks; the kernel scales them from exact run time, so sums over
//! many operations are good to a tick.

use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result};
use rustix::process::{Pid, WaitOptions, getpid, set_child_subreaper, waitpid};
use rustix::time::{ClockId, clock_gettime};

/// A peer's init ends within microseconds of the peer.
const REAP_LIMIT: Duration = Duration::from_millis(200);

/// Of `/proc/PID/stat`, what is counted here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    parent: i32,
    is_zombie: bool,
    /// User and system time of the process, all its threads, in ticks.
    own: u64,
    /// The same of its children that it has waited for.
    waited: u64,
}

/// Makes this process the parent of what its descendants leave behind, so that everything a server starts
/// stays countable, and can be found once the server is gone.
pub(crate) fn adopt_orphans() -> Result<()> {
    set_child_subreaper(Some(getpid())).context("failed to become the parent of orphans")
}

/// Time of all living descendants of this process and of the children that those have waited for.
pub(crate) fn of_descendants() -> Duration {
    let all = every_process();
    ticks(family(&all).iter().map(|(_, stat)| stat.own + stat.waited).sum())
}

/// Time of one process alone; and that of its living descendants, with all that those and it have waited for.
pub(crate) fn of_process(id: u32) -> (Duration, Duration) {
    let Ok(id) = i32::try_from(id) else { return Default::default() };
    let (all, own) = (every_process(), read(id));
    let others: u64 = below(id, &all).iter().map(|(_, stat)| stat.own + stat.waited).sum();
    (ticks(own.map_or(0, |stat| stat.own)), ticks(others + own.map_or(0, |stat| stat.waited)))
}

/// Time of the children that this process has waited for.
pub(crate) fn of_finished_children() -> Duration {
    let me = getpid().as_raw_nonzero().get();
    ticks(read(me).map_or(0, |stat| stat.waited))
}

/// Time of this thread.
pub(crate) fn of_this_thread() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(now).unwrap_or_default()
}

/// The ids of the direct children of this process, ended or not.
pub(crate) fn children() -> Vec<i32> {
    let me = getpid().as_raw_nonzero().get();
    every_process().into_iter().filter(|(_, stat)| stat.parent == me).map(|(id, _)| id).collect()
}

/// Waits for the children that are not `known`, so that their time counts as finished: a peer that does
/// not wait for its own leaves them to this process. One that goes on for long is left alone.
pub(crate) fn reap_others(known: &[i32]) {
    let start = Instant::now();
    while start.elapsed() < REAP_LIMIT {
        let others = children().into_iter().filter(|id| !known.contains(id)).filter_map(Pid::from_raw);
        let living = others.filter(|id| matches!(waitpid(Some(*id), WaitOptions::NOHANG), Ok(None))).count();
        if living == 0 {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// The ids of all descendants of this process that still run.
pub(crate) fn living_descendants() -> Vec<i32> {
    let all = every_process();
    family(&all).into_iter().filter(|(_, stat)| !stat.is_zombie).map(|(id, _)| id).collect()
}

fn every_process() -> Vec<(i32, Stat)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter_map(|id| Some((id, read(id)?))).collect()
}

fn read(id: i32) -> Option<Stat> {
    parse(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
}

/// The name in brackets may hold spaces and brackets; what follows the last one are plain fields.
fn parse(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        is_zombie: *fields.first()? == "Z",
        own: field(11)? + field(12)?,
        waited: field(13)? + field(14)?,
    })
}

/// The descendants of this process.
fn family(all: &[(i32, Stat)]) -> Vec<(i32, Stat)> {
    below(getpid().as_raw_nonzero().get(), all)
}

/// The descendants of a process.
fn below(root: i32, all: &[(i32, Stat)]) -> Vec<(i32, Stat)> {
    let mut open = vec![root];
    let mut found = Vec::new();
    while let Some(parent) = open.pop() {
        for (id, stat) in all.iter().filter(|(_, stat)| stat.parent == parent) {
            found.push((*id, *stat));
            open.push(*id);
        }
    }
    found
}

fn ticks(count: u64) -> Duration {
    Duration::from_nanos(count.saturating_mul(1_000_000_000 / rustix::param::clock_ticks_per_second().max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let text = "7 (a) b) S 3 7 7 0 -1 4194560 1 2 3 4 50 60 7 8 20 0 1 0 9";
        assert_eq!(parse(text), Some(Stat { parent: 3, is_zombie: false, own: 110, waited: 15 }));
        assert_eq!(parse("7 (a"), None);
    }

    #[test]
    fn a_child_is_found_while_it_lives() {
        let mut child = Command::new("/bin/cat").stdin(Stdio::piped()).spawn().unwrap();
        let id = i32::try_from(child.id()).unwrap();
        assert!(living_descendants().contains(&id));
        assert_eq!(of_process(child.id()).1, Duration::ZERO, "it has no children of its own");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!living_descendants().contains(&id));
    }

    #[test]
    fn what_a_peer_left_behind_is_waited_for() {
        adopt_orphans().unwrap();
        let known = children();
        Command::new("/bin/sh").args(["-c", "/bin/true & exit 0"]).status().unwrap();
        reap_others(&known);
        assert_eq!(children(), known);
    }

    #[test]
    fn this_thread_has_used_some_time() {
        assert!(of_this_thread() > Duration::ZERO);
    }
}
