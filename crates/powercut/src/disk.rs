//! What of each file is on the disk for certain, and what is only on its way.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// What a disk writes whole or not at all, in bytes: the smallest that there is.
const SECTOR: usize = 512;

/// Everything that goes to files in one folder.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
    files: Mutex<BTreeMap<PathBuf, File>>,
}

#[derive(Debug, Default)]
struct File {
    durable: Vec<u8>,
    /// Oldest first, each with its number.
    pending: Vec<(u64, Change)>,
    number: u64,
}

#[derive(Debug, Clone)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Truncate { length: usize },
}

impl File {
    fn add(&mut self, change: Change) {
        self.number += 1;
        self.pending.push((self.number, change));
    }
}

impl Disk {
    pub(crate) fn of(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), files: Mutex::default() }
    }

    fn with<T>(&self, path: &Path, work: impl FnOnce(&mut File) -> T) -> Option<T> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.get_mut(path).map(work)
    }

    /// A file of the folder is opened: what it holds by then is on the disk.
    pub(crate) fn open(&self, path: &Path) {
        if path.parent() == Some(&self.folder) {
            let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
            let read = || File { durable: fs::read(path).unwrap_or_default(), ..File::default() };
            files.entry(path.to_owned()).or_insert_with(read);
        }
    }

    pub(crate) fn write(&self, path: &Path, at: usize, bytes: &[u8]) {
        self.with(path, |file| file.add(Change::Write { at, bytes: bytes.to_vec() }));
    }

    /// A name that is gone is gone.
    pub(crate) fn delete(&self, path: &Path) {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
    }

    pub(crate) fn truncate(&self, path: &Path, length: usize) {
        self.with(path, |file| file.add(Change::Truncate { length }));
    }

    /// The newest change before a sync begins: what comes while it runs may not be in it.
    pub(crate) fn begin_sync(&self, path: &Path) -> u64 {
        self.with(path, |file| file.number).unwrap_or_default()
    }

    pub(crate) fn end_sync(&self, path: &Path, number: u64) {
        self.with(path, |file| {
            let done = file.pending.iter().take_while(|(at, _)| *at <= number).count();
            for (_, change) in file.pending.drain(..done) {
                apply(&mut file.durable, &change, &mut || true);
            }
        });
    }

    /// The files as a cut at this moment could leave them, by name. Of what was not synced, `luck` says for each sector
    /// whether it had arrived.
    pub fn cut(&self, mut luck: impl FnMut() -> bool) -> Vec<(PathBuf, Vec<u8>)> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let image = |(path, file): (&PathBuf, &File)| {
            let mut image = file.durable.clone();
            for (_, change) in &file.pending {
                apply(&mut image, change, &mut luck);
            }
            (PathBuf::from(path.file_name().unwrap_or_default()), image)
        };
        files.iter().map(image).collect()
    }
}

/// Applies a change, or the sectors of it that have arrived.
fn apply(image: &mut Vec<u8>, change: &Change, luck: &mut dyn FnMut() -> bool) {
    match change {
        Change::Truncate { length } => {
            if luck() {
                image.resize(*length, 0);
            }
        }
        Change::Write { at, bytes } => {
            let mut from = 0;
            while from < bytes.len() {
                // A sector of the file, and not of the write.
                let to = bytes.len().min(from + SECTOR - (at + from) % SECTOR);
                if luck() {
                    let (start, end) = (at + from, at + to);
                    if image.len() < end {
                        image.resize(end, 0);
                    }
                    image[start..end].copy_from_slice(&bytes[from..to]);
                }
                from = to;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Disk, SECTOR};

    #[test]
    fn what_was_synced_stays_and_the_rest_is_torn_at_sectors() {
        let disk = Disk::of(Path::new("/nowhere"));
        let path = Path::new("/nowhere/file");
        disk.open(path);
        disk.open(Path::new("/elsewhere/file"));
        disk.write(path, 0, &[1; 2 * SECTOR]);
        let number = disk.begin_sync(path);
        disk.write(path, SECTOR - 10, &[2; 20]);
        disk.end_sync(path, number);
        let image = |luck: &mut dyn FnMut() -> bool| {
            let files = disk.cut(luck);
            assert_eq!(files.len(), 1);
            files[0].1.clone()
        };
        assert_eq!(image(&mut || false), [1; 2 * SECTOR]);
        let mut expected = vec![1; 2 * SECTOR];
        expected[SECTOR - 10..SECTOR].fill(2);
        let mut first = [true, false].into_iter();
        assert_eq!(image(&mut || first.next().unwrap()), expected);
        disk.truncate(path, 3);
        assert_eq!(image(&mut || true), [1; 3]);
    }
}
