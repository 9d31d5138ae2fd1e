//! A session's handle: runs one by one against one interpreter, and its checkpoints.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use execgate_forkpoint::wire::{Message as _, Received, pair, receive, send};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::follow::{Afterwards, HANDED_OUT_WITHIN};
use super::handing::Handing;
use super::sandbox::Spoken;
use super::slots::Slot;
use crate::enforced::Enforced;
use crate::error::RunError;
use crate::limits::Limits;
use crate::offspring::has_hung_up;
use crate::outcome::{Run, Verdict};
use crate::session::{Cell, SessionEnd, SessionInfo, SessionRequest};
use crate::wire::{End, FromRun, FromSession, Over, ToHelper, ToSession, write_sheet};

/// How long the helper may take to answer a question between two runs; it ends a session that takes longer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);

/// How long an interpreter may have something under way when it is to be copied: what a run has left to be closed is done
/// in the next turns of its loop.
const QUIET_WITHIN: Duration = Duration::from_millis(250);

/// How often it is asked again.
const QUIET_EVERY: Duration = Duration::from_millis(5);

/// Tells sessions apart, so that a checkpoint of one is none of another.
static SESSIONS: AtomicU64 = AtomicU64::new(0);

/// A state of a session's interpreter that can be gone back to.
#[derive(Debug)]
pub struct Checkpoint {
    session: u64,
    number: u32,
}

/// An interpreter that keeps what a run leaves for the next one: variables, imports, files, its environment. One jail,
/// one slot and one set of limits for all of its life. Dropping it ends it, and all that lives in it.
///
/// A run that ends with a value or an exception leaves the session as it is, also where code asks python to end
/// (`sys.exit`: an exception `SystemExit`, or no value for the code 0). Everything else ends the session: a deadline, a
/// limit, a pulled cord, an interpreter that really exits (`os._exit`; `process.exit`, R's `quit`, the shell's `exit`; an
/// error that R does not survive, as of a full stack). The verdict says which.
///
/// A run of javascript has ended when its value is there; a promise is awaited. Timers, servers and requests of it go on
/// while the session lives: what they throw ends the run that is under way then with that exception, or is nowhere. Names
/// that are declared at the top of a code may be declared again by a later one, so that `const` is none there. `import`
/// gives what a module exports in that moment. In R nothing goes on between two runs but what runs in other processes;
/// devices that were opened for a run end with it, those that the code has opened stay.
///
/// From its first run on the interpreter is as little to be trusted as the code: what a run of a session tells may be what
/// an earlier one wanted it to tell. What is written to standard output between two runs, by threads and processes that
/// go on, is nowhere; what is written after a run has begun is that run's.
#[derive(Debug)]
pub struct Session {
    id: u64,
    language: Spoken,
    limits: Limits,
    enforced: Enforced,
    line: Arc<Line>,
    idle: Duration,
    idle_since: Instant,
    ends_at: Instant,
    checkpoints: BTreeSet<u32>,
    runs: u64,
    cpu: Option<Duration>,
    memory_peak_bytes: Option<u64>,
}

/// What is left of a session when it has ended.
#[derive(Debug)]
struct Line {
    socket: OwnedFd,
    end: OnceLock<SessionEnd>,
    /// The processor time between its last run and its end, where the helper has told it.
    after: OnceLock<Option<Duration>>,
    slot: Mutex<Option<Slot>>,
}

impl Line {
    fn let_go_of_slot(&self) -> bool {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner).take().is_some()
    }
}

/// The sessions of a sandbox.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<Vec<Weak<Line>>>);

impl Sessions {
    pub(super) fn note(&self, session: &Session) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.retain(|line| line.strong_count() > 0);
        lines.push(Arc::downgrade(&session.line));
    }

    /// Gives back the slots of sessions that the helper has ended and cleaned away; true where there were any.
    pub(super) fn let_go_of_ended(&self) -> bool {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = lines.iter().filter_map(Weak::upgrade).filter(|line| has_hung_up(&line.socket));
        ended.filter(|line| line.let_go_of_slot()).count() > 0
    }
}

