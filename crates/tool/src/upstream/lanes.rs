//! Who has a process of a server, or a session with one at a URL: everybody the same, or each caller one of its own.
//!
//! A process of its own is started by its caller's first call, ends when nothing was called for a while, and is never
//! handed on: what one caller leaves in it no other can find. What may be called is the same for all, because each of
//! these processes is asked what it offers, and a tool that is not what was accepted is not called.

use core::time::Duration;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use execgate_model::Digest;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;

use super::client::{Client, Manner};
use super::connect::{Connect, ConnectError};
use super::entry::{Digester, Entry};
use super::server::LIST_EVERY;
use crate::NotStarted;

/// How often a process is asked anew what it offers in which calls are always under way.
const LIST_EVERY_WHERE_BUSY: Duration = Duration::from_mins(5);

/// Whether callers share a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// One serves all of them.
    Shared,
    /// There is one caller.
    Sole,
    /// Each has one of its own.
    PerCaller {
        /// How many there are at most at once.
        processes_max: usize,
        /// How long one is kept that nothing is called of.
        idle: Duration,
    },
}

/// The processes of callers.
pub(super) struct Lanes {
    processes_max: usize,
    idle: Duration,
    lanes: Mutex<HashMap<Digest, Arc<Lane>>>,
}

/// The process of one caller.
struct Lane {
    owner: Digest,
    /// Held while it is started, so that two calls of one caller start one.
    started: AsyncMutex<Option<Started>>,
    calls: Mutex<Calls>,
}

struct Calls {
    open: usize,
    /// How many of them have the process, and may be under way in it.
    sent: usize,
    last: Instant,
}

/// One that was started, and what it offers.
#[derive(Clone)]
struct Started {
    client: Arc<Client>,
    digests: Arc<BTreeMap<String, Digest>>,
    /// How often it had said that this has changed.
    as_of: u64,
    /// When it was asked.
    since: Instant,
}

/// A call's hold on the process of its caller: it is not ended before that is dropped.
pub(super) struct Seat {
    lane: Arc<Lane>,
    is_sent: AtomicBool,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut calls = self.lane.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.open = calls.open.saturating_sub(1);
        if *self.is_sent.get_mut() {
            calls.sent = calls.sent.saturating_sub(1);
        }
        calls.last = Instant::now();
    }
}

impl Lane {
    fn new(owner: Digest) -> Self {
        Self {
            owner,
            started: AsyncMutex::new(None),
            calls: Mutex::new(Calls { open: 0, sent: 0, last: Instant::now() }),
        }
    }

    /// Since when nothing is called of it; none where something is.
    fn idle_since(&self) -> Option<Instant> {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        (calls.open == 0).then_some(calls.last)
    }

    fn sit(self: &Arc<Self>) -> Seat {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).open += 1;
        Seat { lane: Arc::clone(self), is_sent: AtomicBool::new(false) }
    }
}

impl Lanes {
    pub(super) fn new(processes_max: usize, idle: Duration) -> Self {
        Self { processes_max, idle, lanes: Mutex::default() }
    }

    /// A seat in the process of a caller. Nothing is started yet; where there are as many as may be, the one that was idle
    /// for longest makes room.
    pub(super) fn seat(&self, owner: Digest) -> Result<Seat, NotStarted> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.get(&owner) {
            return Ok(lane.sit());
        }
        if lanes.len() >= self.processes_max {
            let idle = lanes.iter().filter_map(|(owner, lane)| Some((lane.idle_since()?, *owner)));
            let Some((_, longest)) = idle.min_by_key(|(since, _)| *since) else {
                return Err(NotStarted::Full);
            };
            lanes.remove(&longest);
        }
        let lane = Arc::new(Lane::new(owner));
        let seat = lane.sit();
        lanes.insert(owner, lane);
        Ok(seat)
    }

    /// Asks the process of a caller whether a tool is there what was accepted, where that is to be asked. One that is not there
    /// yet is started for nobody who has claimed nothing.
    pub(super) async fn holds(
        &self,
        owner: Digest,
        starts: Starts<'_>,
        entry: &Entry,
    ) -> Result<(), NotStarted> {
        let lane = self.lanes.lock().unwrap_or_else(PoisonError::into_inner).get(&owner).map(Lane::sit);
        let Some(seat) = lane else { return Ok(()) };
        let is_there =
            seat.lane.started.lock().await.as_ref().is_some_and(|there| there.client.ended().is_none());
        if is_there { seat.client(starts, Some(entry)).await.map(drop) } else { Ok(()) }
    }

    /// Ends those of which nothing was called for long enough.
    pub(super) fn sweep(&self) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.retain(|_, lane| lane.idle_since().is_none_or(|since| since.elapsed() < self.idle));
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// With what a process is started.
pub(super) struct Starts<'u> {
    pub(super) connect: &'u Arc<dyn Connect>,
    pub(super) digester: Digester,
    pub(super) manner: Manner,
}

