//! The parked runs that this process has to do with: which of them it starts just now, which rest after a start that
//! failed, and the memory that their payloads take up.
//!
//! Nothing here is a promise: that a run starts once is the record's.

use core::future::{Future, ready};
use core::pin::pin;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use execgate_model::{BodyPlace, Digest, RunId, UnixMs};
use execgate_store::{Due, Parked, Store};
use execgate_tool::{Cancel, NotStarted};
use serde_json::Value;
use tokio::sync::{Notify, watch};

use super::Today;
use super::today::Remembered;
use crate::Refusal;

/// Parked runs that one process takes to their claim at the same time; the others follow with the next sweeps.
const STARTING_MAX: usize = 16;

/// Parked runs that wait beside the turns until their tool is ready; each keeps its payload in memory meanwhile. Further ones rest.
const ASIDE_MAX: usize = 64;

/// How long a run rests that could not start, in milliseconds: twice as long each time.
const REST_MS: u64 = 5_000;

/// The longest rest where a try leaves nothing behind: what stood in the way may be mended at any moment.
const REST_MAX_MS: u64 = 60_000;

/// The longest rest where each try leaves leaves.
const LONG_REST_MAX_MS: u64 = 15 * 60_000;

/// Where the payloads of parked runs find room in memory, beside the bodies of requests.
pub trait Lodging: Send + Sync {
    /// A place for so many bytes, for as long as it is kept; none where there is no room now.
    fn lodge(&self, bytes: u64) -> Option<BodyPlace>;
}

/// Room for everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct Boundless;

impl Lodging for Boundless {
    fn lodge(&self, _bytes: u64) -> Option<BodyPlace> {
        Some(BodyPlace::default())
    }
}

/// What came of a start that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trace {
    /// Nothing was claimed. Other rules, or another word, may let it start.
    None(Seen),
    /// It was claimed, and the claim was taken back: its leaves stay.
    Leaves {
        /// How often that was so before.
        before: u32,
    },
}

/// What a start was tried with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    /// What names the gateway's rules.
    pub(super) rules: Digest,
    /// How much people had said.
    pub(super) votes: usize,
}

#[derive(Debug, Clone, Copy)]
struct Rest {
    since: UnixMs,
    until: UnixMs,
    failures: u32,
    trace: Trace,
}

/// A run that was parked, from its claim to its end in this process.
struct Started {
    cancel: Cancel,
    over: watch::Sender<()>,
}

/// Where a run is on its way to its claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    InTurn,
    /// It waits until its tool is ready, and others have its turn.
    Aside,
}

#[derive(Default)]
struct Inner {
    walking: HashMap<RunId, Stands>,
    started: HashMap<RunId, Started>,
    resting: HashMap<RunId, Rest>,
    remembered: HashMap<RunId, Remembered>,
    /// Of which day's rules what people have said was not enough, and how much that was.
    in_vain: HashMap<RunId, (Today, usize)>,
}

impl Inner {
    fn how_many(&self, stand: Stands) -> usize {
        self.walking.values().filter(|walks| **walks == stand).count()
    }

    /// Lets a run stand there, where fewer than so many do.
    fn stands(&mut self, run: RunId, at: Stands, most: usize) -> bool {
        let fits = self.how_many(at) < most;
        if fits {
            self.walking.insert(run, at);
        }
        fits
    }
}

/// Where parked runs stand, as this process sees them.
#[derive(Clone)]
pub(crate) struct Yard {
    inner: Arc<Mutex<Inner>>,
    turns: Arc<AtomicUsize>,
    /// Told whenever a turn is over, or lent.
    freed: Arc<Notify>,
    lodging: Arc<dyn Lodging>,
}

/// A run's turn to start. It is over with its claim, so that a long run keeps no other from its own.
pub(crate) struct Turn {
    yard: Yard,
    run: RunId,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.yard.inner().walking.remove(&self.run);
        self.yard.freed.notify_waiters();
    }
}

