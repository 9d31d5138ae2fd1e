//! The loop: one message, one init. Returns only in an interpreter that was forked to be a guest's.

use std::ffi::CString;
use std::fs;
use std::io;
use std::mem;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};

use super::networks::Networks;
use super::place::{CONTROL, LIBRARY, REAPER, SEED};
use super::{Networked, Seed, SlotIds};
use crate::jail::{
    At as _, GUEST_ID_FIRST, Kernel as _, Network, Plan, Program, Real, Start, Step, StepError, become_init,
    place,
};
use crate::sys::{self, CloneFlags, Cloned, SockFilter, clone_flags};
use crate::wire::{FromStem, Message as _, NetworkProfile, Received, Spawn, ToStem, receive, send, text_of};

/// What an interpreter wants to be told of a fork.
#[derive(Debug, Clone, Copy)]
pub struct Hooks {
    /// In the stem, before.
    pub before: fn(),
    /// In the stem, after.
    pub after: fn(),
    /// In the interpreter that is a guest's.
    pub resident: fn(),
}

impl Hooks {
    /// Of a stem that is no interpreter.
    pub const NONE: Self = Self { before: || {}, after: || {}, resident: || {} };
}

/// Takes the seed that an interpreter was started with, and makes it the stem that it describes.
///
/// # Errors
/// The step that failed; the helper has been told.
pub fn warm_seed() -> Result<Seed, StepError> {
    let settle = || {
        // An exec gives both back.
        Real.die_with_parent().at(Step::StemDeathSignal)?;
        Real.not_dumpable().at(Step::StemNotDumpable)?;
        // It was there for the interpreter's start. Without it no jail has anything of it, not even below its own.
        Real.detach(c"/tmp").at(Step::StemTmpGone)?;
        drop(sys::take_inherited(LIBRARY).at(Step::StemDescriptors)?);
        let seed = sys::take_inherited(SEED).at(Step::StemDescriptors)?;
        Seed::read(&text_of(seed).at(Step::StemDescriptors)?).at(Step::StemDescriptors)
    };
    settle().inspect_err(tell_failed)
}

/// Ends an interpreter that is not fit to be a stem, and says so.
pub(crate) fn refuse_to_serve(unfit: io::Error) -> ! {
    tell_failed(&StepError { step: Step::StemForks, error: unfit });
    sys::exit_now(1)
}

fn tell_failed(failed: &StepError) {
    let packet = FromStem::Failed { step: failed.step, errno: failed.errno() }.pack();
    if send(sys::borrow(CONTROL), &packet, &[]).is_err() {
        sys::exit_now(2);
    }
}

/// Waits for the helper's next message; `None` when it has closed the socket.
///
/// # Errors
/// The kernel's, and one of `InvalidData` for a message that is none.
pub fn await_message(control: BorrowedFd<'_>) -> io::Result<Option<(ToStem, Vec<OwnedFd>)>> {
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

/// What an interpreter needs to know that is to be a guest's.
#[derive(Debug, Clone, Copy)]
pub struct Resident {
    /// How many of its run's descriptors it may have.
    pub inherited: u32,
    /// Its run waits for it already.
    pub is_awaited: bool,
}

/// The stem's life from here on. Comes back in an interpreter that is to be a guest's.
pub fn serve(seed: &'static Seed, hooks: &Hooks) -> Resident {
    // Takes some tens of milliseconds of a large one: before anybody counts on it.
    sys::join_pages();
    if let Err(failed) = ready() {
        tell_failed(&failed);
        sys::exit_now(1);
    }
    sys::fill_gaps();
    // Never dropped: in a resident the numbers of these descriptors stand for something else.
    let networks = Box::leak(Box::new(Networks::default()));
    loop {
        match await_message(sys::borrow(CONTROL)) {
            Ok(Some((ToStem::Spawn(spawn), descriptors))) => {
                match answer(seed, networks, hooks, spawn, descriptors) {
                    Ok(None) => {}
                    Ok(Some(resident)) => return resident,
                    Err(_) => sys::exit_now(1),
                }
            }
            Ok(Some((ToStem::Go, _))) | Err(_) => sys::exit_now(1),
            Ok(None) => sys::exit_now(0),
        }
    }
}

fn ready() -> Result<(), StepError> {
    sys::ignore_children().at(Step::StemChildren)?;
    let threads = fs::read_dir("/proc/self/task").at(Step::StemThreads)?.count();
    if threads != 1 {
        return Err(io::ErrorKind::Other).at(Step::StemThreads);
    }
    send(sys::borrow(CONTROL), &FromStem::Ready.pack(), &[]).at(Step::StemReady)
}

/// The namespaces that each run gets anew.
const NAMESPACES: CloneFlags =
    clone_flags::NEWPID | clone_flags::NEWNS | clone_flags::NEWIPC | clone_flags::NEWUTS;

/// What depends on the network that a run has.
struct Outfit<'a> {
    namespaces: CloneFlags,
    network: Network<'a>,
    filter: &'static [SockFilter],
    environment: &'static [CString],
}