impl Seat {
    /// The process, started now where it is not there. A tool is there what was accepted, or it is not called.
    pub(super) async fn client(
        &self,
        starts: Starts<'_>,
        entry: Option<&Entry>,
    ) -> Result<Arc<Client>, NotStarted> {
        let started = self.started(starts).await;
        let started = started.map_err(|error| NotStarted::Unavailable(error.to_string()))?;
        match entry {
            Some(entry) if started.digests.get(&entry.name) != Some(&entry.digest) => {
                Err(NotStarted::Unavailable(format!(
                    "`{}` is not what was accepted in the process that was started for this caller",
                    entry.name
                )))
            }
            Some(_) | None => Ok(started.client),
        }
    }

    async fn started(&self, starts: Starts<'_>) -> Result<Started, ConnectError> {
        let mut started = self.lane.started.lock().await;
        let is_busy = self.is_one_of_many();
        // What is there stays there while it is asked anew: other calls of this caller may be under way in it.
        let client = match started.as_ref().filter(|before| before.client.ended().is_none()) {
            Some(before) if !before.is_behind() && !before.is_old(is_busy) => {
                self.has_it();
                return Ok(before.clone());
            }
            Some(before) => Arc::clone(&before.client),
            None => {
                *started = None;
                let opened = starts.connect.open_of(Some(self.lane.owner)).await?;
                Arc::new(Client::greet(opened.0, Arc::clone(starts.connect), starts.manner).await?)
            }
        };
        let since = Instant::now();
        let (offer, as_of) = match (client.offer(starts.digester).await, started.as_mut()) {
            (Ok(listed), _) => listed,
            // It has said nothing, and may do one thing at a time: it is taken as it was, and asked again later.
            (Err(_), Some(before)) if is_busy && !before.is_behind() => {
                before.since = Instant::now();
                self.has_it();
                return Ok(before.clone());
            }
            (Err(error), _) => return Err(error),
        };
        let digests = offer.entries.iter().map(|entry| (entry.name.clone(), entry.digest)).collect();
        let now = Started { client, digests: Arc::new(digests), as_of, since };
        *started = Some(now.clone());
        self.has_it();
        Ok(now)
    }

    /// Its call has the process from now on.
    fn has_it(&self) {
        let mut calls = self.lane.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_sent.swap(true, Ordering::Relaxed) {
            calls.sent += 1;
        }
    }

    /// Whether other calls may be under way in the process: one that does one thing at a time would not say now what it offers.
    /// Those that only have a seat, and wait as this one does, are not.
    fn is_one_of_many(&self) -> bool {
        self.lane.calls.lock().unwrap_or_else(PoisonError::into_inner).sent > 0
    }
}

impl Started {
    /// Whether it has said since that this has changed.
    fn is_behind(&self) -> bool {
        self.client.heard().borrow().tools != self.as_of
    }

    /// Whether it is asked anew though it has said nothing: not all do. Where it is busy, later.
    fn is_old(&self, is_busy: bool) -> bool {
        self.since.elapsed() >= if is_busy { LIST_EVERY_WHERE_BUSY } else { LIST_EVERY }
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use execgate_model::Digest;
    use tokio::time::{advance, pause};

    use super::Lanes;
    use crate::NotStarted;

    const IDLE: Duration = Duration::from_secs(60);

    fn caller(number: u8) -> Digest {
        Digest::from_bytes([number; 32])
    }

    #[tokio::test]
    async fn a_house_that_is_full_makes_room_by_what_was_idle_for_longest() {
        pause();
        let lanes = Lanes::new(2, IDLE);
        let first = lanes.seat(caller(1)).unwrap();
        let second = lanes.seat(caller(2)).unwrap();
        assert_eq!(lanes.seat(caller(3)).err(), Some(NotStarted::Full));
        drop(second);
        advance(Duration::from_secs(1)).await;
        drop(first);
        // The second was idle first: the third takes its place, and the first one's is kept.
        let third = lanes.seat(caller(3)).unwrap();
        let first = lanes.seat(caller(1)).unwrap();
        assert_eq!(lanes.seat(caller(2)).err(), Some(NotStarted::Full));
        drop((first, third));
    }

    #[tokio::test]
    async fn what_is_idle_ends_and_what_is_called_does_not() {
        pause();
        let lanes = Lanes::new(2, IDLE);
        let held = lanes.seat(caller(1)).unwrap();
        drop(lanes.seat(caller(2)).unwrap());
        advance(IDLE).await;
        lanes.sweep();
        assert_eq!(lanes.count(), 1);
        drop(held);
        advance(IDLE).await;
        lanes.sweep();
        assert_eq!(lanes.count(), 0);
    }
}
