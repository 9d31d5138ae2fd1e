//! Writing what a run brought back. Names and content are the guest's: nothing is written outside the folder that
//! was named, through a link, or over a file that is there, unless that was asked for.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use anyhow::Context as _;
use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, open, openat2};

use super::Run;

impl Run {
    /// Opens the folder for what comes back, before the run, so that nothing runs for nothing.
    pub(super) fn open_out(&self) -> anyhow::Result<Option<OwnedFd>> {
        // As JSON, all of it is printed.
        if self.json || (self.collect.is_empty() && !self.rich) {
            return Ok(None);
        }
        let name = self.out.display();
        fs::create_dir_all(&self.out).with_context(|| format!("failed to make the folder {name}"))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = open(&self.out, flags, Mode::empty());
        folder.map(Some).with_context(|| format!("failed to open the folder {name}"))
    }

    /// Writes one file below the folder.
    pub(super) fn save(&self, folder: &OwnedFd, name: &str, content: &[u8]) -> io::Result<()> {
        // What lay below /tmp comes back below `tmp`.
        let name = name.trim_start_matches('/');
        for (end, _) in name.match_indices('/') {
            let Some(parent) = name.get(..end) else { continue };
            let place = Path::new(parent);
            let (above, last) = (place.parent().unwrap_or(Path::new("")), place.file_name());
            let Some(last) = last else { return Err(io::ErrorKind::InvalidInput.into()) };
            let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
            let above = below(folder, above, OFlags::PATH | OFlags::DIRECTORY)?;
            match mkdirat(&above, last, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let fresh = if self.overwrite { OFlags::TRUNC } else { OFlags::EXCL };
        let file = below(folder, Path::new(name), OFlags::WRONLY | OFlags::CREATE | fresh)?;
        File::from(file).write_all(content)
    }
}

/// Opens a path below the folder, and nothing else, through no link.
fn below(folder: &OwnedFd, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    // A FIFO that waits in the folder must not be waited for.
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mode = if flags.contains(OFlags::CREATE) { Mode::from_raw_mode(0o644) } else { Mode::empty() };
    Ok(openat2(folder.as_fd(), path, flags, mode, resolve)?)
}
