//! Whose turn it is: every step of a simulated gateway to the outside waits here until the test lets it go.
//!
//! Together with one thread and steps that are atomic, that makes an interleaving a list of numbers.

use std::sync::{Mutex, PoisonError};

use core::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

/// Steps that wait for their turn, in the order in which they came.
#[derive(Debug, Default)]
pub struct Turns(Mutex<Vec<(&'static str, oneshot::Sender<()>)>>);

impl Turns {
    pub(crate) async fn take(&self, step: &'static str) {
        let (go, turn) = oneshot::channel();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((step, go));
        // A turn that never comes belongs to a life that is over.
        if turn.await.is_err() {
            core::future::pending().await
        }
    }

    /// How many wait. Those whose caller is gone are forgotten.
    pub fn waiting(&self) -> usize {
        let mut steps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        steps.retain(|(_, go)| !go.is_closed());
        steps.len()
    }

    /// Lets the step at this place go, and says which it was.
    ///
    /// # Panics
    /// If nobody waits there.
    pub fn go(&self, at: usize) -> &'static str {
        let (step, go) = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(at);
        go.send(()).ok();
        step
    }

    /// Forgets everybody who waits: their life is over.
    pub fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Lets everything run on until all of it waits for a turn, an event or a time. Needs paused time, which
/// moves only when nothing else can.
pub async fn until_idle() {
    timeout(Duration::from_millis(1), core::future::pending::<()>()).await.ok();
}
