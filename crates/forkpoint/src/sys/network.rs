//! The loopback interface of the caller's own network namespace. Never touches another interface.
#![expect(unsafe_code, reason = "interfaces are set up by ioctl")]

use std::io;
use std::os::fd::AsRawFd as _;
use std::ptr;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

/// Raises `lo`. The kernel gives it `127.0.0.1` and, where it has IPv6, `::1`.
pub fn raise_loopback() -> io::Result<()> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    let up = i16::try_from(libc::IFF_UP).map_err(io::Error::other)?;
    // SAFETY: `ifreq` is plain data for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(*b"lo") {
        *place = libc::c_char::from_ne_bytes([byte]);
    }
    request.ifr_ifru.ifru_flags = up;
    // SAFETY: the request lives over the call and has the layout that this ioctl reads; nothing is written to it.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, ptr::from_ref(&request)) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
