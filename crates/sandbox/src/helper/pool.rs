//! Interpreters that wait in finished jails: how many, for which limits, and which of them a run gets. Each is for one
//! run, and for none if it died while it waited.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use execgate_forkpoint::wire::NetworkProfile;

use super::house::House;
use super::live::{Asked, Live, Phase};
use crate::limits::Limits;
use crate::stem::Interpreter;

/// An interpreter that waits has some more descriptors open than one that was started for its run. Where so few are
/// allowed, each run starts its own.
const DESCRIPTORS_MIN: u32 = 64;

/// An init of a fork does its work in the memory of the interpreter, which stands still meanwhile. Whoever allows so
/// little that it would be slow, or be killed for it, gets an interpreter of its own, and holds nobody up.
const MEMORY_BYTES_MIN: u64 = 64 << 20;
const CPU_PERCENT_MIN: u32 = 100;
const PROCESSES_MIN: u32 = 4;

/// How many wait at least, once an interpreter is warm.
const FLOOR: usize = 1;

/// One fewer waits when so long none was missing.
const SHRINKS_AFTER: Duration = Duration::from_secs(60);

/// A language that so long nobody has used keeps no interpreter warm.
const KEPT_FOR: Duration = Duration::from_secs(600);

/// How long an interpreter takes to wait, until it is known.
const FIRST_GUESS: Duration = Duration::from_millis(5);

/// How long to wait before an interpreter that failed is tried again; it doubles.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// And how often.
const DOUBLINGS_MAX: u32 = 8;

/// So many failures in a row are no chance.
const FAILURES_MAX: u32 = 5;

/// What is settled when a jail is made, and not when its run is handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    disk_bytes: u64,
    inodes: u32,
    descriptors: u32,
    processes: u32,
    /// Where no cgroup counts it, memory is a limit of each process.
    memory_bytes: Option<u64>,
}

impl Shape {
    pub(super) fn of(limits: &Limits, is_counted: bool) -> Self {
        Self {
            disk_bytes: limits.disk_bytes,
            inodes: limits.inodes,
            descriptors: limits.descriptors,
            processes: limits.processes,
            memory_bytes: (!is_counted).then_some(limits.memory_bytes),
        }
    }
}

/// Where the interpreters of a pool come from.
pub(super) enum Source {
    /// Forks of one that is a stem. If it is none that can be forked: the native stem, under this number.
    Fork {
        argv: Vec<CString>,
        environment: Vec<CString>,
        seed: OwnedFd,
        reaper: OwnedFd,
        otherwise: Option<u16>,
    },
    /// The native stem, under this number.
    Start(u16),
}

/// The pool of one language.
pub(super) struct Pool {
    /// The number of the language.
    pub(super) language: u16,
    /// Which of the language's.
    warm: u16,
    source: Source,
    /// Those of the last run that found none to its liking.
    limits: Limits,
    depth: usize,
    ceiling: usize,
    /// When a run of the language came last.
    used: Option<Instant>,
    missed: Instant,
    /// How long an interpreter takes to wait.
    takes: Duration,
    /// When to look again whether there is time to make one.
    refill_at: Instant,
    failures: u32,
    retry_at: Instant,
}

impl Pool {
    pub(super) fn new(language: u16, warm: u16, source: Source, ceiling: usize) -> Self {
        let now = Instant::now();
        Self {
            language,
            warm,
            source,
            limits: Limits::default(),
            depth: FLOOR.min(ceiling),
            ceiling,
            used: None,
            missed: now,
            takes: FIRST_GUESS,
            refill_at: now,
            failures: 0,
            retry_at: now,
        }
    }

