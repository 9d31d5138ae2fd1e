//! The messages between helper, stem and init. One enum a direction, so that nobody can be sent what only they may
//! say.

use super::{Malformed, PACKET_BYTES, Reader, Writer};
use crate::jail::Step;

/// Something that fits in a packet.
pub trait Message: Sized {
    fn pack(&self) -> [u8; PACKET_BYTES];
    fn unpack(packet: &[u8]) -> Result<Self, Malformed>;
}

/// Helper to stem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToStem {
    /// The id maps are written.
    Go,
    /// With stdin, stdout, stderr, code, frames, sheet (for a resident: its socket alone), tmpfs, report, the socket
    /// to the proxy where there is one, then the cgroups.
    Spawn(Spawn),
}

/// What the stem and the init need to know of a run. No byte of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spawn {
    pub run: u64,
    pub slot: u32,
    pub language: u16,
    pub descriptors: u32,
    pub file_bytes: u64,
    /// Processes per user id.
    pub user_processes: u32,
    /// Data size per process, where no cgroup counts memory.
    pub data_bytes: Option<u64>,
    /// A run waits for it already.
    pub is_awaited: bool,
    pub network: NetworkProfile,
}

/// Which network a run has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NetworkProfile {
    /// Nothing.
    #[default]
    None,
    /// Its own loopback.
    Loopback,
    /// The same, and a proxy that dials for it.
    Egress,
}

impl NetworkProfile {
    pub fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Loopback => 1,
            Self::Egress => 2,
        }
    }

    /// One of those there are.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn from_number(number: u8) -> Result<Self, Malformed> {
        [Self::None, Self::Loopback, Self::Egress]
            .into_iter()
            .find(|profile| profile.number() == number)
            .ok_or(Malformed)
    }
}

/// Stem to helper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FromStem {
    /// The stem is in its jail.
    Ready,
    /// The stem could not be built.
    Failed { step: Step, errno: i32 },
    /// With the init's process descriptor.
    Spawned { run: u64 },
    /// No init was made.
    SpawnFailed { run: u64, step: Step, errno: i32 },
}

/// Helper to a resident, on its own socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToResident {
    /// With stdin, stdout, stderr, code, frames, sheet.
    Run,
    /// It is a session's: with the sheet of the files that are there from its start. Runs come one by one afterwards.
    Open,
    /// With a socket: a copy of the interpreter as it is waits on it, a child of the init.
    Checkpoint,
    /// With a socket: a copy of this checkpoint goes on in its place, as a child that it waits for.
    Restore { number: u32 },
}

/// A resident to the helper, on its own socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FromResident {
    /// It stands behind every layer and waits. It is no guest's yet.
    Waiting,
    /// Its run could not be put in place. It is no guest's, and will be none's. Of a session: it could not be copied.
    Failed { step: Step, errno: i32 },
    /// Of a session: the run has been read.
    Taken,
    /// Of a checkpoint: the copy of this number has ended, with this wait status.
    Exited { number: u32, status: i32 },
}

/// Init to the run's proxy, on their socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToProxy {
    /// With the listener on the guest's loopback.
    Listen,
}

/// The run's proxy to its init.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FromProxy {
    /// It stands behind every layer and takes connections.
    Ready,
}

/// Init to helper, on the report pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// The jail could not be finished.
    Failed { step: Step, errno: i32 },
    /// The jail stands; whatever comes next may be the guest's doing.
    Begun,
    /// The interpreter ended.
    Exited { status: i32, cpu_us: u64, peak_kib: u64 },
}

/// One step of those there are.
///
/// # Errors
/// [`Malformed`].
pub fn take_step(from: &mut Reader<'_>) -> Result<Step, Malformed> {
    Step::from_number(from.u8()?).ok_or(Malformed)
}

impl Message for ToStem {
    fn pack(&self) -> [u8; PACKET_BYTES] {
        match self {
            Self::Go => Writer::new(1),
            Self::Spawn(spawn) => Writer::new(2)
                .u64(spawn.run)
                .u32(spawn.slot)
                .u16(spawn.language)
                .u32(spawn.descriptors)
                .u64(spawn.file_bytes)
                .u32(spawn.user_processes)
                .maybe(spawn.data_bytes)
                .u8(u8::from(spawn.is_awaited))
                .u8(spawn.network.number()),
        }
        .finish()
    }

