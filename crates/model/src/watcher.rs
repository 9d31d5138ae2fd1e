//! Seeing a run's output as it comes. Nothing that a watcher does has an effect on the run.

use core::fmt;
use std::sync::Arc;

/// What can be seen of a run before it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<'a> {
    /// It is claimed and starts.
    Started,
    /// Bytes of its standard output; any bytes.
    Stdout(&'a [u8]),
    /// Bytes of its standard error; any bytes.
    Stderr(&'a [u8]),
}

/// Somebody who watches a run. Must not block: the run waits for it.
#[derive(Clone)]
pub struct Watcher(Arc<dyn Fn(Progress<'_>) + Send + Sync>);

impl Watcher {
    /// A watcher that is told by this function.
    pub fn new(see: impl Fn(Progress<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(see))
    }

    /// Shows something.
    pub fn see(&self, progress: Progress<'_>) {
        (self.0)(progress);
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watcher")
    }
}
