//! The messages between client and helper. One enum a direction, so that nobody can be sent what only they may say.

use std::time::Duration;

use execgate_forkpoint::jail::Step;
use execgate_forkpoint::wire::{Malformed, Message, PACKET_BYTES, Reader, Writer, take_step};

use crate::limits::Limits;

/// Client to helper, on the control socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ToHelper {
    /// With a memory file that holds the configuration. Accepted once.
    Configure,
    /// With the run's socket, stdin, stdout, stderr, code, frames, sheet; and, where files are to be collected,
    /// which ones and the memory file for them.
    NewRun { language: u16, warm: u16, limits: Limits },
    /// With a socket that is answered by `Capacity` when nothing runs any more.
    Quiesce,
    /// With a socket that is answered by `Capacity` when as many interpreters wait as are wanted.
    WarmUp,
}

/// Helper to client, on the control socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FromHelper {
    /// With a memory file that says what is enforced.
    Ready,
    /// With a memory file that says why not.
    Refused,
    /// How many slots are usable now.
    Capacity { usable: u32, quarantined: u32 },
}

/// Client to helper, on a run's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ToRun {
    Kill,
}

/// Helper to client, on a run's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FromRun {
    /// The jail stands and the interpreter is next; the clock starts.
    Started,
    /// It is being killed, and this is what was counted.
    Ended { end: End, counters: Counters },
    /// The jail could not be built.
    NotStarted { step: Step, errno: i32 },
    /// The process that makes jails died twice before this run had begun.
    StemGone,
    /// It was given up before it had a slot.
    Withdrawn,
}

/// How the helper saw a run end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The interpreter ended by itself, with this wait status.
    Exited { status: i32 },
    /// We killed it while it ran.
    Killed,
    /// Its init ended without a report.
    Lost,
}

/// What was counted for one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counters {
    pub(crate) oom_kills: u64,
    pub(crate) process_limit_hits: u64,
    pub(crate) disk_full: bool,
    pub(crate) cpu_us: Option<u64>,
    pub(crate) memory_peak: Option<u64>,
}

fn put_limits(to: Writer, limits: &Limits) -> Writer {
    to.u64(u64::try_from(limits.wall.as_millis()).unwrap_or(u64::MAX))
        .u64(limits.memory_bytes)
        .u32(limits.processes)
        .u64(limits.disk_bytes)
        .u32(limits.inodes)
        .u32(limits.descriptors)
        .u32(limits.cpu_percent)
        .u64(limits.output_bytes)
        .u64(limits.output_discard_bytes)
}

fn take_limits(from: &mut Reader<'_>) -> Result<Limits, Malformed> {
    Ok(Limits {
        wall: Duration::from_millis(from.u64()?),
        memory_bytes: from.u64()?,
        processes: from.u32()?,
        disk_bytes: from.u64()?,
        inodes: from.u32()?,
        descriptors: from.u32()?,
        cpu_percent: from.u32()?,
        output_bytes: from.u64()?,
        output_discard_bytes: from.u64()?,
    })
}

impl Message for ToHelper {
    fn pack(&self) -> [u8; PACKET_BYTES] {
        match self {
            Self::Configure => Writer::new(1),
            Self::NewRun { language, warm, limits } => {
                put_limits(Writer::new(2).u16(*language).u16(*warm), limits)
            }
            Self::Quiesce => Writer::new(3),
            Self::WarmUp => Writer::new(4),
        }
        .finish()
    }

    fn unpack(packet: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(packet);
        match from.u8()? {
            1 => Ok(Self::Configure),
            2 => {
                Ok(Self::NewRun { language: from.u16()?, warm: from.u16()?, limits: take_limits(&mut from)? })
            }
            3 => Ok(Self::Quiesce),
            4 => Ok(Self::WarmUp),
            _ => Err(Malformed),
        }
    }
}

impl Message for FromHelper {
    fn pack(&self) -> [u8; PACKET_BYTES] {
        match self {
            Self::Ready => Writer::new(1),
            Self::Refused => Writer::new(2),
            Self::Capacity { usable, quarantined } => Writer::new(3).u32(*usable).u32(*quarantined),
        }
        .finish()
    }

    fn unpack(packet: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(packet);
        match from.u8()? {
            1 => Ok(Self::Ready),
            2 => Ok(Self::Refused),
            3 => Ok(Self::Capacity { usable: from.u32()?, quarantined: from.u32()? }),
            _ => Err(Malformed),
        }
    }
}

