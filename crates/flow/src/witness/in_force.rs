//! What signs now, and can be replaced while runs walk.

use std::sync::{Arc, PoisonError, RwLock};

/// The place where a key in force hangs. Whoever has taken it signs with it to the end; the next sees the new one.
pub struct InForce<T>(RwLock<Arc<T>>);

impl<T> InForce<T> {
    /// This one, until another takes its place.
    #[must_use]
    pub fn new(key: T) -> Self {
        Self(RwLock::new(Arc::new(key)))
    }

    /// What is in force now.
    #[must_use]
    pub fn now(&self) -> Arc<T> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another in force.
    pub fn replace(&self, key: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
    }
}
