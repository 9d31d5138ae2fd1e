//! How many runs may be under way. A slot is taken before anything else is; a full house refuses at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::RunError;

/// A place for one run. Dropping it gives it back.
#[derive(Debug)]
pub struct Slot(Arc<Slots>);

/// How full a sandbox is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    /// Runs that it can hold at once: fewer than were asked for while slots are quarantined.
    pub usable: usize,
    /// Runs and sessions that it holds.
    pub taken: usize,
}

/// What lies idle in a sandbox, so that runs begin at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Interpreters that wait in finished jails, each for one run.
    pub interpreters: usize,
    /// Interpreters that are there to be forked.
    pub forking: usize,
    /// What all of them hold in memory, in bytes: of those that wait what is charged to their cgroups, or seen.
    pub bytes: u64,
}

/// The places of one sandbox.
#[derive(Debug)]
pub(super) struct Slots {
    usable: AtomicUsize,
    taken: AtomicUsize,
}

impl Slots {
    pub(super) fn new(usable: usize) -> Arc<Self> {
        Arc::new(Self { usable: AtomicUsize::new(usable), taken: AtomicUsize::new(0) })
    }

    /// How many there are, and how many are taken.
    pub(super) fn depth(&self) -> Depth {
        let (taken, usable) = (self.taken.load(Ordering::Acquire), self.usable.load(Ordering::Acquire));
        Depth { usable, taken }
    }

    /// The helper says how many there are now.
    pub(super) fn set_usable(&self, usable: usize) {
        self.usable.store(usable, Ordering::Release);
    }

    pub(super) fn take(this: &Arc<Self>) -> Result<Slot, RunError> {
        let usable = this.usable.load(Ordering::Acquire);
        let taken = this
            .taken
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |taken| (taken < usable).then_some(taken + 1));
        match taken {
            Ok(_) => Ok(Slot(Arc::clone(this))),
            Err(_) => Err(RunError::Full { slots: usable }),
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::{Depth, Slots};

    #[test]
    fn a_full_house_refuses_until_a_slot_is_given_back() {
        let slots = Slots::new(1);
        let slot = Slots::take(&slots).unwrap();
        assert!(Slots::take(&slots).is_err());
        assert_eq!(slots.depth(), Depth { usable: 1, taken: 1 });
        drop(slot);
        assert!(Slots::take(&slots).is_ok());
        slots.set_usable(0);
        assert!(Slots::take(&slots).is_err());
    }
}
