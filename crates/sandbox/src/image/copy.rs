//! Writes a plan to the disk: every file by descriptor, a new inode each, content and nothing else.
//!
//! Owner is whoever builds; permission bits are 0755 or 0644; extended attributes, capabilities, access lists and
//! hard links are never copied because nothing here knows how to. Must never write outside the directory it is given.

use std::collections::BTreeMap;
use std::fs::{File, FileTimes, Metadata, Permissions};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::build::Progress;
use super::error::ImageError;
use super::manifest::{Entry, EntryKind, ModifiedTime, Notes, hex};
use super::plan::{Item, bytes_of};
use super::source::SourceTree;

/// Permission bits of directories and of files that somebody may execute.
pub(super) const OPEN_MODE: u32 = 0o755;

/// Permission bits of every other file.
pub(super) const PLAIN_MODE: u32 = 0o644;

/// The modification time of everything that has none on the host: 2000-01-01, which every archive format can hold.
const MADE_AT: Duration = Duration::from_secs(946_684_800);

/// Read and hashed at once: large enough that system calls cost nothing, small enough for a second-level cache.
const CHUNK_BYTES: usize = 256 << 10;

/// A half-written image.
struct Writer<'a> {
    /// Where the copied files are; each is found by its number.
    trees: &'a [&'a SourceTree],
    root: File,
    chunk: Vec<u8>,
}

