//! The verdict on a run. It follows only what the supervisor saw: why it ended, and what was counted.

use crate::outcome::{LimitKind, Verdict};
use crate::wire::{Counters, End};

/// Why the client asked for the end of a run, if it did. The first reason stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Because {
    /// A whole frame told a value.
    Value,
    /// A whole frame told an exception.
    Exception,
    /// The deadline.
    Deadline,
    /// More output than is borne.
    Output,
    /// The caller pulled the cord.
    Cancelled,
}

/// Gives the verdict.
pub(super) fn verdict(because: Option<Because>, end: End, counters: &Counters) -> Verdict {
    match because {
        // It had ended before it was asked to; collecting its files may take longer than it had left.
        Some(Because::Deadline | Because::Cancelled) if matches!(end, End::Exited { .. }) => {
            by_itself(end, counters)
        }
        Some(Because::Value) => Verdict::Value,
        Some(Because::Exception) => limit_met(counters).unwrap_or(Verdict::Exception),
        Some(Because::Deadline) => Verdict::Timeout,
        Some(Because::Output) => Verdict::Limit(LimitKind::OutputLimit),
        Some(Because::Cancelled) => Verdict::Cancelled,
        None => by_itself(end, counters),
    }
}

/// A run that nobody here asked to end.
fn by_itself(end: End, counters: &Counters) -> Verdict {
    match end {
        End::Exited { status } if libc::WIFEXITED(status) => match libc::WEXITSTATUS(status) {
            0 => Verdict::Value,
            code => limit_met(counters).unwrap_or(Verdict::Exit(code)),
        },
        End::Exited { .. } | End::Lost => limit_met(counters).unwrap_or(Verdict::Limit(LimitKind::Killed)),
        // The helper's own watch: memory, or a deadline that this side was too late for. What is kept was asked for.
        End::Killed | End::Kept => limit_met(counters).unwrap_or(Verdict::Timeout),
    }
}

/// The limit that explains why a run went wrong, the gravest first.
fn limit_met(counters: &Counters) -> Option<Verdict> {
    let limit = if counters.oom_kills > 0 {
        LimitKind::OutOfMemory
    } else if counters.process_limit_hits > 0 {
        LimitKind::ProcessLimit
    } else if counters.disk_full {
        LimitKind::DiskFull
    } else {
        return None;
    };
    Some(Verdict::Limit(limit))
}

#[cfg(test)]
mod tests {
    use super::{Because, verdict};
    use crate::outcome::{LimitKind, Verdict};
    use crate::wire::{Counters, End};

    const CALM: Counters = Counters {
        oom_kills: 0,
        process_limit_hits: 0,
        disk_full: false,
        cpu_us: None,
        cpu_between_us: None,
        memory_peak: None,
    };

    fn exited(code: i32) -> End {
        End::Exited { status: code << 8 }
    }

    #[test]
    fn a_value_stays_a_value_whatever_was_counted() {
        let counters = Counters { oom_kills: 1, disk_full: true, ..CALM };
        assert_eq!(verdict(Some(Because::Value), End::Killed, &counters), Verdict::Value);
        assert_eq!(verdict(None, exited(0), &counters), Verdict::Value);
    }

    #[test]
    fn a_limit_that_was_met_explains_a_bad_end() {
        let full = Counters { disk_full: true, ..CALM };
        let forks = Counters { process_limit_hits: 3, ..CALM };
        let memory = Counters { oom_kills: 1, ..forks };
        assert_eq!(
            verdict(Some(Because::Exception), End::Killed, &full),
            Verdict::Limit(LimitKind::DiskFull)
        );
        assert_eq!(verdict(None, exited(254), &forks), Verdict::Limit(LimitKind::ProcessLimit));
        assert_eq!(verdict(None, End::Exited { status: 9 }, &memory), Verdict::Limit(LimitKind::OutOfMemory));
    }

    #[test]
    fn without_a_limit_the_end_speaks_for_itself() {
        assert_eq!(verdict(None, exited(3), &CALM), Verdict::Exit(3));
        assert_eq!(verdict(None, End::Exited { status: 9 }, &CALM), Verdict::Limit(LimitKind::Killed));
        assert_eq!(verdict(None, End::Lost, &CALM), Verdict::Limit(LimitKind::Killed));
        assert_eq!(verdict(Some(Because::Exception), End::Killed, &CALM), Verdict::Exception);
    }

    #[test]
    fn what_had_ended_by_itself_was_not_ended_by_a_clock() {
        assert_eq!(verdict(Some(Because::Deadline), exited(0), &CALM), Verdict::Value);
        assert_eq!(verdict(Some(Because::Cancelled), exited(3), &CALM), Verdict::Exit(3));
        assert_eq!(verdict(Some(Because::Deadline), End::Lost, &CALM), Verdict::Timeout);
    }

    #[test]
    fn what_the_client_asked_for_stands() {
        let memory = Counters { oom_kills: 1, ..CALM };
        assert_eq!(verdict(Some(Because::Deadline), End::Killed, &memory), Verdict::Timeout);
        assert_eq!(
            verdict(Some(Because::Output), End::Killed, &CALM),
            Verdict::Limit(LimitKind::OutputLimit)
        );
        assert_eq!(verdict(Some(Because::Cancelled), End::Killed, &CALM), Verdict::Cancelled);
    }
}
