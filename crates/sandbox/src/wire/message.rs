//! The messages between client and helper. One enum a direction, so that nobody can be sent what only they may say.

use std::time::Duration;

use execgate_forkpoint::jail::Step;
use execgate_forkpoint::wire::{Malformed, Message, NetworkProfile, PACKET_BYTES, Reader, Writer, take_step};

use crate::enforced::InterpreterStart;
use crate::limits::Limits;

/// Client to the parent of helpers, on the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ToParent {
    /// There is to be a helper. With its control socket; the first time, with a memory file that holds the configuration
    /// of all. Heard when the one before is dead.
    Begin,
}

/// Client to helper, on the control socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ToHelper {
    /// With the run's socket, stdin, stdout, stderr, code, frames, sheet; and, where files are to be collected,
    /// which ones and the memory file for them; and, with egress, the rules and the ledger.
    NewRun { language: u16, warm: u16, network: NetworkProfile, limits: Limits },
    /// With the session's socket, and the sheet of the files that are there from its start.
    OpenSession { language: u16, limits: Limits, idle: Duration, absolute: Duration },
    /// With a socket that is answered by `Capacity` when nothing runs any more.
    Quiesce,
    /// With a socket that is answered by `Capacity` when as many interpreters wait as are wanted.
    WarmUp,
    /// With a socket that is answered by `Waiting` at once.
    Look,
}

/// Helper to client, on the control socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FromHelper {
    /// With a memory file that says what is enforced. Its own process id.
    Ready { helper: u32 },
    /// With a memory file that says why not.
    Refused,
    /// How many slots are usable now.
    Capacity { usable: u32, quarantined: u32 },
    /// How many interpreters wait for runs, how many are there to be forked, and what all of them hold.
    Waiting { interpreters: u32, forking: u32, bytes: u64 },
    /// With a memory file that says in what. Nothing runs from it any more.
    ImageChanged,
}

/// Client to helper, on a run's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ToRun {
    Kill,
    /// It has told its end; its session goes on.
    Finish,
}

/// Client to helper, on a session's socket. One thing at a time: a run has ended before the next question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ToSession {
    /// With what a run comes with.
    Run { wall: Duration },
    /// Answered by `Checkpointed` or `Refused`.
    Checkpoint,
    /// Answered by `Done` or `Refused`.
    Restore { checkpoint: u32 },
    /// Answered by `Done`.
    Drop { checkpoint: u32 },
    /// Answered by `Ended`.
    Close,
}

/// Helper to client, on the socket of a session that was opened; what comes before that is a [`FromRun`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FromSession {
    Checkpointed {
        checkpoint: u32,
    },
    Done,
    /// It could not be copied.
    Refused {
        errno: i32,
    },
    /// Everything in it is being killed.
    Ended {
        over: Over,
        /// Processor time since its last run had ended, in microseconds.
        cpu_us: Option<u64>,
    },
}

/// Why the helper has ended a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// The client wanted it.
    Closed,
    /// No run came for too long.
    Idle,
    /// Its time is over.
    Expired,
    /// A run did not leave it usable; its verdict says more.
    Run,
    /// Its interpreter ended between two runs, or said what none says.
    Died,
    /// The image has.
    ImageChanged,
}

/// Helper to client, on a run's socket, and on a session's until that is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FromRun {
    /// The jail stands and the interpreter is next; the clock starts. Of a session: it waits for its first run.
    Started { interpreter: InterpreterStart },
    /// It is being killed, and this is what was counted.
    Ended { end: End, counters: Counters },
    /// The jail could not be built.
    NotStarted { step: Step, errno: i32 },
    /// The process that makes jails died twice before this run had begun.
    StemGone,
    /// It was given up before it had a slot.
    Withdrawn,
    /// The image is not what its digest names. What has begun is lost.
    ImageChanged { has_begun: bool },
}

/// Helper to broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ToBroker {
    /// With the socket to the run's init, the rules, the means and the ledger.
    Start { run: u64 },
}

/// Broker to helper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FromBroker {
    /// It has given up its rights.
    Ready,
    /// With the proxy's process descriptor.
    Started {
        run: u64,
    },
    NotStarted {
        run: u64,
        errno: i32,
    },
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
    /// It has told its end, and its interpreter waits for the session's next run.
    Kept,
}

/// What was counted for one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counters {
    pub(crate) oom_kills: u64,
    pub(crate) process_limit_hits: u64,
    pub(crate) disk_full: bool,
    pub(crate) cpu_us: Option<u64>,
    /// In a session: from the end of the run before to the begin of this one.
    pub(crate) cpu_between_us: Option<u64>,
    pub(crate) memory_peak: Option<u64>,
}

