//! A session: one jail, one slot, one set of cgroups, and one run after the other by an interpreter that lives on.
//!
//! After its first run that interpreter is the guest, and so is whatever answers on its sockets: each of its messages is
//! expected, or ends the session; none of them is believed in more than what concerns this session alone; nothing here
//! waits for one. Every change here needs a second reader.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use execgate_forkpoint::jail::place;
use execgate_forkpoint::wire::{
    FromResident, Message as _, PACKET_BYTES, Received, Report, ToResident, pair, receive, send,
};

use super::house::House;
use super::live::{Asked, Live, Phase};
use crate::limits::Limits;
use crate::session::SessionRequest;
use crate::wire::{End, FromRun, FromSession, Over, ToRun, ToSession};

/// How long an interpreter may take to be copied, or to be gone when a copy takes its place; both take milliseconds.
const COPIED_WITHIN: Duration = Duration::from_secs(10);

/// What a session is asked for beside its limits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) idle: Duration,
    pub(super) absolute: Duration,
}

/// What a jail has beside when it is a session's.
pub(super) struct Session {
    /// The run under way, or the one whose files are being collected.
    pub(super) run: Option<Asked>,
    /// Whether the interpreter has read it.
    is_taken: bool,
    idle: Duration,
    ends_at: Instant,
    checkpoints: BTreeMap<u32, Kept>,
    /// Numbers checkpoints and copies.
    last: u32,
    current: Current,
    question: Option<Question>,
    /// What had been counted when the last run ended, in microseconds of processor time.
    counted_us: Option<u64>,
    /// The same, of what went on between that and the run that is under way.
    between_us: Option<u64>,
}

/// A checkpoint.
struct Kept {
    socket: OwnedFd,
    /// Nobody goes back to it any more; it waits for the end of its copy.
    is_dropped: bool,
}

/// Which process runs the code, and so who tells of its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Current {
    /// The init's child.
    First,
    /// This copy of this checkpoint, as long as that lives.
    Copy { checkpoint: u32, number: u32 },
}

/// What is being done between two runs.
enum Question {
    /// The copy says on this socket that it waits.
    Checkpoint(OwnedFd),
    /// So does this one.
    Restore { checkpoint: u32, number: u32, socket: OwnedFd },
    /// The copy waits, and the interpreter before it has to be gone.
    Leave { checkpoint: u32, number: u32, socket: OwnedFd },
}

impl Session {
    fn new(terms: Terms) -> Self {
        Self {
            run: None,
            is_taken: true,
            idle: terms.idle,
            ends_at: Instant::now() + terms.absolute,
            checkpoints: BTreeMap::new(),
            last: 0,
            current: Current::First,
            question: None,
            counted_us: Some(0),
            between_us: None,
        }
    }

    /// The processor time that went by between the run that is under way and the one before, in microseconds.
    pub(super) fn used_between(&self) -> Option<u64> {
        self.between_us
    }

    /// When it is to be looked at while nothing runs.
    fn next_clock(&self) -> Instant {
        let now = Instant::now();
        let until = if self.question.is_some() { COPIED_WITHIN } else { self.idle };
        self.ends_at.min(now + until)
    }

    /// The sockets of its checkpoints.
    pub(super) fn checkpoints(&self) -> impl Iterator<Item = (u32, &OwnedFd)> {
        self.checkpoints.iter().map(|(number, kept)| (*number, &kept.socket))
    }

    /// The socket of a copy that is not known to wait yet.
    pub(super) fn copy(&self) -> Option<&OwnedFd> {
        match &self.question {
            Some(Question::Checkpoint(socket) | Question::Restore { socket, .. }) => Some(socket),
            Some(Question::Leave { .. }) | None => None,
        }
    }

    /// Before everything in it is killed.
    pub(super) fn let_go_of_copies(&mut self) {
        self.checkpoints.clear();
        self.question = None;
    }

    /// Whether somebody can say how the interpreter ends.
    fn is_waited_for(&self) -> bool {
        match self.current {
            Current::First => true,
            Current::Copy { checkpoint, .. } => self.checkpoints.contains_key(&checkpoint),
        }
    }

