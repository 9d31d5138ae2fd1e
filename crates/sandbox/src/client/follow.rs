//! Following one run: its pipes, its deadline, its end. One poll loop; nothing waits for the guest's good will.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use execgate_forkpoint::wire::{Message as _, Received, receive, send};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::capture::{Capture, Drain, Flow};
use super::frames::{Frames, Reading, Told};
use super::judge::{Because, verdict};
use crate::enforced::Enforced;
use crate::error::RunError;
use crate::limits::Limits;
use crate::outcome::{Run, Usage, Verdict};
use crate::request::{Cancel, Stream};
use crate::wire::{Counters, End, FromRun, ToRun};

/// How long a run may wait for a slot and its jail. A helper that has a free slot takes milliseconds.
pub(super) const HANDED_OUT_WITHIN: Duration = Duration::from_secs(30);

/// How long the helper may take to count and answer once it was told to end a run.
const ENDED_WITHIN: Duration = Duration::from_secs(10);

/// Our ends of a run's pipes.
pub(super) struct Pipes {
    pub(super) socket: OwnedFd,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
    pub(super) frames: OwnedFd,
    /// What is closed when the run is asked to end, and the helper is waited for.
    pub(super) kept: Vec<OwnedFd>,
    /// What is closed when the run has begun, and has read it: a sheet that holds files, since a run may live for a day.
    pub(super) files: Option<OwnedFd>,
}

/// What becomes of an interpreter that has told its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Afterwards {
    /// It is killed, as after everything else.
    Kill,
    /// It is a session's, and goes on.
    Keep,
}

/// One run under way.
struct Following<'a> {
    afterwards: Afterwards,
    pipes: Pipes,
    /// stdout, stderr, frames: whether somebody may still write.
    open: [bool; 3],
    drain: Drain,
    capture: Capture,
    frames: Frames,
    told: Option<Told>,
    because: Option<Because>,
    started: Option<Instant>,
    cancel: Option<&'a Cancel>,
    next_clock: Instant,
    enforced: Enforced,
}

/// Follows a run to its verdict.
pub(super) fn follow(
    pipes: Pipes,
    limits: &Limits,
    cancel: Option<&Cancel>,
    capture: Capture,
    afterwards: Afterwards,
    enforced: Enforced,
) -> Result<(Run, End), RunError> {
    let mut following = Following {
        afterwards,
        pipes,
        open: [true; 3],
        drain: Drain::default(),
        capture,
        frames: Frames::default(),
        told: None,
        because: None,
        started: None,
        cancel,
        next_clock: Instant::now() + HANDED_OUT_WITHIN,
        enforced,
    };
    let (end, counters) = following.until_the_end(limits.wall)?;
    Ok((following.judged(end, &counters), end))
}

