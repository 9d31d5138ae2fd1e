//! Carries what a caller's descriptor gives into a run, through a pipe.
//!
//! The guest never gets the descriptor itself: with it come the file's name, its locks, its times and mode, and, from a
//! folder, those of everything below it, which neither Landlock nor a read-only mount refuses to the owner.

use std::io;
use std::os::fd::OwnedFd;
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio, read, write};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::getpgrp;
use rustix::termios::tcgetpgrp;

/// What is carried at a time: as much as a pipe holds.
const CHUNK_BYTES: usize = 64 << 10;

/// How often a terminal that belongs to somebody else is looked at again; reading from it would stop this process.
const BACKGROUND_WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// Carries as long as it is there.
#[derive(Debug)]
pub(super) struct Carrier(
    // Its other end is told when this one closes.
    #[expect(dead_code, reason = "only its being open says something")] OwnedFd,
);

/// The end of a pipe at which the run reads. A thread carries until either end closes, or the [`Carrier`] is dropped: what
/// a session keeps open must not go on reading what was meant for one run.
///
/// # Errors
/// If there can be no pipe or no thread.
pub(super) fn carried(from: OwnedFd) -> io::Result<(OwnedFd, Carrier)> {
    let (reading, writing) = pipe_with(PipeFlags::CLOEXEC)?;
    ioctl_fionbio(&writing, true)?;
    let (stop, carrier) = pipe_with(PipeFlags::CLOEXEC)?;
    thread::Builder::new().name("stdin".to_owned()).spawn(move || carry(&from, &writing, &stop))?;
    Ok((reading, Carrier(carrier)))
}

fn carry(from: &OwnedFd, to: &OwnedFd, stop: &OwnedFd) {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let is_elsewhere = tcgetpgrp(from).is_ok_and(|group| group != getpgrp());
        let mut watched = [
            PollFd::new(stop, PollFlags::empty()),
            PollFd::new(to, PollFlags::empty()),
            PollFd::new(from, PollFlags::IN),
        ];
        let ready = if is_elsewhere {
            poll(&mut watched[..2], Some(&BACKGROUND_WAIT))
        } else {
            poll(&mut watched, None)
        };
        match ready {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
        // The run is over, or its last reader is gone.
        if !watched[0].revents().is_empty() || !watched[1].revents().is_empty() {
            return;
        }
        if is_elsewhere || watched[2].revents().is_empty() {
            continue;
        }
        match read(from, &mut chunk) {
            Ok(0) => return,
            Ok(count) if put(to, stop, &chunk[..count]).is_ok() => {}
            Err(Errno::INTR | Errno::AGAIN) => {}
            Ok(_) | Err(_) => return,
        }
    }
}

/// Writes all of it, however long the run takes to read it.
fn put(to: &OwnedFd, stop: &OwnedFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match write(to, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::AGAIN) => {
                let mut watched = [PollFd::new(stop, PollFlags::empty()), PollFd::new(to, PollFlags::OUT)];
                match poll(&mut watched, None) {
                    Ok(_) | Err(Errno::INTR) if watched[0].revents().is_empty() => {}
                    Ok(_) | Err(Errno::INTR) => return Err(Errno::PIPE),
                    Err(error) => return Err(error),
                }
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read as _, Write as _};

    use rustix::pipe::pipe;

    use super::carried;

    #[test]
    fn all_of_a_file_arrives_and_then_its_end() {
        let mut file = tempfile::tempfile().unwrap();
        let content: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
        file.write_all(&content).unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        let mut arrived = Vec::new();
        let (reading, _carrier) = carried(file.into()).unwrap();
        File::from(reading).read_to_end(&mut arrived).unwrap();
        assert!(arrived == content);
    }

    #[test]
    fn a_folder_gives_nothing() {
        let folder = File::open("/").unwrap();
        let mut arrived = Vec::new();
        let (reading, _carrier) = carried(folder.into()).unwrap();
        File::from(reading).read_to_end(&mut arrived).unwrap();
        assert!(arrived.is_empty());
    }

    #[test]
    fn a_run_that_is_over_frees_what_nobody_writes_to() {
        let (from, mut source) = pipe().map(|(from, source)| (from, File::from(source))).unwrap();
        drop(carried(from).unwrap());
        // The other end closes by and by, and whoever writes is told.
        let mut refused = Ok(());
        while refused.is_ok() {
            refused = source.write_all(&[0; 4096]);
        }
        assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_run_that_is_over_is_carried_nothing_more_whoever_keeps_its_end_open() {
        let (from, mut source) = pipe().map(|(from, source)| (from, File::from(source))).unwrap();
        let (reading, carrier) = carried(from).unwrap();
        let mut kept = File::from(reading);
        // More than a pipe holds, so that the carrier waits for a reader.
        source.write_all(&[1; 100 << 10]).unwrap();
        kept.read_exact(&mut [0]).unwrap();
        drop(carrier);
        let mut rest = Vec::new();
        kept.read_to_end(&mut rest).unwrap();
        let mut refused = Ok(());
        while refused.is_ok() {
            refused = source.write_all(&[0; 4096]);
        }
    }
}
