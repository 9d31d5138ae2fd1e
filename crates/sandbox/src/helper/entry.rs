//! The helper's entry: its parent first, and in each process that this starts the helper itself, which reads its one
//! configuration, prepares, serves.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd, RawFd};
use std::process::{self, ExitCode};

use execgate_forkpoint::panics::{Tell, die_of_panics};
use execgate_forkpoint::sys;
use execgate_forkpoint::wire::{Message as _, send, text_memfd};

use super::begin;
use super::parent::{self, Charge};
use crate::wire::FromHelper;

/// The number at which [`crate::spawn_helper`] leaves the link for the helper's parent.
pub(crate) const HELPER_LINK: RawFd = 3;

/// The hidden first argument that tells a program that it was started for the helper.
pub const HELPER_ARGUMENT: &str = "__sandbox-helper";

/// The entry point of the hidden sub-command that [`crate::spawn_helper`] starts.
///
/// Must be called first thing in `main`, before any thread exists, when the first argument is
/// [`HELPER_ARGUMENT`].
#[must_use]
pub fn helper_main() -> ExitCode {
    // Unwinding could lead a stem or an init back into this function's own code.
    die_of_panics(Tell::OnStderr);
    let Ok(link) = sys::take_inherited(HELPER_LINK) else { return ExitCode::FAILURE };
    // Modes are given in full wherever something is made.
    rustix::process::umask(rustix::fs::Mode::empty());
    match parent::attend(link) {
        Ok(Some(charge)) => help(&charge),
        Ok(None) => ExitCode::SUCCESS,
        Err(_kernel) => ExitCode::FAILURE,
    }
}

/// The helper.
fn help(charge: &Charge) -> ExitCode {
    let control = &charge.control;
    let config = serde_json::from_slice(&charge.configuration)
        .map_err(|error| format!("the configuration cannot be read: {error}"));
    match config.and_then(begin::begin) {
        Ok((house, enforced)) => {
            let ready = FromHelper::Ready { helper: process::id() };
            let told = charge
                .end_with_parent()
                .and_then(|()| serde_json::to_vec(&enforced).map_err(io::Error::other))
                .and_then(|text| tell(control, &ready, &text));
            if told.is_err() {
                return ExitCode::FAILURE;
            }
            house.serve(control)
        }
        Err(why) => match tell(control, &FromHelper::Refused, why.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_client_gone) => ExitCode::FAILURE,
        },
    }
}

fn tell(control: &OwnedFd, message: &FromHelper, text: &[u8]) -> io::Result<()> {
    let text = text_memfd("execgate-answer", text)?;
    send(control, &message.pack(), &[text.as_fd()])
}