impl Following<'_> {
    fn until_the_end(&mut self, wall: Duration) -> Result<(End, Counters), RunError> {
        loop {
            let ready = self.wait().map_err(RunError::Follow)?;
            self.read_pipes(ready.pipes).map_err(RunError::Follow)?;
            if ready.cancelled {
                self.end(Because::Cancelled);
            }
            if ready.socket {
                match self.hear(wall)? {
                    Some(ended) => {
                        // What was written before the end is in the pipes by now; nobody waits for their closing.
                        self.read_pipes([true; 3]).map_err(RunError::Follow)?;
                        return Ok(ended);
                    }
                    None => continue,
                }
            }
            if Instant::now() >= self.next_clock {
                match self.because {
                    // Only the helper knows whether a run that waits has begun in this moment.
                    None => self.end(Because::Deadline),
                    Some(_) => return Err(RunError::HelperGone),
                }
            }
        }
    }

    fn wait(&self) -> io::Result<Ready> {
        let mut fds = vec![PollFd::new(&self.pipes.socket, PollFlags::IN)];
        let streams = [&self.pipes.stdout, &self.pipes.stderr, &self.pipes.frames];
        fds.extend(
            streams
                .into_iter()
                .zip(self.open)
                .filter(|(_, open)| *open)
                .map(|(fd, _)| PollFd::new(fd, PollFlags::IN)),
        );
        // After the reason is known, pulling the cord changes nothing.
        let cord = self.cancel.filter(|_| self.because.is_none()).map(Cancel::as_fd);
        fds.extend(cord.iter().map(|cord| PollFd::new(cord, PollFlags::IN)));
        let left = self.next_clock.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
        match poll(&mut fds, Timespec::try_from(left).ok().as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut seen = fds.iter().map(|fd| !fd.revents().is_empty());
        let socket = seen.next().unwrap_or_default();
        let pipes = self.open.map(|open| open && seen.next().unwrap_or_default());
        Ok(Ready { socket, pipes, cancelled: seen.next().unwrap_or_default() })
    }

    /// Reads what there is in some of stdout, stderr and frames. A whole frame, or more output than is borne, is a reason to
    /// end.
    fn read_pipes(&mut self, wanted: [bool; 3]) -> io::Result<()> {
        let mut too_much = false;
        for (at, stream) in [Stream::Stdout, Stream::Stderr].into_iter().enumerate() {
            let pipe = if at == 0 { &self.pipes.stdout } else { &self.pipes.stderr };
            if wanted[at] && self.open[at] {
                let capture = &mut self.capture;
                let flow = self.drain.pipe(pipe, |bytes| {
                    let borne = capture.take(stream, bytes);
                    too_much |= !borne;
                    borne
                })?;
                self.open[at] = flow == Flow::Dry;
            }
        }
        if wanted[2] && self.open[2] && self.told.is_none() {
            let (frames, told, capture) = (&mut self.frames, &mut self.told, &mut self.capture);
            let flow = self.drain.pipe(&self.pipes.frames, |bytes| {
                // What is of no use is read on, so that nobody blocks on it, but not for ever.
                let wasted = match frames.feed(bytes) {
                    Reading::Whole(whole) => {
                        *told = Some(whole);
                        return false;
                    }
                    Reading::Partial => frames.take_wasted(),
                    Reading::Garbage => bytes.len(),
                };
                let borne = capture.waste(wasted);
                too_much |= !borne;
                borne
            })?;
            // Once it has told its end, nobody listens to it any more.
            self.open[2] = flow == Flow::Dry && self.told.is_none();
        }
        let told = match (&self.told, too_much) {
            (_, true) => Some(Because::Output),
            (Some(Told::Value(_)), false) => Some(Because::Value),
            (Some(Told::Exception(_)), false) => Some(Because::Exception),
            (None, false) => None,
        };
        if let Some(because) = told {
            self.end(because);
        }
        Ok(())
    }

    /// Notes why the run ends, and asks for it. The first reason stands.
    fn end(&mut self, because: Because) {
        if self.because.is_some() {
            return;
        }
        self.because = Some(because);
        self.next_clock = Instant::now() + ENDED_WITHIN;
        let order = match (because, self.afterwards) {
            (Because::Value | Because::Exception, Afterwards::Keep) => ToRun::Finish,
            _ => ToRun::Kill,
        };
        if let Err(error) = send(&self.pipes.socket, &order.pack(), &[]) {
            // The run has ended by itself and its answer is waiting, or the helper is gone; the socket tells which.
            tracing::debug!(%error, "a run could not be asked to end");
        }
        self.pipes.kept.clear();
        self.pipes.files = None;
    }

    /// Takes one message of the helper; gives the end when it has come.
    fn hear(&mut self, wall: Duration) -> Result<Option<(End, Counters)>, RunError> {
        let packet = match receive(&self.pipes.socket).map_err(RunError::Follow)? {
            Received::Nothing => return Ok(None),
            Received::End => return Err(RunError::HelperGone),
            Received::Packet(bytes, _) => FromRun::unpack(&bytes).map_err(|_| RunError::HelperGone)?,
        };
        match packet {
            FromRun::Started { interpreter } => {
                self.enforced.interpreter = interpreter;
                let now = Instant::now();
                self.started = Some(now);
                self.pipes.files = None;
                if self.because.is_none() {
                    self.next_clock = now.checked_add(wall).unwrap_or(now + Limits::WALL_MAX);
                }
                Ok(None)
            }
            FromRun::Ended { end, counters } => Ok(Some((end, counters))),
            FromRun::NotStarted { step, errno } => {
                Err(RunError::Spawn { step, error: io::Error::from_raw_os_error(errno) })
            }
            FromRun::Withdrawn if self.because == Some(Because::Cancelled) => Err(RunError::Cancelled),
            FromRun::Withdrawn => Err(RunError::NotHandedOut),
            FromRun::StemGone => Err(RunError::StemGone),
            FromRun::ImageChanged { has_begun } => Err(RunError::ImageChanged { has_begun }),
        }
    }

    fn judged(self, end: End, counters: &Counters) -> Run {
        let verdict = verdict(self.because, end, counters);
        let (value, exception) = match self.told {
            Some(Told::Value(value)) if verdict == Verdict::Value => (value, None),
            Some(Told::Exception(exception)) if matches!(verdict, Verdict::Exception | Verdict::Limit(_)) => {
                (None, Some(exception))
            }
            Some(_) | None => (None, None),
        };
        let usage = Usage {
            wall: self.started.map(|at| at.elapsed()).unwrap_or_default(),
            cpu: counters.cpu_us.map(Duration::from_micros),
            cpu_between: counters.cpu_between_us.map(Duration::from_micros),
            memory_peak_bytes: counters.memory_peak,
        };
        Run {
            verdict,
            stdout: self.capture.stdout,
            stderr: self.capture.stderr,
            truncated: self.capture.truncated || self.frames.has_dropped(),
            value,
            exception,
            displays: self.frames.into_displays(),
            files: Vec::new(),
            usage,
            network: None,
            enforced: self.enforced,
        }
    }
}

/// What became ready.
struct Ready {
    socket: bool,
    /// stdout, stderr, frames.
    pipes: [bool; 3],
    cancelled: bool,
}
