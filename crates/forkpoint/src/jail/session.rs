//! An interpreter that is a session's: it takes one run after the other, and is copied where it is to be gone back to.
//! From its first run on all of this is the guest's own process, and only its helper's distrust holds it.

use std::io;
use std::mem;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, IntoRawFd as _, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Resource, WaitOptions, getrlimit, pidfd_open, waitpid};

use super::place;
use super::placing::{Earlier, place_file};
use super::resident::{COUNT, put_in_place};
use super::step::{At as _, Step, StepError};
use crate::sys::{self, Cloned};
use crate::wire::{FromResident, Message as _, Received, Sheet, ToResident, receive, send};

/// What an interpreter wants done around what happens to it here.
#[derive(Debug, Clone, Copy)]
pub struct Around {
    /// Waits by calling this, and lets its other threads go on meanwhile.
    pub wait: fn(&mut dyn FnMut()),
    /// How it is copied; none where it cannot be.
    pub copies: Option<Copies>,
}

/// What an interpreter wants to be told when it is copied by a fork.
#[derive(Debug, Clone, Copy)]
pub struct Copies {
    /// Before. At an error it is not copied.
    pub before: fn() -> io::Result<()>,
    /// After, in the one that was there.
    pub after: fn(),
    /// In the copy, before it waits; with the number of its socket.
    pub copied: fn(Kind, RawFd),
}

/// What a copy is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// To be copied again, and for nothing else.
    Kept,
    /// To go on.
    GoesOn,
}

impl Around {
    /// Of an interpreter with nothing to do meanwhile, that cannot be copied.
    pub const NOTHING: Self = Self { wait: |wait| wait(), copies: None };
}

/// The session of this process.
struct Session {
    socket: OwnedFd,
    /// Whether this is a copy to go back to: nothing of it goes on but what it is asked for.
    kind: Kind,
    /// Copies that went on in this one's place.
    copies: Vec<Copy>,
    /// Once such were made: whether their ends were held back from the interpreter before. It would reap them itself.
    were_held: Option<bool>,
}

struct Copy {
    number: u32,
    pid: Pid,
    pidfd: OwnedFd,
}

static SESSION: Mutex<Option<Session>> = Mutex::new(None);

/// How many of the highest numbers of descriptors are used here: the code's own are the lowest, as they are elsewhere.
const NUMBERS: u64 = 16;

/// Of a terminal frame that tells an exception.
const EXCEPTION: u8 = 3;

/// A descriptor at one of the highest numbers, closed on exec.
fn high(fd: OwnedFd) -> io::Result<OwnedFd> {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::from(u16::MAX));
    let least = RawFd::try_from(limit.saturating_sub(NUMBERS)).map_err(io::Error::other)?;
    Ok(rustix::io::fcntl_dupfd_cloexec(fd, least)?)
}

/// Whether this process is a session's.
#[must_use]
pub fn is_session() -> bool {
    SESSION.lock().unwrap_or_else(PoisonError::into_inner).is_some()
}

/// Becomes a session's: puts its files in place, and moves the socket out of the code's way. Says that it waits.
pub(super) fn open(descriptors: Vec<OwnedFd>) -> Result<(), StepError> {
    put_in_place(descriptors)?;
    let socket = sys::borrow(place::HAND_OUT).try_clone_to_owned().and_then(high);
    let socket = socket.at(Step::ArrangeDescriptors)?;
    let null = || sys::borrow(0).try_clone_to_owned();
    let streams = [null(), null(), null()].into_iter().collect::<io::Result<_>>();
    // Nothing is left at the numbers beyond, the first socket neither.
    streams.and_then(sys::replace).at(Step::ArrangeDescriptors)?;
    send(&socket, &FromResident::Waiting.pack(), &[]).at(Step::TellBegun)?;
    let session = Session { socket, kind: Kind::GoesOn, copies: Vec::new(), were_held: None };
    *SESSION.lock().unwrap_or_else(PoisonError::into_inner) = Some(session);
    Ok(())
}

/// Waits for the session's next run: the numbers of its stdin, stdout, stderr, code and frames, and then its arguments.
/// `None` in a process that is no session's. Comes back in a copy of this process too, when that has its run.
pub(super) fn next_run(around: &Around) -> Option<Vec<Vec<u8>>> {
    // A second thread of the guest has no business here.
    let Ok(mut session) = SESSION.try_lock() else { sys::exit_now(1) };
    let session = session.as_mut()?;
    loop {
        let mut order = None;
        (around.wait)(&mut || order = Some(session.await_order()));
        let Some(order) = order else { sys::exit_now(1) };
        if let Some(run) = session.obey(order, around.copies.as_ref()) {
            return Some(run);
        }
    }
}

