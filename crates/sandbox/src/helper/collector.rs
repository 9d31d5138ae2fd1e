//! Collects a run's files: a short-lived process that has the guest's user id and no right, sees three descriptors
//! and nothing else, and looks only below the run's own tmpfs.
//!
//! Sole boundary for guest paths. Every change here needs a second reader: names, links and kinds of what it meets
//! are of the guest's making, and where a kill is slow the guest may still be changing them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _, Write};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd, RawFd};

use execgate_forkpoint::jail::{Kernel, Real};
use execgate_forkpoint::panics::{Tell, die_of_panics};
use execgate_forkpoint::stem::SlotIds;
use execgate_forkpoint::sys::{self, Cloned};
use execgate_forkpoint::wire::text_of;
use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::process::{Pid, Resource};

use crate::files::{Collect, CollectedFile, NotCollected, PARTS_MAX, matcher};
use crate::wire::{write_end, write_file};

/// Where the collector finds its three descriptors.
const SCRATCH: RawFd = 0;
const WANTED: RawFd = 1;
const PARCEL: RawFd = 2;

/// How many names are looked at; the default bound of a run's inodes is half of it.
const NAMES_MAX: usize = 20_000;

/// CPU time, in seconds: more than looking at every name and copying every byte takes.
const CPU_S: u64 = 5;

/// What it may hold in memory beside one file: names of the longest paths that there can be.
const DATA_BYTES: u64 = 128 << 20;

/// What a parcel may hold beside the files' content.
const PARCEL_MARGIN_BYTES: u64 = 16 << 20;

/// Whose files they are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guest {
    pub(super) id: u32,
    pub(super) ids: SlotIds,
}

/// A collector at work.
pub(super) struct Collector {
    pub(super) pid: Pid,
    pub(super) pidfd: OwnedFd,
}

/// Starts a collector.
pub(super) fn start(
    scratch: &OwnedFd,
    wanted: &OwnedFd,
    parcel: &OwnedFd,
    guest: Guest,
) -> io::Result<Collector> {
    let descriptors = vec![scratch.try_clone()?, wanted.try_clone()?, parcel.try_clone()?];
    match sys::clone3(0)? {
        Cloned::Child => {
            die_of_panics(Tell::Nobody);
            let done = sys::arrange(descriptors)
                .and_then(|()| give_up_rights(&Real, guest))
                .and_then(|()| collect());
            sys::exit_now(i32::from(done.is_err()))
        }
        Cloned::Parent { pid, pidfd: Some(pidfd) } => Ok(Collector { pid, pidfd }),
        Cloned::Parent { pidfd: None, .. } => Err(io::Error::from(io::ErrorKind::Unsupported)),
    }
}

/// Becomes the guest, with no more right than it had.
fn give_up_rights<K: Kernel>(kernel: &K, guest: Guest) -> io::Result<()> {
    if guest.ids == SlotIds::Own {
        kernel.drop_groups()?;
    }
    kernel.set_gid(guest.id)?;
    kernel.set_uid(guest.id)?;
    kernel.clear_capabilities()?;
    kernel.die_with_parent()?;
    kernel.not_dumpable()?;
    kernel.no_new_privileges()?;
    kernel.limit(Resource::Cpu, CPU_S)
}

fn collect() -> io::Result<()> {
    let wanted: Collect = serde_json::from_slice(&text_of(sys::borrow(WANTED))?)?;
    let parcel_max = wanted.total_bytes_max.saturating_add(PARCEL_MARGIN_BYTES);
    Real.limit(Resource::Fsize, parcel_max)?;
    Real.limit(Resource::Data, wanted.file_bytes_max.saturating_add(DATA_BYTES))?;
    let parcel = File::from(rustix::io::dup(sys::borrow(PARCEL))?);
    let mut parcel = io::BufWriter::new(parcel);
    gather(sys::borrow(SCRATCH), &wanted, &mut parcel)?;
    write_end(&mut parcel)?;
    parcel.flush()
}

