//! How a run ends: who asks for it, the kill, the counting, the answer; and when its slot is empty again.

use std::time::Instant;

use execgate_forkpoint::jail::Step;
use execgate_forkpoint::wire::{Message as _, Received, Report, read_record, receive};

use super::collecting::Collecting;
use super::house::House;
use super::live::{Live, Phase};
use super::scratch;
use super::session::Session;
use super::stems::StemId;
use super::watchdog;
use crate::cgroup::Cgroups;
use crate::wire::{Counters, End, FromRun, Over, ToRun};

/// How often a run is given to a new stem after one has died before it had begun.
const TRIES_MAX: u32 = 2;

impl House {
    /// A stem is dead, and every jail of it. Runs that had not begun are given to the next one.
    pub(super) fn lose_stem(&mut self, stem: StemId) {
        let lost = self.stems.remove(stem);
        if let Some(pool) = lost.as_ref().and_then(|stem| stem.pool) {
            tracing::warn!(language = self.pools[pool].language, "a warm interpreter is lost");
            self.pools[pool].failed();
        }
        let dead = lost.is_none_or(|lost| lost.link.end());
        let runs: Vec<u64> =
            self.runs.iter().filter(|(_, live)| live.stem == stem).map(|(run, _)| *run).collect();
        for id in runs {
            let Some(live) = self.runs.get_mut(&id) else { continue };
            live.gone |= dead;
            match live.phase {
                Phase::Told | Phase::Building | Phase::Idle if live.asked.is_none() => self.kill(id),
                // Nobody is left who could still write to the pipe, so that what it says now is all.
                Phase::Told | Phase::Building if dead && !live.has_begun() => self.try_again(id),
                Phase::Told
                | Phase::Building
                | Phase::Idle
                | Phase::Opening
                | Phase::Running
                | Phase::Between => self.end(id, End::Lost, None),
                Phase::Dying { .. } => {}
            }
        }
    }

    fn try_again(&mut self, run: u64) {
        let Some(live) = self.runs.get_mut(&run) else { return };
        let Some(asked) = &mut live.asked else { return };
        if live.doomed {
            asked.tell(FromRun::Withdrawn);
            return self.kill(run);
        }
        asked.tries += 1;
        if asked.tries >= TRIES_MAX || !self.cgroups.is_empty(live.slot) {
            live.tell(FromRun::StemGone);
            self.kill(run);
        } else if let Some(live) = self.runs.remove(&run) {
            self.free.push(live.slot);
            self.queue.extend(live.asked);
            self.queue.rotate_right(1);
        }
    }

    pub(super) fn hear_client(&mut self, run: u64) {
        let Some(live) = self.runs.get_mut(&run) else { return };
        if live.session.is_some() {
            return self.hear_session(run);
        }
        let Some(asked) = &live.asked else { return };
        let wants_end = match receive(&asked.socket) {
            Ok(Received::Packet(bytes, _)) => ToRun::unpack(&bytes).is_ok(),
            Ok(Received::Nothing) => false,
            Ok(Received::End) | Err(_) => true,
        };
        match live.phase {
            Phase::Building | Phase::Idle | Phase::Opening | Phase::Running if wants_end => {
                self.give_up(run);
            }
            Phase::Told if wants_end => live.doomed = true,
            Phase::Told
            | Phase::Building
            | Phase::Idle
            | Phase::Opening
            | Phase::Running
            | Phase::Between
            | Phase::Dying { .. } => {}
        }
    }

    pub(super) fn hear_report(&mut self, run: u64) {
        // What it has said before it ended comes first.
        if self.runs.get(&run).is_some_and(|live| live.phase == Phase::Running && live.hand_out.is_some()) {
            self.hear_resident(run);
        }
        let Some(live) = self.runs.get(&run) else { return };
        let report = match live.phase {
            Phase::Building | Phase::Idle | Phase::Opening | Phase::Running | Phase::Between => {
                read_record(&live.report)
            }
            // Ended by another event of the same moment.
            Phase::Told | Phase::Dying { .. } => return,
        };
        // Whatever it is that is told of a resident without a run, it serves for none.
        if live.is_waiting() {
            return self.lose_resident(run);
        }
        if live.session.is_some() {
            return self.hear_init(run, report);
        }
        match (live.phase, report.map(|record| Report::unpack(&record))) {
            (Phase::Building, Some(Ok(Report::Begun))) => self.begun(run),
            (_, Some(Ok(Report::Exited { status, cpu_us, peak_kib }))) => {
                self.end(run, End::Exited { status }, Some((cpu_us, peak_kib)));
            }
            (_, Some(Ok(Report::Failed { step, errno }))) => {
                live.tell(FromRun::NotStarted { step, errno });
                self.kill(run);
            }
            (Phase::Building, None) if self.cgroups.read(live.slot).oom_kills == 0 => {
                live.tell(FromRun::NotStarted { step: Step::KeepInit, errno: libc::ECHILD });
                self.kill(run);
            }
            (_, Some(Ok(Report::Begun) | Err(_)) | None) => self.end(run, End::Lost, None),
        }
    }

