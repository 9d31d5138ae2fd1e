//! Dialling the addresses that were checked, one after the other; the first that answers is the one.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{set_tcp_nodelay, socket_error};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

use super::connection::Against;
use super::resolving::Turn;

/// How many addresses are tried.
const TRIED_MAX: usize = 4;

/// An address that is dialled, and those after it.
pub(super) struct Dialling {
    rest: VecDeque<IpAddr>,
    port: u16,
    each: Duration,
    socket: OwnedFd,
    address: IpAddr,
    deadline: Instant,
}

impl Dialling {
    /// Dials the first address that can be dialled.
    pub(super) fn start(addresses: Vec<IpAddr>, port: u16, each: Duration) -> Result<Self, Against> {
        // One of this host is against all of them, as any other is that is forbidden.
        if let Some(own) = addresses.iter().find(|address| is_of_this_host(**address)) {
            return Err(Against::address("the address is of this host", *own));
        }
        // More hosts have a way out by the older family.
        let (old, new): (Vec<_>, Vec<_>) = addresses.into_iter().partition(IpAddr::is_ipv4);
        Self::next(old.into_iter().chain(new).take(TRIED_MAX).collect(), port, each, None)
    }

    fn next(
        mut rest: VecDeque<IpAddr>,
        port: u16,
        each: Duration,
        last: Option<IpAddr>,
    ) -> Result<Self, Against> {
        let mut last = last;
        while let Some(address) = rest.pop_front() {
            // It may have become one since.
            if is_of_this_host(address) {
                return Err(Against::address("the address is of this host", address));
            }
            last = Some(address);
            if let Ok(socket) = dialled(address, port) {
                return Ok(Self { rest, port, each, socket, address, deadline: Instant::now() + each });
            }
        }
        Err(Against::failure(502, "nobody answers there", last))
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether somebody has answered.
    pub(super) fn step(self, now: Instant) -> Turn<Self, Result<(OwnedFd, IpAddr), Against>> {
        let no_time = Timespec { tv_sec: 0, tv_nsec: 0 };
        let is_ready = poll(&mut [PollFd::new(&self.socket, PollFlags::OUT)], Some(&no_time)) == Ok(1);
        if !is_ready && now < self.deadline {
            return Turn::Wait(self);
        }
        if is_ready && socket_error(&self.socket) == Ok(Ok(())) {
            // Small records must not wait for each other. Where this cannot be, they do.
            let _slower = set_tcp_nodelay(&self.socket, true);
            return Turn::Done(Ok((self.socket, self.address)));
        }
        match Self::next(self.rest, self.port, self.each, Some(self.address)) {
            Ok(next) => Turn::Wait(next),
            Err(against) => Turn::Done(Err(against)),
        }
    }
}

fn tcp(address: IpAddr) -> rustix::io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    socket_with(family, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)
}

fn dialled(address: IpAddr, port: u16) -> rustix::io::Result<OwnedFd> {
    let socket = tcp(address)?;
    match connect(&socket, &SocketAddr::new(address, port)) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error),
    }
}

/// Whether the kernel would deliver what is sent there to this host: only its own addresses can be bound. Where that
/// cannot be said, it is.
fn is_of_this_host(address: IpAddr) -> bool {
    let bound = tcp(address).and_then(|socket| bind(&socket, &SocketAddr::new(address, 0)));
    !matches!(bound, Err(rustix::io::Errno::ADDRNOTAVAIL | rustix::io::Errno::AFNOSUPPORT))
}
