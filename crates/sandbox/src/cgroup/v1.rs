//! The v1 back end: one group a slot in each hierarchy. A dead slot keeps memory charged, so its group is reused
//! only below a floor, after it was asked to let go, and is replaced otherwise; counters are read as differences.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process;

use super::files::{Kept, make_anew, remove, sweep, write};
use super::port::{Armed, Counted, FOLDER_PREFIX};
use crate::limits::Limits;

/// Memory that may stay charged to an empty slot, in bytes. Less than a run's own start takes, so that it never
/// decides a verdict; more than nothing, because letting go evicts the image's pages that others use.
const CHARGED_FLOOR: u64 = 16 << 20;

/// The bound on what the buffers of INET sockets hold. v1 counts them here or nowhere, and only where this was written.
const SOCKETS_MAX: &str = "memory.kmem.tcp.limit_in_bytes";

/// Length of one accounting period of the processor quota, in microseconds.
const CPU_PERIOD_US: u64 = 100_000;

/// Our folders in every hierarchy.
pub(crate) struct Trees {
    hierarchies: Vec<Hierarchy>,
    slots: BTreeMap<usize, Slot>,
    /// Numbers the folders, because a replaced one may linger.
    made: u64,
    counts_sockets: bool,
}

struct Hierarchy {
    base: PathBuf,
    controllers: Vec<String>,
}

struct Slot {
    /// One a hierarchy, in the same order: folder and its `tasks`.
    groups: Vec<(PathBuf, OwnedFd)>,
    counters: Counters,
    armed: Option<Armed>,
    before: Counted,
}

/// What every run looks at.
struct Counters {
    oom: Kept,
    peak: Kept,
    charged: Kept,
    /// What the buffers of INET sockets hold, which v1 counts apart; none where the kernel does not count it.
    sockets: Option<Kept>,
    processes: Kept,
    cpu: Option<Kept>,
}

impl Counters {
    fn now(&self) -> Counted {
        Counted {
            oom_kills: self.oom.field("oom_kill").unwrap_or(0),
            process_limit_hits: self.processes.field("max").unwrap_or(0),
            cpu_us: self.cpu.as_ref().and_then(Kept::number).map(|ns| ns / 1000),
            memory_peak: self.peak.number(),
        }
    }

    /// Whether less is charged than decides anything. What cannot be read is too much.
    fn is_low(&self) -> bool {
        let sockets = self.sockets.as_ref().map_or(Some(0), Kept::number);
        let sum = self.charged.number().zip(sockets).map(|(plain, sockets)| plain.saturating_add(sockets));
        sum.is_some_and(|bytes| bytes <= CHARGED_FLOOR)
    }
}

impl Slot {
    fn recount(&mut self) -> io::Result<()> {
        let begun = self.counters.peak.set("0");
        self.before = self.counters.now();
        begun
    }
}

impl Trees {
    pub(super) fn make(parents: BTreeMap<PathBuf, Vec<String>>) -> io::Result<Self> {
        let mut trees =
            Self { hierarchies: Vec::new(), slots: BTreeMap::new(), made: 0, counts_sockets: false };
        for (parent, controllers) in parents {
            sweep(&parent);
            let base = parent.join(format!("{FOLDER_PREFIX}{}", process::id()));
            make_anew(&base)?;
            trees.hierarchies.push(Hierarchy { base, controllers });
        }
        // A trial, so that a host where limits cannot be set is found now.
        let mut slot = trees.make_slot(0)?;
        trees.limit(&mut slot, Armed::of(&Limits::default()))?;
        trees.counts_sockets = slot.counters.sockets.is_some();
        trees.slots.insert(0, slot);
        Ok(trees)
    }

    /// Whether the memory of sockets is bounded, so that guests may have INET ones.
    pub(super) fn bounds_sockets(&self) -> bool {
        self.counts_sockets
    }

    pub(super) fn controllers(&self) -> Vec<String> {
        self.hierarchies.iter().flat_map(|hierarchy| hierarchy.controllers.clone()).collect()
    }

    fn make_slot(&mut self, number: usize) -> io::Result<Slot> {
        self.made += 1;
        let mut groups = Vec::with_capacity(self.hierarchies.len());
        for hierarchy in &self.hierarchies {
            let folder = hierarchy.base.join(format!("s{number}-{}", self.made));
            fs::create_dir(&folder)?;
            // Not `cgroup.procs`: a thread that writes itself here needs no lock over all processes, and that lock
            // costs a grace period of some 10 ms whenever nobody has taken it lately. An init has one thread.
            let tasks = fs::OpenOptions::new().write(true).open(folder.join("tasks"))?;
            groups.push((folder, tasks.into()));
        }
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let memory = self.folder(&groups, "memory").ok_or_else(missing)?;
        let counters = Counters {
            oom: Kept::read(&memory.join("memory.oom_control"))?,
            peak: Kept::both(&memory.join("memory.max_usage_in_bytes"))?,
            charged: Kept::read(&memory.join("memory.usage_in_bytes"))?,
            sockets: Kept::read(&memory.join("memory.kmem.tcp.usage_in_bytes")).ok(),
            processes: Kept::read(&self.folder(&groups, "pids").ok_or_else(missing)?.join("pids.events"))?,
            cpu: self.folder(&groups, "cpuacct").and_then(|f| Kept::read(&f.join("cpuacct.usage")).ok()),
        };
        Ok(Slot { groups, counters, armed: None, before: Counted::default() })
    }

