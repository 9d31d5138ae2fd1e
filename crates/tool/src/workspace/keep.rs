//! What is kept for whom: writing, reading, listing and deleting, one owner at a time.
//!
//! ```text
//! <data>/workspaces/<owner>/lock      who changes it has it
//!                          /new       what is being written
//!                          /files     what is there
//! ```
//!
//! Everything here blocks the thread that it runs on. Every change here needs a second reader.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use execgate_model::Digest;
use rustix::fs::{AtFlags, Dir, FlockOperation, OFlags, flock, fsync, renameat, unlinkat};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::WorkspacePath;
use super::entries::{Found, Held, folder, fresh, inside, is_folder, length, look, made, root, walk};

/// Bytes that the files of one owner may have together (CONTRACTS 4).
const QUOTA_BYTES: u64 = 64 << 20;

/// Files and folders of one owner.
pub(super) const ENTRIES_MAX: usize = 4_096;

/// The name of what is being written. The lock is held meanwhile, so that there is one.
const NEW: &str = "file";

/// The workspaces of one gateway. A clone is the same.
#[derive(Debug, Clone)]
pub struct Workspaces(Arc<PathBuf>);

/// A file in a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkspaceFile {
    /// Its path.
    pub path: String,
    /// How long it is.
    pub bytes: u64,
    /// When it was written, in seconds since 1970.
    pub modified_s: i64,
}

/// Why something was not done. Nothing has changed then, but by [`Self::Lost`].
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// There is no room for it.
    #[error(
        "a workspace has {QUOTA_BYTES} bytes and {ENTRIES_MAX} entries; {bytes} bytes and {entries} entries are taken"
    )]
    Full {
        /// Bytes that are taken.
        bytes: u64,
        /// Files and folders.
        entries: usize,
    },
    /// A folder has this name.
    #[error("`{0}` is a folder")]
    IsFolder(String),
    /// A file stands where a folder would have to be.
    #[error("`{0}` is a file, and no folder")]
    NoFolder(String),
    /// The disk failed before anything was changed.
    #[error("failed to {doing}")]
    Failed {
        /// What we were doing.
        doing: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The disk failed when it was to be put in place: it may be there, or not.
    #[error("failed to put a file in its place")]
    Lost(#[source] io::Error),
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) sha256: Digest,
    /// Whether another file was there.
    pub(crate) replaced: bool,
}

/// One owner's, opened and locked. The lock ends with it.
struct Open {
    new: OwnedFd,
    files: OwnedFd,
    _lock: OwnedFd,
}

fn failed(doing: &'static str) -> impl Fn(Errno) -> WorkspaceError {
    move |error| WorkspaceError::Failed { doing, source: error.into() }
}

impl Workspaces {
    /// The workspaces below a folder, which is made when the first file is written.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self(Arc::new(path))
    }

    /// The most bytes of one owner's files together.
    #[must_use]
    pub const fn quota_bytes() -> u64 {
        QUOTA_BYTES
    }

    /// Writes a file, whole or not at all, over whatever file has its path. It is durable then.
    pub(crate) fn write(
        &self,
        owner: Digest,
        path: &WorkspacePath,
        content: &[u8],
    ) -> Result<Written, WorkspaceError> {
        let doing = failed("open a workspace");
        let root = root(&self.0, true).map_err(&doing)?;
        let own = made(root.as_fd(), &owner.to_hex()).map_err(&doing)?;
        let open = Open::of(&own, true).map_err(&doing)?;
        let replaced = open.room_for(path, content.len())?;
        open.fill(content).map_err(|source| WorkspaceError::Failed { doing: "write a file", source })?;
        open.place(path).map_err(|error| WorkspaceError::Lost(error.into()))?;
        Ok(Written { sha256: Digest::from_bytes(Sha256::digest(content).into()), replaced })
    }

    /// What a file holds; none where there is none.
    ///
    /// # Errors
    /// [`WorkspaceError::Failed`].
    pub fn read(&self, owner: Digest, path: &WorkspacePath) -> Result<Option<Vec<u8>>, WorkspaceError> {
        let doing = "read a file";
        let Some(own) = self.own(owner).map_err(failed(doing))? else { return Ok(None) };
        let file = folder(own.as_fd(), "files").and_then(|files| {
            let file = inside(files.as_fd(), path.as_str(), OFlags::RDONLY | OFlags::NONBLOCK)?;
            Ok(Some(File::from(file)))
        });
        let Some(mut file) = file.or_else(none_there).map_err(failed(doing))? else { return Ok(None) };
        let mut content = Vec::new();
        let read = file.metadata().and_then(|about| {
            if !about.is_file() {
                return Ok(None);
            }
            (&mut file).take(QUOTA_BYTES).read_to_end(&mut content).map(Some)
        });
        let read = read.map_err(|source| WorkspaceError::Failed { doing, source })?;
        Ok(read.map(|_| content))
    }

    /// Every file of an owner, by its path.
    ///
    /// # Errors
    /// [`WorkspaceError::Failed`].
    pub fn list(&self, owner: Digest) -> Result<Vec<WorkspaceFile>, WorkspaceError> {
        let doing = failed("list a workspace");
        let Some(own) = self.own(owner).map_err(&doing)? else { return Ok(Vec::new()) };
        let Some(files) = folder(own.as_fd(), "files").map(Some).or_else(none_there).map_err(&doing)? else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        let mut see = |Found { path, bytes, modified_s }: Found| {
            found.push(WorkspaceFile { path, bytes, modified_s });
        };
        walk(files.as_fd(), ENTRIES_MAX, &mut see).map_err(&doing)?;
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    /// Deletes a file, and the folders that are empty without it. False where there is none.
    ///
    /// # Errors
    /// [`WorkspaceError::IsFolder`] and [`WorkspaceError::Failed`].
    pub fn delete(&self, owner: Digest, path: &WorkspacePath) -> Result<bool, WorkspaceError> {
        let doing = failed("delete a file");
        let Some(own) = self.own(owner).map_err(&doing)? else { return Ok(false) };
        let open = Open::of(&own, false).map(Some).or_else(none_there).map_err(&doing)?;
        let Some(open) = open else { return Ok(false) };
        let (above, name) = path.parts();
        let Some(parent) = folder(open.files.as_fd(), above).map(Some).or_else(none_there).map_err(&doing)?
        else {
            return Ok(false);
        };
        match look(parent.as_fd(), name).map_err(&doing)? {
            None => return Ok(false),
            Some(found) if is_folder(&found) => return Err(WorkspaceError::IsFolder(path.to_string())),
            Some(_) => unlinkat(&parent, name, AtFlags::empty()).map_err(&doing)?,
        }
        fsync(&parent).map_err(&doing)?;
        for folder in path.folders().collect::<Vec<_>>().into_iter().rev() {
            // One that holds something else stays, and so do those above it.
            if remove_folder(&open.files, folder).is_err() {
                break;
            }
        }
        Ok(true)
    }

    /// The folder of an owner; none where nothing was ever written.
    fn own(&self, owner: Digest) -> Result<Option<OwnedFd>, Errno> {
        let own = root(&self.0, false).and_then(|root| folder(root.as_fd(), &owner.to_hex()));
        own.map(Some).or_else(none_there)
    }
}

