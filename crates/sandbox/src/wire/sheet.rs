//! Writes what a run is given beside its code, for [`Sheet`](execgate_forkpoint::wire::Sheet) to read in the jail.

use std::io;
use std::os::fd::OwnedFd;

use execgate_forkpoint::wire::{Sheet, write_at};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

use crate::files::PlacedFile;

/// Writes a sheet. One of more than [`Sheet::COUNT_MAX`] is none that the jail reads.
pub(crate) fn write_sheet(arguments: &[&str], files: &[PlacedFile]) -> io::Result<OwnedFd> {
    let count = arguments.len().max(files.len());
    if count > Sheet::COUNT_MAX {
        let why = format!("{count} arguments or files are more than {}", Sheet::COUNT_MAX);
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsFd as _;

    use execgate_forkpoint::wire::Sheet;

    use super::write_sheet;
    use crate::files::PlacedFile;
    use execgate_forkpoint::wire::text_memfd;

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
    fn as_many_files_as_are_written_are_read() {
        let file = PlacedFile::new("a", Vec::new()).unwrap();
        let mut files = vec![file; Sheet::COUNT_MAX];
        let written = write_sheet(&[], &files).unwrap();
        let mut sheet = Sheet::new(written.as_fd());
        assert_eq!(
            (sheet.count().unwrap(), usize::try_from(sheet.count().unwrap())),
            (0, Ok(Sheet::COUNT_MAX))
        );
        files.extend_from_within(..1);
        assert!(write_sheet(&[], &files).is_err());
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
