//! One run of a session, for an interpreter that reads it by numbers: its streams take the places of those of the run
//! before, and are nowhere when it has ended.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, open};

use super::resident::WITH_FRAMES;
use crate::sys;

/// A run whose streams are in their places.
pub struct Cell {
    /// The source code.
    pub code: OwnedFd,
    /// Where its end is told.
    pub frames: OwnedFd,
    /// Its arguments.
    pub arguments: Vec<Vec<u8>>,
}

impl Cell {
    /// Begins the run that [`super::take_request`] or [`super::look_for_run`] has given.
    ///
    /// # Errors
    /// The kernel's, and one of `InvalidData` for what is no run.
    pub fn begin(mut taken: Vec<Vec<u8>>) -> io::Result<Self> {
        let arguments = taken.split_off(WITH_FRAMES.min(taken.len()));
        let owned = taken.iter().map(|number| {
            let number = str::from_utf8(number).map_err(io::Error::other)?;
            sys::take_inherited(number.parse().map_err(io::Error::other)?)
        });
        let mut owned = owned.collect::<io::Result<Vec<OwnedFd>>>()?.into_iter();
        for (target, stream) in (0..=2).zip(owned.by_ref()) {
            sys::duplicate_inheritable(&stream, target)?;
        }
        match (owned.next(), owned.next()) {
            (Some(code), Some(frames)) => Ok(Self { code, frames, arguments }),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// From here on what is written is nowhere, and what is read is nothing. Before the end is told: from then on nobody
/// reads.
///
/// # Errors
/// The kernel's.
pub fn hush() -> io::Result<()> {
    let null = open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    (0..=2).try_for_each(|fd| sys::duplicate_inheritable(&null, fd))
}

/// Writes frames of a run; false where the channel is closed.
pub(crate) fn write_frames(frames: BorrowedFd<'_>, mut left: &[u8]) -> bool {
    // An interpreter may make an error of a pipe that nobody reads, and would leave this function by it.
    let is_written = sys::without_pipe_signal(|| {
        while !left.is_empty() {
            match rustix::io::write(frames.as_fd(), left) {
                Ok(written) => left = left.get(written..).unwrap_or_default(),
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return false,
            }
        }
        true
    });
    matches!(is_written, Ok(true))
}