    /// The kind of interpreter that is being replaced is gone, or nobody can tell: the copy is the one from now on.
    fn take_copy(&mut self) -> Option<OwnedFd> {
        match self.question.take() {
            Some(Question::Leave { checkpoint, number, socket }) => {
                self.current = Current::Copy { checkpoint, number };
                self.checkpoints.retain(|kept, one| !one.is_dropped || *kept == checkpoint);
                Some(socket)
            }
            other => {
                self.question = other;
                None
            }
        }
    }
}

impl Live {
    /// A run of a session has been answered.
    pub(super) fn let_go_of_run(&mut self) {
        if let Some(session) = &mut self.session {
            session.run = None;
        }
    }

    fn tell_session(&self, message: FromSession) {
        let Some(asked) = &self.asked else { return };
        if let Err(error) = send(asked.socket.as_fd(), &message.pack(), &[]) {
            tracing::debug!(%error, "the client of a session is gone");
        }
    }
}

impl House {
    /// The interpreter is a session's and waits for its first run.
    pub(super) fn opened(&mut self, run: u64) {
        let interpreter = self.start_of(run);
        let Some(live) = self.runs.get_mut(&run) else { return };
        let Some(terms) = live.asked.as_ref().and_then(|asked| asked.session) else { return };
        live.drop_descriptors();
        live.tell(FromRun::Started { interpreter });
        live.session = Some(Session::new(terms));
        Self::rest(live);
    }

    /// Nothing runs in it; from here on it idles.
    fn rest(live: &mut Live) {
        let Some(session) = &live.session else { return };
        live.phase = Phase::Between;
        live.deadline = session.next_clock();
    }

    /// A clock has come while nothing ran.
    pub(super) fn is_late(&mut self, run: u64) {
        let Some(session) = self.runs.get(&run).and_then(|live| live.session.as_ref()) else { return };
        let over = match &session.question {
            _ if Instant::now() >= session.ends_at => Over::Expired,
            Some(_) => Over::Died,
            None => Over::Idle,
        };
        self.close(run, over);
    }

    /// Ends a session; a run of it that is under way is lost.
    pub(super) fn close(&mut self, run: u64, over: Over) {
        let is_running = self.runs.get(&run).is_some_and(|live| live.phase == Phase::Running);
        if is_running {
            return self.end(run, End::Lost, None);
        }
        self.kill(run);
        let Some(live) = self.runs.get(&run) else { return };
        let before_us = live.session.as_ref().and_then(|session| session.counted_us);
        let now_us = self.cgroups.read(live.slot).cpu_us;
        let after_us = now_us.zip(before_us).map(|(now, before)| now.saturating_sub(before));
        self.tell_over(run, over, after_us);
    }

    /// Tells the client of a session that it is over, and what it has used since its last run.
    pub(super) fn tell_over(&mut self, run: u64, over: Over, cpu_us: Option<u64>) {
        let Some(live) = self.runs.get(&run).filter(|live| live.session.is_some()) else { return };
        live.tell_session(FromSession::Ended { over, cpu_us });
    }

    /// The client of a session wants something. It asks for nothing before it has the last answer.
    pub(super) fn hear_session(&mut self, run: u64) {
        let Some(live) = self.runs.get_mut(&run) else { return };
        let Some(asked) = &live.asked else { return };
        let (message, fds) = match receive(&asked.socket) {
            Ok(Received::Nothing) => return,
            Ok(Received::Packet(bytes, fds)) => (ToSession::unpack(&bytes).ok(), fds),
            Ok(Received::End) | Err(_) => (None, Vec::new()),
        };
        let is_free = live.phase == Phase::Between
            && live
                .session
                .as_ref()
                .is_some_and(|session| session.run.is_none() && session.question.is_none());
        match message {
            Some(ToSession::Run { wall }) if is_free => self.begin_in_session(run, wall, fds),
            Some(ToSession::Checkpoint) if is_free => self.make_checkpoint(run),
            Some(ToSession::Restore { checkpoint }) if is_free => self.restore(run, checkpoint),
            Some(ToSession::Drop { checkpoint }) if is_free => self.drop_checkpoint(run, checkpoint),
            Some(
                ToSession::Run { .. }
                | ToSession::Checkpoint
                | ToSession::Restore { .. }
                | ToSession::Drop { .. }
                | ToSession::Close,
            )
            | None => self.close(run, Over::Closed),
        }
    }

