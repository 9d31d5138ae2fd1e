//! Reading and writing a group's little files, and removing folders that earlier helpers left behind.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use super::port::FOLDER_PREFIX;

/// Writes a value to an existing file.
pub(super) fn write(file: &Path, value: impl ToString) -> io::Result<()> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", file.display()));
    let open = fs::OpenOptions::new().write(true).open(file).map_err(named)?;
    rustix::io::write(&open, value.to_string().as_bytes()).map_err(io::Error::from).map_err(named)?;
    Ok(())
}

/// A file of a group that is kept open, because it is looked at in every run: the kernel makes its text anew for each
/// read from the start. Not for v1's lists of tasks, of which an open file may be told what they were a second ago.
pub(super) struct Kept(OwnedFd);

/// The longest text that is of interest, in bytes; `cpu.stat` of v2 has the most lines.
const TEXT_MAX: usize = 1024;

impl Kept {
    /// One that is read.
    pub(super) fn read(file: &Path) -> io::Result<Self> {
        Ok(Self(fs::File::open(file)?.into()))
    }

    /// One that is read and written.
    pub(super) fn both(file: &Path) -> io::Result<Self> {
        Ok(Self(fs::OpenOptions::new().read(true).write(true).open(file)?.into()))
    }

    /// What it says of its text; `None` where it cannot be read, or is longer.
    fn told<T>(&self, of: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let mut text = [0; TEXT_MAX];
        let read = rustix::io::pread(&self.0, &mut text, 0).ok().filter(|read| *read < TEXT_MAX)?;
        of(str::from_utf8(text.get(..read)?).ok()?)
    }

    /// The one number that it holds.
    pub(super) fn number(&self) -> Option<u64> {
        self.told(|text| text.trim().parse().ok())
    }

    /// The number after `key`, of lines of `key value`.
    pub(super) fn field(&self, key: &str) -> Option<u64> {
        self.told(|text| field_of(text, key))
    }

    pub(super) fn set(&self, value: &str) -> io::Result<()> {
        rustix::io::pwrite(&self.0, value.as_bytes(), 0)?;
        Ok(())
    }
}

fn field_of(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Removes our folder and the slots in it. What is still busy stays, for the next sweep.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir(entry.path())?;
        }
    }
    fs::remove_dir(folder)
}

/// Makes our folder; one of the same name was left by a dead helper that had our process id.
pub(super) fn make_anew(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            remove(folder)?;
            fs::create_dir(folder)
        }
        made => made,
    }
}

/// Removes the folders of helpers that are dead.
pub(super) fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(FOLDER_PREFIX)).map(str::to_owned);
        let Some(owner) = owner.filter(|owner| owner.parse::<u32>().is_ok()) else { continue };
        if Path::new("/proc").join(owner).exists() {
            continue;
        }
        if let Err(error) = remove(&entry.path()) {
            tracing::debug!(%error, folder = %entry.path().display(), "a dead helper's cgroup is still busy");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::field_of;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "oom_kill_disable 0\nunder_oom 1\noom_kill 42\n";
        assert_eq!(field_of(text, "oom_kill"), Some(42));
        assert_eq!(field_of(text, "oom"), None);
        assert_eq!(field_of("max 7\n", "max"), Some(7));
    }
}
