//! One run, as the helper knows it: its descriptors, its slot, where it is in its life.

use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use rustix::process::{Signal, pidfd_send_signal};

use crate::limits::Limits;
use crate::wire::{FromRun, Message as _, send};

/// How much later than the client's deadline the helper's own is.
const BACKUP: Duration = Duration::from_secs(5);

/// A run that waits for a slot.
pub(super) struct Asked {
    pub(super) socket: OwnedFd,
    pub(super) language: u16,
    pub(super) limits: Limits,
    /// stdin, stdout, stderr, code, frames, arguments.
    pub(super) descriptors: Vec<OwnedFd>,
    /// How often a stem has died under it before its jail existed.
    pub(super) tries: u32,
}

/// Where a run is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The stem has been told.
    Told,
    /// Its init exists.
    Running,
    /// It has been killed and answered; its slot is waited for.
    Dying { since: Instant },
}

/// A run that has a slot.
pub(super) struct Live {
    pub(super) asked: Asked,
    pub(super) slot: usize,
    pub(super) phase: Phase,
    /// Whether it is to be killed as soon as its init exists.
    pub(super) doomed: bool,
    pub(super) report: OwnedFd,
    pub(super) scratch: OwnedFd,
    /// Its init's process descriptor and process id.
    pub(super) init: Option<(OwnedFd, i32)>,
    pub(super) deadline: Instant,
    /// The watchdog saw it hold too much.
    pub(super) over_memory: bool,
    pub(super) quarantined: bool,
}

impl Live {
    pub(super) fn new(asked: Asked, slot: usize, report: OwnedFd, scratch: OwnedFd) -> Self {
        let deadline = Instant::now() + asked.limits.wall + BACKUP;
        Self {
            asked,
            slot,
            phase: Phase::Told,
            doomed: false,
            report,
            scratch,
            init: None,
            deadline,
            over_memory: false,
            quarantined: false,
        }
    }

    /// Tells the client; one that is gone needs no answer.
    pub(super) fn tell(&self, message: FromRun) {
        if let Err(error) = send(self.asked.socket.as_fd(), &message.pack(), &[]) {
            tracing::debug!(%error, "the client of a run is gone");
        }
    }

    /// Kills the init, and with it everything in its process namespace.
    pub(super) fn kill(&self) {
        let Some((init, _)) = &self.init else { return };
        if let Err(error) = pidfd_send_signal(init, Signal::KILL) {
            tracing::debug!(%error, "an init had ended before it was killed");
        }
    }

    /// Gives up the guest's ends of its pipes, which the init has by now.
    pub(super) fn drop_descriptors(&mut self) {
        self.asked.descriptors.clear();
    }
}
