//! Reads the interpreters once, so that their pages in the cache are charged to the helper. A slot's cgroup lets go of
//! all that was charged to it when it is used again: an interpreter whose pages a run was the first to touch would be
//! read from disk anew by the next one.

use std::io;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Advice, Mode, OFlags, ResolveFlags, fadvise, fstat, open, openat2};

use crate::config::Config;

/// How much is asked for at once, in bytes: what devices read ahead unless they are set otherwise. The kernel reads no
/// more for one call.
const PIECE: NonZeroU64 = NonZeroU64::new(128 << 10).unwrap();

/// Reads every interpreter of a configuration. One that cannot be read is told by its first run.
pub(super) fn read_interpreters(config: &Config) {
    for interpreter in config.languages.iter().filter_map(|language| language.argv.first()) {
        if let Err(error) = read_once(&config.image.path, interpreter) {
            tracing::debug!(%error, interpreter, "an interpreter could not be read beforehand");
        }
    }
}

fn read_once(root: &Path, interpreter: &str) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root: OwnedFd = open(root, flags, Mode::empty())?;
    // Links of the image lead inside the image, as they do for its guests.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = openat2(&root, interpreter, flags, Mode::empty(), ResolveFlags::IN_ROOT)?;
    let size = u64::try_from(fstat(&file)?.st_size).map_err(io::Error::other)?;
    let mut start = 0;
    while start < size {
        fadvise(&file, start, Some(PIECE), Advice::WillNeed)?;
        start += PIECE.get();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::IoSliceMut;
    use std::os::unix::fs::symlink;
    use std::thread;
    use std::time::{Duration, Instant};

    use rustix::io::{ReadWriteFlags, preadv2};

    use super::*;

    #[test]
    fn an_interpreter_is_in_the_cache_once_it_was_read() {
        let image = tempfile::tempdir().unwrap();
        let path = image.path().join("node-20");
        fs::write(&path, vec![7_u8; 3 << 20]).unwrap();
        // A link that would lead out of the image, were it not read as the image's guests read it.
        symlink("/node-20", image.path().join("node")).unwrap();
        let file = File::open(&path).unwrap();
        file.sync_all().unwrap();
        fadvise(&file, 0, None, Advice::DontNeed).unwrap();

        read_once(image.path(), "/node").unwrap();

        let deadline = Instant::now() + Duration::from_secs(20);
        for at in (0..3 << 20).step_by(4 << 10) {
            while !is_cached(&file, at) {
                assert!(Instant::now() < deadline, "the byte at {at} was never read ahead");
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    fn is_cached(file: &File, at: u64) -> bool {
        let mut byte = [0_u8; 1];
        preadv2(file, &mut [IoSliceMut::new(&mut byte)], at, ReadWriteFlags::NOWAIT).is_ok()
    }

    #[test]
    fn what_is_not_in_the_image_is_an_error() {
        let image = tempfile::tempdir().unwrap();
        assert_eq!(read_once(image.path(), "/usr/bin/env").unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
