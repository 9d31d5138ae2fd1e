//! What a run is given beside its code: the interpreter's further arguments and the files to put in place. One
//! sealed memory file, written by the client and read in the jail, piece by piece, so that nobody holds it whole.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// The longest argument or path that is read.
const TEXT_BYTES_MAX: usize = 256 << 10;

/// How much of a file is copied at once.
const CHUNK: usize = 64 << 10;

/// How much is read before it is asked for: all of most sheets.
const AHEAD: usize = 512;

/// Reads a sheet from its start to its end.
pub struct Sheet<'a> {
    fd: BorrowedFd<'a>,
    at: u64,
    /// What was read and not asked for yet.
    ahead: Vec<u8>,
}

impl<'a> Sheet<'a> {
    /// The most arguments or files that are read. Arguments have a bound in bytes where they are written, and of files nobody
    /// holds more than a piece of one.
    pub const COUNT_MAX: usize = 1 << 14;

    pub fn new(fd: BorrowedFd<'a>) -> Self {
        Self { fd, at: 0, ahead: Vec::new() }
    }

    /// How many texts or files follow.
    pub fn count(&mut self) -> io::Result<u32> {
        let count = self.number()?;
        if usize::try_from(count).map_or(true, |count| count > Self::COUNT_MAX) {
            Err(io::ErrorKind::InvalidData.into())
        } else {
            Ok(count)
        }
    }

    /// One text.
    pub fn text(&mut self) -> io::Result<Vec<u8>> {
        let length = usize::try_from(self.number()?).map_err(io::Error::other)?;
        if length > TEXT_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut bytes = vec![0; length];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// One content, copied to the start of an empty file.
    pub fn copy_to(&mut self, file: impl AsFd) -> io::Result<()> {
        let mut left = usize::try_from(self.number()?).map_err(io::Error::other)?;
        let mut chunk = vec![0; CHUNK.min(left)];
        while left > 0 {
            let length = chunk.len().min(left);
            let piece = chunk.get_mut(..length).unwrap_or_default();
            self.fill(piece)?;
            let mut rest = &*piece;
            while !rest.is_empty() {
                let written = rustix::io::retry_on_intr(|| rustix::io::write(file.as_fd(), rest))?;
                rest = rest.get(written..).unwrap_or_default();
            }
            left -= length;
        }
        Ok(())
    }

    fn number(&mut self) -> io::Result<u32> {
        let mut bytes = [0; 4];
        self.fill(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            if self.ahead.is_empty() && rest.len() >= AHEAD {
                filled += self.read(rest)?;
                continue;
            }
            if self.ahead.is_empty() {
                let mut ahead = vec![0; AHEAD];
                let got = self.read(&mut ahead)?;
                ahead.truncate(got);
                self.ahead = ahead;
            }
            let count = rest.len().min(self.ahead.len());
            rest.iter_mut().zip(self.ahead.drain(..count)).for_each(|(to, from)| *to = from);
            filled += count;
        }
        Ok(())
    }

    /// What follows in the file, as much as it gives at once.
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match rustix::io::retry_on_intr(|| rustix::io::pread(self.fd, &mut *bytes, self.at))? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            got => {
                self.at += u64::try_from(got).map_err(io::Error::other)?;
                Ok(got)
            }
        }
    }
}
