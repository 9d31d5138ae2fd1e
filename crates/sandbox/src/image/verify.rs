//! Reads an image again, all of it, and says where it is not what its manifest says.
//!
//! The check behind the promise that guests cannot alter what other guests execute. Reads by descriptor and follows
//! no link; must never mend what it finds.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use execgate_forkpoint::sys;
use rustix::fs::OFlags;
use rustix::io::Errno;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::copy::OPEN_MODE;
use super::error::ImageError;
use super::manifest::{Entry, EntryKind, Manifest, ModifiedTime, hex};
use super::source::{Node, SourceTree, join};

/// Read and hashed at once; a multiple of [`BLOCK_BYTES`], as direct reads need.
const CHUNK_BYTES: usize = 256 << 10;

/// Alignment that direct reads need on every common disk.
const BLOCK_BYTES: usize = 4096;

/// How many bytes a second [`Reads::Seen`] takes from the disk at most, so that whoever waits for the disk does not notice.
const DISK_BYTES_PER_S: u64 = 64 << 20;

/// Labels that the host's own security modules put on every file.
const HOST_LABELS: &[&[u8]] = &[b"security.selinux", b"security.ima", b"security.evm", b"security.SMACK64"];

/// Where to read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// Through the page cache: what a guest sees.
    Cached,
    /// From the disk, past the page cache: what a write into the cache alone does not change.
    Direct,
    /// What a guest sees, without bringing anything into the page cache: what is there is read from it, everything else
    /// from the disk, and slowly.
    Seen,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// The image's digest.
    pub digest: String,
    /// Files whose content was read.
    pub files: usize,
    /// Bytes of content that were read.
    pub bytes: u64,
    /// Where the tree is not what the manifest says, by path; empty for an image that is intact.
    pub differences: Vec<Difference>,
}

impl Verification {
    /// Says that nothing differs.
    pub fn is_intact(&self) -> bool {
        self.differences.is_empty()
    }
}

/// One place where an image is not what its manifest says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Difference {
    /// Path below the root, without a leading slash; empty for the root itself.
    pub path: String,
    /// What differs there.
    pub kind: DifferenceKind,
}

/// What differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DifferenceKind {
    /// The manifest has it and the tree does not.
    Missing,
    /// The tree has it and the manifest does not.
    Unexpected,
    /// It is of another kind.
    Kind,
    /// Its permission bits differ.
    Mode,
    /// It does not belong to the owner of the root.
    Owner,
    /// A file has a second name.
    SecondName,
    /// A file or directory has extended attributes.
    Attributes,
    /// A file's length differs.
    Size,
    /// A file's bytes differ.
    Content,
    /// A file's modification time differs.
    Modified,
    /// A link leads elsewhere.
    Target,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let differs = match self.kind {
            DifferenceKind::Missing => "is missing",
            DifferenceKind::Unexpected => "does not belong there",
            DifferenceKind::Kind => "is of another kind",
            DifferenceKind::Mode => "has another mode",
            DifferenceKind::Owner => "has another owner",
            DifferenceKind::SecondName => "has a second name",
            DifferenceKind::Attributes => "has attributes",
            DifferenceKind::Size => "has another size",
            DifferenceKind::Content => "has another content",
            DifferenceKind::Modified => "has another time",
            DifferenceKind::Target => "leads elsewhere",
        };
        write!(f, "/{} {differs}", self.path)
    }
}

/// A check under way.
struct Check<'a> {
    tree: &'a SourceTree,
    reads: Reads,
    owner: u32,
    chunk: Vec<u8>,
    found: Verification,
    began: Instant,
    from_disk: u64,
}

