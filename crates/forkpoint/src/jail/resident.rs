//! An interpreter that waits in its finished jail for the one run that it is for, or for the one session. It holds
//! nothing of that before the helper hands it over, and is the guest's from then on.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, poll};

use super::place;
use super::placing::{Earlier, place_file};
use super::session::{self, Around};
use super::step::{At as _, Step, StepError};
use crate::sys;
use crate::wire::{FromResident, Message as _, Received, Sheet, ToResident, receive, send};

/// What an interpreter inherits that tells its end by its exit status: standard streams and the code.
pub const WITHOUT_FRAMES: usize = 4;

/// What one inherits that tells it by frames.
pub const WITH_FRAMES: usize = 5;

/// How many descriptors are handed over: stdin, stdout, stderr, code, frames, sheet.
pub(super) const COUNT: usize = 6;

/// Whether files were put in place.
static HAS_FILES: AtomicBool = AtomicBool::new(false);

/// Whether there are any files in this jail that were put in place for its run, or its session.
#[must_use]
pub fn has_files() -> bool {
    HAS_FILES.load(Ordering::Relaxed)
}

/// Says that this interpreter waits, takes its run, and puts all of it in place: the files, the first `inherited` of the
/// descriptors. Gives the arguments. Comes back only to run the code: where there will be no run, or none can be put in
/// place, this process ends.
///
/// Gives nothing where it is a session's. Called again, it then waits for one run after the other, and gives the numbers
/// of the run's descriptors (stdin, stdout, stderr, code, frames) before the arguments; nothing of it is in its place but
/// the files.
pub fn take_request(inherited: usize, around: &Around) -> Vec<Vec<u8>> {
    if let Some(run) = session::next_run(around) {
        return run;
    }
    let socket = sys::borrow(place::HAND_OUT);
    let taken = await_run(socket).and_then(|first| match first {
        Some((ToResident::Open, descriptors)) => session::open(descriptors).map(|()| None),
        Some((_, descriptors)) => put_in_place(descriptors).map(Some),
        None => sys::exit_now(0),
    });
    let failed = match taken {
        Ok(None) => return Vec::new(),
        Ok(Some((arguments, mut descriptors))) => {
            descriptors.truncate(inherited);
            // The socket is where the code comes, so that the code can say nothing on it.
            match sys::replace(descriptors).at(Step::ArrangeDescriptors) {
                Ok(()) => return arguments,
                Err(failed) => failed,
            }
        }
        Err(failed) => failed,
    };
    let told = FromResident::Failed { step: failed.step, errno: failed.errno() }.pack();
    sys::exit_now(if send(socket, &told, &[]).is_ok() { 1 } else { 2 })
}

/// Its run or its session, with the descriptors; `None` where the helper has closed the socket.
fn await_run(socket: BorrowedFd<'_>) -> Result<Option<(ToResident, Vec<OwnedFd>)>, StepError> {
    sys::make_room();
    send(socket, &FromResident::Waiting.pack(), &[]).at(Step::TellBegun)?;
    loop {
        match poll(&mut [PollFd::new(&socket, PollFlags::IN)], None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).at(Step::AwaitRun),
        }
        match receive(socket).at(Step::AwaitRun)? {
            Received::Packet(bytes, descriptors) => {
                let order = ToResident::unpack(&bytes).map_err(io::Error::other).at(Step::AwaitRun)?;
                let count = match order {
                    ToResident::Run => COUNT,
                    ToResident::Open => 1,
                    ToResident::Checkpoint | ToResident::Restore { .. } => {
                        return Err(io::ErrorKind::InvalidData).at(Step::AwaitRun);
                    }
                };
                if descriptors.len() != count {
                    return Err(io::ErrorKind::InvalidData).at(Step::AwaitRun);
                }
                return Ok(Some((order, descriptors)));
            }
            Received::Nothing => {}
            Received::End => return Ok(None),
        }
    }
}

/// Reads the sheet, which is the last descriptor; gives the arguments and the others.
pub(super) fn put_in_place(mut descriptors: Vec<OwnedFd>) -> Result<(Vec<Vec<u8>>, Vec<OwnedFd>), StepError> {
    let mut arguments = Vec::new();
    if let Some(sheet) = descriptors.pop() {
        let mut sheet = Sheet::new(sheet.as_fd());
        for _ in 0..sheet.count().at(Step::ReadArguments)? {
            arguments.push(sheet.text().at(Step::ReadArguments)?);
        }
        for _ in 0..sheet.count().at(Step::PlaceFiles)? {
            place_file(&mut sheet, Earlier::Keep).at(Step::PlaceFiles)?;
            HAS_FILES.store(true, Ordering::Relaxed);
        }
    }
    Ok((arguments, descriptors))
}
