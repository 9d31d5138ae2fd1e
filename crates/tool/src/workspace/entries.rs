//! The system calls of a workspace. Nothing here follows a link or leaves the folder that it begins in.
//!
//! Sole boundary for callers' paths on the gateway's own disk: every change here needs a second reader.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, mkdirat, openat, openat2, statat,
};
use rustix::io::{Errno, Result};

/// Whoever else is on this host reads nothing of it.
const FOLDER_MODE: Mode = Mode::RWXU;

const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// What is in a workspace, added up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) bytes: u64,
    pub(super) entries: usize,
}

/// A file that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) path: String,
    pub(super) bytes: u64,
    pub(super) modified_s: i64,
}

/// Opens what a path leads to, from a folder, without leaving it.
pub(super) fn inside(folder: BorrowedFd<'_>, path: &str, flags: OFlags) -> Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    let mode = if flags.contains(OFlags::CREATE) { FILE_MODE } else { Mode::empty() };
    openat2(folder, path, flags | OFlags::CLOEXEC, mode, resolve)
}

/// Opens a folder; the empty path is the folder itself.
pub(super) fn folder(from: BorrowedFd<'_>, path: &str) -> Result<OwnedFd> {
    inside(from, if path.is_empty() { "." } else { path }, OFlags::RDONLY | OFlags::DIRECTORY)
}

/// Makes a folder that may be there already, and opens it. Its name is durable then.
pub(super) fn made(parent: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    match mkdirat(parent, name, FOLDER_MODE) {
        Ok(()) => rustix::fs::fsync(parent)?,
        Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    folder(parent, name)
}

/// The folder that the operator's data directory has for all workspaces.
pub(super) fn root(path: &std::path::Path, make: bool) -> Result<OwnedFd> {
    if make {
        match mkdirat(CWD, path, FOLDER_MODE) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
    }
    openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// What an entry is; none where there is none.
pub(super) fn look(parent: BorrowedFd<'_>, name: &str) -> Result<Option<Stat>> {
    match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn is_folder(found: &Stat) -> bool {
    FileType::from_raw_mode(found.st_mode).is_dir()
}

pub(super) fn length(found: &Stat) -> u64 {
    u64::try_from(found.st_size).unwrap_or(0)
}

/// Everything below a folder, told to `see`, and added up. Ends early where there is more than `most`.
pub(super) fn walk(from: BorrowedFd<'_>, most: usize, see: &mut dyn FnMut(Found)) -> Result<Held> {
    let mut held = Held::default();
    let mut queue = vec![String::new()];
    while let Some(path) = queue.pop() {
        let here = folder(from, &path)?;
        for entry in Dir::read_from(&here)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if matches!(name, "." | "..") {
                continue;
            }
            held.entries += 1;
            if held.entries > most {
                return Ok(held);
            }
            let Some(found) = look(here.as_fd(), name)? else { continue };
            let path = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
            if is_folder(&found) {
                queue.push(path);
            } else {
                held.bytes = held.bytes.saturating_add(length(&found));
                see(Found { path, bytes: length(&found), modified_s: found.st_mtime });
            }
        }
    }
    Ok(held)
}

/// A new file, of nobody else's.
pub(super) fn fresh(parent: BorrowedFd<'_>, name: &str) -> Result<File> {
    inside(parent, name, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL).map(File::from)
}
