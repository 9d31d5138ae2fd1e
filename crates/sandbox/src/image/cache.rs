//! The directory of images: finds one by key, keeps two builds apart, and puts a finished one in its place.
//!
//! Shape: `<digest>/root/`, `<digest>/manifest.json`, `keys/<input key>` holding a digest, `lock`, and `.building-*`
//! for whatever is not finished; beside a root `in-use`, see there. `.fetching-*` are folders that somebody fetches
//! packages into. A name without the prefix is always complete, because it came by a rename; under
//! the lock, everything with the prefix is garbage, and every folder for fetching that is not locked itself.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::copy::{OPEN_MODE, PLAIN_MODE};
use super::error::ImageError;
use super::in_use::{self, LOCK_NAME};
use super::manifest::MANIFEST_NAME;

/// What the names of unfinished things begin with.
const UNFINISHED: &str = ".building-";

/// What the names of folders for fetched packages begin with.
const FETCHING: &str = ".fetching-";

/// The tree's name beside the manifest.
const ROOT_NAME: &str = "root";

/// Digits of a SHA-256.
const DIGEST_DIGITS: usize = 64;

/// A directory of images.
#[derive(Debug, Clone)]
pub(super) struct Cache {
    path: PathBuf,
}

/// The right to change a cache; nobody else builds while it lives.
#[derive(Debug)]
pub(super) struct Building<'a> {
    cache: &'a Cache,
    /// Unlocked when it closes, also when the process is killed.
    _lock: File,
}

/// A folder to fetch packages into, closed to everybody else; removed when it is dropped.
#[derive(Debug)]
pub(super) struct Scratch {
    path: PathBuf,
    /// Tells a sweep that somebody is still at it; unlocked when it closes, also when the process is killed.
    _lock: File,
}

/// A directory to build in; removed when it is dropped unpublished.
#[derive(Debug)]
pub(super) struct Draft {
    path: PathBuf,
}

impl Cache {
    /// Opens a cache, making the directory where it is not there.
    pub(super) fn open_or_make(path: &Path) -> Result<Self, ImageError> {
        let failed = |source| ImageError::OpenCache { path: path.to_owned(), source };
        if !path.exists() {
            DirBuilder::new().recursive(true).mode(OPEN_MODE).create(path).map_err(failed)?;
            // whatever mask this process runs with: another user's execgate may read a cache, never write it
            fs::set_permissions(path, Permissions::from_mode(OPEN_MODE)).map_err(failed)?;
        }
        Self::open(path)
    }

    /// Opens a cache that is there, if only its owner can have written it and the owner is this user or root.
    pub(super) fn open(path: &Path) -> Result<Self, ImageError> {
        let opened = |source| ImageError::OpenCache { path: path.to_owned(), source };
        let path = fs::canonicalize(path).map_err(opened)?;
        let found = fs::metadata(&path).map_err(opened)?;
        if !found.is_dir() {
            return Err(opened(ErrorKind::NotADirectory.into()));
        }
        let ours = [0, rustix::process::geteuid().as_raw()].contains(&found.uid());
        if !ours || found.mode() & 0o022 != 0 {
            return Err(ImageError::CacheNotOurs { path, uid: found.uid(), mode: found.mode() & 0o7777 });
        }
        Ok(Self { path })
    }

    /// Where the cache is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The root of an image, if the cache holds it.
    pub(super) fn root_of(&self, digest: &str) -> Option<PathBuf> {
        let image = is_digest(digest).then(|| self.path.join(digest))?;
        let root = image.join(ROOT_NAME);
        (root.is_dir() && image.join(MANIFEST_NAME).is_file()).then_some(root)
    }

    /// The digest of the image that an earlier build made from the same input.
    pub(super) fn find(&self, key: &str) -> Option<String> {
        let text = fs::read_to_string(self.key_path(key)).ok()?;
        let digest = text.trim_end();
        self.root_of(digest).map(|_| digest.to_owned())
    }

