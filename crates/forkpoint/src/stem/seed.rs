//! What a stem is made with. The native one has it by the clone; an interpreter is given it as a memory file.

use std::ffi::CString;
use std::io;

use crate::jail::{Program, Start};
use crate::sys::SockFilter;

/// What a stem is made with.
#[derive(Debug, Clone)]
pub struct Seed {
    /// What may be started, by its number in [`crate::wire::Spawn`].
    pub programs: Vec<Program>,
    pub filter: Vec<SockFilter>,
    pub landlock_abi: u32,
    /// The stem's own id inside its user namespace.
    pub stem_id: u32,
    pub ids: SlotIds,
    /// What runs with a network have; nothing where none is made here.
    pub networked: Option<Networked>,
}

/// What is different for a run with a network.
#[derive(Debug, Clone)]
pub struct Networked {
    pub filter: Vec<SockFilter>,
    /// What the environment says of a proxy.
    pub proxied: Vec<CString>,
}

/// Whether slots have ids of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotIds {
    /// Each slot its own.
    Own,
    /// All the same, because only one id is mapped.
    Shared,
}

impl Seed {
    /// The same for a warm interpreter, whose one program is a fork of itself.
    #[must_use]
    pub fn for_interpreter(&self, inherited: u32) -> Vec<u8> {
        let ids = u32::from(self.ids == SlotIds::Own);
        let mut bytes = Vec::new();
        for number in [inherited, self.landlock_abi, self.stem_id, ids] {
            bytes.extend(number.to_le_bytes());
        }
        for one in &self.filter {
            bytes.extend(one.code.to_le_bytes());
            bytes.extend([one.jt, one.jf]);
            bytes.extend(one.k.to_le_bytes());
        }
        bytes
    }

    /// What [`Self::for_interpreter`] has written.
    ///
    /// # Errors
    /// One of `InvalidData` where it is something else.
    pub fn read(bytes: &[u8]) -> io::Result<Self> {
        let (head, filter) = bytes.split_first_chunk::<16>().ok_or(io::ErrorKind::InvalidData)?;
        let (numbers, _) = head.as_chunks::<4>();
        let &[inherited, landlock_abi, stem_id, ids] = numbers else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let (filter, []) = filter.as_chunks::<8>() else { return Err(io::ErrorKind::InvalidData.into()) };
        let one = |&[a, b, jt, jf, c, d, e, f]: &[u8; 8]| SockFilter {
            code: u16::from_le_bytes([a, b]),
            jt,
            jf,
            k: u32::from_le_bytes([c, d, e, f]),
        };
        Ok(Self {
            programs: vec![Program { start: Start::Resident, inherited: u32::from_le_bytes(inherited) }],
            filter: filter.iter().map(one).collect(),
            landlock_abi: u32::from_le_bytes(landlock_abi),
            stem_id: u32::from_le_bytes(stem_id),
            ids: if u32::from_le_bytes(ids) == 1 { SlotIds::Own } else { SlotIds::Shared },
            networked: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Seed, SlotIds};
    use crate::jail::Start;
    use crate::sys::SockFilter;

    #[test]
    fn an_interpreter_reads_what_the_helper_has_written() {
        let filter = vec![
            SockFilter { code: 0x20, jt: 0, jf: 0, k: 4 },
            SockFilter { code: 0x15, jt: 1, jf: 255, k: u32::MAX },
        ];
        let seed = Seed {
            programs: Vec::new(),
            filter,
            landlock_abi: 7,
            stem_id: 1000,
            ids: SlotIds::Shared,
            networked: None,
        };
        let written = seed.for_interpreter(5);
        let read = Seed::read(&written).unwrap();
        assert_eq!((read.filter, read.landlock_abi, read.stem_id), (seed.filter, 7, 1000));
        assert_eq!(read.ids, SlotIds::Shared);
        assert!(matches!(read.programs[0].start, Start::Resident) && read.programs[0].inherited == 5);
        assert!(Seed::read(&written[..written.len() - 1]).is_err());
        assert!(Seed::read(&[]).is_err());
    }
}
