//! Says which images are in use, so that none is removed under a running gateway.
//!
//! A process that takes an image holds a shared lock on the file beside its tree for as long as it lives; whoever
//! removes images needs the exclusive one. These are record locks (fcntl(2)): a shared one needs a descriptor that
//! reads, an exclusive one a descriptor that writes, so that on a cache that everybody reads only its owner can stand
//! in anybody's way. Their catch is that a process loses all its locks on a file when it closes any descriptor of it.
//! So no file is ever opened here beside one that is held, and all of it happens behind one mutex.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{FlockOperation, Timespec, Timestamps, UTIME_NOW, fcntl_lock, futimens};
use rustix::io::{Errno, retry_on_intr};

/// The name of the file that is locked, beside the image's root. Its time says when the image was last taken.
pub(super) const LOCK_NAME: &str = "in-use";

/// Device and inode.
type Inode = (u64, u64);

/// The lock files of the images that this process has taken.
static HELD: Mutex<BTreeMap<Inode, File>> = Mutex::new(BTreeMap::new());

/// Takes the image at `image`, until this process ends or lets go.
///
/// An image that is being removed is [`ErrorKind::NotFound`]. One of a version that knew no such locks has no file to
/// lock, and is never removed either.
pub(super) fn take(image: &Path) -> io::Result<()> {
    let path = image.join(LOCK_NAME);
    let mut held = held();
    let inode = match fs::metadata(&path) {
        Ok(found) => inode_of(&found),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if held.contains_key(&inode) {
        return Ok(());
    }
    let file = File::open(&path)?;
    // waits for a rename at most: whoever has the exclusive lock is the cache's owner and does nothing else with it
    retry_on_intr(|| fcntl_lock(&file, FlockOperation::LockShared))?;
    if inode_of(&fs::metadata(&path)?) != inode || inode_of(&file.metadata()?) != inode {
        return Err(ErrorKind::NotFound.into());
    }
    touch(&file);
    held.insert(inode, file);
    Ok(())
}

/// Lets the image at `image` go.
pub(super) fn let_go(image: &Path) {
    let mut held = held();
    if let Ok(found) = fs::metadata(image.join(LOCK_NAME)) {
        held.remove(&inode_of(&found));
    }
}

/// Does something with an image that nobody uses and nobody can take meanwhile; `None` when it is in use.
///
/// # Errors
/// What the kernel answers; [`ErrorKind::PermissionDenied`] to anybody but the cache's owner.
pub(super) fn unless_used<T>(image: &Path, act: impl FnOnce() -> io::Result<T>) -> io::Result<Option<T>> {
    let path = image.join(LOCK_NAME);
    let held = held();
    if held.contains_key(&inode_of(&fs::metadata(&path)?)) {
        return Ok(None);
    }
    let file = OpenOptions::new().write(true).open(&path)?;
    match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => act().map(Some),
        Err(Errno::AGAIN | Errno::ACCESS) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn held() -> MutexGuard<'static, BTreeMap<Inode, File>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

fn inode_of(found: &Metadata) -> Inode {
    (found.dev(), found.ino())
}

/// Notes that the image was taken now; only the cache's owner can, and for anybody else nothing depends on it.
fn touch(file: &File) {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    futimens(file, &Timestamps { last_access: now, last_modification: now }).unwrap_or_default();
}