/// Finds the files that are wanted and writes them, in the order of their paths.
fn gather(tree: BorrowedFd<'_>, wanted: &Collect, to: &mut impl Write) -> io::Result<()> {
    let patterns: Vec<_> = wanted.patterns.iter().filter_map(|text| matcher(text)).collect();
    let files_max = usize::try_from(wanted.files_max).unwrap_or(usize::MAX);
    // No more are kept than will be written, and the one that says that there are more.
    let mut found = BTreeSet::new();
    let mut skipped = None;
    for (root, prefix) in [("home", ""), ("tmp", "/tmp/")] {
        // Whoever did not speak of /tmp does not want what programs leave there.
        let here: Vec<_> =
            patterns.iter().filter(|p| p.glob().glob().starts_with('/') != prefix.is_empty()).collect();
        if !here.is_empty() {
            let skip = walk(tree, root, &mut |name| {
                let path = format!("{prefix}{name}");
                if here.iter().any(|pattern| pattern.is_match(&path)) {
                    found.insert((path, root));
                    if found.len() > files_max.saturating_add(1) {
                        found.pop_last();
                    }
                }
            });
            skipped = skipped
                .or_else(|| skip.told(prefix, |at| here.iter().any(|p| leads_below(p.glob().glob(), at))));
        }
    }
    let mut left = wanted.total_bytes_max;
    for (at, (path, root)) in found.into_iter().enumerate() {
        if at >= files_max {
            return write_file(to, &CollectedFile { path, content: Err(NotCollected::Many) });
        }
        let inside = format!("{root}/{}", path.strip_prefix("/tmp/").unwrap_or(&path));
        let content = read_file(tree, &inside, wanted.file_bytes_max, left);
        left -= content.as_ref().map_or(0, |bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX)).min(left);
        write_file(to, &CollectedFile { path, content })?;
    }
    // Whoever compares with what was there before must not take it for deleted.
    skipped.map_or(Ok(()), |file| write_file(to, &file))
}

/// Whether a pattern of a caller is for a path of a guest.
#[cfg(any(test, fuzzing))]
pub(crate) fn wants(pattern: &str, path: &str) -> bool {
    matcher(pattern).is_some_and(|pattern| pattern.is_match(path))
}

/// Never leaves the tree, never follows a link, never waits for a FIFO.
fn open_below(tree: BorrowedFd<'_>, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags =
        flags | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    Ok(openat2(tree, path, flags, Mode::empty(), resolve)?)
}

/// What a walk has not looked into, each by its path below the root; empty is the root.
#[derive(Default)]
struct Skipped {
    /// Folders that could not be read.
    closed: Vec<String>,
    /// Where there were too many names.
    broke_off: Option<String>,
}

impl Skipped {
    /// One of them, where something that is wanted may have been there.
    fn told(self, prefix: &str, may_be: impl Fn(&str) -> bool) -> Option<CollectedFile> {
        let whole = |folder: String| format!("{prefix}{folder}");
        let many = self.broke_off.map(|folder| (whole(folder), NotCollected::Many));
        let mut closed = self.closed.into_iter().map(whole);
        let closed = || closed.find(|folder| may_be(folder)).map(|folder| (folder, NotCollected::Unreadable));
        let (path, why) = many.or_else(closed)?;
        let path = if path.is_empty() { ".".to_owned() } else { path };
        Some(CollectedFile { path, content: Err(why) })
    }
}

/// Whether a pattern may be for a path below a folder; the home is the empty one. True in doubt.
fn leads_below(pattern: &str, folder: &str) -> bool {
    let folder = folder.trim_end_matches('/');
    let below = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let literal = pattern.split(['*', '?', '[', '{', '\\']).next().unwrap_or_default();
    // `*` and `?` end at a `/`: such a pattern has as many parts as its paths.
    let is_deep = ["**", "[", "{"].iter().any(|deep| pattern.contains(deep))
        || pattern.matches('/').count() >= below.matches('/').count();
    is_deep && (literal.starts_with(&below) || below.starts_with(literal))
}