impl Session {
    pub(super) fn open(
        request: SessionRequest,
        language: &Spoken,
        number: u16,
        slot: Slot,
        control: BorrowedFd<'_>,
        enforced: Enforced,
    ) -> Result<Self, RunError> {
        let SessionRequest { language: _, limits, idle, absolute, files } = request;
        let (idle, absolute) = (idle.min(Limits::WALL_MAX), absolute.min(Limits::WALL_MAX));
        let sheet = write_sheet(&[], &files).map_err(RunError::Store)?;
        let (socket, theirs) = pair().map_err(RunError::Pipes)?;
        let message = ToHelper::OpenSession { language: number, limits: limits.clone(), idle, absolute };
        send(control, &message.pack(), &[theirs.as_fd(), sheet.as_fd()]).map_err(RunError::Send)?;
        drop((theirs, sheet));
        await_opened(&socket)?;
        let (now, slot) = (Instant::now(), Mutex::new(Some(slot)));
        Ok(Self {
            id: SESSIONS.fetch_add(1, Ordering::Relaxed),
            language: language.clone(),
            limits,
            enforced,
            line: Arc::new(Line { socket, end: OnceLock::new(), after: OnceLock::new(), slot }),
            idle,
            idle_since: now,
            ends_at: now + absolute,
            checkpoints: BTreeSet::new(),
            runs: 0,
            cpu: Some(Duration::ZERO),
            memory_peak_bytes: None,
        })
    }

    /// Runs code in the session. Blocks until the verdict; what the code has left goes on.
    ///
    /// # Errors
    /// [`RunError::SessionEnded`] where nothing has started because there is no session any more, and the others of
    /// [`crate::Sandbox::run_in`].
    pub fn run(&mut self, cell: Cell) -> Result<Run, RunError> {
        self.is_open()?;
        let left = self.ends_at.saturating_duration_since(Instant::now());
        let wall = cell.wall.unwrap_or(self.limits.wall).min(Limits::WALL_MAX).min(left);
        let limits = Limits { wall, ..self.limits.clone() };
        let request = cell.into_request(self.language.name.clone(), limits);
        let mut handing = Handing::of(request, self.language.verdict)?;
        if let Err(error) = handing.send(self.line.socket.as_fd(), &ToSession::Run { wall }.pack(), &[]) {
            // Closed in this moment, or by a helper that is gone.
            return Err(self.end().map_or(error, |end| RunError::SessionEnded { end }));
        }
        let (run, end) = match handing.follow(Afterwards::Keep, self.enforced.clone()) {
            Ok(ended) => ended,
            Err(error @ RunError::ImageChanged { .. }) => {
                self.over(SessionEnd::ImageChanged);
                return Err(error);
            }
            Err(error) => {
                // The end of the session came before the run: then it was not handed on.
                let end = self.end().filter(|end| *end != SessionEnd::HelperGone);
                self.over(end.unwrap_or(SessionEnd::HelperGone));
                return Err(end.map_or(error, |end| RunError::SessionEnded { end }));
            }
        };
        self.idle_since = Instant::now();
        self.runs += 1;
        let used = run.usage.cpu.zip(run.usage.cpu_between).map(|(now, between)| now + between);
        self.cpu = self.cpu.zip(used).map(|(before, now)| before + now);
        self.memory_peak_bytes = self.memory_peak_bytes.max(run.usage.memory_peak_bytes);
        if end != End::Kept {
            let is_late = run.verdict == Verdict::Timeout && self.idle_since >= self.ends_at;
            self.over(if is_late { SessionEnd::Expired } else { SessionEnd::Run(run.verdict) });
        } else if !matches!(run.verdict, Verdict::Value | Verdict::Exception) {
            self.over(SessionEnd::Run(run.verdict));
            self.ask_to_close();
        }
        Ok(run)
    }

