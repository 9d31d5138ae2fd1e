//! What a run is given beside its code: the interpreter's further arguments and the files to put in place. One
//! sealed memory file, written by the client and read by the init, piece by piece, so that nobody holds it whole.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

use crate::files::PlacedFile;

/// The longest argument or path that is read.
const TEXT_BYTES_MAX: usize = 256 << 10;

/// The most arguments or files that are read.
const COUNT_MAX: u32 = 4096;

/// How much of a file is copied at once.
const CHUNK: usize = 64 << 10;

/// Writes a sheet.
pub(crate) fn write_sheet(arguments: &[&str], files: &[PlacedFile]) -> io::Result<OwnedFd> {
    let fd = memfd_create("sheet", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut head = Vec::new();
    put_length(&mut head, arguments.len())?;
    for argument in arguments {
        put_length(&mut head, argument.len())?;
        head.extend_from_slice(argument.as_bytes());
    }
    put_length(&mut head, files.len())?;
    let mut at = write_at(&fd, &head, 0)?;
    for file in files {
        let mut head = Vec::new();
        put_length(&mut head, file.path().len())?;
        head.extend_from_slice(file.path().as_bytes());
        put_length(&mut head, file.content().len())?;
        at = write_at(&fd, &head, at)?;
        at = write_at(&fd, file.content(), at)?;
    }
    fcntl_add_seals(&fd, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)?;
    Ok(fd)
}

fn put_length(head: &mut Vec<u8>, length: usize) -> io::Result<()> {
    head.extend_from_slice(&u32::try_from(length).map_err(io::Error::other)?.to_le_bytes());
    Ok(())
}

fn write_at(fd: &OwnedFd, bytes: &[u8], mut at: u64) -> io::Result<u64> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::pwrite(fd, rest, at))?;
        rest = rest.get(written..).unwrap_or_default();
        at += u64::try_from(written).map_err(io::Error::other)?;
    }
    Ok(at)
}

/// Reads a sheet from its start to its end.
pub(crate) struct Sheet<'a> {
    fd: BorrowedFd<'a>,
    at: u64,
}

impl<'a> Sheet<'a> {
    pub(crate) fn new(fd: BorrowedFd<'a>) -> Self {
        Self { fd, at: 0 }
    }

    /// How many texts or files follow.
    pub(crate) fn count(&mut self) -> io::Result<u32> {
        let count = self.number()?;
        if count > COUNT_MAX { Err(io::ErrorKind::InvalidData.into()) } else { Ok(count) }
    }

    /// One text.
    pub(crate) fn text(&mut self) -> io::Result<Vec<u8>> {
        let length = usize::try_from(self.number()?).map_err(io::Error::other)?;
        if length > TEXT_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut bytes = vec![0; length];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// One content, copied to the start of an empty file.
    pub(crate) fn copy_to(&mut self, file: impl AsFd) -> io::Result<()> {
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
            match rustix::io::retry_on_intr(|| rustix::io::pread(self.fd, &mut *rest, self.at))? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                got => {
                    filled += got;
                    self.at += u64::try_from(got).map_err(io::Error::other)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsFd as _;

    use super::{Sheet, write_sheet};
    use crate::files::PlacedFile;
    use crate::wire::text_memfd;

    #[test]
    fn a_sheet_is_read_as_it_was_written() {
        let big = vec![7; 200_000];
        let files = [
            PlacedFile::new("a.txt", b"one".to_vec()).unwrap(),
            PlacedFile::new("/tmp/b", big.clone()).unwrap(),
        ];
        let written = write_sheet(&["-", "", "ä"], &files).unwrap();
        let mut sheet = Sheet::new(written.as_fd());
        assert_eq!(sheet.count().unwrap(), 3);
        assert_eq!([(); 3].map(|()| sheet.text().unwrap()), [b"-".to_vec(), Vec::new(), "ä".into()]);
        assert_eq!(sheet.count().unwrap(), 2);
        for content in [b"one".to_vec(), big] {
            let file = tempfile::NamedTempFile::new().unwrap();
            sheet.text().unwrap();
            sheet.copy_to(file.as_file()).unwrap();
            assert_eq!(fs::read(file.path()).unwrap(), content);
        }
        assert!(sheet.count().is_err(), "nothing follows");
    }

    #[test]
    fn a_sheet_that_lies_of_its_lengths_is_an_error() {
        for lie in [&[255_u8; 4][..], &[1, 0, 0, 0, 255, 255, 255, 255], &[1, 0]] {
            let fd = text_memfd("lie", lie).unwrap();
            let mut sheet = Sheet::new(fd.as_fd());
            assert!(sheet.count().and_then(|_| sheet.text()).is_err());
        }
    }
}
