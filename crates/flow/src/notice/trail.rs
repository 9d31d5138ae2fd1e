//! The taker that writes the audit trail: beside the answers, never before one.
//!
//! Lines are gathered for a moment and appended together, so that a run pays for no flush of its own. What does not
//! fit in the queue is counted, and a line of the trail says how many; so is what goes beyond a caller's quota. The
//! lines of the last moment before a death are lost; the runs themselves are in the record.

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use execgate_model::{Clock, Effect, Entropy, UnixMs};
use execgate_store::{AuditDecision, AuditLine, Change, Store, StoreError};
use tokio::sync::{Notify, watch};

use super::quota::Omitted;
use super::witnessed::said;
use super::{Notice, Quota, Seen, Weight};

/// How long lines are gathered. A flush five times a second is nothing to a disk, and nobody reads the trail faster.
const GATHER: Duration = Duration::from_millis(200);

/// Lines that may wait: a second of the most that a gateway runs, some 10 MB.
const WAITING_MAX: usize = 8_192;

/// Lines of one transaction: few enough that the claims behind it do not notice.
const BATCH_LINES: usize = 128;

/// The rule of a line that stands for those that no place was left for.
const FULL: &str = "audit-full";

/// The rule of a line that stands for those beyond a caller's quota.
const QUOTA: &str = "audit-quota";

/// What became of lines since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TrailCounts {
    /// In the record.
    pub written: u64,
    /// Lost: the record was too slow, or failed.
    pub dropped: u64,
    /// Left out: beyond a caller's quota.
    pub over_quota: u64,
    /// On their way.
    pub waiting: usize,
}

/// A line on its way, and what is said of it in the log, where it leaves a leaf.
#[derive(Clone)]
struct Noted {
    line: AuditLine,
    said: Option<Change>,
}

impl From<AuditLine> for Noted {
    fn from(line: AuditLine) -> Self {
        Self { line, said: None }
    }
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Noted>,
    /// Lost since the last line that said so.
    lost: u64,
    quota: Quota,
    counts: TrailCounts,
    /// Whether somebody writes already.
    is_writing: bool,
    /// Whether a failure was told in the log since the last success.
    has_failed: bool,
}

struct Inner {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    state: Mutex<State>,
    /// Ends a pause early.
    hurry: Notify,
    /// Is changed when nothing waits any more.
    rest: watch::Sender<()>,
}

/// The audit trail of one process. Cheap to clone.
#[derive(Clone)]
pub struct Trail(Arc<Inner>);

impl Notice for Trail {
    fn seen(&self, walk: &Seen) {
        let is_kept = match walk.weight {
            Weight::Run => true,
            Weight::Decision => walk.caller.is_identified(),
            Weight::Count => false,
        };
        if !is_kept {
            return;
        }
        let line = walk.line();
        let mut state = self.0.lock();
        if walk.weight == Weight::Decision
            && !state.quota.takes((line.tenant.clone(), share(walk, &line.caller)), walk.at)
        {
            state.counts.over_quota += 1;
            return;
        }
        let is_witnessed = walk.is_witnessed && walk.caller.is_identified();
        let said = is_witnessed.then(|| said(&line, self.0.entropy.as_ref())).flatten();
        state.push(Noted { line, said });
        self.wake(&mut state);
    }
}

/// Whose share of the trail a line takes. Replays have one of their own: they cost nothing, and must not be a way to keep
/// refusals out.
fn share(walk: &Seen, caller: &str) -> String {
    if walk.decision == AuditDecision::Replayed { format!("{caller} (replays)") } else { caller.to_owned() }
}