impl Turn {
    /// Waits until a tool is ready. Where that is not at once, others have the turn meanwhile, and whoever has it again waits for
    /// another that is free.
    ///
    /// # Errors
    /// As what is waited for; [`NotStarted::Full`] where many wait so.
    pub(crate) async fn lend<F>(turn: Option<&Self>, is_ready: F) -> Result<(), NotStarted>
    where
        F: Future<Output = Result<(), NotStarted>>,
    {
        let Some(Self { yard, run }) = turn else { return is_ready.await };
        let mut is_ready = pin!(is_ready);
        tokio::select! {
            biased;
            told = &mut is_ready => return told,
            () = ready(()) => {}
        }
        if !yard.inner().stands(*run, Stands::Aside, ASIDE_MAX) {
            return Err(NotStarted::Full);
        }
        yard.freed.notify_waiters();
        is_ready.await?;
        loop {
            // From before it is looked: whatever is freed behind that is heard.
            let freed = yard.freed.notified();
            if yard.inner().stands(*run, Stands::InTurn, STARTING_MAX) {
                return Ok(());
            }
            freed.await;
        }
    }
}

/// That a parked run has been started by this process, from before its claim to its end.
pub(crate) struct Running {
    yard: Yard,
    run: RunId,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.yard.inner().started.remove(&self.run);
    }
}

impl Yard {
    /// Takes note of a run that starts now, so that whoever has called it can end it.
    pub(crate) fn runs(&self, run: RunId, cancel: Cancel) -> Running {
        self.inner().started.insert(run, Started { cancel, over: watch::Sender::new(()) });
        Running { yard: self.clone(), run }
    }

    /// Asks for the end of a run that this process has started: the sender of what is given is gone with that.
    pub(super) fn reach(&self, run: RunId) -> Option<watch::Receiver<()>> {
        self.inner().started.get(&run).map(|started| {
            started.cancel.cancel();
            started.over.subscribe()
        })
    }

