//! The helper's entry: takes its control socket, waits for its one configuration, prepares, serves.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd, RawFd};
use std::process::ExitCode;

use execgate_forkpoint::panics::{Tell, die_of_panics};
use execgate_forkpoint::sys;
use execgate_forkpoint::wire::{Message as _, Received, receive, send, text_memfd, text_of};
use rustix::event::{PollFd, PollFlags, poll};

use super::begin;
use crate::config::Config;
use crate::wire::{FromHelper, ToHelper};

/// The number at which [`crate::spawn_helper`] leaves the control socket for the helper.
pub(crate) const HELPER_CONTROL: RawFd = 3;

/// The hidden first argument that tells a program that it was started as the helper.
pub const HELPER_ARGUMENT: &str = "__sandbox-helper";

/// The entry point of the hidden sub-command that [`crate::spawn_helper`] starts.
///
/// Must be called first thing in `main`, before any thread exists, when the first argument is
/// [`HELPER_ARGUMENT`].
#[must_use]
pub fn helper_main() -> ExitCode {
    // Unwinding could lead a stem or an init back into this function's own code.
    die_of_panics(Tell::OnStderr);
    let Ok(control) = sys::take_inherited(HELPER_CONTROL) else { return ExitCode::FAILURE };
    // Modes are given in full wherever something is made.
    rustix::process::umask(rustix::fs::Mode::empty());
    let config = match configuration(&control) {
        Ok(Some(config)) => config,
        Ok(None) => return ExitCode::SUCCESS,
        Err(error) => return refuse(&control, &format!("the configuration cannot be read: {error}")),
    };
    match begin::begin(config) {
        Ok((house, enforced)) => {
            let ready = serde_json::to_vec(&enforced).map_err(io::Error::other);
            let told = ready.and_then(|text| tell(&control, &FromHelper::Ready, &text));
            if told.is_err() {
                return ExitCode::FAILURE;
            }
            house.serve(&control)
        }
        Err(why) => refuse(&control, &why),
    }
}

/// Waits for the configuration; `None` when the client went away first.
fn configuration(control: &OwnedFd) -> io::Result<Option<Config>> {
    loop {
        match poll(&mut [PollFd::new(control, PollFlags::IN)], None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        match receive(control)? {
            Received::Packet(bytes, fds) => {
                let (Ok(ToHelper::Configure), Some(text)) = (ToHelper::unpack(&bytes), fds.first()) else {
                    return Err(io::Error::from(io::ErrorKind::InvalidData));
                };
                return serde_json::from_slice(&text_of(text)?).map(Some).map_err(io::Error::other);
            }
            Received::Nothing => {}
            Received::End => return Ok(None),
        }
    }
}

fn tell(control: &OwnedFd, message: &FromHelper, text: &[u8]) -> io::Result<()> {
    let text = text_memfd("execgate-answer", text)?;
    send(control, &message.pack(), &[text.as_fd()])
}

fn refuse(control: &OwnedFd, why: &str) -> ExitCode {
    match tell(control, &FromHelper::Refused, why.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_client_gone) => ExitCode::FAILURE,
    }
}
