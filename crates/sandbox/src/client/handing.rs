//! A request on its way into a jail: what is handed over, our ends of it, and what is kept to follow it.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use execgate_forkpoint::wire::{PACKET_BYTES, pair, send, text_memfd};

use super::capture::{Capture, guest_pipe};
use super::carrier::{Carrier, carried};
use super::follow::{Afterwards, Pipes, follow};
use super::gathering::Gathering;
use crate::config::VerdictBy;
use crate::enforced::Enforced;
use crate::error::RunError;
use crate::limits::Limits;
use crate::outcome::Run;
use crate::request::{Cancel, Request, Stdin};
use crate::wire::{End, write_sheet};

/// Where the code is among what is handed over; the frames and the sheet come after it.
const CODE: usize = 4;

/// A request that was made ready.
pub(super) struct Handing {
    /// The run's socket, stdin, stdout, stderr, code, frames, sheet.
    theirs: Vec<OwnedFd>,
    has_files: bool,
    pipes: Pipes,
    carrier: Option<Carrier>,
    gathering: Option<Gathering>,
    limits: Limits,
    cancel: Option<Cancel>,
    capture: Capture,
}

impl Handing {
    pub(super) fn of(request: Request, verdict: VerdictBy) -> Result<Self, RunError> {
        let told = match verdict {
            VerdictBy::Frames => Some(words(&request)),
            VerdictBy::ExitStatus => None,
        };
        let arguments = arguments(told.as_deref(), &request.args)?;
        let code = text_memfd("code", &request.code).map_err(RunError::Store)?;
        let sheet = write_sheet(&arguments, &request.files).map_err(RunError::Store)?;
        let gathering = request.collect.as_ref().map(Gathering::new).transpose()?;
        let (stdin, carrier) = stdin(request.stdin)?;
        let (stdout, stdout_write) = guest_pipe().map_err(RunError::Pipes)?;
        let (stderr, stderr_write) = guest_pipe().map_err(RunError::Pipes)?;
        let (frames, frames_write) = guest_pipe().map_err(RunError::Pipes)?;
        let (socket, theirs) = pair().map_err(RunError::Pipes)?;
        Ok(Self {
            theirs: vec![theirs, stdin, stdout_write, stderr_write, code, frames_write, sheet],
            has_files: !request.files.is_empty(),
            pipes: Pipes { socket, stdout, stderr, frames, kept: Vec::new(), files: None },
            carrier,
            gathering,
            capture: Capture::new(&request.limits, request.sink, request.keep),
            limits: request.limits,
            cancel: request.cancel,
        })
    }

    /// Hands it to the helper, with a message that says what it is, and descriptors that only some have beside it.
    pub(super) fn send(
        &mut self,
        to: BorrowedFd<'_>,
        message: &[u8; PACKET_BYTES],
        beside: &[BorrowedFd<'_>],
    ) -> Result<(), RunError> {
        let gathered = self.gathering.iter().flat_map(Gathering::descriptors);
        let own = self.theirs.iter().map(OwnedFd::as_fd).chain(gathered);
        let descriptors: Vec<_> = own.chain(beside.iter().copied()).collect();
        send(to, message, &descriptors).map_err(RunError::Send)?;
        // Whoever closes the last one of a memory file waits until the kernel has taken the memory back: not the run.
        let mut kept = self.theirs.split_off(CODE);
        self.pipes.files = kept.pop_if(|_| self.has_files);
        self.pipes.kept = kept.into_iter().step_by(2).collect();
        self.theirs.clear();
        Ok(())
    }

    /// Follows it to its verdict; says how the helper saw it end.
    pub(super) fn follow(self, afterwards: Afterwards, enforced: Enforced) -> Result<(Run, End), RunError> {
        let Self { pipes, carrier, gathering, limits, cancel, capture, theirs: _, has_files: _ } = self;
        let followed = follow(pipes, &limits, cancel.as_ref(), capture, afterwards, enforced);
        drop(carrier);
        let (mut run, end) = followed?;
        if let Some(gathering) = gathering {
            run.files = gathering.read();
        }
        Ok((run, end))
    }
}

/// What the runner is told of a run, in one word list.
fn words(request: &Request) -> String {
    let stdin = match request.stdin {
        Stdin::Empty => None,
        Stdin::Bytes(_) | Stdin::Inherit(_) => Some("stdin"),
    };
    let rich = request.rich.then_some("rich");
    let words: Vec<_> =
        rich.into_iter().chain(stdin).chain(request.words.iter().map(String::as_str)).collect();
    if words.is_empty() { "-".to_owned() } else { words.join(",") }
}

/// The words and the caller's own arguments.
fn arguments<'a>(told: Option<&'a str>, own: &'a [String]) -> Result<Vec<&'a str>, RunError> {
    let bytes: usize = own.iter().map(|argument| argument.len() + 1).sum();
    if bytes > Request::ARGS_BYTES_MAX || own.iter().any(|argument| argument.contains('\0')) {
        return Err(RunError::Arguments { max: Request::ARGS_BYTES_MAX });
    }
    Ok(told.into_iter().chain(own.iter().map(String::as_str)).collect())
}

fn stdin(stdin: Stdin) -> Result<(OwnedFd, Option<Carrier>), RunError> {
    let bytes = match stdin {
        Stdin::Inherit(fd) => {
            let (reading, carrier) = carried(fd).map_err(RunError::Pipes)?;
            return Ok((reading, Some(carrier)));
        }
        Stdin::Bytes(bytes) => bytes,
        // Not the host's /dev/null: the guest could not open it again by the name /dev/stdin.
        Stdin::Empty => Vec::new(),
    };
    Ok((text_memfd("stdin", &bytes).map_err(RunError::Store)?, None))
}
