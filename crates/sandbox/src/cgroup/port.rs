//! The port: what the back ends share, and the choice of one by trying it. Never decides a limit.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};

use super::{discover, v1, v2};
use crate::limits::Limits;

/// How our own folder in each hierarchy is called; the helper's process id follows.
pub(crate) const FOLDER_PREFIX: &str = "execgate-";

/// What was counted since a slot was armed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counted {
    pub(crate) oom_kills: u64,
    pub(crate) process_limit_hits: u64,
    pub(crate) cpu_us: Option<u64>,
    pub(crate) memory_peak: Option<u64>,
}

impl Counted {
    /// What was counted after `before`; a peak is of the time since it was set back.
    pub(super) fn since(&self, before: &Self) -> Self {
        Self {
            oom_kills: self.oom_kills.saturating_sub(before.oom_kills),
            process_limit_hits: self.process_limit_hits.saturating_sub(before.process_limit_hits),
            cpu_us: self.cpu_us.map(|us| us.saturating_sub(before.cpu_us.unwrap_or(0))),
            memory_peak: self.memory_peak,
        }
    }
}

/// The port. Each back end has its own storage; what they share is only this.
pub(crate) enum Cgroups {
    V2(v2::Tree),
    V1(v1::Trees),
    None,
}

impl Cgroups {
    /// The best back end that this host lets us use, proved by making our own folder.
    pub(crate) fn discover() -> Result<Self, String> {
        let host = discover::Host::read()
            .map_err(|error| format!("cannot read the cgroups of this process: {error}"))?;
        let mut reasons = Vec::new();
        match host.v2().map(v2::Tree::make) {
            Some(Ok(tree)) => return Ok(Self::V2(tree)),
            Some(Err(error)) => reasons.push(format!("cgroup v2: {error}")),
            None => reasons.push("cgroup v2: memory, pids and cpu are not delegated".to_owned()),
        }
        match host.v1().map(v1::Trees::make) {
            Some(Ok(trees)) => return Ok(Self::V1(trees)),
            Some(Err(error)) => reasons.push(format!("cgroup v1: {error}")),
            None => reasons.push("cgroup v1: memory, pids and cpu are not mounted".to_owned()),
        }
        Err(reasons.join("; "))
    }

    /// The back end's name in receipts.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::V2(_) => "v2",
            Self::V1(_) => "v1",
            Self::None => "none",
        }
    }

    /// The controllers in force.
    pub(crate) fn controllers(&self) -> Vec<String> {
        match self {
            Self::V2(tree) => tree.controllers(),
            Self::V1(trees) => trees.controllers(),
            Self::None => Vec::new(),
        }
    }

    /// Whether a slot's limit on memory holds for the buffers of INET sockets too. Where nothing is limited, nothing is
    /// lost by them.
    pub(crate) fn bounds_sockets(&self) -> bool {
        match self {
            Self::V1(trees) => trees.bounds_sockets(),
            Self::V2(_) | Self::None => true,
        }
    }

    /// Sets a slot's limits, remembers its counters, and gives what an init writes itself into.
    pub(crate) fn arm(&mut self, slot: usize, limits: &Limits) -> io::Result<Vec<BorrowedFd<'_>>> {
        match self {
            Self::V2(tree) => Ok(vec![tree.arm(slot, limits)?.as_fd()]),
            Self::V1(trees) => trees.arm(slot, limits),
            Self::None => Ok(Vec::new()),
        }
    }

    /// Whether a slot has these limits already.
    pub(crate) fn is_armed(&self, slot: usize, limits: &Limits) -> bool {
        match self {
            Self::V2(tree) => tree.is_armed(slot, limits),
            Self::V1(trees) => trees.is_armed(slot, limits),
            Self::None => true,
        }
    }

    /// Counts anew from here on.
    pub(crate) fn recount(&mut self, slot: usize) -> io::Result<()> {
        match self {
            Self::V2(tree) => tree.recount(slot),
            Self::V1(trees) => trees.recount(slot)?,
            Self::None => {}
        }
        Ok(())
    }

    /// What was counted since the slot was armed.
    pub(crate) fn read(&self, slot: usize) -> Counted {
        match self {
            Self::V2(tree) => tree.read(slot),
            Self::V1(trees) => trees.read(slot),
            Self::None => Counted::default(),
        }
    }

    /// What is charged to a slot now, in bytes; none where nobody counts.
    pub(crate) fn charged(&self, slot: usize) -> Option<u64> {
        match self {
            Self::V2(tree) => tree.charged(slot),
            Self::V1(trees) => trees.charged(slot),
            Self::None => None,
        }
    }

    /// Kills everything in the slot's group, where the kernel can do that at once.
    pub(crate) fn kill(&self, slot: usize) {
        if let Self::V2(tree) = self {
            tree.kill(slot);
        }
    }

    /// Whether the kernel says that nothing lives in the slot's group; where there is none, nothing can be said
    /// against it.
    pub(crate) fn is_empty(&self, slot: usize) -> bool {
        match self {
            Self::V2(tree) => tree.is_empty(slot),
            Self::V1(trees) => trees.is_empty(slot),
            Self::None => true,
        }
    }

    /// Readies the group of an empty slot for its next run.
    pub(crate) fn recycle(&mut self, slot: usize) {
        match self {
            Self::V1(trees) => trees.recycle(slot),
            Self::V2(_) | Self::None => {}
        }
    }
}

/// What of a run's limits a group holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Armed {
    pub(super) memory_bytes: u64,
    pub(super) cpu_percent: u32,
    /// Processes and threads: the guest's, and its init.
    pub(super) processes: u64,
}

impl Armed {
    pub(super) fn of(limits: &Limits) -> Self {
        let &Limits { memory_bytes, cpu_percent, processes, .. } = limits;
        Self { memory_bytes, cpu_percent, processes: u64::from(processes) + 1 }
    }
}
