//! The proxy's loop: one poll over everything that is open; whatever is ready moves its connection one step.

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{SocketFlags, accept_with};

use super::super::report::{Book, Place};
use super::super::rules::Egress;
use super::connection::Connection;

/// What connections share.
pub(super) struct Shared {
    pub(super) egress: Egress,
    pub(super) servers: Vec<IpAddr>,
    pub(super) book: Book,
    /// How many bytes the run may still send.
    pub(super) up_left: u64,
    /// How many it may still be sent.
    pub(super) down_left: u64,
    /// How many connections it may still ask for.
    pub(super) connections_left: u32,
}

/// A direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Up,
    Down,
}

impl Shared {
    /// How many bytes may still go that way.
    pub(super) fn left(&self, way: Way) -> u64 {
        match way {
            Way::Up => self.up_left,
            Way::Down => self.down_left,
        }
    }

    /// Counts bytes off what the run has left, and tells them. Before they are sent: a proxy can be killed at any time,
    /// and what has left must have been told.
    pub(super) fn spend(&mut self, way: Way, bytes: u64, place: Place) -> io::Result<()> {
        let (up, down) = match way {
            Way::Up => (bytes, 0),
            Way::Down => (0, bytes),
        };
        self.up_left = self.up_left.saturating_sub(up);
        self.down_left = self.down_left.saturating_sub(down);
        self.book.count(place, up, down)
    }

    pub(super) fn is_used_up(&self) -> bool {
        self.up_left == 0 || self.down_left == 0
    }
}

/// The proxy at work.
pub(super) struct Desk {
    listener: OwnedFd,
    shared: Shared,
    connections: Vec<Connection>,
}

impl Desk {
    pub(super) fn new(listener: OwnedFd, egress: Egress, servers: Vec<IpAddr>, book: Book) -> Self {
        let (up_left, down_left) = (egress.rules().bytes_up, egress.rules().bytes_down);
        let connections_left = egress.rules().connections_total;
        let shared = Shared { egress, servers, book, up_left, down_left, connections_left };
        Self { listener, shared, connections: Vec::new() }
    }

    /// Serves until something is wrong that is not a connection's.
    pub(super) fn serve(mut self) -> io::Result<()> {
        loop {
            let (is_asked, ready) = self.wait()?;
            let now = Instant::now();
            let mut kept = Vec::with_capacity(self.connections.len());
            for (connection, is_ready) in std::mem::take(&mut self.connections).into_iter().zip(ready) {
                // One that nothing has happened to costs nothing, however busy the others are.
                if is_ready || now >= connection.deadline() {
                    kept.extend(connection.step(&mut self.shared, now)?);
                } else {
                    kept.push(connection);
                }
            }
            self.connections = kept;
            if is_asked {
                self.take()?;
            }
        }
    }

    /// Waits until something is ready or late; tells whether somebody asks to be let in, and of each connection whether
    /// it is ready.
    fn wait(&self) -> io::Result<(bool, Vec<bool>)> {
        let mut fds: Vec<PollFd<'_>> = Vec::new();
        let has_room = self.has_room();
        if has_room {
            fds.push(PollFd::new(&self.listener, PollFlags::IN));
        }
        let mut counts = Vec::with_capacity(self.connections.len());
        for connection in &self.connections {
            let wants = connection.wants();
            counts.push(wants.len());
            fds.extend(wants.into_iter().map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags)));
        }
        let next = self.connections.iter().map(Connection::deadline).min();
        let timeout = next.and_then(|at| {
            Timespec::try_from(at.saturating_duration_since(Instant::now()) + Duration::from_millis(1)).ok()
        });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut told = fds.iter().map(|fd| !fd.revents().is_empty());
        let is_asked = has_room && told.next().unwrap_or(false);
        let any_of = |count| told.by_ref().take(count).fold(false, |any, one| any | one);
        Ok((is_asked, counts.into_iter().map(any_of).collect()))
    }

    fn has_room(&self) -> bool {
        let max = usize::try_from(self.shared.egress.rules().connections).unwrap_or(usize::MAX);
        self.connections.len() < max
    }

    fn take(&mut self) -> io::Result<()> {
        while self.has_room() {
            match accept_with(&self.listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok(guest) => self.connections.push(Connection::new(guest)),
                Err(rustix::io::Errno::AGAIN) => break,
                // Gone before it was taken.
                Err(rustix::io::Errno::CONNABORTED | rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
