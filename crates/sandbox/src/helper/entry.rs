//! The helper's entry: takes its control socket, waits for its one configuration, prepares, serves.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd, RawFd};
use std::panic;
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags, poll};

use super::begin;
use crate::config::Config;
use crate::sys;
use crate::wire::{FromHelper, Message as _, Received, ToHelper, receive, send, text_memfd, text_of};

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

/// Whether a panic may say where it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tell {
    /// The helper's standard error is the operator's.
    OnStderr,
    /// A stem's or an init's standard error may be the guest's.
    Nobody,
}

/// Makes a panic the end of this process and of whatever it forks, at once.
pub(crate) fn die_of_panics(tell: Tell) {
    const EXIT_PANIC: i32 = 101;
    panic::set_hook(Box::new(move |info| {
        if tell == Tell::OnStderr {
            let text = format!("the sandbox helper has a fault: {info}\n");
            // There is nobody left to tell that this failed.
            let _told = rustix::io::write(rustix::stdio::stderr(), text.as_bytes());
        }
        sys::exit_now(EXIT_PANIC)
    }));
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
