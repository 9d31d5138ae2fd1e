//! Puts the run's files in their places: by the init, as the guest's user, behind every layer, before anything of
//! the guest has run. Never follows a link; nobody is there yet who could make one. In a session that has had a run it
//! is the guest itself that puts files in place, in the place of others if need be.

use std::ffi::CString;
use std::io;

use rustix::fs::{CWD, Mode, OFlags, mkdir, openat, unlink};

use crate::wire::Sheet;

/// What becomes of what is in a file's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Earlier {
    /// It stays, and that is an error.
    Keep,
    /// The file takes its place.
    Replace,
}

/// Takes one file from the sheet. Folders on its way are made.
pub(super) fn place_file(sheet: &mut Sheet<'_>, earlier: Earlier) -> io::Result<()> {
    let path = sheet.text()?;
    for (end, _) in path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/') {
        match mkdir(path.get(..end).unwrap_or_default(), Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            // Above the guest's own folders nothing can be made, and nothing needs to be.
            Err(rustix::io::Errno::ROFS | rustix::io::Errno::ACCESS) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let path = CString::new(path).map_err(io::Error::other)?;
    if earlier == Earlier::Replace {
        match unlink(&path) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(CWD, &path, flags, Mode::from_raw_mode(0o644))?;
    sheet.copy_to(&file)
}