/// The number of the session's socket, for an interpreter that looks for its runs while its own loop turns.
pub(crate) fn socket() -> Option<RawFd> {
    let session = SESSION.lock().unwrap_or_else(PoisonError::into_inner);
    session.as_ref().map(|session| session.socket.as_raw_fd())
}

/// Does what the session is asked for on its socket, if that is anything: gives a run, as [`super::take_request`] does, or
/// makes a copy. Comes back in a copy that goes on; one to go back to waits in here. Never waits else.
pub fn look_for_run(copies: Option<&Copies>) -> Option<Vec<Vec<u8>>> {
    // A second thread of the guest has no business here.
    let Ok(mut session) = SESSION.try_lock() else { sys::exit_now(1) };
    let session = session.as_mut()?;
    let order = session.heard()?;
    let mut run = session.obey(order, copies);
    while session.kind == Kind::Kept {
        let order = session.await_order();
        run = session.obey(order, copies);
    }
    run
}

/// A message, with its descriptors.
type Order = io::Result<(ToResident, Vec<OwnedFd>)>;

impl Session {
    /// The message that is there, if one is. Ends this process where the helper has closed the socket.
    fn heard(&self) -> Option<Order> {
        Some(match receive(&self.socket) {
            Ok(Received::Packet(bytes, descriptors)) => {
                ToResident::unpack(&bytes).map_err(io::Error::other).map(|order| (order, descriptors))
            }
            Ok(Received::Nothing) => return None,
            Ok(Received::End) => sys::exit_now(0),
            Err(error) => Err(error),
        })
    }

    /// Does what a message says; gives the run that it brings.
    fn obey(&mut self, order: Order, copies: Option<&Copies>) -> Option<Vec<Vec<u8>>> {
        let done = match order {
            Ok((ToResident::Run, descriptors)) => match self.accept(descriptors) {
                Ok(Some(run)) => return Some(run),
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            },
            Ok((ToResident::Checkpoint, descriptors)) => self.copy(copies, descriptors, None),
            Ok((ToResident::Restore { number }, descriptors)) => self.copy(copies, descriptors, Some(number)),
            Ok((ToResident::Open, _)) | Err(_) => sys::exit_now(1),
        };
        if done.is_err() {
            sys::exit_now(1);
        }
        None
    }

