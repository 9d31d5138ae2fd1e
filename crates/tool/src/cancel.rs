//! A caller's wish that a run should end, and what is to be done as soon as there is one.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// A caller's wish that a run should end. Shared between the door that sees the caller go and the run.
#[derive(Clone, Default)]
pub struct Cancel(Arc<Wish>);

struct Wish {
    wanted: watch::Sender<bool>,
    cords: Mutex<Cords>,
}

/// What is pulled, by numbers that are given once.
#[derive(Default)]
struct Cords {
    tied: Vec<(u64, Cord)>,
    last: u64,
}

/// What is done where the end is asked for. It must not wait for anything.
type Cord = Box<dyn FnOnce() + Send>;

impl Default for Wish {
    fn default() -> Self {
        Self { wanted: watch::Sender::new(false), cords: Mutex::default() }
    }
}

impl Wish {
    fn cords(&self) -> MutexGuard<'_, Cords> {
        self.cords.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cancel").field(&self.is_cancelled()).finish()
    }
}

impl Cancel {
    /// Asks for the end.
    pub fn cancel(&self) {
        self.0.wanted.send_replace(true);
        // Whoever ties a cord after this sees that it is to be pulled at once.
        let tied = std::mem::take(&mut self.0.cords().tied);
        for (_, pull) in tied {
            pull();
        }
    }

    /// Whether the end is asked for.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        *self.0.wanted.borrow()
    }

    /// Resolves once the end is asked for.
    pub async fn cancelled(&self) {
        // The sender lives as long as this value, so waiting cannot fail.
        drop(self.0.wanted.subscribe().wait_for(|wanted| *wanted).await.ok());
    }

    /// Does something as soon as the end is asked for, or now where it was; not after the knot is dropped, but for what is
    /// being done in that moment. `pull` must not wait for anything.
    pub fn tie(&self, pull: impl FnOnce() + Send + 'static) -> Knot {
        let mut cords = self.0.cords();
        cords.last += 1;
        let number = cords.last;
        if self.is_cancelled() {
            drop(cords);
            pull();
        } else {
            cords.tied.push((number, Box::new(pull)));
        }
        Knot { wish: Arc::clone(&self.0), number }
    }
}

/// What unties a cord when it is dropped.
#[must_use = "a cord without its knot is untied"]
pub struct Knot {
    wish: Arc<Wish>,
    number: u64,
}

impl fmt::Debug for Knot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Knot").field(&self.number).finish()
    }
}

impl Drop for Knot {
    fn drop(&mut self) {
        self.wish.cords().tied.retain(|(number, _)| *number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::Cancel;

    /// Something to pull, and how often it was.
    fn counted() -> (Arc<AtomicU32>, impl FnOnce() + Send + 'static) {
        let count = Arc::new(AtomicU32::new(0));
        let pulled = Arc::clone(&count);
        (count, move || {
            pulled.fetch_add(1, Ordering::SeqCst);
        })
    }

    #[test]
    fn a_cord_is_pulled_once_whenever_it_was_tied_and_not_when_it_is_untied() {
        let cancel = Cancel::default();
        let (before, pull) = counted();
        let _before = cancel.tie(pull);
        let (untied, pull) = counted();
        drop(cancel.tie(pull));
        assert_eq!(before.load(Ordering::SeqCst), 0);
        cancel.cancel();
        cancel.cancel();
        let (after, pull) = counted();
        let _after = cancel.tie(pull);
        let pulled = [before, untied, after].map(|count| count.load(Ordering::SeqCst));
        assert_eq!(pulled, [1, 0, 1]);
    }

    #[tokio::test]
    async fn whoever_waits_is_told() {
        let cancel = Cancel::default();
        let waiting = cancel.clone();
        let waits = tokio::spawn(async move { waiting.cancelled().await });
        cancel.cancel();
        waits.await.unwrap();
        cancel.cancelled().await;
    }
}