    /// Waits until nobody else builds here, and removes what an interrupted build left.
    pub(super) fn lock(&self) -> Result<Building<'_>, ImageError> {
        let failed = |source| ImageError::Lock { path: self.path.clone(), source };
        let mut options = OpenOptions::new();
        let lock = options.write(true).create(true).truncate(false).mode(0o600);
        let lock = lock.open(self.path.join("lock")).map_err(failed)?;
        lock.lock().map_err(failed)?;
        self.sweep()?;
        Ok(Building { cache: self, _lock: lock })
    }

    fn sweep(&self) -> Result<(), ImageError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| ImageError::CleanUp { path, source }
        };
        for entry in fs::read_dir(&self.path).map_err(failed(&self.path))? {
            let entry = entry.map_err(failed(&self.path))?;
            let (name, path) = (entry.file_name(), entry.path());
            let begins_with = |prefix: &str| name.as_encoded_bytes().starts_with(prefix.as_bytes());
            if begins_with(UNFINISHED) || (begins_with(FETCHING) && is_abandoned(&path)) {
                remove(&path).map_err(failed(&path))?;
            }
        }
        Ok(())
    }

    /// Makes an empty folder to fetch packages into. Holds nobody up while it lives.
    pub(super) fn scratch(&self) -> Result<Scratch, ImageError> {
        // a number of its own in this process; others have another process id
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = self.path.join(format!("{FETCHING}{}-{count}", process::id()));
        let failed = |source| ImageError::MakeBuildDir { path: path.clone(), source };
        let building = self.lock()?;
        DirBuilder::new().mode(0o700).create(&path).map_err(failed)?;
        let lock = File::open(&path).map_err(failed)?;
        lock.lock().map_err(failed)?;
        drop(building);
        Ok(Scratch { path, _lock: lock })
    }

    /// The digests of every image that is there, sorted.
    pub(super) fn digests(&self) -> Result<Vec<String>, ImageError> {
        let failed = |source| ImageError::OpenCache { path: self.path.clone(), source };
        let mut digests = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            digests.extend(name.to_str().filter(|name| self.root_of(name).is_some()).map(str::to_owned));
        }
        digests.sort_unstable();
        Ok(digests)
    }

    fn key_path(&self, key: &str) -> PathBuf {
        self.path.join("keys").join(key)
    }
}