    /// The stem that its interpreters are forks of; none where they are started one by one.
    pub(super) fn interpreter(&self) -> Option<Interpreter<'_>> {
        match &self.source {
            Source::Fork { argv, environment, seed, reaper, .. } => {
                Some(Interpreter { argv, environment, seed, reaper })
            }
            Source::Start(_) => None,
        }
    }

    /// The number of its program in its stem.
    pub(super) fn program(&self) -> u16 {
        match self.source {
            // An interpreter has one: itself.
            Source::Fork { .. } => 0,
            Source::Start(number) => number,
        }
    }

    /// The interpreter is none that can be forked, and the next would not be either.
    pub(super) fn cannot_fork(&mut self) {
        if let Source::Fork { otherwise: Some(number), .. } = self.source {
            self.source = Source::Start(number);
            self.failures = 0;
            self.retry_at = Instant::now();
        }
    }

    /// How many wait at the most.
    pub(super) fn ceiling(&self) -> usize {
        self.ceiling
    }

    /// Whether it is worth an interpreter.
    pub(super) fn is_used(&self, now: Instant) -> bool {
        self.used.is_some_and(|used| now < used + KEPT_FOR)
    }

    pub(super) fn use_it(&mut self) {
        self.used = Some(Instant::now());
    }

    pub(super) fn may_start(&self, now: Instant) -> bool {
        self.is_used(now) && now >= self.retry_at
    }

    /// An interpreter could not be made, or died. Runs start their own until there is another. Where none has waited for
    /// long and they can also be started one by one, they are from now on.
    pub(super) fn failed(&mut self) {
        self.failed_at(Instant::now());
    }

    fn failed_at(&mut self, now: Instant) {
        // Nothing is begun in a pause: what dies in it was begun before, and several at once are one failure.
        if now < self.retry_at {
            return;
        }
        let doublings = self.failures.min(DOUBLINGS_MAX);
        self.failures += 1;
        self.retry_at = now + RETRY_AFTER * 2_u32.pow(doublings);
        if self.failures >= FAILURES_MAX {
            self.cannot_fork();
        }
    }

    /// One waits that was asked for so long ago.
    pub(super) fn one_waits(&mut self, after: Duration) {
        self.failures = 0;
        self.takes = (self.takes * 3 + after) / 4;
    }

    /// A run came and none waited for it.
    fn missed(&mut self, limits: &Limits) {
        // The usual memory, so that those who want more or less do not undo each other's: more can be given later.
        self.limits = Limits { memory_bytes: Limits::default().memory_bytes, ..limits.clone() };
        self.depth = (self.depth + 1).min(self.ceiling);
        self.missed = Instant::now();
    }

    fn shrink(&mut self, now: Instant) {
        if now >= self.missed + SHRINKS_AFTER {
            self.depth = self.depth.saturating_sub(1).max(FLOOR.min(self.ceiling));
            self.missed = now;
        }
    }

    /// A run that it suits has ended. Its like may come at once, and is better served by a start of its own than by one
    /// that has just begun to be made ready.
    pub(super) fn has_ended(&mut self) {
        self.refill_at = Instant::now() + self.takes / 2;
    }

    /// When something is to be done for it that was not due yet when it was looked at. What has become due since is.
    pub(super) fn next_clock(&self, looked_at: Instant) -> Option<Instant> {
        let ends = self.used? + KEPT_FOR;
        [ends, self.missed + SHRINKS_AFTER, self.retry_at, self.refill_at]
            .into_iter()
            .filter(|at| *at > looked_at)
            .min()
    }
}

impl House {
    /// The pool that a run may be served from. What waits has no network, and a namespace that others have had.
    pub(super) fn pool_of(&self, asked: &Asked) -> Option<usize> {
        if asked.is_cold
            || asked.network != NetworkProfile::None
            || asked.limits.descriptors < DESCRIPTORS_MIN
            || asked.limits.memory_bytes < MEMORY_BYTES_MIN
            || asked.limits.cpu_percent < CPU_PERCENT_MIN
            || asked.limits.processes < PROCESSES_MIN
        {
            return None;
        }
        self.suiting(asked)
    }

    /// The pool that suits a run best.
    pub(super) fn suiting(&self, asked: &Asked) -> Option<usize> {
        let of_language = |pool: &&Pool| pool.language == asked.language;
        let best = self.pools.iter().position(|pool| of_language(&pool) && pool.warm == asked.warm);
        best.or_else(|| self.pools.iter().position(|pool| of_language(&pool)))
    }

