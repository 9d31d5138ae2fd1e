//! The v2 back end: one group a slot below a folder of ours. We ourselves move to a leaf, because a group that
//! has processes cannot hand controllers to its children. Never moves a process that is not ours.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process;

use rustix::process::getpid;

use super::discover::NEEDED;
use super::files::{Kept, make_anew, remove, sweep, write};
use super::port::{Armed, Counted, FOLDER_PREFIX};
use crate::limits::Limits;
use crate::offspring::parent_of;

/// The leaf that the helper moves to, and with it its parent, its client, and what else that has started.
const LEAF: &str = "execgate-self";

/// Length of one accounting period of the processor quota, in microseconds.
const CPU_PERIOD_US: u64 = 100_000;

/// Our folder.
pub(crate) struct Tree {
    base: PathBuf,
    slots: BTreeMap<usize, Slot>,
}

struct Slot {
    folder: PathBuf,
    procs: OwnedFd,
    /// Since Linux 6.12 a write to it starts a new peak for this descriptor; `None` on older kernels.
    peak: Option<Kept>,
    oom: Kept,
    processes: Kept,
    cpu: Kept,
    living: Kept,
    armed: Option<Armed>,
    before: Counted,
}

impl Slot {
    fn recount(&mut self) {
        self.peak = self.peak.take().filter(|peak| peak.set("reset").is_ok());
        self.before = count(self);
    }
}

impl Tree {
    pub(super) fn make(own: PathBuf) -> io::Result<Self> {
        let own = home(own);
        sweep(&own);
        hand_down(&own)?;
        let base = own.join(format!("{FOLDER_PREFIX}{}", process::id()));
        make_anew(&base)?;
        hand_down(&base)?;
        let mut tree = Self { base, slots: BTreeMap::new() };
        // A trial, so that a host where limits cannot be set is found now.
        tree.arm(0, &Limits::default())?;
        Ok(tree)
    }

    pub(super) fn controllers(&self) -> Vec<String> {
        let handed = fs::read_to_string(self.base.join("cgroup.subtree_control")).unwrap_or_default();
        handed.split_whitespace().map(str::to_owned).collect()
    }

    fn make_slot(&self, number: usize) -> io::Result<Slot> {
        let folder = self.base.join(format!("s{number}"));
        fs::create_dir(&folder)?;
        let procs = fs::OpenOptions::new().write(true).open(folder.join("cgroup.procs"))?.into();
        let kept = |name: &str| Kept::read(&folder.join(name));
        Ok(Slot {
            procs,
            peak: Kept::both(&folder.join("memory.peak")).ok(),
            oom: kept("memory.events")?,
            processes: kept("pids.events")?,
            cpu: kept("cpu.stat")?,
            living: kept("cgroup.events")?,
            folder,
            armed: None,
            before: Counted::default(),
        })
    }

    pub(super) fn arm(&mut self, number: usize, limits: &Limits) -> io::Result<&OwnedFd> {
        let mut slot = match self.slots.remove(&number) {
            Some(slot) => slot,
            None => self.make_slot(number)?,
        };
        let wanted = Armed::of(limits);
        if slot.armed != Some(wanted) {
            if let Err(error) = limit(&slot.folder, wanted) {
                // Somebody may live in it.
                slot.armed = None;
                self.slots.insert(number, slot);
                return Err(error);
            }
            slot.armed = Some(wanted);
        }
        slot.recount();
        Ok(&self.slots.entry(number).insert_entry(slot).into_mut().procs)
    }

    pub(super) fn is_armed(&self, number: usize, limits: &Limits) -> bool {
        self.slots.get(&number).is_some_and(|slot| slot.armed == Some(Armed::of(limits)))
    }

    pub(super) fn recount(&mut self, number: usize) {
        if let Some(slot) = self.slots.get_mut(&number) {
            slot.recount();
        }
    }

    pub(super) fn read(&self, number: usize) -> Counted {
        let Some(slot) = self.slots.get(&number) else { return Counted::default() };
        count(slot).since(&slot.before)
    }

    /// What is charged to a slot now, in bytes.
    pub(super) fn charged(&self, number: usize) -> Option<u64> {
        let folder = &self.slots.get(&number)?.folder;
        fs::read_to_string(folder.join("memory.current")).ok()?.trim().parse().ok()
    }

