//! One run, as the helper knows it: its descriptors, its slot, where it is in its life.

use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use execgate_forkpoint::wire::{Message as _, NetworkProfile, Received, Report, read_record, receive, send};
use rustix::process::{Signal, pidfd_send_signal};

use super::collecting::Collecting;
use super::pool::Shape;
use super::proxies::Proxy;
use super::session::{Session, Terms};
use super::stems::StemId;
use crate::limits::Limits;
use crate::wire::FromRun;

/// How much later than the client's deadline the helper's own is.
pub(super) const BACKUP: Duration = Duration::from_secs(5);

/// How long a jail may take to stand; it takes some milliseconds.
pub(super) const BUILT_WITHIN: Duration = Duration::from_secs(10);

/// How long a killed jail may take to be empty before its slot is withdrawn.
const EMPTY_WITHIN: Duration = Duration::from_secs(2);

/// How soon a cgroup is looked at again whose processes have ended and which is not empty yet.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// How often a slot that was withdrawn is looked at.
const LOOK_AT_WITHDRAWN: Duration = Duration::from_secs(1);

/// A run that waits for a slot.
pub(super) struct Asked {
    pub(super) socket: OwnedFd,
    pub(super) language: u16,
    /// Which warm interpreter suits it best.
    pub(super) warm: u16,
    pub(super) network: NetworkProfile,
    pub(super) limits: Limits,
    /// stdin, stdout, stderr, code, frames, sheet.
    pub(super) descriptors: Vec<OwnedFd>,
    /// Which files to collect, and the memory file for them.
    pub(super) collect: Option<(OwnedFd, OwnedFd)>,
    /// The rules of its egress, and the ledger of its proxy.
    pub(super) egress: Option<(OwnedFd, OwnedFd)>,
    /// How often a stem has died under it before its jail existed.
    pub(super) tries: u32,
    /// A resident has failed it: it gets an interpreter of its own.
    pub(super) is_cold: bool,
    /// Where this is no run but a session; its only descriptor is the sheet.
    pub(super) session: Option<Terms>,
}

impl Asked {
    /// A session that is to be opened.
    pub(super) fn for_session(
        socket: OwnedFd,
        sheet: Vec<OwnedFd>,
        language: u16,
        limits: Limits,
        terms: Terms,
    ) -> Self {
        Self {
            socket,
            language,
            warm: 0,
            network: NetworkProfile::None,
            egress: None,
            limits,
            descriptors: sheet,
            collect: None,
            tries: 0,
            is_cold: false,
            session: Some(terms),
        }
    }

    /// Tells the client; one that is gone needs no answer.
    pub(super) fn tell(&self, message: FromRun) {
        if let Err(error) = send(self.socket.as_fd(), &message.pack(), &[]) {
            tracing::debug!(%error, "the client of a run is gone");
        }
    }

    /// Whether the client still waits. One that has thought better of it is told that nothing has started.
    pub(super) fn is_wanted(&self) -> bool {
        match receive(&self.socket) {
            Ok(Received::Nothing) => true,
            Ok(Received::Packet(..) | Received::End) | Err(_) => {
                self.tell(FromRun::Withdrawn);
                false
            }
        }
    }
}

/// Where a run is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The stem has been told.
    Told,
    /// Its init exists and builds the jail.
    Building,
    /// Its interpreter waits behind every layer, and nobody has asked for it yet.
    Idle,
    /// The interpreter has been told that it is a session's.
    Opening,
    /// The jail stands, and the interpreter runs or will in a moment.
    Running,
    /// The interpreter of a session waits for the next run.
    Between,
    /// It has been killed and answered; its slot is waited for.
    Dying { since: Instant },
}

