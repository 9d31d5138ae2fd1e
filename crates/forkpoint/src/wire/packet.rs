//! Sends and receives one packet with its descriptors over a sequenced-packet socket. Never blocks on a send.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, Mode, SealFlags, fchmod, fcntl_add_seals, fstat, memfd_create};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// Size of every message; the longest is a `NewRun` with its limits.
pub const PACKET_BYTES: usize = 128;

/// The most descriptors that go with one message: the run's own and its cgroups.
const DESCRIPTORS_MAX: usize = 24;

/// The longest text (configuration or refusal) that is passed as a memory file.
const TEXT_BYTES_MAX: u64 = 4 << 20;

/// A message and its descriptors, or the end of the link.
pub enum Received {
    Packet([u8; PACKET_BYTES], Vec<OwnedFd>),
    Nothing,
    End,
}

/// A connected pair of sequenced-packet sockets, closed on exec.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Sends one message; a reader that does not keep up is an error, never a wait.
pub fn send(socket: impl AsFd, packet: &[u8; PACKET_BYTES], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    let sent = sendmsg(socket, &[IoSlice::new(packet)], &mut control, flags)?;
    if sent == PACKET_BYTES { Ok(()) } else { Err(io::Error::from(io::ErrorKind::WriteZero)) }
}

/// Takes one message, if there is one.
pub fn receive(socket: impl AsFd) -> io::Result<Received> {
    match receive_once(socket.as_fd()) {
        // The other side closed without reading our last message. The kernel says so once, before it hands out
        // what that side had sent; an answer that is waiting must not be lost for it.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => match receive_once(socket.as_fd()) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(Received::End),
            received => received,
        },
        received => received,
    }
}

fn receive_once(socket: BorrowedFd<'_>) -> io::Result<Received> {
    let mut bytes = [0; PACKET_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let message = match recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags) {
        Ok(message) => message,
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(Received::Nothing),
        Err(error) => return Err(error.into()),
    };
    let mut fds = Vec::new();
    for ancillary in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = ancillary {
            fds.extend(rights);
        }
    }
    if message.bytes == 0 && fds.is_empty() {
        return Ok(Received::End);
    }
    if message.bytes != PACKET_BYTES || message.flags.intersects(ReturnFlags::CTRUNC | ReturnFlags::TRUNC) {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    Ok(Received::Packet(bytes, fds))
}

/// Reads one packet-sized record from a pipe; `None` at its end or for a broken record.
pub fn read_record(pipe: impl AsFd) -> Option<[u8; PACKET_BYTES]> {
    let mut bytes = [0; PACKET_BYTES];
    let got = rustix::io::retry_on_intr(|| rustix::io::read(pipe.as_fd(), &mut bytes)).ok()?;
    (got == PACKET_BYTES).then_some(bytes)
}

/// A sealed memory file with these bytes, read from its start by whoever gets it.
pub fn text_memfd(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let fd = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    write_at(&fd, bytes, 0)?;
    fcntl_add_seals(&fd, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)?;
    Ok(fd)
}

/// A sealed memory file that others may execute, and not read: so that a process that runs it cannot be looked into.
///
/// # Errors
/// The kernel's; where it lets no memory file be executed (`vm.memfd_noexec = 2`), one of `PermissionDenied`.
pub fn program_memfd(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = match memfd_create(name, flags | MemfdFlags::EXEC) {
        // A kernel before 6.3, which lets all of them be executed.
        Err(rustix::io::Errno::INVAL) => memfd_create(name, flags),
        made => made,
    }?;
    write_at(&fd, bytes, 0)?;
    fchmod(&fd, Mode::XUSR | Mode::XGRP | Mode::XOTH)?;
    fcntl_add_seals(&fd, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)?;
    Ok(fd)
}

/// Writes all of it; gives where it ends.
///
/// # Errors
/// The kernel's.
pub fn write_at(fd: impl AsFd, bytes: &[u8], mut at: u64) -> io::Result<u64> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::pwrite(fd.as_fd(), rest, at))?;
        rest = rest.get(written..).unwrap_or_default();
        at += u64::try_from(written).map_err(io::Error::other)?;
    }
    Ok(at)
}

/// The bytes of a memory file, up to a bound.
pub fn text_of(fd: impl AsFd) -> io::Result<Vec<u8>> {
    let size = u64::try_from(fstat(fd.as_fd())?.st_size).map_err(io::Error::other)?;
    if size > TEXT_BYTES_MAX {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    let mut bytes = vec![0; usize::try_from(size).map_err(io::Error::other)?];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let at = u64::try_from(filled).map_err(io::Error::other)?;
        match rustix::io::retry_on_intr(|| rustix::io::pread(fd.as_fd(), &mut *rest, at))? {
            0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            got => filled += got,
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::{PACKET_BYTES, Received, pair, receive, send};

    #[test]
    fn an_answer_is_not_lost_when_the_other_side_closes_with_our_message_unread() {
        let (ours, theirs) = pair().unwrap();
        send(&ours, &[1; PACKET_BYTES], &[]).unwrap();
        send(&theirs, &[2; PACKET_BYTES], &[]).unwrap();
        drop(theirs);
        assert!(matches!(receive(&ours), Ok(Received::Packet(bytes, _)) if bytes == [2; PACKET_BYTES]));
        assert!(matches!(receive(&ours), Ok(Received::End)));
    }
}