impl Message for ToRun {
    fn pack(&self) -> [u8; PACKET_BYTES] {
        Writer::new(1).finish()
    }

    fn unpack(packet: &[u8]) -> Result<Self, Malformed> {
        if Reader::new(packet).u8()? == 1 { Ok(Self::Kill) } else { Err(Malformed) }
    }
}

impl Message for FromRun {
    fn pack(&self) -> [u8; PACKET_BYTES] {
        match self {
            Self::Started => Writer::new(1),
            Self::Ended { end, counters } => {
                let (kind, status) = match end {
                    End::Exited { status } => (1, *status),
                    End::Killed => (2, 0),
                    End::Lost => (3, 0),
                };
                let to = Writer::new(2).u8(kind).i32(status).u64(counters.oom_kills);
                to.u64(counters.process_limit_hits)
                    .u8(u8::from(counters.disk_full))
                    .maybe(counters.cpu_us)
                    .maybe(counters.memory_peak)
            }
            Self::NotStarted { step, errno } => Writer::new(3).u8(step.number()).i32(*errno),
            Self::StemGone => Writer::new(4),
            Self::Withdrawn => Writer::new(5),
        }
        .finish()
    }

    fn unpack(packet: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(packet);
        match from.u8()? {
            1 => Ok(Self::Started),
            2 => {
                let (kind, status) = (from.u8()?, from.i32()?);
                let end = match kind {
                    1 => End::Exited { status },
                    2 => End::Killed,
                    3 => End::Lost,
                    _ => return Err(Malformed),
                };
                let counters = Counters {
                    oom_kills: from.u64()?,
                    process_limit_hits: from.u64()?,
                    disk_full: from.flag()?,
                    cpu_us: from.maybe()?,
                    memory_peak: from.maybe()?,
                };
                Ok(Self::Ended { end, counters })
            }
            3 => Ok(Self::NotStarted { step: take_step(&mut from)?, errno: from.i32()? }),
            4 => Ok(Self::StemGone),
            5 => Ok(Self::Withdrawn),
            _ => Err(Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use execgate_forkpoint::wire::{FromResident, FromStem, Report, Spawn, ToResident, ToStem};

    use super::*;

    fn comes_back<M: Message + PartialEq + Debug>(message: M) {
        assert_eq!(M::unpack(&message.pack()), Ok(message));
    }

    #[test]
    fn every_message_comes_back_as_it_went() {
        comes_back(ToHelper::Configure);
        comes_back(ToHelper::NewRun { language: 7, warm: 1, limits: Limits::default() });
        comes_back(ToHelper::Quiesce);
        comes_back(ToHelper::WarmUp);
        comes_back(FromHelper::Capacity { usable: 3, quarantined: 1 });
        comes_back(ToRun::Kill);
        let counters = Counters {
            oom_kills: u64::MAX,
            process_limit_hits: 2,
            disk_full: true,
            cpu_us: Some(3),
            memory_peak: None,
        };
        for end in [End::Exited { status: -1 }, End::Killed, End::Lost] {
            comes_back(FromRun::Ended { end, counters });
        }
        comes_back(FromRun::Started);
        comes_back(FromRun::StemGone);
        comes_back(FromRun::Withdrawn);
        comes_back(FromRun::NotStarted { step: Step::Landlock, errno: 1 });
        comes_back(ToStem::Spawn(Spawn {
            run: 1,
            slot: 2,
            language: 3,
            descriptors: 4,
            file_bytes: 5,
            user_processes: 6,
            data_bytes: Some(u64::MAX),
            is_awaited: true,
        }));
        comes_back(FromStem::SpawnFailed { run: 9, step: Step::CloneInit, errno: 11 });
        comes_back(ToResident::Run);
        comes_back(FromResident::Waiting);
        comes_back(Report::Begun);
        comes_back(Report::Exited { status: 256, cpu_us: 1, peak_kib: 2 });
    }

    #[test]
    fn a_message_with_an_unknown_tag_is_malformed() {
        assert_eq!(FromStem::unpack(&[0; PACKET_BYTES]), Err(Malformed));
        assert_eq!(Report::unpack(&[9; PACKET_BYTES]), Err(Malformed));
    }
}
