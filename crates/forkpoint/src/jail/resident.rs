//! An interpreter that waits in its finished jail for the one run that it is for. It holds nothing of that run before
//! the helper hands it over, and is the guest's from then on.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};

use super::place;
use super::placing::place_file;
use crate::sys;
use crate::wire::{FromResident, Message as _, Received, Sheet, ToResident, receive, send};

/// How many descriptors are handed over: stdin, stdout, stderr, code, frames, sheet.
const COUNT: usize = 6;

/// Says that this interpreter waits, takes its run, and puts all of it in place: the descriptors below `inherited`, the
/// files. Gives the arguments; `None` where there will be no run.
///
/// # Errors
/// The kernel's, and one of `InvalidData` for a message that is none.
pub fn take_request(inherited: u32) -> io::Result<Option<Vec<Vec<u8>>>> {
    let socket = sys::borrow(place::HAND_OUT);
    send(socket, &FromResident::Waiting.pack(), &[])?;
    let mut descriptors: Vec<OwnedFd> = loop {
        match poll(&mut [PollFd::new(&socket, PollFlags::IN)], None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        match receive(socket)? {
            Received::Packet(bytes, descriptors) if descriptors.len() == COUNT => {
                let ToResident::Run = ToResident::unpack(&bytes).map_err(io::Error::other)?;
                break descriptors;
            }
            Received::Packet(..) => return Err(io::ErrorKind::InvalidData.into()),
            Received::Nothing => {}
            Received::End => return Ok(None),
        }
    };
    let mut arguments = Vec::new();
    if let Some(sheet) = descriptors.pop() {
        let mut sheet = Sheet::new(sheet.as_fd());
        for _ in 0..sheet.count()? {
            arguments.push(sheet.text()?);
        }
        for _ in 0..sheet.count()? {
            place_file(&mut sheet)?;
        }
    }
    descriptors.truncate(usize::try_from(inherited).map_err(io::Error::other)?);
    sys::arrange(descriptors)?;
    Ok(Some(arguments))
}