fn put_time(to: Writer, time: Duration) -> Writer {
    to.u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

fn take_time(from: &mut Reader<'_>) -> Result<Duration, Malformed> {
    Ok(Duration::from_millis(from.u64()?))
}

fn put_limits(to: Writer, limits: &Limits) -> Writer {
    put_time(to, limits.wall)
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
        wall: take_time(from)?,
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

impl Message for ToParent {
    fn pack(&self) -> [u8; PACKET_BYTES] {
        match self {
            Self::Begin => Writer::new(1),
        }
        .finish()
    }

    fn unpack(packet: &[u8]) -> Result<Self, Malformed> {
        match Reader::new(packet).u8()? {
            1 => Ok(Self::Begin),
            _ => Err(Malformed),
        }
    }
}

impl Message for ToHelper {
    fn pack(&self) -> [u8; PACKET_BYTES] {
        match self {
            Self::NewRun { language, warm, network, limits } => {
                put_limits(Writer::new(2).u16(*language).u16(*warm).u8(network.number()), limits)
            }
            Self::Quiesce => Writer::new(3),
            Self::WarmUp => Writer::new(4),
            Self::Look => Writer::new(6),
            Self::OpenSession { language, limits, idle, absolute } => {
                put_time(put_time(put_limits(Writer::new(5).u16(*language), limits), *idle), *absolute)
            }
        }
        .finish()
    }

    fn unpack(packet: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(packet);
        match from.u8()? {
            2 => Ok(Self::NewRun {
                language: from.u16()?,
                warm: from.u16()?,
                network: NetworkProfile::from_number(from.u8()?)?,
                limits: take_limits(&mut from)?,
            }),
            3 => Ok(Self::Quiesce),
            4 => Ok(Self::WarmUp),
            5 => Ok(Self::OpenSession {
                language: from.u16()?,
                limits: take_limits(&mut from)?,
                idle: take_time(&mut from)?,
                absolute: take_time(&mut from)?,
            }),
            6 => Ok(Self::Look),
            _ => Err(Malformed),
        }
    }
}

impl Message for FromHelper {
    fn pack(&self) -> [u8; PACKET_BYTES] {
        match self {
            Self::Ready { helper } => Writer::new(1).u32(*helper),
            Self::Refused => Writer::new(2),
            Self::Capacity { usable, quarantined } => Writer::new(3).u32(*usable).u32(*quarantined),
            Self::ImageChanged => Writer::new(4),
            Self::Waiting { interpreters, forking, bytes } => {
                Writer::new(5).u32(*interpreters).u32(*forking).u64(*bytes)
            }
        }
        .finish()
    }

    fn unpack(packet: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(packet);
        match from.u8()? {
            1 => Ok(Self::Ready { helper: from.u32()? }),
            2 => Ok(Self::Refused),
            3 => Ok(Self::Capacity { usable: from.u32()?, quarantined: from.u32()? }),
            4 => Ok(Self::ImageChanged),
            5 => Ok(Self::Waiting { interpreters: from.u32()?, forking: from.u32()?, bytes: from.u64()? }),
            _ => Err(Malformed),
        }
    }
}

impl Message for ToRun {
    fn pack(&self) -> [u8; PACKET_BYTES] {
        match self {
            Self::Kill => Writer::new(1),
            Self::Finish => Writer::new(2),
        }
        .finish()
    }

    fn unpack(packet: &[u8]) -> Result<Self, Malformed> {
        match Reader::new(packet).u8()? {
            1 => Ok(Self::Kill),
            2 => Ok(Self::Finish),
            _ => Err(Malformed),
        }
    }
}

impl Message for ToSession {
    fn pack(&self) -> [u8; PACKET_BYTES] {
        match self {
            Self::Run { wall } => put_time(Writer::new(1), *wall),
            Self::Checkpoint => Writer::new(2),
            Self::Restore { checkpoint } => Writer::new(3).u32(*checkpoint),
            Self::Drop { checkpoint } => Writer::new(4).u32(*checkpoint),
            Self::Close => Writer::new(5),
        }
        .finish()
    }

    fn unpack(packet: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(packet);
        match from.u8()? {
            1 => Ok(Self::Run { wall: take_time(&mut from)? }),
            2 => Ok(Self::Checkpoint),
            3 => Ok(Self::Restore { checkpoint: from.u32()? }),
            4 => Ok(Self::Drop { checkpoint: from.u32()? }),
            5 => Ok(Self::Close),
            _ => Err(Malformed),
        }
    }
}

impl Message for FromSession {
    fn pack(&self) -> [u8; PACKET_BYTES] {
        match self {
            Self::Checkpointed { checkpoint } => Writer::new(1).u32(*checkpoint),
            Self::Done => Writer::new(2),
            Self::Refused { errno } => Writer::new(3).i32(*errno),
            Self::Ended { over, cpu_us } => Writer::new(4).maybe(*cpu_us).u8(match over {
                Over::Closed => 1,
                Over::Idle => 2,
                Over::Expired => 3,
                Over::Run => 4,
                Over::Died => 5,
                Over::ImageChanged => 6,
            }),
        }
        .finish()
    }

    fn unpack(packet: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(packet);
        match from.u8()? {
            1 => Ok(Self::Checkpointed { checkpoint: from.u32()? }),
            2 => Ok(Self::Done),
            3 => Ok(Self::Refused { errno: from.i32()? }),
            4 => Ok(Self::Ended {
                cpu_us: from.maybe()?,
                over: match from.u8()? {
                    1 => Over::Closed,
                    2 => Over::Idle,
                    3 => Over::Expired,
                    4 => Over::Run,
                    5 => Over::Died,
                    6 => Over::ImageChanged,
                    _ => return Err(Malformed),
                },
            }),
            _ => Err(Malformed),
        }
    }
}

impl Message for ToBroker {
    fn pack(&self) -> [u8; PACKET_BYTES] {
        let Self::Start { run } = self;
        Writer::new(1).u64(*run).finish()
    }

    fn unpack(packet: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(packet);
        if from.u8()? == 1 { Ok(Self::Start { run: from.u64()? }) } else { Err(Malformed) }
    }
}

impl Message for FromBroker {
    fn pack(&self) -> [u8; PACKET_BYTES] {
        match self {
            Self::Ready => Writer::new(1),
            Self::Started { run } => Writer::new(2).u64(*run),
            Self::NotStarted { run, errno } => Writer::new(3).u64(*run).i32(*errno),
        }
        .finish()
    }

    fn unpack(packet: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(packet);
        match from.u8()? {
            1 => Ok(Self::Ready),
            2 => Ok(Self::Started { run: from.u64()? }),
            3 => Ok(Self::NotStarted { run: from.u64()?, errno: from.i32()? }),
            _ => Err(Malformed),
        }
    }
}

impl Message for FromRun {
    fn pack(&self) -> [u8; PACKET_BYTES] {
        match self {
            Self::Started { interpreter } => Writer::new(1).u8(match interpreter {
                InterpreterStart::Executed => 1,
                InterpreterStart::Waited => 2,
                InterpreterStart::Forked => 3,
            }),
            Self::Ended { end, counters } => {
                let (kind, status) = match end {
                    End::Exited { status } => (1, *status),
                    End::Killed => (2, 0),
                    End::Lost => (3, 0),
                    End::Kept => (4, 0),
                };
                let to = Writer::new(2).u8(kind).i32(status).u64(counters.oom_kills);
                to.u64(counters.process_limit_hits)
                    .u8(u8::from(counters.disk_full))
                    .maybe(counters.cpu_us)
                    .maybe(counters.cpu_between_us)
                    .maybe(counters.memory_peak)
            }
            Self::NotStarted { step, errno } => Writer::new(3).u8(step.number()).i32(*errno),
            Self::StemGone => Writer::new(4),
            Self::Withdrawn => Writer::new(5),
            Self::ImageChanged { has_begun } => Writer::new(6).u8(u8::from(*has_begun)),
        }
        .finish()
    }

    fn unpack(packet: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(packet);
        match from.u8()? {
            1 => Ok(Self::Started {
                interpreter: match from.u8()? {
                    1 => InterpreterStart::Executed,
                    2 => InterpreterStart::Waited,
                    3 => InterpreterStart::Forked,
                    _ => return Err(Malformed),
                },
            }),
            2 => {
                let (kind, status) = (from.u8()?, from.i32()?);
                let end = match kind {
                    1 => End::Exited { status },
                    2 => End::Killed,
                    3 => End::Lost,
                    4 => End::Kept,
                    _ => return Err(Malformed),
                };
                let counters = Counters {
                    oom_kills: from.u64()?,
                    process_limit_hits: from.u64()?,
                    disk_full: from.flag()?,
                    cpu_us: from.maybe()?,
                    cpu_between_us: from.maybe()?,
                    memory_peak: from.maybe()?,
                };
                Ok(Self::Ended { end, counters })
            }
            3 => Ok(Self::NotStarted { step: take_step(&mut from)?, errno: from.i32()? }),
            4 => Ok(Self::StemGone),
            5 => Ok(Self::Withdrawn),
            6 => Ok(Self::ImageChanged { has_begun: from.flag()? }),
            _ => Err(Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use execgate_forkpoint::wire::{
        FromProxy, FromResident, FromStem, Report, Spawn, ToProxy, ToResident, ToStem,
    };

    use super::*;

    fn comes_back<M: Message + PartialEq + Debug>(message: M) {
        assert_eq!(M::unpack(&message.pack()), Ok(message));
    }

    #[test]
    fn every_message_comes_back_as_it_went() {
        comes_back(ToParent::Begin);
        for network in [NetworkProfile::None, NetworkProfile::Loopback, NetworkProfile::Egress] {
            comes_back(ToHelper::NewRun { language: 7, warm: 1, network, limits: Limits::default() });
        }
        comes_back(ToBroker::Start { run: u64::MAX });
        comes_back(FromBroker::Ready);
        comes_back(FromBroker::Started { run: 1 });
        comes_back(FromBroker::NotStarted { run: 2, errno: -3 });
        comes_back(ToProxy::Listen);
        comes_back(FromProxy::Ready);
        comes_back(ToHelper::Quiesce);
        comes_back(ToHelper::WarmUp);
        comes_back(FromHelper::Capacity { usable: 3, quarantined: 1 });
        let (idle, absolute) = (Duration::from_secs(8), Duration::from_millis(9));
        comes_back(ToHelper::OpenSession { language: 7, limits: Limits::default(), idle, absolute });
        comes_back(ToRun::Kill);
        comes_back(ToRun::Finish);
        comes_back(ToSession::Run { wall: Duration::from_millis(1) });
        comes_back(ToSession::Checkpoint);
        comes_back(ToSession::Restore { checkpoint: 2 });
        comes_back(ToSession::Drop { checkpoint: 3 });
        comes_back(ToSession::Close);
        comes_back(FromSession::Checkpointed { checkpoint: 4 });
        comes_back(FromSession::Done);
        comes_back(FromSession::Refused { errno: 5 });
        for over in [Over::Closed, Over::Idle, Over::Expired, Over::Run, Over::Died, Over::ImageChanged] {
            for cpu_us in [None, Some(u64::MAX)] {
                comes_back(FromSession::Ended { over, cpu_us });
            }
        }
        let counters = Counters {
            oom_kills: u64::MAX,
            process_limit_hits: 2,
            disk_full: true,
            cpu_us: Some(3),
            cpu_between_us: Some(u64::MAX),
            memory_peak: None,
        };
        for end in [End::Exited { status: -1 }, End::Killed, End::Lost, End::Kept] {
            comes_back(FromRun::Ended { end, counters });
        }
        for interpreter in [InterpreterStart::Executed, InterpreterStart::Waited, InterpreterStart::Forked] {
            comes_back(FromRun::Started { interpreter });
        }
        comes_back(FromRun::StemGone);
        comes_back(FromRun::Withdrawn);
        comes_back(FromRun::ImageChanged { has_begun: true });
        comes_back(FromHelper::ImageChanged);
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
            network: NetworkProfile::Egress,
        }));
        comes_back(FromStem::SpawnFailed { run: 9, step: Step::CloneInit, errno: 11 });
        comes_back(ToResident::Run);
        comes_back(ToResident::Open);
        comes_back(ToResident::Checkpoint);
        comes_back(ToResident::Restore { number: 6 });
        comes_back(FromResident::Waiting);
        comes_back(FromResident::Taken);
        comes_back(FromResident::Exited { number: 7, status: -1 });
        comes_back(Report::Begun);
        comes_back(Report::Exited { status: 256, cpu_us: 1, peak_kib: 2 });
    }

    #[test]
    fn what_a_helper_says_of_itself_comes_back_as_it_was_told() {
        comes_back(FromHelper::Ready { helper: 5 });
        comes_back(ToHelper::Look);
        comes_back(FromHelper::Waiting { interpreters: 1, forking: 2, bytes: u64::MAX });
    }

    #[test]
    fn a_message_with_an_unknown_tag_is_malformed() {
        assert_eq!(FromStem::unpack(&[0; PACKET_BYTES]), Err(Malformed));
        assert_eq!(Report::unpack(&[9; PACKET_BYTES]), Err(Malformed));
    }
}
