//! How one gateway stands.

use super::Reading;
use super::ReadingKind::{Counter, Gauge};
use crate::house::{House, Pulse};

impl House {
    /// How this gateway stands: who walks and waits, what the record still has to write, whether all is well.
    #[must_use]
    pub fn readings(&self) -> Vec<Reading> {
        let parts = &self.parts;
        let sound = |pulse: &Option<Pulse>| pulse.as_ref().is_none_or(|pulse| pulse());
        let trail = parts.trail.counts();
        vec![
            Reading::new("build", "The version of the binary", Gauge)
                .with([("version", parts.info.version.to_owned())], 1_u64),
            Reading::new("start_time_seconds", "When this process started, in seconds since 1970", Gauge)
                .with([], self.started.0 / 1_000),
            Reading::new("walks", "Requests between the first room and their answer", Gauge)
                .with([], parts.corridor.walking()),
            Reading::new("nonce_waiters", "Requests that wait for the first one of their nonce", Gauge)
                .with([], parts.corridor.waiting()),
            Reading::new("connections_open", "Open connections of the public listener", Gauge)
                .with([], parts.connections.count()),
            Reading::new("record_writes_waiting", "Writes that wait for their turn", Gauge)
                .with([], parts.store.waiting()),
            Reading::new("policy_sound", "1 while the rules in force are those of the file", Gauge)
                .with([], u64::from(sound(&parts.policy_pulse))),
            Reading::new("sandbox_alive", "1 while the sandbox answers, or code is off", Gauge)
                .with([], u64::from(sound(&parts.sandbox_pulse))),
            Reading::new("disk_space_low", "1 while new runs are refused for want of space", Gauge)
                .with([], u64::from(parts.space.is_low())),
            Reading::new("audit_lines_waiting", "Lines of the audit trail on their way", Gauge)
                .with([], trail.waiting),
            Reading::new("audit_lines_written", "Lines of the audit trail that were written", Counter)
                .with([], trail.written),
            Reading::new("audit_lines_dropped", "Lines of the audit trail that were lost", Counter)
                .with([], trail.dropped),
            Reading::new("audit_lines_over_quota", "Decisions beyond the quota of their caller", Counter)
                .with([], trail.over_quota),
        ]
    }
}
