//! The guest's end of the way out: a listener on its own loopback, lent to the run's proxy before there is a guest.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{
    AddressFamily, SocketAddrV4, SocketFlags, SocketType, bind, listen as listen_on, socket_with,
};

use super::PROXY_PORT;
use crate::wire::{FromProxy, Message as _, Received, ToProxy, receive, send};

/// Connections that wait to be taken; more are tried again by the guest's own kernel.
const BACKLOG: i32 = 64;

/// A listener on the loopback of the caller's network namespace.
pub(super) fn listen() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, PROXY_PORT))?;
    listen_on(&socket, BACKLOG)?;
    Ok(socket)
}

/// Lends the listener to the proxy, and waits until that stands behind its own layers. A proxy that is not there is an
/// error: no run with this profile goes on without one.
pub(super) fn lend(proxy: &OwnedFd, listener: OwnedFd) -> io::Result<()> {
    send(proxy, &ToProxy::Listen.pack(), &[listener.as_fd()])?;
    drop(listener);
    loop {
        match poll(&mut [PollFd::new(proxy, PollFlags::IN)], None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        match receive(proxy)? {
            Received::Packet(bytes, _) => {
                let FromProxy::Ready = FromProxy::unpack(&bytes).map_err(io::Error::other)?;
                return Ok(());
            }
            Received::Nothing => {}
            Received::End => return Err(io::Error::from_raw_os_error(libc::ECONNREFUSED)),
        }
    }
}