/// Names everything below a folder that is no folder itself, and says what it could not look into.
fn walk(tree: BorrowedFd<'_>, root: &str, see: &mut impl FnMut(&str)) -> Skipped {
    let mut todo = vec![String::new()];
    let mut names = 0;
    let mut skipped = Skipped::default();
    while let Some(folder) = todo.pop() {
        let opened = open_below(tree, &format!("{root}/{folder}"), OFlags::DIRECTORY);
        let entries = match opened.and_then(|opened| Ok(Dir::read_from(&opened)?)) {
            Ok(entries) => entries,
            // It was taken away, or something else has its name: what is there is named as that.
            Err(error)
                if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ELOOP | libc::ENOTDIR)) =>
            {
                continue;
            }
            Err(_) => {
                skipped.closed.push(folder);
                continue;
            }
        };
        for entry in entries {
            let Ok(entry) = entry else {
                skipped.closed.push(folder);
                break;
            };
            let Ok(name) = entry.file_name().to_str() else { continue };
            if name == "." || name == ".." {
                continue;
            }
            names += 1;
            if names > NAMES_MAX {
                skipped.broke_off = Some(folder);
                return skipped;
            }
            let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
            if entry.file_type() != FileType::Directory {
                see(&path);
            } else if path.split('/').count() < PARTS_MAX {
                todo.push(path);
            }
        }
    }
    skipped
}

fn read_file(tree: BorrowedFd<'_>, path: &str, file_max: u64, left: u64) -> Result<Vec<u8>, NotCollected> {
    let opened = match open_below(tree, path, OFlags::empty()) {
        Ok(opened) => opened,
        // A link, or a socket.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ELOOP | libc::ENXIO)) => {
            return Err(NotCollected::Kind);
        }
        Err(_) => return Err(NotCollected::Unreadable),
    };
    let state = fstat(opened.as_fd()).map_err(|_| NotCollected::Unreadable)?;
    if FileType::from_raw_mode(state.st_mode) != FileType::RegularFile || state.st_nlink != 1 {
        return Err(NotCollected::Kind);
    }
    let size = u64::try_from(state.st_size).unwrap_or(u64::MAX);
    if size > file_max {
        return Err(NotCollected::Large);
    }
    if size > left {
        return Err(NotCollected::Total);
    }
    let mut content = Vec::new();
    let room = usize::try_from(size).map_err(|_| NotCollected::Large)?;
    content.try_reserve_exact(room).map_err(|_| NotCollected::Unreadable)?;
    // Not more than was promised, should it grow meanwhile.
    File::from(opened).take(size).read_to_end(&mut content).map_err(|_| NotCollected::Unreadable)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::leads_below;

    #[test]
    fn a_pattern_leads_below_the_folders_that_its_paths_may_be_in() {
        for (pattern, folder) in [
            ("kept/**", ""),
            ("kept/**", "kept"),
            ("kept/**", "kept/a/b"),
            ("a/*/c", "a"),
            ("a/*/c", "a/b"),
            ("{a,b/c}", "b"),
            ("**/x", "any/where"),
            ("x", ""),
            ("/tmp/*", "/tmp/"),
            ("/tmp/a/*", "/tmp/a"),
        ] {
            assert!(leads_below(pattern, folder), "{pattern} {folder}");
        }
        for (pattern, folder) in [
            ("kept/**", "other"),
            ("kept/**", "keep"),
            ("kept/**", "kept2"),
            ("*.png", "a"),
            ("a/*/c", "a/b/c"),
            ("/tmp/*", "/tmp/a"),
        ] {
            assert!(!leads_below(pattern, folder), "{pattern} {folder}");
        }
    }
}
