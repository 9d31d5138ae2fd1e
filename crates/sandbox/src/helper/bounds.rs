//! What nobody may exceed, whatever the client asks for: a client that was taken over by somebody else can start
//! jails, and must not be able to do more harm by their size.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::limits::Limits;

/// Processes and threads of one run; the kernel's own default for a whole machine is 32768.
const PROCESSES_MAX: u32 = 4096;

/// Open descriptors of one process, as the kernel's own default hard limit.
const DESCRIPTORS_MAX: u32 = 4096;

/// Files of one run; each costs the kernel about a KiB.
const INODES_MAX: u32 = 1 << 20;

/// A tmpfs of the size 0 would have no bound at all.
const DISK_BYTES_MIN: u64 = 4096;

/// Descriptors that the helper holds for each slot while it is in use, and for one run that waits.
const DESCRIPTORS_OF_A_SLOT: u64 = 44;

/// Descriptors that the helper holds anyway.
const DESCRIPTORS_OF_THE_HELPER: u64 = 128;

/// A run's limits within the bounds.
pub(super) fn bounded(limits: Limits) -> Limits {
    Limits {
        wall: limits.wall.min(Limits::WALL_MAX).max(Duration::from_millis(1)),
        processes: limits.processes.min(PROCESSES_MAX),
        disk_bytes: limits.disk_bytes.max(DISK_BYTES_MIN),
        inodes: limits.inodes.min(INODES_MAX),
        descriptors: limits.descriptors.min(DESCRIPTORS_MAX),
        ..limits
    }
}

/// How long a session may idle, or be there at all, within the bounds.
pub(super) fn bounded_time(time: Duration) -> Duration {
    time.min(Limits::WALL_MAX)
}

/// Lets this process have the descriptors that so many slots need, or says that it cannot.
pub(super) fn raise_descriptors(slots: usize) -> Result<(), String> {
    let slots = u64::try_from(slots).unwrap_or(u64::MAX);
    let needed = slots.saturating_mul(DESCRIPTORS_OF_A_SLOT).saturating_add(DESCRIPTORS_OF_THE_HELPER);
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    // Only root may raise the hard limit, and nobody above what the kernel is set to (fs.nr_open).
    let maximum = now.maximum.map(|maximum| maximum.max(needed));
    setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum })
        .map_err(|error| format!("{slots} slots need {needed} open files (ulimit -Hn): {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_bounded_and_never_boundless() {
        let asked = Limits {
            wall: Duration::MAX,
            processes: u32::MAX,
            disk_bytes: 0,
            inodes: u32::MAX,
            descriptors: u32::MAX,
            ..Limits::default()
        };
        let expected = Limits {
            wall: Limits::WALL_MAX,
            processes: 4096,
            disk_bytes: 4096,
            inodes: 1 << 20,
            descriptors: 4096,
            ..Limits::default()
        };
        assert_eq!(bounded(asked), expected);
        assert_eq!(bounded(Limits::default()), Limits::default());
    }
}