/// Compares the tree below `root` with a manifest.
pub(super) fn verify(root: &Path, manifest: &Manifest, reads: Reads) -> Result<Verification, ImageError> {
    let tree = SourceTree::open(root)?;
    let unread = |source| ImageError::ReadImage { path: String::new(), source };
    let top = tree.top().metadata().map_err(unread)?;
    let found = Verification { digest: manifest.digest.clone(), files: 0, bytes: 0, differences: Vec::new() };
    let chunk = vec![0; CHUNK_BYTES + BLOCK_BYTES];
    let (owner, began) = (top.uid(), Instant::now());
    let mut check = Check { tree: &tree, reads, owner, chunk, found, began, from_disk: 0 };
    let known: BTreeSet<&str> = manifest.entries.iter().map(|entry| &*entry.path).collect();
    if top.mode() & 0o7777 != OPEN_MODE {
        check.differs("", DifferenceKind::Mode);
    }
    check.look_for_strangers("", &known)?;
    for entry in &manifest.entries {
        check.entry(entry).map_err(|source| ImageError::ReadImage { path: entry.path.clone(), source })?;
    }
    check.found.differences.sort();
    Ok(check.found)
}

impl Check<'_> {
    /// Reports what the manifest does not have; a strange directory is one difference, whatever it holds.
    fn look_for_strangers(&mut self, directory: &str, known: &BTreeSet<&str>) -> Result<(), ImageError> {
        let (names, unreadable) = self.tree.names(directory)?;
        if unreadable > 0 {
            self.differs(directory, DifferenceKind::Unexpected);
        }
        for name in names {
            let path = join(directory, &name);
            if !known.contains(path.as_str()) {
                self.differs(&path, DifferenceKind::Unexpected);
            } else if self.tree.look(&path)? == Node::Directory {
                self.look_for_strangers(&path, known)?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        let path = &*entry.path;
        let found = match self.tree.look(path) {
            Ok(found) => found,
            Err(ImageError::LookAt { source, .. }) => return Err(source),
            Err(error) => return Err(io::Error::other(error)),
        };
        match (entry.kind, found) {
            (_, Node::Missing) => self.differs(path, DifferenceKind::Missing),
            (EntryKind::Directory, Node::Directory) => {
                let opened = self.tree.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
                self.inode(entry, &opened, &opened.metadata()?);
            }
            (EntryKind::Link, Node::Link(target)) => {
                if entry.target.as_deref() != Some(&*target) {
                    self.differs(path, DifferenceKind::Target);
                }
            }
            (EntryKind::File, Node::File { .. }) => self.file(entry)?,
            (_, _) => self.differs(path, DifferenceKind::Kind),
        }
        Ok(())
    }

    fn file(&mut self, entry: &Entry) -> io::Result<()> {
        let path = &*entry.path;
        let direct = if self.reads == Reads::Direct { OFlags::DIRECT } else { OFlags::empty() };
        let mut file =
            self.tree.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | direct)?;
        let metadata = file.metadata()?;
        self.inode(entry, &file, &metadata);
        if metadata.nlink() != 1 {
            self.differs(path, DifferenceKind::SecondName);
        }
        if entry.modified != Some(ModifiedTime::of(&metadata)) {
            self.differs(path, DifferenceKind::Modified);
        }
        if metadata.len() != entry.size {
            self.differs(path, DifferenceKind::Size);
            return Ok(());
        }
        let hash = match self.reads {
            Reads::Cached | Reads::Direct => self.hash(&mut file, entry.size)?,
            Reads::Seen => self.hash_seen(&file, path, entry.size)?,
        };
        if entry.sha256.as_deref() != Some(&*hash) {
            self.differs(path, DifferenceKind::Content);
        }
        self.found.files += 1;
        self.found.bytes += entry.size;
        Ok(())
    }

    fn inode(&mut self, entry: &Entry, opened: &File, metadata: &Metadata) {
        if metadata.mode() & 0o7777 != entry.mode {
            self.differs(&entry.path, DifferenceKind::Mode);
        }
        if metadata.uid() != self.owner {
            self.differs(&entry.path, DifferenceKind::Owner);
        }
        if has_attributes(opened) {
            self.differs(&entry.path, DifferenceKind::Attributes);
        }
    }

    /// A place that is aligned as direct reads need it.
    fn aligned(&mut self) -> &mut [u8] {
        let start = self.chunk.as_ptr().align_offset(BLOCK_BYTES).min(BLOCK_BYTES);
        self.chunk.split_at_mut(start).1.split_at_mut(CHUNK_BYTES).0
    }

    /// The hash of exactly `size` bytes.
    fn hash(&mut self, file: &mut File, size: u64) -> io::Result<String> {
        let aligned = self.aligned();
        let mut hash = Sha256::new();
        let mut left = size;
        // never asks past the end: a direct read that starts between blocks is an error there and not an end
        while left > 0 {
            let read = match file.read(aligned) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            hash.update(aligned.split_at(read).0);
            left = left.saturating_sub(u64::try_from(read).unwrap_or(u64::MAX));
        }
        Ok(hex(&hash.finalize()))
    }

    /// The same of what a guest sees: each page from the page cache if it is there, else from the disk.
    fn hash_seen(&mut self, file: &File, path: &str, size: u64) -> io::Result<String> {
        let mut hash = Sha256::new();
        let mut disk = None;
        let page = rustix::param::page_size();
        let mut start = 0;
        while start < size {
            let left = usize::try_from(size - start).unwrap_or(usize::MAX).min(CHUNK_BYTES);
            let mut done = 0;
            for pages in sys::cached_pages(file, start, left)?.chunk_by(|one, other| one == other) {
                let length = (pages.len() * page).min(left - done);
                let at = start + u64::try_from(done).map_err(io::Error::other)?;
                if pages.first() == Some(&true) {
                    self.read_exactly(file, at, length, length)?;
                } else {
                    if disk.is_none() {
                        disk = Some(self.open_past_the_cache(path)?);
                    }
                    let disk = disk.as_ref().and_then(Option::as_ref).unwrap_or(file);
                    // Only whole blocks can be asked for.
                    self.read_exactly(disk, at, length, length.next_multiple_of(BLOCK_BYTES))?;
                    self.rest(length);
                }
                hash.update(self.aligned().split_at(length).0);
                done += length;
            }
            start += u64::try_from(left).map_err(io::Error::other)?;
        }
        Ok(hex(&hash.finalize()))
    }

    /// A file to be read from the disk; none where its file system knows no such reads.
    fn open_past_the_cache(&self, path: &str) -> io::Result<Option<File>> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::DIRECT;
        match self.tree.open_at(path, flags) {
            Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => Ok(None),
            opened => opened.map(Some),
        }
    }

    /// Reads `length` bytes of a file, of which so many are asked for.
    fn read_exactly(&mut self, file: &File, at: u64, length: usize, asked: usize) -> io::Result<()> {
        let to = self.aligned();
        let mut read = 0;
        while read < length {
            let from = at + u64::try_from(read).map_err(io::Error::other)?;
            match file.read_at(to.get_mut(read..asked).unwrap_or_default(), from) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(more) => read += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits until so much more may have come from the disk.
    fn rest(&mut self, length: usize) {
        self.from_disk = self.from_disk.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        let least = Duration::from_millis(self.from_disk.saturating_mul(1000) / DISK_BYTES_PER_S);
        thread::sleep(least.saturating_sub(self.began.elapsed()));
    }

    fn differs(&mut self, path: &str, kind: DifferenceKind) {
        self.found.differences.push(Difference { path: path.to_owned(), kind });
    }
}

/// Says that an inode has attributes that the host's security modules did not put there by themselves.
fn has_attributes(opened: &File) -> bool {
    let mut names = [0_u8; 1024];
    match rustix::fs::flistxattr(opened, &mut names[..]) {
        Ok(length) => {
            let listed = names.get(..length).unwrap_or_default();
            let names = listed.split(|byte| *byte == 0).filter(|name| !name.is_empty());
            names.into_iter().any(|name| !HOST_LABELS.contains(&name))
        }
        Err(Errno::OPNOTSUPP) => false,
        // too many names for the buffer, or unreadable: neither is how we left it
        Err(_) => true,
    }
}
