//! The port that is told of runs that wait for people.

use crate::parking::Waiting;

/// Tells people that a run waits for them. Must never wait itself: the caller's answer is behind it.
pub trait Bell: Send + Sync {
    /// A run waits from now on.
    fn rings(&self, waiting: &Waiting);
}

/// Nobody is told; approvers look for themselves.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoBell;

impl Bell for NoBell {
    fn rings(&self, _waiting: &Waiting) {}
}
