//! The runs that somebody of this process walks with, so that what nobody walks with any more is told apart from them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use execgate_model::RunId;

/// The runs of one process that are claimed, or about to be, and not at their end. A clone is the same set.
#[derive(Debug, Clone, Default)]
pub struct Walking(Arc<Mutex<HashMap<RunId, u32>>>);

/// Somebody walks with a run until this is dropped.
#[derive(Debug)]
pub(crate) struct Walks {
    walking: Walking,
    run: RunId,
}

impl Walking {
    /// Takes note of a run before it is claimed, or paid anew.
    #[must_use]
    pub(crate) fn begin(&self, run: RunId) -> Walks {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(run).or_default() += 1;
        Walks { walking: self.clone(), run }
    }

    /// Whether somebody walks with it.
    pub(crate) fn has(&self, run: RunId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&run)
    }
}

impl Drop for Walks {
    fn drop(&mut self) {
        let mut runs = self.walking.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = runs.get_mut(&self.run) {
            *count -= 1;
            if *count == 0 {
                runs.remove(&self.run);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use execgate_model::RunId;

    use super::Walking;

    #[test]
    fn a_run_walks_until_the_last_of_those_who_walk_with_it_is_gone() {
        let (walking, run) = (Walking::default(), RunId::from_entropy([1; 16]));
        let (first, second) = (walking.begin(run), walking.clone().begin(run));
        drop(first);
        assert!(walking.has(run) && !walking.has(RunId::from_entropy([2; 16])));
        drop(second);
        assert!(!walking.has(run));
    }
}
