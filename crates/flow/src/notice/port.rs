//! The port.

use std::sync::Arc;

use super::Seen;

/// Somebody who takes note of decisions.
pub trait Notice: Send + Sync {
    /// Is told of a walk that has ended. Must return at once, whatever becomes of what it was told.
    fn seen(&self, walk: &Seen);
}

/// Nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoNotice;

impl Notice for NoNotice {
    fn seen(&self, _walk: &Seen) {}
}

/// Several, in their order.
#[derive(Clone)]
pub struct Several(Arc<[Arc<dyn Notice>]>);

impl Several {
    /// These.
    pub fn new(takers: impl IntoIterator<Item = Arc<dyn Notice>>) -> Self {
        Self(takers.into_iter().collect())
    }
}

impl Notice for Several {
    fn seen(&self, walk: &Seen) {
        for taker in self.0.iter() {
            taker.seen(walk);
        }
    }
}