    fn unpack(packet: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(packet);
        match from.u8()? {
            1 => Ok(Self::Go),
            2 => Ok(Self::Spawn(Spawn {
                run: from.u64()?,
                slot: from.u32()?,
                language: from.u16()?,
                descriptors: from.u32()?,
                file_bytes: from.u64()?,
                user_processes: from.u32()?,
                data_bytes: from.maybe()?,
                is_awaited: from.flag()?,
                network: NetworkProfile::from_number(from.u8()?)?,
            })),
            _ => Err(Malformed),
        }
    }
}

impl Message for FromStem {
    fn pack(&self) -> [u8; PACKET_BYTES] {
        match self {
            Self::Ready => Writer::new(1),
            Self::Failed { step, errno } => Writer::new(2).u8(step.number()).i32(*errno),
            Self::Spawned { run } => Writer::new(3).u64(*run),
            Self::SpawnFailed { run, step, errno } => Writer::new(4).u64(*run).u8(step.number()).i32(*errno),
        }
        .finish()
    }

    fn unpack(packet: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(packet);
        match from.u8()? {
            1 => Ok(Self::Ready),
            2 => Ok(Self::Failed { step: take_step(&mut from)?, errno: from.i32()? }),
            3 => Ok(Self::Spawned { run: from.u64()? }),
            4 => Ok(Self::SpawnFailed { run: from.u64()?, step: take_step(&mut from)?, errno: from.i32()? }),
            _ => Err(Malformed),
        }
    }
}

impl Message for ToResident {
    fn pack(&self) -> [u8; PACKET_BYTES] {
        match self {
            Self::Run => Writer::new(1),
            Self::Open => Writer::new(2),
            Self::Checkpoint => Writer::new(3),
            Self::Restore { number } => Writer::new(4).u32(*number),
        }
        .finish()
    }

    fn unpack(packet: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(packet);
        match from.u8()? {
            1 => Ok(Self::Run),
            2 => Ok(Self::Open),
            3 => Ok(Self::Checkpoint),
            4 => Ok(Self::Restore { number: from.u32()? }),
            _ => Err(Malformed),
        }
    }
}

impl Message for FromResident {
    fn pack(&self) -> [u8; PACKET_BYTES] {
        match self {
            Self::Waiting => Writer::new(1),
            Self::Failed { step, errno } => Writer::new(2).u8(step.number()).i32(*errno),
            Self::Taken => Writer::new(3),
            Self::Exited { number, status } => Writer::new(4).u32(*number).i32(*status),
        }
        .finish()
    }

    fn unpack(packet: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(packet);
        match from.u8()? {
            1 => Ok(Self::Waiting),
            2 => Ok(Self::Failed { step: take_step(&mut from)?, errno: from.i32()? }),
            3 => Ok(Self::Taken),
            4 => Ok(Self::Exited { number: from.u32()?, status: from.i32()? }),
            _ => Err(Malformed),
        }
    }
}

impl Message for ToProxy {
    fn pack(&self) -> [u8; PACKET_BYTES] {
        Writer::new(1).finish()
    }

    fn unpack(packet: &[u8]) -> Result<Self, Malformed> {
        if Reader::new(packet).u8()? == 1 { Ok(Self::Listen) } else { Err(Malformed) }
    }
}

impl Message for FromProxy {
    fn pack(&self) -> [u8; PACKET_BYTES] {
        Writer::new(1).finish()
    }

    fn unpack(packet: &[u8]) -> Result<Self, Malformed> {
        if Reader::new(packet).u8()? == 1 { Ok(Self::Ready) } else { Err(Malformed) }
    }
}

impl Message for Report {
    fn pack(&self) -> [u8; PACKET_BYTES] {
        match self {
            Self::Failed { step, errno } => Writer::new(1).u8(step.number()).i32(*errno),
            Self::Begun => Writer::new(3),
            Self::Exited { status, cpu_us, peak_kib } => {
                Writer::new(2).i32(*status).u64(*cpu_us).u64(*peak_kib)
            }
        }
        .finish()
    }

    fn unpack(packet: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(packet);
        match from.u8()? {
            1 => Ok(Self::Failed { step: take_step(&mut from)?, errno: from.i32()? }),
            3 => Ok(Self::Begun),
            2 => Ok(Self::Exited { status: from.i32()?, cpu_us: from.u64()?, peak_kib: from.u64()? }),
            _ => Err(Malformed),
        }
    }
}
