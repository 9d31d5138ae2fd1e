//! Bytes in both directions, through one small buffer each, until both have ended or the run has used up what it may
//! send or be sent.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::net::{SendFlags, Shutdown, send, shutdown};

use super::super::report::Place;
use super::desk::{Shared, Way};

/// How much of one direction is held.
const BUFFER_BYTES: usize = 16 << 10;

/// How much of one direction is moved before others have their turn.
const STEP_BYTES: u64 = 64 << 10;

/// What a step came to.
pub(super) enum Moved {
    Open,
    Ended,
    UsedUp,
}

/// One direction.
struct Lane {
    buffer: Vec<u8>,
    sent: usize,
    /// How many bytes may still be read; all that come where there is no bound.
    left: Option<u64>,
    /// Nothing more comes.
    ended: bool,
    /// And that has been passed on.
    closed: bool,
}

/// Why a lane stands still.
enum Stand {
    Waits,
    UsedUp,
    Broken,
}

impl Lane {
    fn new(first: Vec<u8>, left: Option<u64>) -> Self {
        Self { buffer: first, sent: 0, ended: left == Some(0), left, closed: false }
    }

    fn is_empty(&self) -> bool {
        self.sent >= self.buffer.len()
    }

    /// Moves what can be moved, up to [`STEP_BYTES`]. An `Err` is the book's.
    fn pump(
        &mut self,
        (from, to): (&OwnedFd, &OwnedFd),
        (way, place): (Way, Place),
        shared: &mut Shared,
    ) -> io::Result<Stand> {
        let mut turn = STEP_BYTES;
        loop {
            while !self.is_empty() {
                let rest = self.buffer.get(self.sent..).unwrap_or_default();
                match send(to, rest, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                    Ok(sent) => self.sent += sent,
                    Err(rustix::io::Errno::AGAIN) => return Ok(Stand::Waits),
                    Err(rustix::io::Errno::INTR) => {}
                    Err(_) => return Ok(Stand::Broken),
                }
            }
            if self.ended {
                // A bounded direction ends by its length, and its server needs no other sign.
                if !self.closed && self.left.is_none() && shutdown(to, Shutdown::Write).is_err() {
                    return Ok(Stand::Broken);
                }
                self.closed = true;
                return Ok(Stand::Waits);
            }
            let allowed = shared.left(way);
            if allowed == 0 {
                return Ok(Stand::UsedUp);
            }
            if turn == 0 {
                return Ok(Stand::Waits);
            }
            let room = allowed.min(turn).min(self.left.unwrap_or(u64::MAX));
            let room = usize::try_from(room).unwrap_or(BUFFER_BYTES).min(BUFFER_BYTES);
            self.buffer.resize(room, 0);
            self.sent = room;
            match rustix::io::read(from, self.buffer.as_mut_slice()) {
                Ok(0) => self.ended = true,
                Ok(got) => {
                    self.buffer.truncate(got);
                    self.sent = 0;
                    let got = u64::try_from(got).unwrap_or(u64::MAX);
                    shared.spend(way, got, place)?;
                    turn = turn.saturating_sub(got);
                    self.left = self.left.map(|left| left.saturating_sub(got));
                    self.ended = self.left == Some(0);
                }
                Err(rustix::io::Errno::AGAIN) => return Ok(Stand::Waits),
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return Ok(Stand::Broken),
            }
        }
    }
}

/// A connection in both directions.
pub(super) struct Relay {
    server: OwnedFd,
    address: IpAddr,
    /// Where its bytes are counted.
    place: Place,
    up: Lane,
    down: Lane,
}

impl Relay {
    /// `first` is what the server is sent before anything else, and has been counted; `left` bounds what comes from the guest after it.
    pub(super) fn new(
        server: OwnedFd,
        address: IpAddr,
        place: Place,
        first: Vec<u8>,
        left: Option<u64>,
    ) -> Self {
        let down = Lane::new(Vec::new(), None);
        Self { server, address, place, up: Lane::new(first, left), down }
    }

    pub(super) fn address(&self) -> IpAddr {
        self.address
    }

    /// What it waits for. What nothing is wanted of is left out: that it has hung up would be told for ever.
    pub(super) fn wants<'a>(&'a self, guest: BorrowedFd<'a>) -> Vec<(BorrowedFd<'a>, PollFlags)> {
        let wants = |reads: &Lane, writes: &Lane| {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, reads.is_empty() && !reads.ended);
            flags.set(PollFlags::OUT, !writes.is_empty());
            flags
        };
        [(guest, wants(&self.up, &self.down)), (self.server.as_fd(), wants(&self.down, &self.up))]
            .into_iter()
            .filter(|(_, flags)| !flags.is_empty())
            .collect()
    }

    /// Moves what can be moved, and counts it off what the run has left.
    pub(super) fn step(&mut self, guest: &OwnedFd, shared: &mut Shared) -> io::Result<Moved> {
        let up = self.up.pump((guest, &self.server), (Way::Up, self.place), shared)?;
        let down = self.down.pump((&self.server, guest), (Way::Down, self.place), shared)?;
        Ok(match (up, down) {
            (_, Stand::UsedUp) | (Stand::UsedUp, _) => Moved::UsedUp,
            (_, Stand::Broken) => Moved::Ended,
            (_, Stand::Waits) if self.down.closed && (self.up.closed || self.up.left.is_some()) => {
                Moved::Ended
            }
            (Stand::Broken, Stand::Waits) => {
                // A server may have answered without reading everything.
                self.up = Lane { closed: true, ..Lane::new(Vec::new(), Some(0)) };
                Moved::Open
            }
            (Stand::Waits, Stand::Waits) => Moved::Open,
        })
    }
}