    pub(crate) fn new(lodging: Arc<dyn Lodging>) -> Self {
        Self { inner: Arc::default(), turns: Arc::default(), freed: Arc::default(), lodging }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn take(&self, run: RunId) -> Option<Turn> {
        let mut inner = self.inner();
        let fresh = !inner.walking.contains_key(&run) && inner.stands(run, Stands::InTurn, STARTING_MAX);
        fresh.then(|| Turn { yard: self.clone(), run })
    }

    /// Where a sweep begins: each begins behind the one before it.
    pub(super) fn next_turn(&self) -> usize {
        self.turns.fetch_add(STARTING_MAX, Ordering::Relaxed)
    }

    /// A run has started: it needs no rest.
    pub(crate) fn forget(&self, run: RunId) {
        self.inner().resting.remove(&run);
    }

    /// Forgets all runs but these, and those that are being started.
    pub(super) fn keep_only(&self, due: &[Due], now: UnixMs) {
        let due: HashSet<RunId> = due.iter().map(|due| due.run).collect();
        let mut inner = self.inner();
        inner.resting.retain(|run, rest| due.contains(run) || rest.holds(now));
        inner.remembered.retain(|run, _| due.contains(run));
        inner.in_vain.retain(|run, _| due.contains(run));
    }

    /// Whether a run that failed to start has not rested for long enough, under the same rules and with the same words.
    pub(super) fn rests(&self, run: RunId, seen: Seen, now: UnixMs) -> bool {
        let inner = self.inner();
        inner.resting.get(&run).is_some_and(|rest| rest.holds(now) && rest.is_as(seen))
    }

    /// The same, where each further try leaves leaves: then not even its caller can have one.
    pub(super) fn rests_long(&self, run: RunId, now: UnixMs) -> bool {
        let inner = self.inner();
        inner
            .resting
            .get(&run)
            .is_some_and(|rest| matches!(rest.trace, Trace::Leaves { .. }) && rest.holds(now))
    }

    /// Lets a run rest that could not start now.
    pub(crate) fn rest(&self, run: RunId, now: UnixMs, trace: Trace) {
        let mut inner = self.inner();
        let failures = inner.resting.get(&run).map_or(0, |rest| rest.failures);
        let (failures, most) = match trace {
            Trace::None(_) => (failures, REST_MAX_MS),
            Trace::Leaves { before } => (failures.max(before), LONG_REST_MAX_MS),
        };
        let pause = REST_MS.saturating_mul(1_u64.checked_shl(failures).unwrap_or(u64::MAX)).min(most);
        let until = UnixMs(now.0.saturating_add(pause));
        let rest = Rest { since: now, until, failures: failures.saturating_add(1), trace };
        inner.resting.insert(run, rest);
    }

    /// Somebody has said something new of it: it may try again.
    pub(super) fn wake(&self, run: RunId) {
        if let Some(rest) = self.inner().resting.get_mut(&run) {
            rest.until = rest.since;
        }
    }

    /// Whether what people have said is known not to be enough under these very rules: nobody need be asked again.
    pub(super) fn is_in_vain(&self, run: RunId, today: &Today, votes: usize) -> bool {
        self.inner().in_vain.get(&run).is_some_and(|known| (&known.0, known.1) == (today, votes))
    }

    pub(super) fn note_in_vain(&self, run: RunId, today: Today, votes: usize) {
        self.inner().in_vain.insert(run, (today, votes));
    }

    pub(super) fn recall(&self, run: RunId) -> Option<Remembered> {
        self.inner().remembered.get(&run).cloned()
    }

    pub(super) fn remember(&self, run: RunId, what: Remembered) {
        self.inner().remembered.insert(run, what);
    }

    /// What a parked run is to be given, and the place in memory that it takes up.
    pub(super) async fn payload(
        &self,
        store: &dyn Store,
        parked: &Parked,
    ) -> Result<(Value, BodyPlace), Refusal> {
        let (bytes, place) = self.raw_payload(store, parked).await?;
        let payload = serde_json::from_slice(&bytes);
        let payload = payload.map_err(|error| Refusal::Receipt { detail: error.to_string() })?;
        Ok((payload, place))
    }

    /// The same as it is stored.
    pub(super) async fn raw_payload(
        &self,
        store: &dyn Store,
        parked: &Parked,
    ) -> Result<(Vec<u8>, BodyPlace), Refusal> {
        let reason = "too many large requests are held at once; try again shortly";
        let place = self.lodging.lodge(parked.bytes);
        let place = place.ok_or(Refusal::Busy { rule: "many-large-bodies", reason })?;
        let run = parked.record.run;
        let bytes = store.parked_payload(run).await?.ok_or(Refusal::StillRunning { run })?;
        Ok((bytes, place))
    }
}

impl Rest {
    /// A clock that was set back ends it: nobody rests for a day because of that.
    fn holds(&self, now: UnixMs) -> bool {
        (self.since..self.until).contains(&now)
    }

