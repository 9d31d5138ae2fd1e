//! Reads the tree that an image is copied from, by descriptor and without ever leaving it.
//!
//! Sole boundary for source paths. Every change here needs a second reader: a link in the tree, or one swapped in
//! while we copy, must not lead to a file outside it. Links on the way are resolved here, by hand and as if the
//! tree were the root; the kernel is then asked to follow none.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::error::ImageError;

/// Most links on the way to one path, as in the kernel.
const MAX_LINKS: u32 = 40;

/// Longest file that is read whole: dpkg's own lists and certificates are far below it.
const MAX_WHOLE_FILE_BYTES: u64 = 256 << 20;

/// What lies at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    /// A directory.
    Directory,
    /// A regular file and its length in bytes.
    File {
        /// Length in bytes.
        size: u64,
    },
    /// A symbolic link and where it leads, word for word.
    Link(String),
    /// A device, FIFO or socket, or a link whose target is not UTF-8: nothing that goes in.
    Other,
    /// Nothing.
    Missing,
}

/// The number of the tree that an image begins with; overlays are counted from one.
pub(super) const BASE: usize = 0;

/// A tree to copy from.
#[derive(Debug)]
pub(super) struct SourceTree {
    /// Which of the trees of one build this is.
    number: usize,
    top: File,
    /// What was seen on the way to a path: directories and links, by canonical path.
    seen: HashMap<String, Node>,
    /// The links among them, which the image needs too, by canonical path.
    met: BTreeMap<String, String>,
}

impl SourceTree {
    /// Opens the top of the tree that an image begins with.
    pub(super) fn open(path: &Path) -> Result<Self, ImageError> {
        Self::open_numbered(path, BASE)
    }

    /// Opens the top of a tree that is one of several.
    pub(super) fn open_numbered(path: &Path, number: usize) -> Result<Self, ImageError> {
        let top = File::open(path)
            .and_then(
                |top| if top.metadata()?.is_dir() { Ok(top) } else { Err(ErrorKind::NotADirectory.into()) },
            )
            .map_err(|source| ImageError::OpenTree { path: path.to_owned(), source })?;
        Ok(Self { number, top, seen: HashMap::new(), met: BTreeMap::new() })
    }

    /// Which of the trees of one build this is.
    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// The tree's top itself.
    pub(super) fn top(&self) -> &File {
        &self.top
    }

    /// What lies at a canonical path.
    pub(super) fn look(&self, path: &str) -> Result<Node, ImageError> {
        self.look_raw(path).map_err(|source| ImageError::LookAt { path: path.to_owned(), source })
    }

    fn look_raw(&self, path: &str) -> io::Result<Node> {
        let found = match self.open_at(path, OFlags::PATH) {
            Ok(found) => found,
            Err(error) if is_absence(&error) => return Ok(Node::Missing),
            Err(error) => return Err(error),
        };
        let metadata = found.metadata()?;
        let kind = metadata.file_type();
        if kind.is_dir() {
            return Ok(Node::Directory);
        }
        if kind.is_file() {
            return Ok(Node::File { size: metadata.len() });
        }
        if !kind.is_symlink() || kind.is_socket() {
            return Ok(Node::Other);
        }
        let target = rustix::fs::readlinkat(&found, "", Vec::new())?;
        Ok(target.into_string().map_or(Node::Other, Node::Link))
    }

    /// Opens a regular file for reading; anything else is [`ErrorKind::InvalidInput`].
    pub(super) fn open_file(&self, path: &str) -> io::Result<File> {
        // NONBLOCK: a FIFO swapped in since `look` must not make the build wait for a writer
        let file = self.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "no longer a regular file"));
        }
        Ok(file)
    }

    /// A regular file's whole content.
    pub(super) fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        self.open_file(path)?.take(MAX_WHOLE_FILE_BYTES + 1).read_to_end(&mut content)?;
        if u64::try_from(content.len()).is_ok_and(|len| len > MAX_WHOLE_FILE_BYTES) {
            return Err(ErrorKind::FileTooLarge.into());
        }
        Ok(content)
    }

    /// Names in a directory, sorted, `.` and `..` apart, and how many were no UTF-8; an absent directory has none.
    pub(super) fn names(&self, path: &str) -> Result<(Vec<String>, usize), ImageError> {
        let failed = |source: io::Error| ImageError::LookAt { path: path.to_owned(), source };
        let directory = match self.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(directory) => directory,
            Err(error) if is_absence(&error) => return Ok((Vec::new(), 0)),
            Err(error) => return Err(failed(error)),
        };
        let mut names = Vec::new();
        let mut unreadable = 0;
        for entry in rustix::fs::Dir::new(directory).map_err(|errno| failed(errno.into()))? {
            let entry = entry.map_err(|errno| failed(errno.into()))?;
            match entry.file_name().to_str() {
                Ok("." | "..") => {}
                Ok(name) => names.push(name.to_owned()),
                Err(_) => unreadable += 1,
            }
        }
        names.sort_unstable();
        Ok((names, unreadable))
    }

    /// The canonical form of a path whose last part is not followed: links on the way are resolved inside the tree.
    ///
    /// `None` when something on the way is missing or is no directory.
    pub(super) fn settle(&mut self, path: &str) -> Result<Option<String>, ImageError> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        if matches!(name, "" | "." | "..") {
            return Ok(None);
        }
        Ok(self.resolve(parent)?.map(|parent| join(&parent, name)))
    }

    /// The links that were met on the way to every path settled so far.
    pub(super) fn links_met(&self) -> &BTreeMap<String, String> {
        &self.met
    }

    fn resolve(&mut self, directory: &str) -> Result<Option<String>, ImageError> {
        let mut left: VecDeque<String> = parts(directory).map(str::to_owned).collect();
        let mut at = String::new();
        let mut links = 0;
        while let Some(part) = left.pop_front() {
            if part == ".." {
                at.truncate(at.rfind('/').unwrap_or(0));
                continue;
            }
            let next = join(&at, &part);
            match self.remembered(&next)? {
                Node::Directory => at = next,
                Node::Link(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Ok(None);
                    }
                    if target.starts_with('/') {
                        at.clear();
                    }
                    parts(&target).rev().for_each(|part| left.push_front(part.to_owned()));
                    self.met.insert(next, target);
                }
                Node::File { .. } | Node::Other | Node::Missing => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    fn remembered(&mut self, path: &str) -> Result<Node, ImageError> {
        if let Some(node) = self.seen.get(path) {
            return Ok(node.clone());
        }
        let node = self.look(path)?;
        self.seen.insert(path.to_owned(), node.clone());
        Ok(node)
    }

    /// Opens what lies at a canonical path itself, following no link.
    pub(super) fn open_at(&self, path: &str, flags: OFlags) -> io::Result<File> {
        let path = if path.is_empty() { "." } else { path };
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        loop {
            match rustix::fs::openat2(&self.top, path, flags, Mode::empty(), resolve) {
                Ok(opened) => return Ok(File::from(opened)),
                // the kernel gives up when a rename elsewhere races with a lookup that may not leave the tree
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// `directory/name`, where the empty directory is the top.
pub(super) fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

/// Parts of a path that mean a step.
pub(super) fn parts(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split('/').filter(|part| !matches!(*part, "" | "."))
}

/// Says that an error means that nothing lies there, or nothing that this user may reach without following a link.
fn is_absence(error: &io::Error) -> bool {
    let absent = [Errno::NOENT, Errno::NOTDIR, Errno::LOOP, Errno::NAMETOOLONG, Errno::ACCESS];
    absent.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
