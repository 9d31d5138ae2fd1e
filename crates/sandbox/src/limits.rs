//! What one run may use. Every number has a unit and a reason.

use std::time::Duration;

use serde::{Deserialize, Serialize};

const MIB: u64 = 1 << 20;

/// What one run may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Wall-clock time from hand-out to verdict.
    pub wall: Duration,
    /// Memory, page cache and tmpfs together.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub processes: u32,
    /// Size of the tmpfs behind `/tmp`, `/home/user` and `/dev/shm`; also the largest file.
    pub disk_bytes: u64,
    /// Files, folders and links on that tmpfs.
    pub inodes: u32,
    /// Open descriptors of a process.
    pub descriptors: u32,
    /// CPU time per second of wall-clock time, in per cent of one CPU.
    pub cpu_percent: u32,
    /// How much of stdout and stderr together is kept.
    pub output_bytes: u64,
    /// How much more is read and thrown away before the run is killed for it.
    pub output_discard_bytes: u64,
}

impl Limits {
    /// The longest wall-clock time there is; a longer one means this one.
    pub const WALL_MAX: Duration = Duration::from_secs(24 * 3600);
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            wall: Duration::from_secs(10),
            memory_bytes: 512 * MIB,
            processes: 64,
            disk_bytes: 256 * MIB,
            inodes: 10_000,
            descriptors: 256,
            cpu_percent: 100,
            output_bytes: MIB,
            output_discard_bytes: 64 * MIB,
        }
    }
}
