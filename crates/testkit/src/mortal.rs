//! A record that is cut off when its process dies.

use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Wake;
use std::thread::{self, Thread};

use execgate_model::{BoxFuture, Digest, GrantId, InstanceId, KeyPurpose, RunId, UnixMs};
use execgate_store::{
    AuditEntry, AuditLine, AuditQuery, Change, Changed, Claim, Claimed, Due, Earned, Examiner, Finish,
    Finished, Grant, Granted, KeyAdded, KeyRetired, Late, LeftPayment, LogCheckpoint, LogCosigned, LogEpoch,
    LogHead, LogLeaf, LogNode, LogStanding, LogStep, LogStore, MovedLate, NewKey, NewPayment, OpenPayment,
    OpenPlace, OwnKey, Page, Parked, ParkedPage, Parking, Record, Recorded, Refused, Repaid, Reply,
    Resolution, Revised, Settled, Settling, Standing, Store, StoreError, Sums, Undone, Unfinal, Untold, Vote,
    Voted, Watched,
};
use tokio::task::unconstrained;

use crate::{Life, StoreFault};

/// How many turns of others a step waits for that is slow.
const SLOW_TURNS: u32 = 8;

/// The store of one life.
pub(crate) struct MortalStore {
    life: Arc<Life>,
    instance: InstanceId,
    inner: Mutex<Option<Arc<dyn Store>>>,
}

impl MortalStore {
    pub(crate) fn new(life: Arc<Life>, inner: Arc<dyn Store>) -> Self {
        Self { life, instance: inner.instance(), inner: Mutex::new(Some(inner)) }
    }

    /// Drops the handle, as the death of a process does.
    pub(crate) fn drop_handle(&self) {
        drop(self.inner.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    fn handle(&self) -> Option<Arc<dyn Store>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn step<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl FnOnce(Arc<dyn Store>) -> BoxFuture<'static, Result<T, StoreError>> + Send + 'static,
    ) -> Reply<'_, T> {
        Box::pin(async move {
            self.life.step(name).await;
            let fault = self.life.fault_at(name);
            match fault {
                Some(StoreFault::Busy) => return Err(StoreError::Busy),
                Some(StoreFault::Before) => return Err(scripted(name)),
                Some(StoreFault::Slow) => {
                    for _ in 0..SLOW_TURNS {
                        self.life.step(name).await;
                    }
                }
                Some(StoreFault::Held) => self.life.hold().await,
                Some(StoreFault::After) | None => {}
            }
            let Some(store) = self.handle() else { return core::future::pending().await };
            let answer = if self.life.takes_turns() {
                at_once(unconstrained(work(store)))
            } else {
                tokio::select! {
                    biased;
                    () = self.life.ended() => core::future::pending().await,
                    answer = work(store) => answer,
                }
            };
            if fault == Some(StoreFault::After) { answer.and(Err(scripted(name))) } else { answer }
        })
    }
}

/// What a record says that fails as a test wants it to.
fn scripted(step: &'static str) -> StoreError {
    StoreError::Backend { doing: step, source: "a fault of the script".into() }
}

/// Does a step of the record while nothing else happens.
fn at_once<T>(work: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut work = pin!(work);
    loop {
        match work.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(done) => return done,
            Poll::Pending => thread::park(),
        }
    }
}

/// Passes a call on as a step.
macro_rules! pass_on {
    ($self:ident, $method:ident($($argument:ident),*)) => {
        $self.step(stringify!($method), move |store| {
            Box::pin(async move { store.$method($($argument),*).await })
        })
    };
}

impl LogStore for MortalStore {
    fn log_standing(&self) -> Reply<'_, LogStanding> {
        pass_on!(self, log_standing())
    }

    fn log_leaves(&self, from: u64, limit: u32) -> Reply<'_, Vec<LogLeaf>> {
        pass_on!(self, log_leaves(from, limit))
    }

    fn log_hashes(&self, nodes: Vec<LogNode>) -> Reply<'_, Vec<Digest>> {
        pass_on!(self, log_hashes(nodes))
    }

    fn log_extend(&self, step: LogStep) -> Reply<'_, bool> {
        pass_on!(self, log_extend(step))
    }

    fn log_sign(&self, head: LogHead, note: String) -> Reply<'_, bool> {
        pass_on!(self, log_sign(head, note))
    }

    fn log_checkpoint(&self) -> Reply<'_, Option<LogCheckpoint>> {
        pass_on!(self, log_checkpoint())
    }

    fn log_epochs(&self) -> Reply<'_, Vec<LogEpoch>> {
        pass_on!(self, log_epochs())
    }

    fn log_keep_cosigned(&self, cosigned: Vec<LogCosigned>) -> Reply<'_, bool> {
        pass_on!(self, log_keep_cosigned(cosigned))
    }

    fn log_cosigned(&self, epoch: u64) -> Reply<'_, Vec<LogCosigned>> {
        pass_on!(self, log_cosigned(epoch))
    }

    fn log_begin(&self, after: u64, origin: String, at: UnixMs, change: Option<Change>) -> Reply<'_, bool> {
        pass_on!(self, log_begin(after, origin, at, change))
    }

    fn log_place(&self, run: RunId) -> Reply<'_, Option<u64>> {
        pass_on!(self, log_place(run))
    }

    fn log_places(&self) -> Reply<'_, Vec<String>> {
        pass_on!(self, log_places())
    }

    fn log_note_place(&self, place: String, at: UnixMs) -> Reply<'_, ()> {
        pass_on!(self, log_note_place(place, at))
    }

    fn log_stirred(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            match self.handle() {
                Some(store) => store.log_stirred().await,
                None => core::future::pending().await,
            }
        })
    }
}

