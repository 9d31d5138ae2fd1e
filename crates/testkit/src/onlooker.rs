//! Whoever was told of decisions, and remembers all of them.

use std::sync::{Mutex, PoisonError};

use execgate_flow::notice::{Notice, Seen};

/// Every decision that the processes of a world have told of, in their order.
#[derive(Debug, Default)]
pub struct Onlooker(Mutex<Vec<Seen>>);

impl Onlooker {
    /// What was seen so far; it is forgotten with that.
    pub fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Notice for Onlooker {
    fn seen(&self, walk: &Seen) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(walk.clone());
    }
}