impl Building<'_> {
    /// Makes an empty directory to build in, closed to everybody else.
    pub(super) fn draft(&self) -> Result<Draft, ImageError> {
        let draft = Draft { path: self.unfinished("image") };
        let made = DirBuilder::new().mode(0o700).create(&draft.path);
        let made = made.and_then(|()| DirBuilder::new().mode(0o700).create(draft.root()));
        let made = made.and_then(|()| make_file(&draft.path.join(LOCK_NAME), b"").map(drop));
        made.map_err(|source| ImageError::MakeBuildDir { path: draft.path.clone(), source })?;
        Ok(draft)
    }

    /// Puts a finished draft in its place; an image that is there already stays, unless `replace` says it is damaged.
    pub(super) fn publish(&self, draft: Draft, digest: &str, replace: Replace) -> Result<(), ImageError> {
        let place = self.cache.path.join(digest);
        let failed = |source| ImageError::Publish { path: place.clone(), source };
        fs::set_permissions(&draft.path, Permissions::from_mode(OPEN_MODE)).map_err(failed)?;
        let top = File::open(&draft.path).map_err(ImageError::Sync)?;
        rustix::fs::syncfs(&top).map_err(|errno| ImageError::Sync(errno.into()))?;
        if place.symlink_metadata().is_ok() {
            if replace == Replace::No && self.cache.root_of(digest).is_some() {
                return Ok(());
            }
            let aside = self.unfinished("replaced");
            fs::rename(&place, &aside).map_err(failed)?;
            fs::rename(&draft.path, &place).map_err(failed)?;
            remove(&aside).map_err(|source| ImageError::CleanUp { path: aside, source })?;
        } else {
            fs::rename(&draft.path, &place).map_err(failed)?;
        }
        sync_directory(&self.cache.path).map_err(failed)
    }

    /// Files a digest under the key of its input.
    pub(super) fn remember(&self, key: &str, digest: &str) -> Result<(), ImageError> {
        let place = self.cache.key_path(key);
        let failed = |source| ImageError::Publish { path: place.clone(), source };
        let keys = self.cache.path.join("keys");
        DirBuilder::new().recursive(true).mode(OPEN_MODE).create(&keys).map_err(failed)?;
        fs::set_permissions(&keys, Permissions::from_mode(OPEN_MODE)).map_err(failed)?;
        let draft = self.unfinished("key");
        let file = make_file(&draft, format!("{digest}\n").as_bytes()).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        fs::rename(&draft, &place).map_err(failed)?;
        sync_directory(&keys).map_err(failed)
    }

    /// Removes an image, unless somebody uses it; says whether it did.
    pub(super) fn remove_unused(&self, digest: &str) -> Result<bool, ImageError> {
        let place = self.cache.path.join(digest);
        let aside = self.unfinished("removed");
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| ImageError::CleanUp { path, source }
        };
        // out of sight first: what cannot be removed, or not to its end, is no image any more
        let moved = in_use::unless_used(&place, || fs::rename(&place, &aside)).map_err(failed(&place))?;
        if moved.is_none() {
            return Ok(false);
        }
        remove(&aside).map_err(failed(&aside))?;
        Ok(true)
    }

    /// Forgets the keys of removed images.
    pub(super) fn forget(&self, removed: &BTreeSet<&str>) -> Result<(), ImageError> {
        let keys = self.cache.path.join("keys");
        if removed.is_empty() || !keys.is_dir() {
            return Ok(());
        }
        let failed = |source| ImageError::CleanUp { path: keys.clone(), source };
        for entry in fs::read_dir(&keys).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if fs::read_to_string(&path).is_ok_and(|digest| removed.contains(digest.trim_end())) {
                remove(&path).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// A name for something unfinished; unique, because the lock is held and each kind is made once.
    fn unfinished(&self, kind: &str) -> PathBuf {
        self.cache.path.join(format!("{UNFINISHED}{kind}-{}", process::id()))
    }
}

/// What to do with an image of the same digest that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replace {
    /// It is whole: keep it, since jails may run from it.
    No,
    /// It was found damaged: put the new one in its place.
    Yes,
}

impl Draft {
    /// The tree's place.
    pub(super) fn root(&self) -> PathBuf {
        self.path.join(ROOT_NAME)
    }

    /// Writes the manifest beside the tree.
    pub(super) fn write_manifest(&self, content: &[u8]) -> io::Result<()> {
        make_file(&self.path.join(MANIFEST_NAME), content).map(drop)
    }
}

impl Scratch {
    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "failed to remove fetched packages");
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // after a publication nothing has this name; what cannot be removed now, the next build sweeps away
        if let Err(error) = remove(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "failed to remove an unfinished image");
        }
    }
}

/// Says that a text is 64 lower-case hexadecimal digits, so that it can be a name in the cache and nothing else.
pub(super) fn is_digest(text: &str) -> bool {
    text.len() == DIGEST_DIGITS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Says that nobody holds a folder for fetching any more.
fn is_abandoned(path: &Path) -> bool {
    File::open(path).is_ok_and(|folder| folder.try_lock().is_ok())
}

/// Makes a file that everybody may read, whatever mask this process runs with.
fn make_file(path: &Path, content: &[u8]) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(PLAIN_MODE).open(path)?;
    file.write_all(content)?;
    file.set_permissions(Permissions::from_mode(PLAIN_MODE))?;
    Ok(file)
}

/// Removes a file or a tree, without following links; what is not there is removed already.
fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
