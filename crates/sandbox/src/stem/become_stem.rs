//! From the clone to the first message: wait for the id maps, enter the jail, arrange descriptors, begin.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use execgate_forkpoint::jail::{At as _, Kernel as _, Real, Step, StepError};
use execgate_forkpoint::panics::{Tell, die_of_panics};
use execgate_forkpoint::stem::place::CONTROL;
use execgate_forkpoint::stem::{
    Hooks, INTERPRETER_CAPABILITIES, STEM_CAPABILITIES, Seed, await_message, serve,
};
use execgate_forkpoint::sys;
use execgate_forkpoint::wire::{FromStem, Message as _, ToStem, send};
use rustix::fs::{Mode, OFlags, open};
use rustix::thread::{CapabilitySets, configure_capability_in_ambient_set, set_capabilities};

use super::enter::{Tmp, enter};

/// What a stem is born with beside its seed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Birth<'a> {
    /// The fork-point library, where an interpreter will load it.
    pub(crate) library: Option<&'a OwnedFd>,
    pub(crate) interpreter: Option<Interpreter<'a>>,
}

/// An interpreter that is to be the stem.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Interpreter<'a> {
    pub(crate) argv: &'a [CString],
    pub(crate) environment: &'a [CString],
    /// What it reads its [`Seed`] from.
    pub(crate) seed: &'a OwnedFd,
    /// What the inits of its jails become.
    pub(crate) reaper: &'a OwnedFd,
}

/// The whole life of a stem. Called in the process that the helper has just cloned.
pub(crate) fn become_stem(seed: &'static Seed, birth: Birth<'_>, control: OwnedFd, image: OwnedFd) -> ! {
    die_of_panics(Tell::Nobody);
    let early = control.try_clone().ok();
    let failed = match build(seed, birth, control, image) {
        Ok(()) => {
            serve(seed, &Hooks::NONE);
            // Only an interpreter comes back from there.
            sys::exit_now(1)
        }
        Err(failed) => failed,
    };
    let packet = FromStem::Failed { step: failed.step, errno: failed.errno() }.pack();
    // Which of the two is open depends on how far we got.
    let told = early.as_ref().is_some_and(|socket| send(socket, &packet, &[]).is_ok());
    let told = told || send(sys::borrow(CONTROL), &packet, &[]).is_ok();
    sys::exit_now(if told { 1 } else { 2 })
}

fn build(seed: &Seed, birth: Birth<'_>, control: OwnedFd, image: OwnedFd) -> Result<(), StepError> {
    match await_message(control.as_fd()).at(Step::AwaitGo)? {
        Some((ToStem::Go, _)) => {}
        Some((ToStem::Spawn(_), _)) | None => return Err(io::ErrorKind::InvalidData).at(Step::AwaitGo),
    }
    let own = if birth.interpreter.is_some() { Tmp::Own } else { Tmp::ReadOnly };
    enter(seed, image, own)?;
    let null = || open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).at(Step::StemDescriptors);
    let mut descriptors = vec![null()?, null()?, null()?, control];
    let own = birth.interpreter.into_iter().flat_map(|interpreter| [interpreter.seed, interpreter.reaper]);
    for fd in birth.library.into_iter().chain(own) {
        descriptors.push(fd.try_clone().at(Step::StemDescriptors)?);
    }
    sys::arrange(descriptors).at(Step::StemDescriptors)?;
    match birth.interpreter {
        Some(Interpreter { argv, environment, .. }) => {
            keep_capabilities().at(Step::StemCapabilities)?;
            // The helper ignores requests to end, and an exec would pass that on.
            sys::reset_signals().at(Step::Signals)?;
            Err(sys::execve(argv, environment)).at(Step::Exec)
        }
        None => Ok(()),
    }
}

/// What an exec would take from a stem that is not root of its namespace.
fn keep_capabilities() -> io::Result<()> {
    Real.drop_bounding(STEM_CAPABILITIES.difference(INTERPRETER_CAPABILITIES))?;
    let all = CapabilitySets {
        effective: INTERPRETER_CAPABILITIES,
        permitted: INTERPRETER_CAPABILITIES,
        inheritable: INTERPRETER_CAPABILITIES,
    };
    set_capabilities(None, all)?;
    for one in INTERPRETER_CAPABILITIES.iter() {
        configure_capability_in_ambient_set(one, true)?;
    }
    Ok(())
}