    /// Hands a session its next run. A run that cannot be handed over is not answered: the session's end says all.
    fn begin_in_session(&mut self, run: u64, wall: Duration, mut fds: Vec<OwnedFd>) {
        let Some(live) = self.runs.get_mut(&run) else { return };
        let (Some(opened), Some(session)) = (&live.asked, &mut live.session) else { return };
        if ![1 + place::SCRATCH_INDEX, 3 + place::SCRATCH_INDEX].contains(&fds.len()) {
            return self.close(run, Over::Closed);
        }
        let mut descriptors = fds.split_off(1);
        let mut collect = descriptors.split_off(place::SCRATCH_INDEX).into_iter();
        let Some(socket) = fds.pop() else { return };
        let left = session.ends_at.saturating_duration_since(Instant::now());
        let limits = Limits { wall: wall.min(left), ..opened.limits.clone() };
        let given: Vec<BorrowedFd<'_>> = descriptors.iter().map(OwnedFd::as_fd).collect();
        let now_us = self.cgroups.read(live.slot).cpu_us;
        session.between_us = now_us.zip(session.counted_us).map(|(now, before)| now.saturating_sub(before));
        // From here on it is counted.
        let armed = self.cgroups.arm(live.slot, &opened.limits).is_ok();
        let order = ToResident::Run.pack();
        let is_sent = armed && live.hand_out.as_ref().is_some_and(|to| send(to, &order, &given).is_ok());
        if !is_sent {
            return self.close(run, Over::Died);
        }
        session.is_taken = false;
        session.run = Some(Asked {
            socket,
            language: opened.language,
            warm: opened.warm,
            network: opened.network,
            egress: None,
            limits,
            descriptors,
            collect: collect.next().zip(collect.next()),
            tries: 0,
            is_cold: false,
            session: None,
        });
        self.begun(run);
    }

    /// The client of a run in a session wants it to end, or has seen that it has.
    pub(super) fn hear_asker(&mut self, run: u64) {
        let Some(live) = self.runs.get(&run).filter(|live| live.phase == Phase::Running) else { return };
        let Some(asked) = live.serves() else { return };
        match receive(&asked.socket) {
            Ok(Received::Nothing) => {}
            Ok(Received::Packet(bytes, _)) if ToRun::unpack(&bytes) == Ok(ToRun::Finish) => self.finish(run),
            Ok(Received::Packet(..) | Received::End) | Err(_) => self.end(run, End::Killed, None),
        }
    }

    /// A run has told its end. Its session goes on if its interpreter can.
    fn finish(&mut self, run: u64) {
        // That it has read the run may not have been heard yet.
        self.hear_interpreter(run);
        let Some(live) = self.runs.get_mut(&run).filter(|live| live.phase == Phase::Running) else { return };
        let Some(session) = &live.session else { return };
        if !session.is_taken || live.hand_out.is_none() || Instant::now() >= session.ends_at {
            return self.end(run, End::Killed, None);
        }
        Self::rest(live);
        let Some(live) = self.runs.get(&run) else { return };
        let counters = self.counters(live);
        if let Some(session) = self.runs.get_mut(&run).and_then(|live| live.session.as_mut()) {
            session.counted_us = counters.cpu_us;
        }
        self.answer(run, End::Kept, counters);
    }

    /// The interpreter of a session says something.
    pub(super) fn hear_interpreter(&mut self, run: u64) {
        let Some(live) = self.runs.get_mut(&run) else { return };
        let (Some(socket), Some(session)) = (&live.hand_out, &mut live.session) else { return };
        match (live.phase, said(socket), &session.question) {
            (_, Said::Nothing, _) => {}
            (Phase::Running, Said::This(FromResident::Taken), _) if !session.is_taken => {
                session.is_taken = true;
            }
            // It goes on without it, or has ended, and somebody will say how.
            (Phase::Running, Said::End, _) if session.is_waited_for() => live.hand_out = None,
            (
                Phase::Between,
                Said::This(FromResident::Failed { errno, .. }),
                Some(Question::Checkpoint(_)),
            ) => self.refuse_copy(run, errno),
            _ => self.close(run, Over::Died),
        }
    }