    /// Kills a run, counts, answers. Its slot is waited for afterwards. A session that has none is closed.
    pub(super) fn end(&mut self, run: u64, end: End, usage: Option<(u64, u64)>) {
        if self.runs.get(&run).is_some_and(|live| live.phase == Phase::Between) {
            return self.close(run, Over::Died);
        }
        self.kill(run);
        let Some(live) = self.runs.get(&run) else { return };
        // A process that was there before its run has used more than its run has.
        let usage = usage.filter(|_| live.pool.is_none() && live.session.is_none());
        let mut counters = self.counters(live);
        counters.cpu_us = counters.cpu_us.or(usage.map(|(cpu_us, _)| cpu_us));
        let peak = usage.map(|(_, peak_kib)| peak_kib.saturating_mul(1024));
        counters.memory_peak = counters.memory_peak.or(peak);
        self.answer(run, end, counters);
        // What it has used was all its run's.
        self.tell_over(run, Over::Run, Some(0));
    }

    /// What was counted for a run until now.
    pub(super) fn counters(&self, live: &Live) -> Counters {
        let counted = self.cgroups.read(live.slot);
        Counters {
            oom_kills: counted.oom_kills + u64::from(live.over_memory),
            process_limit_hits: counted.process_limit_hits,
            disk_full: scratch::is_full(&live.scratch),
            cpu_us: counted.cpu_us,
            cpu_between_us: live.session.as_ref().and_then(Session::used_between),
            memory_peak: counted.memory_peak,
        }
    }

    /// Tells how a run ended, once its proxy is gone and its files are there.
    pub(super) fn answer(&mut self, run: u64, end: End, counters: Counters) {
        let Some(live) = self.runs.get_mut(&run) else { return };
        if !live.proxy.is_gone() || live.serves().is_some_and(|asked| asked.collect.is_some()) {
            live.collecting = Some(Collecting::new(end, counters));
        } else {
            live.tell(FromRun::Ended { end, counters });
            live.let_go_of_run();
        }
    }

    /// From here on only its slot is waited for.
    pub(super) fn kill(&mut self, run: u64) {
        let Some(live) = self.runs.get_mut(&run) else { return };
        live.kill();
        live.proxy.kill();
        live.drop_descriptors();
        live.hand_out = None;
        if let Some(session) = &mut live.session {
            session.let_go_of_copies();
        }
        self.cgroups.kill(live.slot);
        live.phase = Phase::Dying { since: Instant::now() };
        let asked = self.runs.get(&run).and_then(|live| live.asked.as_ref());
        if let Some(pool) = asked.and_then(|asked| self.suiting(asked)) {
            self.pools[pool].has_ended();
        }
    }

    /// Frees the slots that are proven empty: no process of the run is left, and the kernel says the same of its
    /// cgroup. Withdraws those that are not in time. True where the capacity has changed.
    pub(super) fn recycle(&mut self) -> bool {
        let now = Instant::now();
        let before = self.quarantined;
        let dying = |(id, live): (&u64, &Live)| matches!(live.phase, Phase::Dying { .. }).then_some(*id);
        let runs: Vec<u64> = self.runs.iter().filter_map(dying).collect();
        for id in runs {
            let Some(live) = self.runs.get_mut(&id) else { continue };
            if live.collecting.is_some() {
                continue;
            }
            if live.gone && live.proxy.is_gone() && self.cgroups.is_empty(live.slot) {
                self.cgroups.recycle(live.slot);
                self.free.push(live.slot);
                self.quarantined -= usize::from(live.quarantined);
                self.runs.remove(&id);
            } else if !live.quarantined && live.is_overdue(now) {
                live.quarantined = true;
                self.quarantined += 1;
            }
        }
        self.quarantined != before
    }

    pub(super) fn look_at_clocks(&mut self) {
        let now = Instant::now();
        let watching = matches!(self.cgroups, Cgroups::None);
        let runs: Vec<u64> = self.runs.keys().copied().collect();
        for id in runs {
            let Some(run) = self.runs.get_mut(&id) else { continue };
            match (run.phase, &run.init) {
                // A stem that takes so long is broken for everyone.
                (Phase::Told, _) if now >= run.deadline => {
                    let stem = run.stem;
                    self.lose_stem(stem);
                }
                (Phase::Building | Phase::Opening, _) if now >= run.deadline && run.is_waiting() => {
                    self.lose_resident(id);
                }
                (Phase::Building, _) if now >= run.deadline => {
                    run.tell(FromRun::NotStarted { step: Step::KeepInit, errno: libc::ETIMEDOUT });
                    self.kill(id);
                }
                (Phase::Running, _) if now >= run.deadline => self.end(id, End::Killed, None),
                (Phase::Between, _) if now >= run.deadline => self.is_late(id),
                (Phase::Running | Phase::Between, Some((_, init)))
                    if watching && watchdog::resident(*init) > run.memory_bytes() =>
                {
                    run.over_memory = true;
                    self.end(id, End::Killed, None);
                }
                (
                    Phase::Told
                    | Phase::Building
                    | Phase::Idle
                    | Phase::Opening
                    | Phase::Running
                    | Phase::Between
                    | Phase::Dying { .. },
                    _,
                ) => {}
            }
        }
    }
}
