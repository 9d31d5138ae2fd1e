//! The two output streams of a run: kept up to a cap, thrown away for a while beyond it, and then too much.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::ioctl_fionbio;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::limits::Limits;
use crate::request::{Keep, Sink, Stream};

/// How much is read at once, from whoever writes as much: what a pipe holds.
const CHUNK: usize = 64 << 10;

/// And at first. Most runs write less, and memory that is touched for the first time costs as much as reading into it.
const CHUNK_AT_FIRST: usize = 4 << 10;

/// One pipe from the guest; our end never blocks.
pub(super) fn guest_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    ioctl_fionbio(&read, true)?;
    Ok((read, write))
}

/// How much of one pipe is taken before the others, the clock and the cord are looked at again.
const TURN_BYTES: usize = 1 << 20;

/// What a read of a pipe gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// Nothing for now, or enough for now.
    Dry,
    /// Nobody can write any more.
    Closed,
}

/// Reads pipes, into room that is there for all of a run.
pub(super) struct Drain(Vec<u8>);

impl Default for Drain {
    fn default() -> Self {
        Self(vec![0; CHUNK_AT_FIRST])
    }
}

impl Drain {
    /// Reads a pipe until it is dry or has had its turn, and gives each chunk to `take`; stops early when `take` says so.
    pub(super) fn pipe(&mut self, pipe: &OwnedFd, mut take: impl FnMut(&[u8]) -> bool) -> io::Result<Flow> {
        let Self(chunk) = self;
        let mut taken = 0;
        while taken < TURN_BYTES {
            match rustix::io::read(pipe, &mut chunk[..]) {
                Ok(0) => return Ok(Flow::Closed),
                Ok(count) => {
                    taken += count;
                    if !take(chunk.get(..count).unwrap_or_default()) {
                        return Ok(Flow::Dry);
                    }
                    if count == chunk.len() {
                        chunk.resize(CHUNK, 0);
                    }
                }
                Err(rustix::io::Errno::AGAIN) => return Ok(Flow::Dry),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Flow::Dry)
    }
}

/// What has come of both streams.
pub(super) struct Capture {
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    pub(super) truncated: bool,
    kept: u64,
    seen: u64,
    keep: u64,
    bear: u64,
    sink: Option<Sink>,
    keeps: Keep,
}

impl Capture {
    pub(super) fn new(limits: &Limits, sink: Option<Sink>, keeps: Keep) -> Self {
        Self {
            stdout: Vec::new(),
            stderr: Vec::new(),
            truncated: false,
            kept: 0,
            seen: 0,
            keep: limits.output_bytes,
            bear: limits.output_bytes.saturating_add(limits.output_discard_bytes),
            sink,
            keeps,
        }
    }

    /// Takes a chunk. False once the guest has written more than is borne.
    pub(super) fn take(&mut self, stream: Stream, bytes: &[u8]) -> bool {
        let borne = self.waste(bytes.len());
        let room = usize::try_from(self.keep - self.kept).unwrap_or(usize::MAX);
        let kept = bytes.get(..room.min(bytes.len())).unwrap_or_default();
        self.truncated |= kept.len() < bytes.len();
        self.kept += length(kept);
        if let Some(sink) = self.sink.as_mut().filter(|_| !kept.is_empty()) {
            sink(stream, kept);
        }
        match (self.keeps, stream) {
            (Keep::Output, Stream::Stdout) => self.stdout.extend_from_slice(kept),
            (Keep::Output, Stream::Stderr) => self.stderr.extend_from_slice(kept),
            (Keep::Nothing, Stream::Stdout | Stream::Stderr) => {}
        }
        borne
    }

    /// Takes note of bytes that are of no use to anybody. False as [`Self::take`].
    pub(super) fn waste(&mut self, bytes: usize) -> bool {
        self.seen = self.seen.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        self.seen <= self.bear
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::Capture;
    use crate::limits::Limits;
    use crate::request::{Keep, Stream};

    #[test]
    fn both_streams_share_one_cap_and_then_one_patience() {
        let limits = Limits { output_bytes: 4, output_discard_bytes: 2, ..Limits::default() };
        let mut capture = Capture::new(&limits, None, Keep::Output);
        assert!(capture.take(Stream::Stdout, b"abc"));
        assert!(capture.take(Stream::Stderr, b"de"));
        assert_eq!((capture.stdout.as_slice(), capture.stderr.as_slice()), (&b"abc"[..], &b"d"[..]));
        assert!(capture.truncated && capture.take(Stream::Stdout, b"f"));
        assert!(!capture.take(Stream::Stdout, b"g"));
    }
}
