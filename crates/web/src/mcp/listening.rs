//! Who wants to know when its list of tools is another one (`subscriptions/listen` of 2026-07-28; over a pipe the revisions
//! before it are told unasked).
//!
//! Nothing is said of what has changed: whoever is told asks for the list anew, and sees what its rules leave it then.

use core::time::Duration;
use std::sync::Arc;

use execgate_model::{Caller, Digest};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};

use super::desk::{Asker, Desk};

/// How often is looked whether anything has changed: people change rules and accept tools by hand, and a look takes some µs.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// For how long one is told at the most: then it comes again, and shows once more who it is.
const LISTENS: Duration = Duration::from_hours(1);

/// The most that listen to one gateway at once: each keeps a connection.
const LISTENERS_MAX: usize = 256;

/// The most of them of whom nobody knows who they are: they must not have all places.
const STRANGERS_MAX: usize = LISTENERS_MAX / 4;

/// The places of those who listen.
#[derive(Debug)]
pub(crate) struct Listeners {
    all: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
}

/// The place of one of them, for as long as it is kept.
#[derive(Debug)]
pub(super) struct Place {
    _among_all: OwnedSemaphorePermit,
    _among_strangers: Option<OwnedSemaphorePermit>,
}

impl Default for Listeners {
    fn default() -> Self {
        let places = |most| Arc::new(Semaphore::new(most));
        Self { all: places(LISTENERS_MAX), strangers: places(STRANGERS_MAX) }
    }
}

impl Listeners {
    /// A place for one more; none where all are taken that it may have.
    pub(super) fn place(&self, caller: &Caller) -> Option<Place> {
        let one_of = |places: &Arc<Semaphore>| Arc::clone(places).try_acquire_owned().ok();
        let among_strangers = if caller.is_identified() { None } else { Some(one_of(&self.strangers)?) };
        Some(Place { _among_all: one_of(&self.all)?, _among_strangers: among_strangers })
    }
}

/// Somebody who is told of changes.
pub(super) struct Listener<'d> {
    desk: &'d dyn Desk,
    asker: &'d Asker,
    /// What it was shown last.
    seen: Option<Digest>,
    /// Until when; for ever where its connection is its own proof of who it is.
    until: Option<Instant>,
}

impl<'d> Listener<'d> {
    /// Whoever has asked by a request, and knows the list as it was then.
    pub(super) fn begin(desk: &'d dyn Desk, asker: &'d Asker, seen: Option<Digest>) -> Self {
        Self { desk, asker, seen, until: Some(Instant::now() + LISTENS) }
    }

    /// Whoever is at the other end of a pipe, and knows it as it is now.
    pub(super) async fn at_a_pipe(desk: &'d dyn Desk, asker: &'d Asker) -> Self {
        Self { desk, asker, seen: desk.edition(asker).await.ok(), until: None }
    }

    /// Waits until the list is another one. False where there is no more to wait for: its time is over, it may not come in any
    /// more, or the gateway shuts down.
    pub(super) async fn changed(&mut self) -> bool {
        while self.until.is_none_or(|until| Instant::now() < until) {
            sleep(LOOK_EVERY).await;
            if self.desk.house().is_some_and(|house| house.parts.corridor.is_draining()) {
                break;
            }
            match self.desk.edition(self.asker).await {
                Ok(now) if self.seen == Some(now) => {}
                Ok(now) => {
                    self.seen = Some(now);
                    return true;
                }
                Err(_) if self.until.is_none() => {}
                Err(_) => break,
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use execgate_model::{Caller, Identity, TenantId};

    use super::{LISTENERS_MAX, Listeners, STRANGERS_MAX};

    #[test]
    fn strangers_do_not_have_all_places() {
        let listeners = Listeners::default();
        let by = |identity| Caller { tenant: TenantId::new("default").unwrap(), identity };
        let stranger = by(Identity::Session { id: "a".to_owned(), is_new: false });
        let mut places: Vec<_> = (0..STRANGERS_MAX).map(|_| listeners.place(&stranger).unwrap()).collect();
        assert!(listeners.place(&stranger).is_none());
        let local = by(Identity::Local);
        places.extend((STRANGERS_MAX..LISTENERS_MAX).map(|_| listeners.place(&local).unwrap()));
        assert!(listeners.place(&local).is_none());
        drop(places.remove(0));
        assert!(listeners.place(&stranger).is_some());
    }
}
