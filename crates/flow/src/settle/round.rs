//! How far the look for open payments has come, so that it goes on from there the next time.

use std::sync::{Arc, Mutex, PoisonError};

use execgate_store::OpenPlace;

/// A place among the open payments. A clone is the same place.
#[derive(Debug, Clone, Default)]
pub struct Round(Arc<Mutex<Option<OpenPlace>>>);

impl Round {
    /// Where the last look has left off; none at the beginning.
    pub(super) fn place(&self) -> Option<OpenPlace> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Leaves off there.
    pub(super) fn leave(&self, place: Option<OpenPlace>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = place;
    }
}