    /// One that waits, or soon will, and is as the run wants it.
    pub(super) fn spare_for(&self, pool: usize, asked: &Asked) -> Option<u64> {
        let shape = self.shape(&asked.limits);
        // One that is being made is of no use where such have failed lately.
        let may_fail = self.pools[pool].may_start(Instant::now());
        let fits = |live: &Live| {
            Self::is_spare(live)
                && live.pool == Some(pool)
                && live.shape == shape
                && live.armed_bytes <= asked.limits.memory_bytes
                && (may_fail || live.phase == Phase::Idle)
        };
        let mut found = self.runs.iter().filter(|(_, live)| fits(live));
        let waits = found.clone().find(|(_, live)| live.phase == Phase::Idle);
        waits.or_else(|| found.next()).map(|(run, _)| *run)
    }

    /// Notes that a run had to wait for its fork.
    pub(super) fn missed(&mut self, pool: usize, limits: &Limits) {
        self.pools[pool].missed(limits);
    }

    /// Makes as many wait as are wanted, and ends those that nobody will want. Slots for runs to come are left alone.
    pub(super) fn refill(&mut self) {
        if !self.inspection.is_sound() {
            return;
        }
        let now = Instant::now();
        for at in 0..self.pools.len() {
            self.pools[at].shrink(now);
            let depth = if self.pools[at].is_used(now) { self.pools[at].depth } else { 0 };
            let limits = self.pools[at].limits.clone();
            let (mut waiting, mut wrong) = (0, Vec::new());
            for (run, live) in &self.runs {
                if live.pool != Some(at) || !Self::is_spare(live) {
                    continue;
                }
                if self.is_wanted(live, &limits) && waiting < depth {
                    waiting += 1;
                } else if live.phase == Phase::Idle {
                    wrong.push(*run);
                }
            }
            let is_short = waiting < depth && self.pools[at].may_start(now);
            if wrong.is_empty() && !is_short {
                continue;
            }
            if self.is_busy(at, now) {
                self.pools[at].refill_at = now + self.pools[at].takes;
            }
            if now < self.pools[at].refill_at {
                continue;
            }
            // Not while a run begins: the end of a jail takes as long as the start of one.
            for run in wrong {
                self.kill(run);
            }
            if !is_short {
                continue;
            }
            let Some(stem) = self.stem_of(at) else { continue };
            for _ in waiting..depth {
                if self.free.len() <= self.left_free() || !self.start_spare(at, stem, &limits) {
                    break;
                }
            }
        }
    }

    /// Whether one that waits is as the runs of its pool want it now.
    fn is_wanted(&self, live: &Live, limits: &Limits) -> bool {
        live.shape == self.shape(limits) && live.armed_bytes <= limits.memory_bytes
    }

    /// How many slots those that wait leave to runs: as many as may still come beside those that are there.
    fn left_free(&self) -> usize {
        let serves = |live: &&Live| !Self::is_spare(live) && !matches!(live.phase, Phase::Dying { .. });
        self.spared.saturating_sub(self.runs.values().filter(serves).count())
    }

    /// Whether a run that it suits has begun so lately that making another would only be in its way. Where runs come
    /// faster than interpreters can be made, each starts its own.
    fn is_busy(&self, pool: usize, now: Instant) -> bool {
        let takes = self.pools[pool].takes;
        let is_young = |live: &Live| {
            let asked = live.asked.as_ref().filter(|asked| self.suiting(asked) == Some(pool));
            asked.is_some() && !matches!(live.phase, Phase::Dying { .. }) && now < live.asked_at + takes
        };
        self.runs.values().any(is_young)
    }

    /// Whether as many wait as are wanted.
    pub(super) fn is_warm(&self) -> bool {
        !self.inspection.is_sound()
            || self.pools.iter().enumerate().all(|(at, pool)| {
                let waits = |live: &&Live| {
                    live.phase == Phase::Idle && live.pool == Some(at) && self.is_wanted(live, &pool.limits)
                };
                self.runs.values().filter(waits).count() >= pool.depth
            })
    }