impl Trail {
    /// A trail in this record.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        let rest = watch::Sender::new(());
        Self(Arc::new(Inner { store, clock, entropy, state: Mutex::default(), hurry: Notify::new(), rest }))
    }

    /// What became of lines so far.
    #[must_use]
    pub fn counts(&self) -> TrailCounts {
        let state = self.0.lock();
        TrailCounts { waiting: state.waiting.len(), ..state.counts }
    }

    /// Says what was left out about callers whose window is over. To be called now and then.
    pub fn tell_quotas(&self) {
        let now = self.0.clock.now();
        let mut state = self.0.lock();
        let omitted = state.quota.over(now);
        state.push_omitted(omitted, now);
        self.wake(&mut state);
    }

    /// Waits until every line is written that was seen before, for as long as the record takes them.
    pub async fn written(&self) {
        let mut rested = self.0.rest.subscribe();
        {
            let now = self.0.clock.now();
            let mut state = self.0.lock();
            let omitted = state.quota.all();
            state.push_omitted(omitted, now);
            self.wake(&mut state);
        }
        while self.0.lock().is_writing {
            self.0.hurry.notify_one();
            // The sender lives as long as this trail.
            if rested.changed().await.is_err() {
                return;
            }
        }
    }

    /// Has somebody write, where something waits.
    fn wake(&self, state: &mut State) {
        if !state.is_writing && (!state.waiting.is_empty() || state.lost > 0) {
            state.is_writing = true;
            tokio::spawn(write(Arc::clone(&self.0)));
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, line: Noted) {
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push_back(line);
        } else {
            self.lose(1);
        }
    }

    fn lose(&mut self, lines: u64) {
        self.lost += lines;
        self.counts.dropped += lines;
    }

    fn push_omitted(&mut self, omitted: Vec<Omitted>, at: UnixMs) {
        for Omitted { who: (tenant, caller), lines } in omitted {
            self.push(omission(at, tenant, caller, QUOTA, lines).into());
        }
    }

    /// What is to be written next; `None`, and nobody writes any more, where nothing waits.
    fn next(&mut self, at: UnixMs) -> Option<Vec<Noted>> {
        let mut lines: Vec<_> = self.waiting.drain(..self.waiting.len().min(BATCH_LINES)).collect();
        if self.lost > 0 {
            let lost = core::mem::take(&mut self.lost);
            lines.push(omission(at, String::new(), String::new(), FULL, lost).into());
        }
        self.is_writing = !lines.is_empty();
        self.is_writing.then_some(lines)
    }

    /// Takes back what was not written, in front of what came meanwhile.
    fn put_back(&mut self, mut lines: Vec<Noted>) {
        if let Some(last) = lines.pop_if(|noted| noted.line.rule == FULL) {
            self.lost += last.line.omitted;
        }
        for line in lines.into_iter().rev() {
            self.waiting.push_front(line);
        }
    }
}

/// A line that stands for others.
fn omission(at: UnixMs, tenant: String, caller: String, rule: &str, omitted: u64) -> AuditLine {
    AuditLine {
        at,
        tenant,
        caller,
        surface: String::new(),
        action: String::new(),
        effect: Effect::Live,
        run: None,
        has_nonce: false,
        decision: AuditDecision::Omitted,
        room: String::new(),
        rule: rule.to_owned(),
        outcome: None,
        iam: None,
        argument_keys: Vec::new(),
        args_digest: None,
        policy: None,
        rooms: Vec::new(),
        total_us: 0,
        omitted,
    }
}

/// Writes until nothing waits.
async fn write(inner: Arc<Inner>) {
    loop {
        tokio::select! {
            () = inner.hurry.notified() => {}
            () = tokio::time::sleep(GATHER) => {}
        }
        loop {
            let now = inner.clock.now();
            let Some(noted) = inner.lock().next(now) else {
                inner.rest.send_replace(());
                return;
            };
            let kept = noted.clone();
            let (lines, said): (Vec<_>, Vec<_>) =
                noted.into_iter().map(|noted| (noted.line, noted.said)).unzip();
            match inner.store.note_audit(lines, said.into_iter().flatten().collect()).await {
                Ok(()) => {
                    let mut state = inner.lock();
                    state.has_failed = false;
                    state.counts.written += u64::try_from(kept.len()).unwrap_or(u64::MAX);
                }
                Err(error) => {
                    if given_up(&mut inner.lock(), kept, &error) {
                        inner.rest.send_replace(());
                        return;
                    }
                    break;
                }
            }
        }
    }
}

/// What is to be done about lines that were not written: true if no later attempt can succeed.
fn given_up(state: &mut State, lines: Vec<Noted>, error: &StoreError) -> bool {
    state.put_back(lines);
    if matches!(error, StoreError::Closed) {
        let lost = state.waiting.drain(..).count();
        state.lose(u64::try_from(lost).unwrap_or(u64::MAX));
        state.is_writing = false;
        return true;
    }
    if !matches!(error, StoreError::Busy) && !state.has_failed {
        state.has_failed = true;
        tracing::error!(error = error as &dyn std::error::Error, "the audit trail cannot be written");
    }
    false
}