    /// The init of a session says how its child has ended, or has ended itself.
    pub(super) fn hear_init(&mut self, run: u64, report: Option<[u8; PACKET_BYTES]>) {
        let Some(session) = self.runs.get(&run).and_then(|live| live.session.as_ref()) else { return };
        match report.map(|record| Report::unpack(&record)) {
            Some(Ok(Report::Exited { status, .. })) if session.current == Current::First => {
                self.interpreter_ended(run, status);
            }
            // It made room for a copy, and was not waited for.
            Some(Ok(Report::Exited { .. })) => {}
            Some(Ok(Report::Begun | Report::Failed { .. }) | Err(_)) | None => self.close(run, Over::Died),
        }
    }

    /// The process that runs the code has ended.
    fn interpreter_ended(&mut self, run: u64, status: i32) {
        // What it has said before it ended comes first.
        self.hear_interpreter(run);
        let Some(live) = self.runs.get_mut(&run) else { return };
        let Some(session) = &mut live.session else { return };
        match live.phase {
            Phase::Running if session.is_taken => self.end(run, End::Exited { status }, None),
            Phase::Running => self.end(run, End::Lost, None),
            Phase::Between if matches!(session.question, Some(Question::Leave { .. })) => self.restored(run),
            Phase::Between => self.close(run, Over::Died),
            Phase::Told | Phase::Building | Phase::Idle | Phase::Opening | Phase::Dying { .. } => {}
        }
    }

    /// Has the interpreter copied.
    fn make_checkpoint(&mut self, run: u64) {
        let Some(live) = self.runs.get_mut(&run) else { return };
        let (Some(to), Some(session)) = (&live.hand_out, &mut live.session) else { return };
        let kept = session.checkpoints.values().filter(|kept| !kept.is_dropped).count();
        if kept >= SessionRequest::CHECKPOINTS_MAX {
            return live.tell_session(FromSession::Refused { errno: libc::ENOSPC });
        }
        let asked = pair().and_then(|(ours, theirs)| {
            send(to, &ToResident::Checkpoint.pack(), &[theirs.as_fd()])?;
            Ok(ours)
        });
        match asked {
            Ok(ours) => {
                session.question = Some(Question::Checkpoint(ours));
                Self::rest(live);
            }
            Err(_) => self.close(run, Over::Died),
        }
    }

    /// Has a checkpoint copied, for the copy to take the interpreter's place.
    fn restore(&mut self, run: u64, checkpoint: u32) {
        let Some(live) = self.runs.get_mut(&run) else { return };
        let Some(session) = &mut live.session else { return };
        let kept = session.checkpoints.get(&checkpoint).filter(|kept| !kept.is_dropped);
        let number = session.last.saturating_add(1);
        let asked = kept.and_then(|kept| {
            let (ours, theirs) = pair().ok()?;
            send(&kept.socket, &ToResident::Restore { number }.pack(), &[theirs.as_fd()]).ok()?;
            Some(ours)
        });
        match asked {
            Some(socket) => {
                session.last = number;
                session.question = Some(Question::Restore { checkpoint, number, socket });
                Self::rest(live);
            }
            // It was dropped, or has ended.
            None => live.tell_session(FromSession::Refused { errno: libc::ESRCH }),
        }
    }

    /// A copy says that it waits.
    pub(super) fn hear_copy(&mut self, run: u64) {
        let Some(live) = self.runs.get_mut(&run) else { return };
        let Some(session) = &mut live.session else { return };
        let Some(socket) = session.copy() else { return };
        match said(socket) {
            Said::Nothing => return,
            Said::This(FromResident::Waiting) => {}
            // One that was never made has its socket closed with it; who was to make it says why.
            Said::End => return self.copy_failed(run),
            Said::This(_) | Said::Nonsense => return self.close(run, Over::Died),
        }
        match session.question.take() {
            Some(Question::Checkpoint(socket)) => {
                session.last = session.last.saturating_add(1);
                let checkpoint = session.last;
                session.checkpoints.insert(checkpoint, Kept { socket, is_dropped: false });
                Self::rest(live);
                live.tell_session(FromSession::Checkpointed { checkpoint });
            }
            Some(Question::Restore { checkpoint, number, socket }) => {
                session.question = Some(Question::Leave { checkpoint, number, socket });
                let is_waited_for = session.is_waited_for();
                // At this the one before ends.
                live.hand_out = None;
                Self::rest(live);
                if !is_waited_for {
                    self.restored(run);
                }
            }
            Some(Question::Leave { .. }) | None => {}
        }
    }