    fn folder<'a>(&self, groups: &'a [(PathBuf, OwnedFd)], controller: &str) -> Option<&'a Path> {
        let at = self.hierarchies.iter().position(|h| h.controllers.iter().any(|c| c == controller))?;
        groups.get(at).map(|(folder, _)| folder.as_path())
    }

    fn limit(&self, slot: &mut Slot, wanted: Armed) -> io::Result<()> {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let memory = self.folder(&slot.groups, "memory").ok_or_else(missing)?;
        let plain = memory.join("memory.limit_in_bytes");
        let with_swap = memory.join("memory.memsw.limit_in_bytes");
        if with_swap.exists() {
            // The sum may never be below the plain limit, so a rise starts with it and a fall ends with it.
            if write(&plain, wanted.memory_bytes).is_err() {
                write(&with_swap, wanted.memory_bytes)?;
                write(&plain, wanted.memory_bytes)?;
            }
            write(&with_swap, wanted.memory_bytes)?;
        } else {
            write(&plain, wanted.memory_bytes)?;
        }
        if slot.counters.sockets.is_some() {
            write(&memory.join(SOCKETS_MAX), wanted.memory_bytes)?;
        }
        let pids = self.folder(&slot.groups, "pids").ok_or_else(missing)?;
        write(&pids.join("pids.max"), wanted.processes)?;
        let cpu = self.folder(&slot.groups, "cpu").ok_or_else(missing)?;
        write(&cpu.join("cpu.cfs_period_us"), CPU_PERIOD_US)?;
        write(&cpu.join("cpu.cfs_quota_us"), CPU_PERIOD_US * u64::from(wanted.cpu_percent) / 100)?;
        slot.armed = Some(wanted);
        Ok(())
    }

    pub(super) fn arm(&mut self, number: usize, limits: &Limits) -> io::Result<Vec<BorrowedFd<'_>>> {
        let mut slot = match self.slots.remove(&number) {
            Some(slot) => slot,
            None => self.make_slot(number)?,
        };
        let wanted = Armed::of(limits);
        if slot.armed != Some(wanted)
            && let Err(error) = self.limit(&mut slot, wanted)
        {
            // Somebody may live in it.
            slot.armed = None;
            self.slots.insert(number, slot);
            return Err(error);
        }
        let begun = slot.recount();
        let slot = self.slots.entry(number).insert_entry(slot).into_mut();
        begun?;
        Ok(slot.groups.iter().map(|(_, tasks)| tasks.as_fd()).collect())
    }

    pub(super) fn is_armed(&self, number: usize, limits: &Limits) -> bool {
        self.slots.get(&number).is_some_and(|slot| slot.armed == Some(Armed::of(limits)))
    }

    pub(super) fn recount(&mut self, number: usize) -> io::Result<()> {
        self.slots.get_mut(&number).map_or(Ok(()), Slot::recount)
    }

    pub(super) fn read(&self, number: usize) -> Counted {
        let Some(slot) = self.slots.get(&number) else { return Counted::default() };
        slot.counters.now().since(&slot.before)
    }

    /// What is charged to a slot now, in bytes.
    pub(super) fn charged(&self, number: usize) -> Option<u64> {
        self.slots.get(&number)?.counters.charged.number()
    }

    /// Whether no task is left in any hierarchy. A group that cannot be read is not empty.
    pub(super) fn is_empty(&self, number: usize) -> bool {
        let Some(slot) = self.slots.get(&number) else { return true };
        let is_empty = |folder: &Path| fs::read(folder.join("tasks")).is_ok_and(|tasks| tasks.is_empty());
        slot.groups.iter().all(|(folder, _)| is_empty(folder))
    }

    pub(super) fn recycle(&mut self, slot_number: usize) {
        let Some(slot) = self.slots.remove(&slot_number) else { return };
        if !slot.counters.is_low() {
            let let_go = self
                .folder(&slot.groups, "memory")
                .map(|memory| write(&memory.join("memory.force_empty"), 0));
            if !matches!(let_go, Some(Ok(()))) || !slot.counters.is_low() {
                for (folder, _) in &slot.groups {
                    if let Err(error) = fs::remove_dir(folder) {
                        tracing::warn!(%error, folder = %folder.display(), "a used cgroup could not be removed");
                    }
                }
                return;
            }
        }
        self.slots.insert(slot_number, slot);
    }
}

impl Drop for Trees {
    fn drop(&mut self) {
        self.slots.clear();
        for hierarchy in &self.hierarchies {
            if let Err(error) = remove(&hierarchy.base) {
                tracing::warn!(%error, folder = %hierarchy.base.display(), "a cgroup could not be removed");
            }
        }
    }
}