    fn is_as(&self, seen: Seen) -> bool {
        match self.trace {
            Trace::None(before) => before == seen,
            Trace::Leaves { .. } => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use execgate_model::{Digest, RunId, UnixMs};

    use core::future::{pending, ready};

    use execgate_tool::NotStarted;
    use tokio::sync::oneshot;
    use tokio::task::yield_now;

    use super::{
        ASIDE_MAX, Boundless, LONG_REST_MAX_MS, REST_MAX_MS, REST_MS, STARTING_MAX, Seen, Trace, Turn, Yard,
    };

    fn seen(votes: usize) -> Seen {
        Seen { rules: Digest::from_bytes([0; 32]), votes }
    }

    fn run(number: usize) -> RunId {
        RunId::from_entropy([u8::try_from(number).unwrap(); 16])
    }

    #[test]
    fn so_many_start_at_once_and_each_of_them_once() {
        let yard = Yard::new(Arc::new(Boundless));
        let mut turns: Vec<_> = (0..STARTING_MAX).map(|number| yard.take(run(number)).unwrap()).collect();
        assert!(yard.take(run(200)).is_none());
        turns.pop();
        assert!(yard.take(run(0)).is_none());
        assert!(yard.take(run(200)).is_some());
    }

    #[tokio::test]
    async fn who_waits_lends_its_turn_stays_started_and_has_a_turn_again_before_it_goes_on() {
        let yard = Yard::new(Arc::new(Boundless));
        let mut turns: Vec<_> = (0..STARTING_MAX).map(|number| yard.take(run(number)).unwrap()).collect();
        let first = turns.remove(0);
        // What need not be waited for keeps its turn.
        assert_eq!(Turn::lend(Some(&first), ready(Ok(()))).await, Ok(()));
        assert!(yard.take(run(200)).is_none());
        let (tells, told) = oneshot::channel::<()>();
        let waiting = tokio::spawn(async move {
            Turn::lend(Some(&first), async { told.await.map_err(|_| NotStarted::Full) }).await.map(|()| first)
        });
        let other = loop {
            match yard.take(run(200)) {
                Some(turn) => break turn,
                None => yield_now().await,
            }
        };
        assert!(yard.take(run(0)).is_none(), "it waits, and is not started twice");
        tells.send(()).unwrap();
        for _ in 0..100 {
            yield_now().await;
        }
        assert!(!waiting.is_finished(), "every turn is taken");
        drop(other);
        let first = waiting.await.unwrap().unwrap();
        assert!(yard.take(run(200)).is_none());
        drop((first, turns));
        assert!(yard.inner().walking.is_empty());
    }

    #[tokio::test]
    async fn so_many_wait_aside_and_further_ones_do_not_start() {
        let yard = Yard::new(Arc::new(Boundless));
        for number in 0..ASIDE_MAX {
            let turn = yard.take(run(number)).unwrap();
            let waits = tokio::spawn(async move { Turn::lend(Some(&turn), pending()).await });
            while yard.inner().how_many(super::Stands::Aside) <= number {
                yield_now().await;
            }
            drop(waits);
        }
        let turn = yard.take(run(200)).unwrap();
        assert_eq!(Turn::lend(Some(&turn), pending()).await, Err(NotStarted::Full));
    }

    #[test]
    fn a_run_rests_twice_as_long_each_time_and_a_new_word_wakes_it() {
        let yard = Yard::new(Arc::new(Boundless));
        let mut now = 1_000_000;
        for failures in 0..20 {
            yard.rest(run(1), UnixMs(now), Trace::Leaves { before: 0 });
            let pause = (REST_MS << failures).min(LONG_REST_MAX_MS);
            assert!(yard.rests_long(run(1), UnixMs(now + pause - 1)), "{failures}");
            assert!(
                !yard.rests(run(1), seen(0), UnixMs(now + pause))
                    && !yard.rests(run(2), seen(0), UnixMs(now))
            );
            now += pause;
        }
        yard.rest(run(1), UnixMs(now), Trace::None(seen(0)));
        assert!(yard.rests(run(1), seen(0), UnixMs(now)) && !yard.rests_long(run(1), UnixMs(now)));
        assert!(!yard.rests(run(1), seen(0), UnixMs(now + REST_MAX_MS)));
        assert!(!yard.rests(run(1), seen(0), UnixMs(now - 1)), "the clock was set back");
        assert!(!yard.rests(run(1), seen(1), UnixMs(now)), "somebody has said more");
        let other = Seen { rules: Digest::from_bytes([1; 32]), ..seen(0) };
        assert!(!yard.rests(run(1), other, UnixMs(now)), "the rules are others");
        yard.wake(run(1));
        assert!(!yard.rests(run(1), seen(0), UnixMs(now)));
        yard.rest(run(1), UnixMs(now), Trace::None(seen(0)));
        yard.keep_only(&[], UnixMs(now + REST_MAX_MS));
        assert!(!yard.rests(run(1), seen(0), UnixMs(now)));
    }
}