    /// Gives up one that waits, so that a run gets its slot.
    pub(super) fn evict(&mut self) {
        let is_dying = |live: &Live| matches!(live.phase, Phase::Dying { .. }) && !live.quarantined;
        if self.runs.values().any(is_dying) {
            return;
        }
        let idle = self.runs.iter().find(|(_, live)| live.phase == Phase::Idle).map(|(run, _)| *run);
        if let Some(run) = idle {
            self.kill(run);
        }
    }

    pub(super) fn shape(&self, limits: &Limits) -> Shape {
        Shape::of(limits, self.counts_memory())
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{MemfdFlags, memfd_create};

    use super::*;

    #[test]
    fn what_fails_again_and_again_is_not_forked_any_more() {
        let memory = || memfd_create("none", MemfdFlags::CLOEXEC).unwrap();
        let fork = |otherwise| {
            let (argv, environment) = (Vec::new(), Vec::new());
            Source::Fork { argv, environment, seed: memory(), reaper: memory(), otherwise }
        };
        for (otherwise, is_forked) in [(None, true), (Some(7), false)] {
            let mut pool = Pool::new(0, 0, fork(otherwise), 1);
            // As soon as it is tried again; and others that die with it.
            let fails = |pool: &mut Pool| {
                let now = pool.retry_at;
                (0..FAILURES_MAX).for_each(|_| pool.failed_at(now));
                pool.retry_at - now
            };
            let mut pauses = Vec::from_iter((1..FAILURES_MAX).map(|_| fails(&mut pool)));
            pool.one_waits(FIRST_GUESS);
            pauses.extend((1..FAILURES_MAX).map(|_| fails(&mut pool)));
            assert_eq!(pauses, [1, 2, 4, 8, 1, 2, 4, 8].map(|times| RETRY_AFTER * times));
            assert!(pool.interpreter().is_some());
            fails(&mut pool);
            assert_eq!(pool.interpreter().is_some(), is_forked);
        }
    }

    #[test]
    fn as_many_wait_as_were_missed_within_floor_and_ceiling_and_fewer_once_none_is() {
        let mut pool = Pool::new(0, 0, Source::Start(0), 3);
        let mut depths = vec![pool.depth];
        for _ in 0..4 {
            pool.missed(&Limits::default());
            depths.push(pool.depth);
        }
        assert_eq!(depths, [FLOOR, 2, 3, 3, 3]);
        let mut now = pool.missed;
        pool.shrink(now + SHRINKS_AFTER - Duration::from_nanos(1));
        depths = vec![pool.depth];
        for _ in 0..4 {
            now += SHRINKS_AFTER;
            pool.shrink(now);
            depths.push(pool.depth);
        }
        assert_eq!(depths, [3, 2, FLOOR, FLOOR, FLOOR]);
        // Where none may wait none does, whatever comes.
        let mut none = Pool::new(0, 0, Source::Start(0), 0);
        none.missed(&Limits::default());
        assert_eq!(none.depth, 0);
        none.shrink(none.missed + SHRINKS_AFTER);
        assert_eq!(none.depth, 0);
    }

    #[test]
    fn a_language_that_nobody_uses_any_more_is_not_worth_an_interpreter() {
        let mut pool = Pool::new(0, 0, Source::Start(0), 3);
        assert!(!pool.may_start(Instant::now()), "nobody has used it yet");
        pool.use_it();
        let used = pool.used.unwrap();
        assert!(pool.may_start(Instant::now()));
        assert!(pool.is_used(used + KEPT_FOR - Duration::from_nanos(1)) && !pool.is_used(used + KEPT_FOR));
        assert!(!pool.may_start(used + KEPT_FOR));
    }

    #[test]
    fn a_clock_that_comes_while_the_others_are_read_is_not_lost() {
        let mut pool = Pool::new(0, 0, Source::Start(0), 1);
        pool.use_it();
        let looked_at = Instant::now();
        pool.has_ended();
        let refill_at = pool.refill_at;
        std::thread::sleep(refill_at.saturating_duration_since(Instant::now()));
        assert_eq!(pool.next_clock(looked_at), Some(refill_at));
        assert!(pool.next_clock(Instant::now()).is_some_and(|later| later > refill_at + RETRY_AFTER));
    }
}