    /// A copy has let go of its socket before it waited.
    fn copy_failed(&mut self, run: u64) {
        let Some(session) = self.runs.get(&run).and_then(|live| live.session.as_ref()) else { return };
        match session.question {
            Some(Question::Checkpoint(_)) => self.hear_interpreter(run),
            Some(Question::Restore { checkpoint, .. }) => self.hear_checkpoint(run, checkpoint),
            Some(Question::Leave { .. }) | None => {}
        }
        // Whoever was to make it has nothing to say of it.
        let is_open = |live: &Live| live.session.as_ref().is_some_and(|session| session.copy().is_some());
        if self.runs.get(&run).is_some_and(is_open) {
            self.refuse_copy(run, libc::ECHILD);
        }
    }

    fn refuse_copy(&mut self, run: u64, errno: i32) {
        let Some(live) = self.runs.get_mut(&run) else { return };
        let Some(session) = &mut live.session else { return };
        session.question = None;
        Self::rest(live);
        live.tell_session(FromSession::Refused { errno });
    }

    /// The interpreter before is gone: its copy is the one from now on.
    fn restored(&mut self, run: u64) {
        let Some(live) = self.runs.get_mut(&run) else { return };
        let Some(session) = &mut live.session else { return };
        let Some(socket) = session.take_copy() else { return };
        live.hand_out = Some(socket);
        Self::rest(live);
        live.tell_session(FromSession::Done);
    }

    /// Nobody will go back to it. It ends, unless it is to say how its copy ends.
    fn drop_checkpoint(&mut self, run: u64, checkpoint: u32) {
        let Some(live) = self.runs.get_mut(&run) else { return };
        let Some(session) = &mut live.session else { return };
        match session.current {
            Current::Copy { checkpoint: of, .. } if of == checkpoint => {
                if let Some(kept) = session.checkpoints.get_mut(&checkpoint) {
                    kept.is_dropped = true;
                }
            }
            Current::Copy { .. } | Current::First => drop(session.checkpoints.remove(&checkpoint)),
        }
        Self::rest(live);
        live.tell_session(FromSession::Done);
    }

    /// A checkpoint says something.
    pub(super) fn hear_checkpoint(&mut self, run: u64, checkpoint: u32) {
        let Some(live) = self.runs.get_mut(&run) else { return };
        let Some(session) = &mut live.session else { return };
        let Some(kept) = session.checkpoints.get(&checkpoint) else { return };
        let is_asked =
            matches!(session.question, Some(Question::Restore { checkpoint: of, .. }) if of == checkpoint);
        let is_its_copy = matches!(session.current, Current::Copy { checkpoint: of, .. } if of == checkpoint);
        match said(&kept.socket) {
            Said::Nothing => {}
            Said::This(FromResident::Failed { errno, .. }) if is_asked => self.refuse_copy(run, errno),
            Said::This(FromResident::Exited { number, status })
                if session.current == (Current::Copy { checkpoint, number }) =>
            {
                self.interpreter_ended(run, status);
            }
            Said::End => {
                session.checkpoints.remove(&checkpoint);
                if is_asked {
                    self.refuse_copy(run, libc::ESRCH);
                } else if is_its_copy && live.hand_out.is_none() {
                    // Nobody will say how the interpreter ends.
                    self.interpreter_ended(run, libc::SIGKILL);
                }
            }
            Said::This(_) | Said::Nonsense => self.close(run, Over::Died),
        }
    }
}

/// What was heard of an interpreter.
enum Said {
    Nothing,
    This(FromResident),
    End,
    Nonsense,
}

/// Takes one message. Nobody in a jail has anything to hand over.
fn said(socket: &OwnedFd) -> Said {
    match receive(socket) {
        Ok(Received::Nothing) => Said::Nothing,
        Ok(Received::Packet(bytes, fds)) if fds.is_empty() => {
            FromResident::unpack(&bytes).map_or(Said::Nonsense, Said::This)
        }
        Ok(Received::Packet(..)) => Said::Nonsense,
        Ok(Received::End) => Said::End,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Said::End,
        Err(_) => Said::Nonsense,
    }
}