    /// The next message. Tells of copies that end meanwhile. Ends this process, whatever its other threads hold, where the
    /// helper has closed the socket.
    fn await_order(&mut self) -> Order {
        loop {
            let mut ready = vec![PollFd::new(&self.socket, PollFlags::IN)];
            ready.extend(self.copies.iter().map(|copy| PollFd::new(&copy.pidfd, PollFlags::IN)));
            match poll(&mut ready, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let ended: Vec<bool> = ready.iter().skip(1).map(|fd| !fd.revents().is_empty()).collect();
            drop(ready);
            let mut ended = ended.into_iter();
            let (gone, left) =
                mem::take(&mut self.copies).into_iter().partition(|_| ended.next() == Some(true));
            self.copies = left;
            let gone: Vec<Copy> = gone;
            for Copy { number, pid, .. } in gone {
                // Where the code lets the kernel reap its children, nobody knows how they end.
                let status = match waitpid(Some(pid), WaitOptions::empty()) {
                    Ok(Some((_, status))) => status.as_raw(),
                    Ok(None) | Err(_) => libc::SIGKILL,
                };
                send(&self.socket, &FromResident::Exited { number, status }.pack(), &[])?;
            }
            if let Some(order) = self.heard() {
                return order;
            }
        }
    }

    /// Reads a run. One whose files cannot be put in place ends with an exception, as if its code had done that.
    fn accept(&self, mut descriptors: Vec<OwnedFd>) -> io::Result<Option<Vec<Vec<u8>>>> {
        if descriptors.len() != COUNT {
            return Err(io::ErrorKind::InvalidData.into());
        }
        send(&self.socket, &FromResident::Taken.pack(), &[])?;
        let Some(sheet) = descriptors.pop() else { return Ok(None) };
        match read_sheet(sheet.as_fd()) {
            Ok(arguments) => {
                let numbers =
                    descriptors.into_iter().map(|fd| Ok(high(fd)?.into_raw_fd().to_string().into()));
                let mut run = numbers.collect::<io::Result<Vec<Vec<u8>>>>()?;
                run.extend(arguments);
                Ok(Some(run))
            }
            Err(failed) => {
                if let Some(frames) = descriptors.last() {
                    tell_failed(frames, &failed)?;
                }
                Ok(None)
            }
        }
    }

    /// Makes a copy of this process that waits on the socket beside the message: one to go back to, which is a child of
    /// nobody that is known to the code, or one that goes on, which is waited for.
    fn copy(
        &mut self,
        copies: Option<&Copies>,
        descriptors: Vec<OwnedFd>,
        restored: Option<u32>,
    ) -> io::Result<()> {
        let Some(socket) = descriptors.into_iter().next() else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let Some(copies) = copies else { return self.not_copied(libc::ENOSYS) };
        let socket = high(socket)?;
        if let Err(error) = (copies.before)() {
            return self.not_copied(error.raw_os_error().unwrap_or(libc::EIO));
        }
        if restored.is_some() && self.were_held.is_none() {
            self.were_held = Some(sys::hold_children(true)?);
        }
        let forked = sys::fork();
        if !matches!(forked, Ok(Cloned::Child)) {
            (copies.after)();
        }
        match (forked, restored) {
            (Ok(Cloned::Child), Some(_)) => self.become_copy(copies, socket, Kind::GoesOn),
            (Ok(Cloned::Child), None) => match sys::fork() {
                Ok(Cloned::Child) => self.become_copy(copies, socket, Kind::Kept),
                Ok(Cloned::Parent { .. }) => sys::exit_now(0),
                Err(error) => sys::exit_now(error.raw_os_error().unwrap_or(libc::EIO)),
            },
            (Ok(Cloned::Parent { pid, .. }), Some(number)) => {
                let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
                self.copies.push(Copy { number, pid, pidfd });
                Ok(())
            }
            (Ok(Cloned::Parent { pid, .. }), None) => match waitpid(Some(pid), WaitOptions::empty()) {
                Ok(Some((_, status))) if status.exit_status() != Some(0) => {
                    self.not_copied(status.exit_status().unwrap_or(libc::EIO))
                }
                Ok(_) | Err(_) => Ok(()),
            },
            (Err(error), _) => self.not_copied(error.raw_os_error().unwrap_or(libc::EIO)),
        }
    }

    fn not_copied(&self, errno: i32) -> io::Result<()> {
        send(&self.socket, &FromResident::Failed { step: Step::Copy, errno }.pack(), &[])
    }

    /// In the copy.
    fn become_copy(&mut self, copies: &Copies, socket: OwnedFd, kind: Kind) -> io::Result<()> {
        self.copies.clear();
        self.kind = kind;
        // The one before is open for as long as somebody may look at it.
        let before = mem::replace(&mut self.socket, socket);
        if self.were_held.take() == Some(false) {
            sys::hold_children(false)?;
        }
        (copies.copied)(kind, self.socket.as_raw_fd());
        drop(before);
        send(&self.socket, &FromResident::Waiting.pack(), &[])
    }
}

/// The arguments; the files are in place.
fn read_sheet(sheet: BorrowedFd<'_>) -> Result<Vec<Vec<u8>>, StepError> {
    let mut sheet = Sheet::new(sheet);
    let arguments = (0..sheet.count().at(Step::ReadArguments)?).map(|_| sheet.text());
    let arguments = arguments.collect::<io::Result<_>>().at(Step::ReadArguments)?;
    for _ in 0..sheet.count().at(Step::PlaceFiles)? {
        place_file(&mut sheet, Earlier::Replace).at(Step::PlaceFiles)?;
    }
    Ok(arguments)
}

fn tell_failed(frames: &OwnedFd, failed: &StepError) -> io::Result<()> {
    let message = format!("{failed}: {}", failed.error);
    let mut frame = vec![EXCEPTION];
    for text in ["OSError", &message, ""] {
        frame.extend(u32::try_from(text.len()).map_err(io::Error::other)?.to_le_bytes());
        frame.extend(text.as_bytes());
    }
    // Far less than a pipe holds, so that it goes at once and whole.
    match rustix::io::write(frames, &frame) {
        Ok(_) | Err(rustix::io::Errno::PIPE) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