/// A run that has a slot, or a slot that waits for a run.
pub(super) struct Live {
    pub(super) asked: Option<Asked>,
    /// When its jail was asked for, or its run came to it.
    pub(super) asked_at: Instant,
    pub(super) slot: usize,
    pub(super) stem: StemId,
    /// The pool that it is of, where its interpreter is a resident.
    pub(super) pool: Option<usize>,
    pub(super) shape: Shape,
    /// What its jail was made with; a run may have more, but what waits may hold more than a run with less.
    pub(super) armed_bytes: u64,
    /// A resident's socket, until it has put its run in place; a session's, as long as it goes on.
    pub(super) hand_out: Option<OwnedFd>,
    /// Whether its interpreter is one that waits for what it is to do.
    is_resident: bool,
    /// What a session that was opened has beside.
    pub(super) session: Option<Session>,
    pub(super) phase: Phase,
    /// Whether it is to be killed as soon as its init exists.
    pub(super) doomed: bool,
    pub(super) report: OwnedFd,
    pub(super) scratch: OwnedFd,
    pub(super) proxy: Proxy,
    /// Its init's process descriptor and process id.
    pub(super) init: Option<(OwnedFd, i32)>,
    /// Nothing of it lives any more, as far as processes can be told.
    pub(super) gone: bool,
    /// When its jail must stand, and then when it must have ended.
    pub(super) deadline: Instant,
    /// What it uses is counted from the moment on in which it waited for its run.
    pub(super) is_counted: bool,
    /// The watchdog saw it hold too much.
    pub(super) over_memory: bool,
    pub(super) quarantined: bool,
    /// It has ended, and its files are being collected before the client is told.
    pub(super) collecting: Option<Collecting>,
}

/// What a run starts with.
pub(super) struct Made {
    pub(super) asked: Option<Asked>,
    pub(super) slot: usize,
    pub(super) stem: StemId,
    pub(super) pool: Option<usize>,
    pub(super) shape: Shape,
    pub(super) memory_bytes: u64,
    pub(super) hand_out: Option<OwnedFd>,
    pub(super) report: OwnedFd,
    pub(super) scratch: OwnedFd,
    pub(super) proxy: Proxy,
}

impl Live {
    pub(super) fn new(made: Made) -> Self {
        let Made { asked, slot, stem, pool, shape, memory_bytes, hand_out, report, scratch, proxy } = made;
        Self {
            is_resident: hand_out.is_some(),
            session: None,
            asked,
            asked_at: Instant::now(),
            slot,
            stem,
            pool,
            shape,
            armed_bytes: memory_bytes,
            hand_out,
            phase: Phase::Told,
            doomed: false,
            report,
            scratch,
            proxy,
            init: None,
            gone: false,
            deadline: Instant::now() + BUILT_WITHIN,
            is_counted: false,
            over_memory: false,
            quarantined: false,
            collecting: None,
        }
    }

    /// The run that it serves: in a session the one that is under way, if there is one.
    pub(super) fn serves(&self) -> Option<&Asked> {
        match &self.session {
            Some(session) => session.run.as_ref(),
            None => self.asked.as_ref(),
        }
    }

    /// Tells the client, where there is one.
    pub(super) fn tell(&self, message: FromRun) {
        if let Some(asked) = self.serves() {
            asked.tell(message);
        }
    }

    /// Whether it has begun before it died. Only to be asked when nobody can write any more.
    pub(super) fn has_begun(&self) -> bool {
        if self.is_resident {
            return matches!(self.phase, Phase::Running | Phase::Between);
        }
        let first = read_record(&self.report).map(|record| Report::unpack(&record));
        matches!(first, Some(Ok(Report::Begun | Report::Exited { .. })))
    }

    /// Whether it is a resident that has not been given its run, or its session's first.
    pub(super) fn is_waiting(&self) -> bool {
        let is_early = matches!(self.phase, Phase::Told | Phase::Building | Phase::Idle | Phase::Opening);
        self.is_resident && is_early
    }

    /// How much it may hold.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.asked.as_ref().map_or(u64::MAX, |asked| asked.limits.memory_bytes)
    }

    /// Whether it has been dying for too long.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        matches!(self.phase, Phase::Dying { since } if now >= since + EMPTY_WITHIN)
    }

    /// When to look whether its slot is empty, where no event will say so.
    pub(super) fn next_look(&self, now: Instant) -> Instant {
        match self.phase {
            _ if self.quarantined => now + LOOK_AT_WITHDRAWN,
            Phase::Dying { .. } if let Some(until) = self.collecting.as_ref().and_then(Collecting::until) => {
                until
            }
            Phase::Dying { since } if !self.gone => since + EMPTY_WITHIN,
            Phase::Dying { .. }
            | Phase::Told
            | Phase::Building
            | Phase::Idle
            | Phase::Opening
            | Phase::Running
            | Phase::Between => now + LOOK_AGAIN,
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
        let run = self.session.as_mut().and_then(|session| session.run.as_mut());
        for asked in self.asked.iter_mut().chain(run) {
            asked.descriptors.clear();
        }
    }
}