/// A slot's namespace is used again only where nothing was up in it. Any other is of one run.
fn outfit<'a>(seed: &'static Seed, networks: &'a mut Networks, spawn: &Spawn) -> io::Result<Outfit<'a>> {
    let networked = || seed.networked.as_ref().ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL));
    let namespaces = NAMESPACES | clone_flags::NEWNET;
    Ok(match spawn.network {
        NetworkProfile::None => Outfit {
            namespaces: NAMESPACES,
            network: Network::Slot(networks.of_slot(spawn.slot)?.as_fd()),
            filter: &seed.filter,
            environment: &[],
        },
        NetworkProfile::Loopback => {
            Outfit { namespaces, network: Network::Loopback, filter: &networked()?.filter, environment: &[] }
        }
        NetworkProfile::Egress => {
            let Networked { filter, proxied } = networked()?;
            Outfit { namespaces, network: Network::Egress, filter, environment: proxied }
        }
    })
}

/// Clones an init. `Some` in a resident that has come through it.
fn answer(
    seed: &'static Seed,
    networks: &mut Networks,
    hooks: &Hooks,
    spawn: Spawn,
    descriptors: Vec<OwnedFd>,
) -> io::Result<Option<Resident>> {
    let invalid = || io::Error::from_raw_os_error(libc::EINVAL);
    let Some(program) = seed.programs.get(usize::from(spawn.language)) else {
        return refuse(spawn.run, Step::CloneInit, &invalid());
    };
    let descriptors = match all_of(program, descriptors) {
        Ok(all) if all.len() >= place::COUNT => all,
        Ok(_) => return refuse(spawn.run, Step::CloneInit, &invalid()),
        Err(error) => return refuse(spawn.run, Step::CloneInit, &error),
    };
    let outfit = match outfit(seed, networks, &spawn) {
        Ok(outfit) => outfit,
        Err(error) => return refuse(spawn.run, Step::MakeNetwork, &error),
    };
    let guest_id = match seed.ids {
        SlotIds::Own => GUEST_ID_FIRST.saturating_add(spawn.slot),
        SlotIds::Shared => GUEST_ID_FIRST,
    };
    let plan = Plan {
        spawn,
        program,
        filter: outfit.filter,
        landlock_abi: seed.landlock_abi,
        guest_id,
        network: outfit.network,
        environment: outfit.environment,
        groups_can_be_dropped: seed.ids == SlotIds::Own,
    };
    (hooks.before)();
    let cloned = match program.start {
        Start::Resident => {
            sys::clone_within(outfit.namespaces, || become_init(&plan, sys::own_again(&descriptors)))
        }
        Start::Exec { .. } | Start::Waiting { .. } => sys::clone3(outfit.namespaces),
    };
    if !matches!(cloned, Ok(Cloned::Child)) {
        (hooks.after)();
    }
    match cloned {
        Ok(Cloned::Child) => {
            match program.start {
                // Their numbers stand for something else by now.
                Start::Resident => mem::forget(descriptors),
                Start::Exec { .. } | Start::Waiting { .. } => become_init(&plan, descriptors),
            }
            (hooks.resident)();
            Ok(Some(Resident { inherited: program.inherited, is_awaited: spawn.is_awaited }))
        }
        // It was killed half-way: nobody can tell what it left of us.
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
        Ok(Cloned::Parent { pidfd: Some(pidfd), .. }) => {
            send(sys::borrow(CONTROL), &FromStem::Spawned { run: spawn.run }.pack(), &[pidfd.as_fd()])
                .map(|()| None)
        }
        Ok(Cloned::Parent { pidfd: None, .. }) => {
            refuse(spawn.run, Step::CloneInit, &io::Error::from_raw_os_error(libc::EIO))
        }
        Err(error) => refuse(spawn.run, Step::CloneInit, &error),
    }
}

/// The descriptors of an init in their places. What waits has no standard streams before it is handed a run; its socket
/// is where the code will be, and where the rest will be is what is needed until then.
fn all_of(program: &Program, given: Vec<OwnedFd>) -> io::Result<Vec<OwnedFd>> {
    let null = || sys::borrow(0).try_clone_to_owned();
    let (library, reaper) = match program.start {
        Start::Exec { .. } => return Ok(given),
        Start::Waiting { .. } => (sys::borrow(LIBRARY).try_clone_to_owned()?, null()?),
        Start::Resident => (null()?, sys::borrow(REAPER).try_clone_to_owned()?),
    };
    let mut given = given.into_iter();
    let mut all = vec![null()?, null()?, null()?];
    all.extend(given.next());
    all.extend([library, reaper]);
    all.extend(given);
    Ok(all)
}

fn refuse(run: u64, step: Step, error: &io::Error) -> io::Result<Option<Resident>> {
    let errno = error.raw_os_error().unwrap_or(libc::EIO);
    send(sys::borrow(CONTROL), &FromStem::SpawnFailed { run, step, errno }.pack(), &[]).map(|()| None)
}