impl Store for MortalStore {
    fn claim(&self, claim: Claim) -> Reply<'_, Claimed> {
        pass_on!(self, claim(claim))
    }

    fn claim_here(&self, claim: Claim) -> Reply<'_, Claimed> {
        pass_on!(self, claim_here(claim))
    }

    fn park(&self, claim: Claim, parking: Parking, payload: Vec<u8>, said: Change) -> Reply<'_, Claimed> {
        pass_on!(self, park(claim, parking, payload, said))
    }

    fn unpark(&self, claim: Claim) -> Reply<'_, Claimed> {
        pass_on!(self, unpark(claim))
    }

    fn vote(&self, run: RunId, vote: Vote, change: Change) -> Reply<'_, Voted> {
        pass_on!(self, vote(run, vote, change))
    }

    fn refuse(
        &self,
        finish: Finish,
        tries: u32,
        spent: Digest,
        denial: Option<(Vote, Change)>,
        keeps: Option<UnixMs>,
    ) -> Reply<'_, Refused> {
        pass_on!(self, refuse(finish, tries, spent, denial, keeps))
    }

    fn starting(&self, run: RunId) -> Reply<'_, Option<Parked>> {
        pass_on!(self, starting(run))
    }

    fn parked(&self, run: RunId) -> Reply<'_, Option<Parked>> {
        pass_on!(self, parked(run))
    }

    fn parked_payload(&self, run: RunId) -> Reply<'_, Option<Vec<u8>>> {
        pass_on!(self, parked_payload(run))
    }

    fn votes(&self, run: RunId) -> Reply<'_, Vec<Vote>> {
        pass_on!(self, votes(run))
    }

    fn parked_page(&self, page: ParkedPage) -> Reply<'_, Vec<Parked>> {
        pass_on!(self, parked_page(page))
    }

    fn parked_due(&self, now: UnixMs) -> Reply<'_, Vec<Due>> {
        pass_on!(self, parked_due(now))
    }

    fn parked_untold(&self, now: UnixMs) -> Reply<'_, Vec<Untold>> {
        pass_on!(self, parked_untold(now))
    }

    fn note_told(&self, run: RunId) -> Reply<'_, ()> {
        pass_on!(self, note_told(run))
    }

    fn undo(&self, run: RunId, instance: InstanceId) -> Reply<'_, Undone> {
        pass_on!(self, undo(run, instance))
    }

    fn finish(&self, finish: Finish) -> Reply<'_, Finished> {
        pass_on!(self, finish(finish))
    }

    fn finish_here(&self, finish: Finish) -> Reply<'_, Finished> {
        pass_on!(self, finish_here(finish))
    }

    fn settle(&self, settling: Settling) -> Reply<'_, Settled> {
        pass_on!(self, settle(settling))
    }

    fn open_payments(&self, after: Option<OpenPlace>) -> Reply<'_, Vec<OpenPayment>> {
        pass_on!(self, open_payments(after))
    }

    fn open_payments_of(&self, run: RunId) -> Reply<'_, Vec<OpenPayment>> {
        pass_on!(self, open_payments_of(run))
    }

    fn left_payment(&self, run: RunId, key: Digest) -> Reply<'_, Option<LeftPayment>> {
        pass_on!(self, left_payment(run, key))
    }

    fn watched(&self, now: UnixMs, limit: u32) -> Reply<'_, Vec<Watched>> {
        pass_on!(self, watched(now, limit))
    }

    fn watch_again(&self, key: Digest, due: Option<UnixMs>) -> Reply<'_, ()> {
        pass_on!(self, watch_again(key, due))
    }

    fn moved_late(&self, late: Late) -> Reply<'_, MovedLate> {
        pass_on!(self, moved_late(late))
    }

    fn unfinal(&self, now: UnixMs, limit: u32) -> Reply<'_, Vec<Unfinal>> {
        pass_on!(self, unfinal(now, limit))
    }

    fn look_again(&self, due: Vec<(Digest, Option<UnixMs>)>) -> Reply<'_, ()> {
        pass_on!(self, look_again(due))
    }

    fn revise(&self, revised: Revised) -> Reply<'_, bool> {
        pass_on!(self, revise(revised))
    }

    fn reversed(&self) -> Reply<'_, Vec<OpenPayment>> {
        pass_on!(self, reversed())
    }

    fn earned(&self, after: u64) -> Reply<'_, Vec<Earned>> {
        pass_on!(self, earned(after))
    }

    fn sums(&self) -> Reply<'_, Sums> {
        pass_on!(self, sums())
    }

    fn repay(&self, run: RunId, payment: NewPayment) -> Reply<'_, Repaid> {
        pass_on!(self, repay(run, payment))
    }

    fn by_nonce(&self, nonce_key: Digest) -> Reply<'_, Option<Record>> {
        pass_on!(self, by_nonce(nonce_key))
    }

    fn by_session_nonce(&self, session_nonce: Digest, fingerprint: Digest) -> Reply<'_, Option<Record>> {
        pass_on!(self, by_session_nonce(session_nonce, fingerprint))
    }

    fn by_payment(&self, payment_key: Digest) -> Reply<'_, Option<RunId>> {
        pass_on!(self, by_payment(payment_key))
    }

    fn run(&self, run: RunId) -> Reply<'_, Option<Record>> {
        pass_on!(self, run(run))
    }

    fn list(&self, page: Page) -> Reply<'_, Vec<Record>> {
        pass_on!(self, list(page))
    }

    fn orphans(&self) -> Reply<'_, Vec<Record>> {
        pass_on!(self, orphans())
    }

    fn own_unended(&self, before: UnixMs) -> Reply<'_, Vec<Record>> {
        pass_on!(self, own_unended(before))
    }

    fn resolve(&self, resolution: Resolution, change: Change) -> Reply<'_, bool> {
        pass_on!(self, resolve(resolution, change))
    }

    fn set_paused(&self, paused: bool, change: Change) -> Reply<'_, bool> {
        pass_on!(self, set_paused(paused, change))
    }

    fn paused(&self) -> Reply<'_, bool> {
        pass_on!(self, paused())
    }

    fn forget_answers(&self, before: UnixMs) -> Reply<'_, u64> {
        pass_on!(self, forget_answers(before))
    }

    fn forget_answers_beyond(&self, bytes: u64) -> Reply<'_, u64> {
        pass_on!(self, forget_answers_beyond(bytes))
    }

    fn forget_limits(&self, before: UnixMs) -> Reply<'_, u64> {
        pass_on!(self, forget_limits(before))
    }

    fn add_grant(&self, grant: Grant, change: Change) -> Reply<'_, Granted> {
        pass_on!(self, add_grant(grant, change))
    }

    fn grant(&self, id: GrantId) -> Reply<'_, Option<Grant>> {
        pass_on!(self, grant(id))
    }

    fn grants(&self) -> Reply<'_, Vec<Grant>> {
        pass_on!(self, grants())
    }

    fn grant_changes(&self) -> Reply<'_, u64> {
        pass_on!(self, grant_changes())
    }

    fn standing_grants(&self) -> Reply<'_, Standing> {
        pass_on!(self, standing_grants())
    }

    fn rotate_grant(&self, id: GrantId, key: NewKey, change: Change) -> Reply<'_, Changed> {
        pass_on!(self, rotate_grant(id, key, change))
    }

    fn set_grant_policy(&self, id: GrantId, policy: Option<String>, change: Change) -> Reply<'_, Changed> {
        pass_on!(self, set_grant_policy(id, policy, change))
    }

    fn revoke_grant(&self, id: GrantId, at: UnixMs, change: Change) -> Reply<'_, Changed> {
        pass_on!(self, revoke_grant(id, at, change))
    }

    fn own_keys(&self) -> Reply<'_, Vec<OwnKey>> {
        pass_on!(self, own_keys())
    }

    fn add_own_key(&self, key: OwnKey, change: Change) -> Reply<'_, KeyAdded> {
        pass_on!(self, add_own_key(key, change))
    }

    fn retire_own_key(&self, purpose: KeyPurpose, public: [u8; 32], change: Change) -> Reply<'_, KeyRetired> {
        pass_on!(self, retire_own_key(purpose, public, change))
    }

    fn changes(&self, before: Option<u64>, limit: u32) -> Reply<'_, Vec<Recorded>> {
        pass_on!(self, changes(before, limit))
    }

    fn note_grant_uses(&self, uses: Vec<(GrantId, UnixMs)>) -> Reply<'_, ()> {
        pass_on!(self, note_grant_uses(uses))
    }

    fn note_audit(&self, lines: Vec<AuditLine>, said: Vec<Change>) -> Reply<'_, ()> {
        pass_on!(self, note_audit(lines, said))
    }

    fn audit(&self, query: AuditQuery) -> Reply<'_, Vec<AuditEntry>> {
        pass_on!(self, audit(query))
    }

    fn forget_audit(&self, before: UnixMs, keep: u64) -> Reply<'_, u64> {
        pass_on!(self, forget_audit(before, keep))
    }

    fn copy_to(&self, file: PathBuf) -> Reply<'_, ()> {
        pass_on!(self, copy_to(file))
    }

    fn examiner(&self) -> Arc<dyn Examiner> {
        self.handle().expect("the process lives").examiner()
    }

    fn waiting(&self) -> usize {
        self.handle().map_or(0, |store| store.waiting())
    }

    fn instance(&self) -> InstanceId {
        self.instance
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            if let Some(store) = self.handle() {
                store.close().await;
            }
        })
    }
}
