//! A copy of a folder of this host, for whoever is to see that folder and nothing around it.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;

use rustix::fs::{FileType, OFlags, Stat, fstat};
use rustix::io::Errno;

use super::entries::{Found, inside, root, walk};
use super::keep::WorkspaceError;

/// The files that are copied, together in bytes, and their number.
const BYTES_MAX: u64 = 96 << 20;
const FILES_MAX: usize = 8_000;

/// What was copied.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Paths below the folder, and what is in them.
    pub files: Vec<(String, Vec<u8>)>,
    /// How many entries were left out: links, devices, files with a second name, names that are no UTF-8.
    pub left_out: usize,
}

/// Every regular file with one name below a folder. No link is followed and no mount is entered, so that nothing else of this
/// host is in it, whoever changes the folder meanwhile.
///
/// # Errors
/// [`WorkspaceError::Failed`] where it cannot be read, or is more than may be copied.
pub fn copied(folder: &Path) -> Result<Copied, WorkspaceError> {
    let failed = |source: io::Error| WorkspaceError::Failed { doing: "copy a folder", source };
    let top = root(folder, false).map_err(|error| failed(error.into()))?;
    let mut found = Vec::new();
    walk(top.as_fd(), FILES_MAX, &mut |Found { path, .. }| found.push(path))
        .map_err(|error| failed(error.into()))?;
    let too_much = || failed(io::Error::other(format!("more than {FILES_MAX} files or {BYTES_MAX} bytes")));
    if found.len() >= FILES_MAX {
        return Err(too_much());
    }
    found.sort();
    let (mut all, mut left) = (Copied::default(), BYTES_MAX);
    for path in found {
        let file = match regular(top.as_fd(), &path) {
            Ok(Some(file)) => file,
            // It was there a moment ago.
            Ok(None) | Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => {
                all.left_out += 1;
                continue;
            }
            Err(error) => return Err(failed(error.into())),
        };
        let mut content = Vec::new();
        file.take(left + 1).read_to_end(&mut content).map_err(failed)?;
        left = left.checked_sub(u64::try_from(content.len()).unwrap_or(u64::MAX)).ok_or_else(too_much)?;
        all.files.push((path, content));
    }
    Ok(all)
}

/// A file of that kind, opened; what it is is looked at before, since opening a device may do something.
fn regular(top: BorrowedFd<'_>, path: &str) -> Result<Option<File>, Errno> {
    let is_one = |found: &Stat| FileType::from_raw_mode(found.st_mode).is_file() && found.st_nlink == 1;
    if !is_one(&fstat(inside(top, path, OFlags::PATH)?)?) {
        return Ok(None);
    }
    let file = inside(top, path, OFlags::RDONLY | OFlags::NONBLOCK)?;
    Ok(is_one(&fstat(&file)?).then(|| File::from(file)))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, hard_link};
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use rustix::fs::{CWD, Mode, mkfifoat};

    use super::{Copied, copied};

    #[test]
    fn nothing_around_the_folder_is_in_its_copy() {
        let place = tempfile::tempdir().unwrap();
        let (folder, outside) = (place.path().join("folder"), place.path().join("secret"));
        fs::create_dir_all(folder.join("a/b")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("key"), "secret").unwrap();
        fs::write(folder.join("a/b/file"), "whole").unwrap();
        symlink(outside.join("key"), folder.join("link")).unwrap();
        symlink(&outside, folder.join("a/links")).unwrap();
        symlink("../../secret", folder.join("a/up")).unwrap();
        symlink("/proc/self/root/etc/passwd", folder.join("magic")).unwrap();
        hard_link(outside.join("key"), folder.join("second")).unwrap();
        mkfifoat(CWD, folder.join("pipe"), Mode::RUSR).unwrap();
        let _socket = UnixListener::bind(folder.join("socket")).unwrap();
        let expected = Copied { files: vec![("a/b/file".to_owned(), b"whole".to_vec())], left_out: 7 };
        assert_eq!(copied(&folder).unwrap(), expected);
        assert!(copied(&folder.join("link")).is_err(), "a link is no folder");
        assert!(copied(&folder.join("a/links")).is_err(), "nor where it leads to one");
    }

    #[test]
    fn a_folder_that_is_too_large_is_not_copied_in_part() {
        let place = tempfile::tempdir().unwrap();
        let file = fs::File::create(place.path().join("large")).unwrap();
        file.set_len(super::BYTES_MAX + 1).unwrap();
        assert!(copied(place.path()).is_err());
    }
}