    /// Keeps the interpreter as it is now, to be gone back to: a copy of it that waits, which is one of the session's
    /// processes and counts against its limits. Threads of the code are not in the copy, and neither are files. A
    /// javascript (Node 20 and 22) with workers, processes or requests under way is not copied; its timers are in the copy,
    /// and come when it goes on. Contexts that the code has made by `vm` keep their own `Math.random`.
    ///
    /// # Errors
    /// [`RunError::NoCheckpoints`], [`RunError::ManyCheckpoints`], [`RunError::NotQuiet`], [`RunError::NotCopied`],
    /// [`RunError::SessionEnded`], [`RunError::HelperGone`].
    pub fn checkpoint(&mut self) -> Result<Checkpoint, RunError> {
        self.is_open()?;
        if self.language.session != Some(true) {
            return Err(RunError::NoCheckpoints(self.language.name.clone()));
        }
        let max = SessionRequest::CHECKPOINTS_MAX;
        if self.checkpoints.len() >= max {
            return Err(RunError::ManyCheckpoints { max });
        }
        let until = Instant::now() + QUIET_WITHIN;
        let mut answer = self.ask(ToSession::Checkpoint)?;
        while answer == (FromSession::Refused { errno: libc::EBUSY }) && Instant::now() < until {
            thread::sleep(QUIET_EVERY);
            answer = self.ask(ToSession::Checkpoint)?;
        }
        match answer {
            FromSession::Checkpointed { checkpoint: number } => {
                self.checkpoints.insert(number);
                Ok(Checkpoint { session: self.id, number })
            }
            FromSession::Refused { errno: libc::ENOSYS } => {
                Err(RunError::NoCheckpoints(self.language.name.clone()))
            }
            FromSession::Refused { errno: libc::EBUSY } => Err(RunError::NotQuiet),
            FromSession::Refused { errno } => Err(RunError::NotCopied(io::Error::from_raw_os_error(errno))),
            FromSession::Done | FromSession::Ended { .. } => Err(self.broken()),
        }
    }

    /// Goes back to a checkpoint, as often as one likes. The interpreter that there is now is killed, and a copy of the
    /// checkpoint takes its place: variables and imports are what they were then. Files are not, and neither are
    /// processes that the code has started: both are as they are now. What is random is drawn anew.
    ///
    /// # Errors
    /// [`RunError::NoCheckpoint`], [`RunError::NotCopied`], [`RunError::SessionEnded`], [`RunError::HelperGone`].
    pub fn restore(&mut self, checkpoint: &Checkpoint) -> Result<(), RunError> {
        self.is_open()?;
        if checkpoint.session != self.id || !self.checkpoints.contains(&checkpoint.number) {
            return Err(RunError::NoCheckpoint);
        }
        match self.ask(ToSession::Restore { checkpoint: checkpoint.number })? {
            FromSession::Done => Ok(()),
            FromSession::Refused { errno } if errno == libc::ESRCH => {
                self.checkpoints.remove(&checkpoint.number);
                Err(RunError::NoCheckpoint)
            }
            FromSession::Refused { errno } => Err(RunError::NotCopied(io::Error::from_raw_os_error(errno))),
            FromSession::Checkpointed { .. } | FromSession::Ended { .. } => Err(self.broken()),
        }
    }

    /// Gives up a checkpoint, and what it holds of the session's limits. Where the session was gone back to it, its
    /// process stays as long as the interpreter that was made of it.
    ///
    /// # Errors
    /// [`RunError::NoCheckpoint`], [`RunError::SessionEnded`], [`RunError::HelperGone`].
    pub fn drop_checkpoint(&mut self, checkpoint: Checkpoint) -> Result<(), RunError> {
        self.is_open()?;
        let Checkpoint { session, number } = checkpoint;
        if session != self.id || !self.checkpoints.remove(&number) {
            return Err(RunError::NoCheckpoint);
        }
        match self.ask(ToSession::Drop { checkpoint: number })? {
            FromSession::Done => Ok(()),
            FromSession::Checkpointed { .. } | FromSession::Refused { .. } | FromSession::Ended { .. } => {
                Err(self.broken())
            }
        }
    }

    /// Ends the session, and waits until the helper says so; tells how it stood then, with what it has used since its last
    /// run. One that has ended is left as it is.
    pub fn close(mut self) -> SessionInfo {
        if self.end().is_none() {
            self.ask_to_close();
        }
        self.info()
    }

    /// How the session stands.
    #[must_use]
    pub fn info(&self) -> SessionInfo {
        let now = Instant::now();
        let end = self.end();
        let cpu_after = self.line.after.get().copied();
        SessionInfo {
            runs: self.runs,
            cpu: match cpu_after {
                Some(after) => self.cpu.zip(after).map(|(before, after)| before + after),
                None => self.cpu,
            },
            cpu_after: cpu_after.flatten(),
            memory_peak_bytes: self.memory_peak_bytes,
            checkpoints: self.checkpoints.len(),
            idle_left: (self.idle_since + self.idle).min(self.ends_at).saturating_duration_since(now),
            absolute_left: self.ends_at.saturating_duration_since(now),
            end,
        }
    }