/// What is not there is no fault; nor is what stands where a folder would have to be.
fn none_there<T>(error: Errno) -> Result<Option<T>, Errno> {
    match error {
        Errno::NOENT | Errno::NOTDIR => Ok(None),
        error => Err(error),
    }
}

fn remove_folder(files: &OwnedFd, path: &str) -> Result<(), Errno> {
    let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
    let parent = folder(files.as_fd(), above)?;
    unlinkat(&parent, name, AtFlags::REMOVEDIR)?;
    fsync(&parent)
}

impl Open {
    /// Opens and locks the folder of an owner. Whoever else changes it, here or in another process, waits.
    fn of(own: &OwnedFd, make: bool) -> Result<Self, Errno> {
        let flags = OFlags::RDWR | if make { OFlags::CREATE } else { OFlags::empty() };
        let lock = inside(own.as_fd(), "lock", flags)?;
        flock(&lock, FlockOperation::LockExclusive)?;
        let open = if make { made } else { folder };
        Ok(Self { new: open(own.as_fd(), "new")?, files: open(own.as_fd(), "files")?, _lock: lock })
    }

    /// Whether a file replaces another, where there is room for it.
    fn room_for(&self, path: &WorkspacePath, bytes: usize) -> Result<bool, WorkspaceError> {
        let doing = failed("look at a workspace");
        let mut missing = 0;
        for above in path.folders() {
            match folder(self.files.as_fd(), above) {
                Ok(_) => {}
                Err(Errno::NOENT) => missing += 1,
                Err(Errno::NOTDIR | Errno::LOOP) => return Err(WorkspaceError::NoFolder(above.to_owned())),
                Err(error) => return Err(doing(error)),
            }
        }
        let (above, name) = path.parts();
        let there = match missing {
            0 => {
                let parent = folder(self.files.as_fd(), above).map_err(&doing)?;
                look(parent.as_fd(), name).map_err(&doing)?
            }
            _ => None,
        };
        if there.as_ref().is_some_and(is_folder) {
            return Err(WorkspaceError::IsFolder(path.to_string()));
        }
        let held: Held = walk(self.files.as_fd(), ENTRIES_MAX, &mut |_| {}).map_err(&doing)?;
        let more = usize::from(there.is_none()) + missing;
        let kept = held.bytes.saturating_sub(there.as_ref().map_or(0, length));
        let wanted = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_add(kept);
        if wanted > QUOTA_BYTES || held.entries.saturating_add(more) > ENTRIES_MAX {
            return Err(WorkspaceError::Full { bytes: held.bytes, entries: held.entries });
        }
        Ok(there.is_some())
    }

    /// Writes what is to be put in place, and syncs it. What a process left behind that died is gone.
    fn fill(&self, content: &[u8]) -> io::Result<()> {
        for entry in Dir::read_from(&self.new)? {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                unlinkat(&self.new, entry.file_name(), AtFlags::empty())?;
            }
        }
        let mut file = fresh(self.new.as_fd(), NEW)?;
        file.write_all(content)?;
        file.sync_all()
    }

    /// Puts what was written in its place.
    fn place(&self, path: &WorkspacePath) -> Result<(), Errno> {
        let (above, name) = path.parts();
        let mut parent = folder(self.files.as_fd(), "")?;
        for part in above.split('/').filter(|part| !part.is_empty()) {
            parent = made(parent.as_fd(), part)?;
        }
        renameat(&self.new, NEW, &parent, name)?;
        fsync(&parent)
    }
}
