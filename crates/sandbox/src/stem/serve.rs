//! The stem's life: build itself, then clone an init for each request until the helper closes the socket.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd, RawFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags, open};

use super::networks::Networks;
use super::{Seed, SlotIds, enter};
use crate::helper::{Tell, die_of_panics};
use crate::jail::{At as _, GUEST_ID_FIRST, Plan, Step, StepError, become_init, place};
use crate::sys::{self, CloneFlags, Cloned, clone_flags};
use crate::wire::{FromStem, Message as _, Received, Spawn, ToStem, receive, send};

/// Where the control socket is, once descriptors are arranged.
const CONTROL: RawFd = 3;

/// The whole life of a stem. Called in the process that the helper has just cloned.
pub(crate) fn become_stem(seed: &Seed, control: OwnedFd, image: OwnedFd) -> ! {
    die_of_panics(Tell::Nobody);
    let early = control.try_clone().ok();
    if let Err(failed) = build(seed, control, image) {
        let packet = FromStem::Failed { step: failed.step, errno: failed.errno() }.pack();
        // Which of the two is open depends on how far we got.
        let told = early.as_ref().is_some_and(|socket| send(socket, &packet, &[]).is_ok());
        let told = told || send(sys::borrow(CONTROL), &packet, &[]).is_ok();
        sys::exit_now(if told { 1 } else { 2 });
    }
    serve(seed)
}

fn build(seed: &Seed, control: OwnedFd, image: OwnedFd) -> Result<(), StepError> {
    match next(control.as_fd()).at(Step::AwaitGo)? {
        Some((ToStem::Go, _)) => {}
        Some((ToStem::Spawn(_), _)) | None => return Err(io::ErrorKind::InvalidData).at(Step::AwaitGo),
    }
    enter::enter(seed, image)?;
    let null = || open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).at(Step::StemDescriptors);
    sys::arrange(vec![null()?, null()?, null()?, control]).at(Step::StemDescriptors)?;
    sys::ignore_children().at(Step::StemChildren)?;
    let threads = fs::read_dir("/proc/self/task").at(Step::StemThreads)?.count();
    if threads != 1 {
        return Err(io::ErrorKind::Other).at(Step::StemThreads);
    }
    send(sys::borrow(CONTROL), &FromStem::Ready.pack(), &[]).at(Step::StemReady)
}

/// Waits for the helper's next message; `None` when it has closed the socket.
fn next(control: BorrowedFd<'_>) -> io::Result<Option<(ToStem, Vec<OwnedFd>)>> {
    loop {
        let mut ready = [PollFd::new(&control, PollFlags::IN)];
        match poll(&mut ready, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        match receive(control)? {
            Received::Packet(bytes, fds) => {
                return Ok(Some((ToStem::unpack(&bytes).map_err(io::Error::other)?, fds)));
            }
            Received::Nothing => {}
            Received::End => return Ok(None),
        }
    }
}

fn serve(seed: &Seed) -> ! {
    let mut networks = Networks::default();
    loop {
        match next(sys::borrow(CONTROL)) {
            Ok(Some((ToStem::Spawn(spawn), descriptors))) => {
                if answer(seed, &mut networks, spawn, descriptors).is_err() {
                    sys::exit_now(1);
                }
            }
            Ok(Some((ToStem::Go, _))) | Err(_) => sys::exit_now(1),
            Ok(None) => sys::exit_now(0),
        }
    }
}

/// The namespaces that each run gets anew.
const NAMESPACES: CloneFlags =
    clone_flags::NEWPID | clone_flags::NEWNS | clone_flags::NEWIPC | clone_flags::NEWUTS;

fn answer(seed: &Seed, networks: &mut Networks, spawn: Spawn, descriptors: Vec<OwnedFd>) -> io::Result<()> {
    let program = usize::from(spawn.language);
    let (Some(program), true) = (seed.programs.get(program), descriptors.len() >= place::COUNT) else {
        return refuse(spawn.run, Step::CloneInit, &io::Error::from_raw_os_error(libc::EINVAL));
    };
    let network = match networks.of_slot(spawn.slot) {
        Ok(network) => network.as_fd(),
        Err(error) => return refuse(spawn.run, Step::MakeNetwork, &error),
    };
    match sys::clone3(NAMESPACES) {
        Ok(Cloned::Child) => {
            let guest_id = match seed.ids {
                SlotIds::Own => GUEST_ID_FIRST.saturating_add(spawn.slot),
                SlotIds::Shared => GUEST_ID_FIRST,
            };
            let plan = Plan {
                spawn,
                program,
                filter: &seed.filter,
                landlock_abi: seed.landlock_abi,
                guest_id,
                network,
                groups_can_be_dropped: seed.ids == SlotIds::Own,
            };
            become_init(&plan, descriptors)
        }
        Ok(Cloned::Parent { pidfd: Some(pidfd), .. }) => {
            send(sys::borrow(CONTROL), &FromStem::Spawned { run: spawn.run }.pack(), &[pidfd.as_fd()])
        }
        Ok(Cloned::Parent { pidfd: None, .. }) => {
            refuse(spawn.run, Step::CloneInit, &io::Error::from_raw_os_error(libc::EIO))
        }
        Err(error) => refuse(spawn.run, Step::CloneInit, &error),
    }
}

fn refuse(run: u64, step: Step, error: &io::Error) -> io::Result<()> {
    let errno = error.raw_os_error().unwrap_or(libc::EIO);
    send(sys::borrow(CONTROL), &FromStem::SpawnFailed { run, step, errno }.pack(), &[])
}
