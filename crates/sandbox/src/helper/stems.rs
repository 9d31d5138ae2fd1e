//! The stems that the helper has: the native one, which executes interpreters, and for each language with a warm start
//! an interpreter that forks. One that is lost is replaced; one that is old is replaced before it is let go.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use execgate_forkpoint::jail::StepError;

use super::house::House;
use super::live::{Live, Phase};
use super::stem_link::StemLink;
use crate::stem::Birth;

/// How long an interpreter may take to be warm; its imports are read from disk.
const WARM_WITHIN: Duration = Duration::from_secs(60);

/// Which stem. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StemId(u32);

/// Where a stem is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Starting,
    Ready,
    /// It has a successor, and lives for its last runs.
    Retired,
}

/// A stem.
pub(super) struct Stem {
    pub(super) link: StemLink,
    /// The number of its pool; none of the native one.
    pub(super) pool: Option<usize>,
    state: State,
    born: Instant,
    forks: u32,
}

/// All of them.
#[derive(Default)]
pub(super) struct Stems {
    all: BTreeMap<StemId, Stem>,
    last: u32,
}

impl Stems {
    pub(super) fn insert(&mut self, link: StemLink, pool: Option<usize>) -> StemId {
        self.last += 1;
        let id = StemId(self.last);
        // The native one has been waited for.
        let state = if pool.is_some() { State::Starting } else { State::Ready };
        self.all.insert(id, Stem { link, pool, state, born: Instant::now(), forks: 0 });
        id
    }

    pub(super) fn get(&self, id: StemId) -> Option<&Stem> {
        self.all.get(&id)
    }

    pub(super) fn remove(&mut self, id: StemId) -> Option<Stem> {
        self.all.remove(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (StemId, &Stem)> {
        self.all.iter().map(|(id, stem)| (*id, stem))
    }

    /// The one that new runs come from.
    pub(super) fn ready(&self, pool: Option<usize>) -> Option<StemId> {
        self.iter().find(|(_, stem)| stem.pool == pool && stem.state == State::Ready).map(|(id, _)| id)
    }

    /// Whether one is being started.
    pub(super) fn starting(&self, pool: usize) -> Option<Instant> {
        let is_starting = |stem: &&Stem| stem.pool == Some(pool) && stem.state == State::Starting;
        self.all.values().find(is_starting).map(|stem| stem.born)
    }

    /// When one that is being started is late.
    pub(super) fn next_clock(&self) -> Option<Instant> {
        let starting = self.all.values().filter(|stem| stem.state == State::Starting);
        starting.map(|stem| stem.born + WARM_WITHIN).min()
    }

    pub(super) fn has_forked(&mut self, id: StemId) {
        if let Some(stem) = self.all.get_mut(&id) {
            stem.forks += 1;
        }
    }

    /// The processes of those that are interpreters.
    pub(super) fn warm(&self) -> impl Iterator<Item = i32> {
        self.all.values().filter(|stem| stem.pool.is_some()).map(|stem| stem.link.pid())
    }

    pub(super) fn clear(&mut self) {
        self.all.clear();
    }
}

impl House {
    /// Starts, replaces and lets go of interpreters, as their age has it.
    pub(super) fn renew_stems(&mut self) {
        if !self.inspection.is_sound() {
            return;
        }
        let now = Instant::now();
        for pool in 0..self.pools.len() {
            let forks = self.pools[pool].interpreter().is_some();
            if let Some(since) = self.stems.starting(pool) {
                if now >= since + WARM_WITHIN {
                    let late =
                        self.stems.iter().find(|(_, stem)| stem.pool == Some(pool) && stem.born == since);
                    if let Some(id) = late.map(|(id, _)| id) {
                        self.lose_stem(id);
                    }
                }
                continue;
            }
            let ready = self.stems.ready(Some(pool));
            if !(forks && self.pools[pool].is_used(now))
                && let Some(stem) = ready.and_then(|id| self.stems.all.get_mut(&id))
            {
                stem.state = State::Retired;
            }
            let is_old = match self.stems.ready(Some(pool)).and_then(|id| self.stems.get(id)) {
                // The old one serves until the image was looked at.
                Some(stem) => {
                    self.rotation.is_due(stem.forks, now.saturating_duration_since(stem.born))
                        && self.inspection.allows_renewal(now)
                }
                None => true,
            };
            if is_old && forks && self.pools[pool].may_start(now) {
                self.start_interpreter(pool);
            }
        }
        self.let_retired_go();
    }

    fn start_interpreter(&mut self, pool: usize) {
        let Some(interpreter) = self.pools[pool].interpreter() else { return };
        let birth = Birth { library: self.library.as_ref(), interpreter: Some(interpreter) };
        match StemLink::start(self.seed, birth, &self.image, &self.map) {
            Ok(link) => {
                self.stems.insert(link, Some(pool));
            }
            Err(error) => {
                tracing::warn!(%error, "no warm interpreter could be made");
                self.pools[pool].failed();
            }
        }
    }

    /// An interpreter is warm: from now on it is the one.
    pub(super) fn is_ready(&mut self, id: StemId) {
        let Some(stem) = self.stems.all.get_mut(&id) else { return };
        if stem.state != State::Starting {
            return self.lose_stem(id);
        }
        let pool = stem.pool;
        let before = self.stems.ready(pool);
        if let Some(stem) = self.stems.all.get_mut(&id) {
            stem.state = State::Ready;
        }
        if let Some(old) = before.and_then(|old| self.stems.all.get_mut(&old)) {
            old.state = State::Retired;
        }
    }

    /// Ends what waits below a retired stem, and the stem when nothing is left below it.
    fn let_retired_go(&mut self) {
        let retired: Vec<StemId> =
            self.stems.iter().filter(|(_, stem)| stem.state == State::Retired).map(|(id, _)| id).collect();
        for id in retired {
            let spares: Vec<u64> = self
                .runs
                .iter()
                .filter(|(_, live)| live.stem == id && live.phase == Phase::Idle)
                .map(|(run, _)| *run)
                .collect();
            for run in spares {
                self.kill(run);
            }
            if !self.runs.values().any(|live| live.stem == id) {
                self.stems.remove(id);
            }
        }
    }

    /// The native stem, made anew where it was lost.
    pub(super) fn native(&mut self) -> Result<StemId, StepError> {
        match self.stems.ready(None) {
            Some(id) => Ok(id),
            None => {
                let link = StemLink::make(self.seed, self.library.as_ref(), &self.image, &self.map)?;
                Ok(self.stems.insert(link, None))
            }
        }
    }

    /// What the interpreters of a pool come from, if it is there.
    pub(super) fn stem_of(&mut self, pool: usize) -> Option<StemId> {
        if self.pools[pool].interpreter().is_some() {
            self.stems.ready(Some(pool))
        } else {
            self.native().ok()
        }
    }

    /// Whether a run's slot is one that nobody has asked for.
    pub(super) fn is_spare(live: &Live) -> bool {
        live.asked.is_none() && !matches!(live.phase, Phase::Dying { .. })
    }
}