    /// Why the session has ended, if it has.
    fn end(&self) -> Option<SessionEnd> {
        while self.line.end.get().is_none() {
            match receive(&self.line.socket) {
                Ok(Received::Nothing) => return None,
                Ok(Received::Packet(bytes, _)) => {
                    if let Ok(FromSession::Ended { over, cpu_us }) = FromSession::unpack(&bytes) {
                        self.has_ended(over, cpu_us);
                    }
                }
                Ok(Received::End) | Err(_) => self.over(SessionEnd::HelperGone),
            }
        }
        self.line.end.get().copied()
    }

    fn is_open(&self) -> Result<(), RunError> {
        self.end().map_or(Ok(()), |end| Err(RunError::SessionEnded { end }))
    }

    /// The helper says that it has ended.
    fn has_ended(&self, over: Over, cpu_us: Option<u64>) -> SessionEnd {
        self.line.after.get_or_init(|| cpu_us.map(Duration::from_micros));
        self.over(end_of(over));
        *self.line.end.get_or_init(|| end_of(over))
    }

    /// Notes why it has ended. The first reason stands.
    fn over(&self, end: SessionEnd) {
        self.line.end.get_or_init(|| end);
        self.line.let_go_of_slot();
    }

    /// An answer that was none.
    fn broken(&self) -> RunError {
        self.over(SessionEnd::HelperGone);
        RunError::HelperGone
    }

    fn ask_to_close(&mut self) {
        // It ends either way.
        let _answered = self.ask(ToSession::Close);
        self.over(SessionEnd::Closed);
    }

    /// Asks, and waits for the answer.
    fn ask(&mut self, question: ToSession) -> Result<FromSession, RunError> {
        if let Err(error) = send(&self.line.socket, &question.pack(), &[]) {
            return Err(self.end().map_or(RunError::Send(error), |end| RunError::SessionEnded { end }));
        }
        let timeout = Timespec::try_from(ANSWERED_WITHIN).ok();
        loop {
            match poll(&mut [PollFd::new(&self.line.socket, PollFlags::IN)], timeout.as_ref()) {
                Ok(0) => return Err(self.broken()),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(RunError::Follow(error.into())),
            }
            let answer = match receive(&self.line.socket) {
                Ok(Received::Nothing) => continue,
                Ok(Received::Packet(bytes, _)) => FromSession::unpack(&bytes),
                Ok(Received::End) | Err(_) => return Err(self.broken()),
            };
            self.idle_since = Instant::now();
            return match answer {
                Ok(FromSession::Ended { over, cpu_us }) => {
                    Err(RunError::SessionEnded { end: self.has_ended(over, cpu_us) })
                }
                Ok(answer) => Ok(answer),
                Err(_) => Err(self.broken()),
            };
        }
    }
}

fn end_of(over: Over) -> SessionEnd {
    match over {
        Over::Closed => SessionEnd::Closed,
        Over::Idle => SessionEnd::Idle,
        Over::Expired => SessionEnd::Expired,
        Over::ImageChanged => SessionEnd::ImageChanged,
        // Whoever waits for the run has heard its verdict, or never will: then it may have begun.
        Over::Run => SessionEnd::HelperGone,
        Over::Died => SessionEnd::Died,
    }
}

/// Waits until the interpreter waits for its first run.
fn await_opened(socket: &OwnedFd) -> Result<(), RunError> {
    let timeout = Timespec::try_from(HANDED_OUT_WITHIN).ok();
    loop {
        match poll(&mut [PollFd::new(socket, PollFlags::IN)], timeout.as_ref()) {
            Ok(0) => return Err(RunError::NotHandedOut),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(RunError::Follow(error.into())),
        }
        let packet = match receive(socket).map_err(RunError::Follow)? {
            Received::Nothing => continue,
            Received::End => return Err(RunError::HelperGone),
            Received::Packet(bytes, _) => FromRun::unpack(&bytes).map_err(|_| RunError::HelperGone)?,
        };
        return match packet {
            FromRun::Started { .. } => Ok(()),
            FromRun::NotStarted { step, errno } => {
                Err(RunError::Spawn { step, error: io::Error::from_raw_os_error(errno) })
            }
            FromRun::StemGone => Err(RunError::StemGone),
            FromRun::Withdrawn => Err(RunError::NotHandedOut),
            FromRun::ImageChanged { has_begun } => Err(RunError::ImageChanged { has_begun }),
            FromRun::Ended { .. } => Err(RunError::StemGone),
        };
    }
}