    /// Whether no task is left. A group that cannot be read is not empty.
    pub(super) fn is_empty(&self, number: usize) -> bool {
        let Some(slot) = self.slots.get(&number) else { return true };
        slot.living.field("populated") == Some(0)
    }

    pub(super) fn kill(&self, number: usize) {
        // Absent before Linux 5.14; the kill of the init does the same there.
        let Some(slot) = self.slots.get(&number) else { return };
        if let Err(error) = write(&slot.folder.join("cgroup.kill"), 1) {
            tracing::debug!(%error, "the cgroup could not be killed as a whole");
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        self.slots.clear();
        if let Err(error) = remove(&self.base) {
            tracing::warn!(%error, folder = %self.base.display(), "a cgroup could not be removed");
        }
    }
}

/// The group that our folder belongs into. A server that has a helper already was moved to the leaf by it, and so was
/// whatever it starts: what the leaf lies in is the group that was handed to them.
fn home(own: PathBuf) -> PathBuf {
    match own.parent() {
        Some(parent) if own.ends_with(LEAF) => parent.to_owned(),
        Some(_) | None => own,
    }
}

/// Lets the children of a group have the needed controllers.
fn hand_down(group: &Path) -> io::Result<()> {
    let control = group.join("cgroup.subtree_control");
    let wanted = NEEDED.map(|controller| format!("+{controller}")).join(" ");
    match write(&control, &wanted) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
            let leaf = group.join(LEAF);
            if !leaf.exists() {
                fs::create_dir(&leaf)?;
            }
            let here = fs::read_to_string(group.join("cgroup.procs"))?;
            let here: Vec<i32> = here.lines().filter_map(|line| line.parse().ok()).collect();
            for pid in ours(&here, getpid().as_raw_pid(), parent_of) {
                write(&leaf.join("cgroup.procs"), pid)?;
            }
            write(&control, &wanted)
        }
        Err(error) => Err(error),
    }
}

/// Who of a group is ours: a helper, its parent, the client above that, and the parents of its other helpers. Nobody who is
/// elsewhere: above a parent whose client has died may be anybody.
fn ours(here: &[i32], helper: i32, parent_of: impl Fn(i32) -> Option<i32>) -> Vec<i32> {
    let parent = parent_of(helper);
    let client = parent.and_then(&parent_of).filter(|client| here.contains(client));
    let is_ours = |pid: &i32| {
        *pid == helper
            || Some(*pid) == parent
            || client.is_some_and(|client| *pid == client || parent_of(*pid) == Some(client))
    };
    here.iter().copied().filter(is_ours).collect()
}

fn limit(folder: &Path, wanted: Armed) -> io::Result<()> {
    write(&folder.join("memory.max"), wanted.memory_bytes)?;
    let swap = folder.join("memory.swap.max");
    if swap.exists() {
        write(&swap, 0)?;
    }
    write(&folder.join("memory.oom.group"), 1)?;
    write(&folder.join("pids.max"), wanted.processes)?;
    let quota = CPU_PERIOD_US * u64::from(wanted.cpu_percent) / 100;
    write(&folder.join("cpu.max"), format!("{quota} {CPU_PERIOD_US}"))
}

fn count(slot: &Slot) -> Counted {
    Counted {
        oom_kills: slot.oom.field("oom_kill").unwrap_or(0),
        process_limit_hits: slot.processes.field("max").unwrap_or(0),
        cpu_us: slot.cpu.field("usage_usec"),
        memory_peak: slot.peak.as_ref().and_then(Kept::number),
    }
}

#[cfg(test)]
mod tests {
    use super::{Path, home, ours};

    #[test]
    fn who_is_ours_leaves_the_group_and_nobody_else() {
        // 9 is the client; 10 and 11 the parents of its helpers, 12 and 13; 1 is everybody's.
        let parent_of = |pid| match pid {
            12 => Some(10),
            13 => Some(11),
            10 | 11 => Some(9),
            _ => Some(1),
        };
        assert_eq!(ours(&[7, 9, 10, 11, 12], 12, parent_of), [9, 10, 11, 12]);
        // The client is elsewhere, or dead.
        assert_eq!(ours(&[7, 10, 11, 12], 12, parent_of), [10, 12]);
    }

    #[test]
    fn the_second_helper_of_a_server_has_its_folder_beside_that_of_the_first() {
        let group = Path::new("/sys/fs/cgroup/system.slice/execgate.service");
        assert_eq!(home(group.to_owned()), group);
        assert_eq!(home(group.join("execgate-self")), group);
    }
}