/// Writes every item below `root`, an empty directory, and returns the entries in the order of their paths.
pub(super) fn write(
    trees: &[&SourceTree],
    items: &BTreeMap<String, Item>,
    root: &Path,
    notes: &mut Notes,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Vec<Entry>, ImageError> {
    let opened = |source| ImageError::MakeBuildDir { path: root.to_owned(), source };
    let root_file = File::open(root).map_err(opened)?;
    forget_access_list(&root_file).map_err(opened)?;
    let mut writer = Writer { trees, root: root_file, chunk: vec![0; CHUNK_BYTES] };
    let files_total = items.values().filter(|item| matches!(item, Item::Copy { .. } | Item::Made(_))).count();
    let bytes_total = bytes_of(items);
    let mut entries = Vec::with_capacity(items.len());
    let (mut files_done, mut bytes_done) = (0, 0);
    for (path, item) in items {
        let failed = |source| ImageError::WriteEntry { path: path.clone(), source };
        let entry = match item {
            Item::Directory => writer.directory(path).map_err(failed)?,
            Item::Link(target) => writer.link(path, target).map_err(failed)?,
            Item::Made(content) => writer.made(path, content).map_err(failed)?,
            Item::Copy { tree, from, .. } => match writer.copy(path, *tree, from)? {
                Some(entry) => entry,
                None => {
                    notes.add(format!("`/{path}` may not be read by this user: left out"));
                    continue;
                }
            },
        };
        if entry.kind == EntryKind::File {
            files_done += 1;
            bytes_done += entry.size;
            progress(Progress { files_done, files_total, bytes_done, bytes_total, current: path });
        }
        entries.push(entry);
    }
    writer.open_directories(&entries)?;
    Ok(entries)
}

impl Writer<'_> {
    fn directory(&self, path: &str) -> io::Result<Entry> {
        rustix::fs::mkdirat(&self.root, path, Mode::from_raw_mode(OPEN_MODE))?;
        Ok(entry(path, EntryKind::Directory, OPEN_MODE))
    }

    fn link(&self, path: &str, target: &str) -> io::Result<Entry> {
        rustix::fs::symlinkat(target, &self.root, path)?;
        Ok(Entry { target: Some(target.to_owned()), ..entry(path, EntryKind::Link, 0) })
    }

    fn made(&self, path: &str, content: &[u8]) -> io::Result<Entry> {
        let mut file = self.create(path)?;
        file.write_all(content)?;
        let modified = SystemTime::UNIX_EPOCH + MADE_AT;
        seal(&file, PLAIN_MODE, modified)?;
        self.file_entry(path, &file, &Sha256::digest(content))
    }

    /// Copies a file; `None` when this user may not read it.
    fn copy(&mut self, path: &str, tree: usize, from: &str) -> Result<Option<Entry>, ImageError> {
        let unread = |source| ImageError::ReadSource { path: from.to_owned(), source };
        let unwritten = |source| ImageError::WriteEntry { path: path.to_owned(), source };
        let opened = self.trees.iter().find(|known| known.number() == tree);
        let opened = opened.map_or_else(|| Err(ErrorKind::NotFound.into()), |tree| tree.open_file(from));
        let mut source = match opened {
            Ok(source) => source,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(None),
            Err(error) => return Err(unread(error)),
        };
        let before = source.metadata().map_err(unread)?;
        let mut file = self.create(path).map_err(unwritten)?;
        let (digest, copied) = if rustix::fs::ioctl_ficlone(&file, &source).is_ok() {
            self.pass(&mut file, None).map_err(unwritten)?
        } else {
            // the same pass reads, hashes and writes, which is cheaper than a copy in the kernel and a second read
            self.pass(&mut source, Some(&mut file)).map_err(unwritten)?
        };
        let after = source.metadata().map_err(unread)?;
        if copied != before.len() || differs(&before, &after) {
            return Err(ImageError::Changed { path: from.to_owned() });
        }
        let mode = if before.mode() & 0o111 == 0 { PLAIN_MODE } else { OPEN_MODE };
        // In whole seconds, which is what compiled files are held against, and what every file system and archive keeps.
        let seconds = u64::try_from(before.mtime()).unwrap_or_default();
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        seal(&file, mode, modified).map_err(unwritten)?;
        self.file_entry(path, &file, &digest).map(Some).map_err(unwritten)
    }

    /// Reads a file to its end, hashes it and writes it on where there is somewhere to write it to.
    fn pass(&mut self, from: &mut File, mut to: Option<&mut File>) -> io::Result<(Vec<u8>, u64)> {
        from.rewind()?;
        let mut hash = Sha256::new();
        let mut done = 0_u64;
        loop {
            let read = match from.read(&mut self.chunk) {
                Ok(0) => return Ok((hash.finalize().to_vec(), done)),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let (read_bytes, _) = self.chunk.split_at(read);
            hash.update(read_bytes);
            if let Some(to) = to.as_deref_mut() {
                to.write_all(read_bytes)?;
            }
            done += u64::try_from(read).unwrap_or(u64::MAX);
        }
    }

    fn create(&self, path: &str) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        Ok(File::from(rustix::fs::openat2(&self.root, path, flags, Mode::RUSR | Mode::WUSR, resolve)?))
    }

    fn file_entry(&self, path: &str, file: &File, digest: &[u8]) -> io::Result<Entry> {
        let written = file.metadata()?;
        Ok(Entry {
            size: written.len(),
            sha256: Some(hex(digest)),
            modified: Some(ModifiedTime::of(&written)),
            ..entry(path, EntryKind::File, written.mode() & 0o7777)
        })
    }

    /// Opens the directories to every reader, last of all, so that a build's own mask cannot close them.
    fn open_directories(&self, entries: &[Entry]) -> Result<(), ImageError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let paths =
            entries.iter().filter(|entry| entry.kind == EntryKind::Directory).map(|entry| &*entry.path);
        for path in paths.chain(["."]) {
            let opened = rustix::fs::openat(&self.root, path, flags, Mode::empty()).map_err(io::Error::from);
            opened
                .and_then(|directory| seal(&directory.into(), OPEN_MODE, SystemTime::UNIX_EPOCH + MADE_AT))
                .map_err(|source| ImageError::WriteEntry { path: path.to_owned(), source })?;
        }
        Ok(())
    }
}

/// An entry without content.
fn entry(path: &str, kind: EntryKind, mode: u32) -> Entry {
    Entry { path: path.to_owned(), kind, mode, size: 0, sha256: None, target: None, modified: None }
}

/// Gives a finished file its permissions and time.
fn seal(file: &File, mode: u32, modified: SystemTime) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(mode))?;
    file.set_times(FileTimes::new().set_modified(modified).set_accessed(modified))
}

fn differs(before: &Metadata, after: &Metadata) -> bool {
    let stamp = |found: &Metadata| (found.len(), found.mtime(), found.mtime_nsec());
    stamp(before) != stamp(after)
}

/// Takes away an access list that the cache's directory hands down, so that nothing in the image has one.
fn forget_access_list(root: &File) -> io::Result<()> {
    for name in ["system.posix_acl_default", "system.posix_acl_access"] {
        match rustix::fs::fremovexattr(root, name) {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
