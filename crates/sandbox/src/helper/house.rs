//! The helper's loop: slots, the queue before them, and every run from its message to its empty slot.
//! Each event moves one run one step; nothing here waits for a guest.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};

use super::ids::IdMap;
use super::live::{Asked, Live, Phase};
use super::scratch;
use super::stem_link::{Identity, StemLink};
use super::watchdog;
use crate::cgroup::Cgroups;
use crate::config::Config;
use crate::jail::{At as _, Step, StepError, place};
use crate::limits::Limits;
use crate::stem::{Seed, SlotIds};
use crate::wire::{
    Counters, End, FromHelper, FromRun, FromStem, Message as _, Received, Report, Spawn, ToHelper, ToRun,
    ToStem, read_record, receive, send,
};

/// How long a killed jail may take to be empty before its slot is withdrawn.
const EMPTY_WITHIN: Duration = Duration::from_secs(2);

/// How often a run is given to a new stem after one has died under it.
const TRIES_MAX: u32 = 2;

/// The state of everything.
pub(super) struct House {
    image: PathBuf,
    configured: usize,
    seed: Seed,
    map: IdMap,
    cgroups: Cgroups,
    stem: Option<StemLink>,
    free: Vec<usize>,
    total: usize,
    quarantined: usize,
    queue: VecDeque<Asked>,
    runs: BTreeMap<u64, Live>,
    last_run: u64,
    quiescing: Vec<OwnedFd>,
}

/// What became readable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Control,
    Stem,
    Client(u64),
    Report(u64),
    Init(u64),
}

/// Whether the helper goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Serve,
    Stop,
}

impl House {
    pub(super) fn new(
        config: Config,
        seed: Seed,
        map: IdMap,
        cgroups: Cgroups,
        stem: StemLink,
        total: usize,
    ) -> Self {
        Self {
            image: config.image.path,
            configured: config.slots,
            seed,
            map,
            cgroups,
            stem: Some(stem),
            free: (0..total).rev().collect(),
            total,
            quarantined: 0,
            queue: VecDeque::new(),
            runs: BTreeMap::new(),
            last_run: 0,
            quiescing: Vec::new(),
        }
    }

    /// Serves until the client closes the control socket; then everything is killed by dropping it.
    pub(super) fn serve(mut self, control: &OwnedFd) -> ExitCode {
        loop {
            let Ok(ready) = self.wait(control) else { return ExitCode::FAILURE };
            for source in ready {
                if self.handle(source, control) == Next::Stop {
                    // The stem first: cgroups can only be removed when nothing lives in them.
                    self.stem = None;
                    return ExitCode::SUCCESS;
                }
            }
            self.look_at_clocks(control);
            self.hand_out();
            self.answer_quiescing();
        }
    }

    fn wait(&self, control: &OwnedFd) -> rustix::io::Result<Vec<Source>> {
        let mut sources = vec![Source::Control];
        let mut fds = vec![PollFd::new(control, PollFlags::IN)];
        if let Some(stem) = &self.stem {
            sources.push(Source::Stem);
            fds.push(PollFd::new(&stem.control, PollFlags::IN));
        }
        for (id, run) in &self.runs {
            if !matches!(run.phase, Phase::Dying { .. }) {
                sources.extend([Source::Client(*id), Source::Report(*id)]);
                fds.push(PollFd::new(&run.asked.socket, PollFlags::IN));
                fds.push(PollFd::new(&run.report, PollFlags::IN));
            } else if let Some((init, _)) = &run.init {
                sources.push(Source::Init(*id));
                fds.push(PollFd::new(init, PollFlags::IN));
            }
        }
        let timeout = self.next_clock().and_then(|at| {
            Timespec::try_from(at.saturating_duration_since(Instant::now()) + Duration::from_millis(1)).ok()
        });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        let ready = fds.iter().map(|fd| !fd.revents().is_empty());
        Ok(sources.iter().copied().zip(ready).filter_map(|(source, ready)| ready.then_some(source)).collect())
    }

    fn next_clock(&self) -> Option<Instant> {
        let watching = matches!(self.cgroups, Cgroups::None);
        self.runs
            .values()
            .filter(|run| !run.quarantined)
            .map(|run| match run.phase {
                Phase::Dying { since } => since + EMPTY_WITHIN,
                Phase::Running if watching => run.deadline.min(Instant::now() + watchdog::EVERY),
                Phase::Told | Phase::Running => run.deadline,
            })
            .min()
    }

    fn handle(&mut self, source: Source, control: &OwnedFd) -> Next {
        match source {
            Source::Control => return self.hear_control(control),
            Source::Stem => self.hear_stem(),
            Source::Client(run) => self.hear_client(run),
            Source::Report(run) => self.hear_report(run),
            Source::Init(run) => self.recycle(run, control),
        }
        Next::Serve
    }

    fn hear_control(&mut self, control: &OwnedFd) -> Next {
        let (message, mut fds) = match receive(control) {
            Ok(Received::Packet(bytes, fds)) => (ToHelper::unpack(&bytes), fds),
            Ok(Received::Nothing) => return Next::Serve,
            Ok(Received::End) | Err(_) => return Next::Stop,
        };
        match message {
            // stdin, stdout, stderr, code, frames, arguments come after the run's own socket.
            Ok(ToHelper::NewRun { language, limits }) if fds.len() == 1 + place::SCRATCH_INDEX => {
                let descriptors = fds.split_off(1);
                if let Some(socket) = fds.pop() {
                    self.queue.push_back(Asked { socket, language, limits, descriptors, tries: 0 });
                }
                Next::Serve
            }
            Ok(ToHelper::Quiesce) => {
                self.quiescing.extend(fds);
                Next::Serve
            }
            Ok(ToHelper::NewRun { .. } | ToHelper::Configure) | Err(_) => Next::Stop,
        }
    }

    /// Gives free slots to the runs that wait.
    fn hand_out(&mut self) {
        self.queue.retain(|asked| !hung_up(&asked.socket));
        while let Some(slot) = self.free.pop() {
            let Some(asked) = self.queue.pop_front() else {
                self.free.push(slot);
                return;
            };
            if self.stem.is_none() {
                match StemLink::make(&self.seed, &self.image, &self.map) {
                    Ok(stem) => self.stem = Some(stem),
                    Err(error) => {
                        self.free.push(slot);
                        refuse(&asked, &error);
                        continue;
                    }
                }
            }
            self.start(asked, slot);
        }
    }

    fn start(&mut self, asked: Asked, slot: usize) {
        self.last_run += 1;
        let run = self.last_run;
        match self.prepare(&asked, slot, run) {
            Ok((report, scratch)) => {
                self.runs.insert(run, Live::new(asked, slot, report, scratch));
            }
            Err(error) => {
                refuse(&asked, &error);
                self.free.push(slot);
            }
        }
    }

    /// Makes what the run needs and tells the stem.
    fn prepare(&mut self, asked: &Asked, slot: usize, run: u64) -> Result<(OwnedFd, OwnedFd), StepError> {
        let number = u32::try_from(slot).unwrap_or(u32::MAX);
        let limits = &asked.limits;
        let scratch = scratch::make(limits, self.map.guest_outside(number)).at(Step::Scratch)?;
        let (report, report_write) = pipe_with(PipeFlags::CLOEXEC).at(Step::ReportPipe)?;
        let spawn = self.spawn(run, number, asked.language, limits);
        let cgroups = self.cgroups.arm(slot, limits).at(Step::ArmCgroup)?;
        let descriptors: Vec<BorrowedFd<'_>> = asked
            .descriptors
            .iter()
            .map(OwnedFd::as_fd)
            .chain([scratch.as_fd(), report_write.as_fd()])
            .chain(cgroups)
            .collect();
        let Some(stem) = &self.stem else { return Err(std::io::ErrorKind::BrokenPipe).at(Step::TellStem) };
        send(&stem.control, &ToStem::Spawn(spawn).pack(), &descriptors).at(Step::TellStem)?;
        Ok((report, scratch))
    }

    fn spawn(&self, run: u64, slot: u32, language: u16, limits: &Limits) -> Spawn {
        /// Room above the cgroup's own limit, so that the cgroup is what a guest meets and what is counted.
        const ABOVE_CGROUP: u32 = 16;
        let counted = !matches!(self.cgroups, Cgroups::None);
        let each = limits.processes.saturating_add(if counted { ABOVE_CGROUP } else { 1 });
        let sharers = match self.map.ids {
            SlotIds::Own => 1,
            SlotIds::Shared => u32::try_from(self.total).unwrap_or(u32::MAX),
        };
        Spawn {
            run,
            slot,
            language,
            descriptors: limits.descriptors,
            file_bytes: limits.disk_bytes,
            user_processes: each.saturating_mul(sharers),
            data_bytes: (!counted).then_some(limits.memory_bytes),
        }
    }

    fn hear_stem(&mut self) {
        let Some(stem) = &self.stem else { return };
        let (message, fds) = match receive(&stem.control) {
            Ok(Received::Packet(bytes, fds)) => (FromStem::unpack(&bytes), fds),
            Ok(Received::Nothing) => return,
            Ok(Received::End) | Err(_) => return self.lose_stem(),
        };
        match message {
            Ok(FromStem::Spawned { run }) => {
                let Some(init) = fds.into_iter().next() else { return self.lose_stem() };
                let init = match StemLink::identify(&init) {
                    Identity::Init(pid) => Some((init, pid)),
                    Identity::Ended => None,
                    Identity::Forged => return self.lose_stem(),
                };
                let Some(live) = self.runs.get_mut(&run).filter(|live| live.phase == Phase::Told) else {
                    return;
                };
                live.init = init;
                live.phase = Phase::Running;
                live.drop_descriptors();
                live.tell(FromRun::Started);
                if live.doomed {
                    self.end(run, End::Killed, None);
                }
            }
            Ok(FromStem::SpawnFailed { run, step, errno }) => {
                if let Some(live) = self.runs.remove(&run) {
                    live.tell(FromRun::NotStarted { step, errno });
                    self.free.push(live.slot);
                }
            }
            Ok(FromStem::Ready | FromStem::Failed { .. }) | Err(_) => self.lose_stem(),
        }
    }

    /// The stem is dead, and every jail with it. Runs whose jail did not exist yet are given to the next one.
    fn lose_stem(&mut self) {
        self.stem = None;
        let runs: Vec<u64> = self.runs.keys().copied().collect();
        for id in runs {
            match self.runs.get(&id).map(|run| run.phase) {
                Some(Phase::Told) => {
                    let Some(mut live) = self.runs.remove(&id) else { continue };
                    self.free.push(live.slot);
                    live.asked.tries += 1;
                    if live.asked.tries >= TRIES_MAX {
                        live.tell(FromRun::StemGone);
                    } else {
                        self.queue.push_front(live.asked);
                    }
                }
                Some(Phase::Running) => self.end(id, End::Lost, None),
                Some(Phase::Dying { .. }) | None => {}
            }
        }
    }

    fn hear_client(&mut self, run: u64) {
        let Some(live) = self.runs.get_mut(&run) else { return };
        let wants_end = match receive(&live.asked.socket) {
            Ok(Received::Packet(bytes, _)) => ToRun::unpack(&bytes).is_ok(),
            Ok(Received::Nothing) => false,
            Ok(Received::End) | Err(_) => true,
        };
        match live.phase {
            Phase::Running if wants_end => self.end(run, End::Killed, None),
            Phase::Told if wants_end => live.doomed = true,
            Phase::Told | Phase::Running | Phase::Dying { .. } => {}
        }
    }

    fn hear_report(&mut self, run: u64) {
        let Some(live) = self.runs.get(&run) else { return };
        if live.phase != Phase::Running {
            // Either the stem's message is on its way and comes first, or the end has been told.
            return;
        }
        match read_record(&live.report).map(|record| Report::unpack(&record)) {
            Some(Ok(Report::Exited { status, cpu_us, peak_kib })) => {
                self.end(run, End::Exited { status }, Some((cpu_us, peak_kib)));
            }
            Some(Ok(Report::Failed { step, errno })) => {
                live.tell(FromRun::NotStarted { step, errno });
                live.kill();
                self.let_die(run);
            }
            Some(Err(_)) | None => self.end(run, End::Lost, None),
        }
    }

    /// Kills a run, counts, answers. Its slot is waited for afterwards.
    fn end(&mut self, run: u64, end: End, usage: Option<(u64, u64)>) {
        let Some(live) = self.runs.get(&run).filter(|live| live.phase == Phase::Running) else { return };
        live.kill();
        self.cgroups.kill(live.slot);
        let counted = self.cgroups.read(live.slot);
        let counters = Counters {
            oom_kills: counted.oom_kills + u64::from(live.over_memory),
            process_limit_hits: counted.process_limit_hits,
            disk_full: scratch::is_full(&live.scratch),
            cpu_us: counted.cpu_us.or(usage.map(|(cpu_us, _)| cpu_us)),
            memory_peak: counted.memory_peak.or(usage.map(|(_, peak_kib)| peak_kib.saturating_mul(1024))),
        };
        live.tell(FromRun::Ended { end, counters });
        self.let_die(run);
    }

    /// From here on, after its kill, only its slot is waited for.
    fn let_die(&mut self, run: u64) {
        let Some(live) = self.runs.get_mut(&run) else { return };
        live.phase = Phase::Dying { since: Instant::now() };
        if live.init.is_none() {
            // Nothing of it can be waited for: what was made has ended with its namespace, or never was.
            let slot = live.slot;
            self.runs.remove(&run);
            self.cgroups.recycle(slot);
            self.free.push(slot);
        }
    }

    /// The jail is empty: its init ends only when everything in its process namespace has.
    fn recycle(&mut self, run: u64, control: &OwnedFd) {
        let Some(live) = self.runs.remove(&run) else { return };
        self.cgroups.recycle(live.slot);
        self.free.push(live.slot);
        if live.quarantined {
            self.quarantined -= 1;
            self.tell_capacity(control);
        }
    }

    fn look_at_clocks(&mut self, control: &OwnedFd) {
        let now = Instant::now();
        let watching = matches!(self.cgroups, Cgroups::None);
        let runs: Vec<u64> = self.runs.keys().copied().collect();
        let mut lost_a_slot = false;
        for id in runs {
            let Some(run) = self.runs.get_mut(&id) else { continue };
            match (run.phase, &run.init) {
                (Phase::Dying { since }, _) if !run.quarantined && now >= since + EMPTY_WITHIN => {
                    run.quarantined = true;
                    self.quarantined += 1;
                    lost_a_slot = true;
                }
                (Phase::Running, _) if now >= run.deadline => self.end(id, End::Killed, None),
                (Phase::Told, _) if now >= run.deadline => run.doomed = true,
                (Phase::Running, Some((_, init)))
                    if watching && watchdog::resident(*init) > run.asked.limits.memory_bytes =>
                {
                    run.over_memory = true;
                    self.end(id, End::Killed, None);
                }
                (Phase::Told | Phase::Running | Phase::Dying { .. }, _) => {}
            }
        }
        if lost_a_slot {
            self.tell_capacity(control);
        }
    }

    fn capacity(&self) -> FromHelper {
        let usable = self.configured.min(self.total.saturating_sub(self.quarantined));
        FromHelper::Capacity {
            usable: u32::try_from(usable).unwrap_or(u32::MAX),
            quarantined: u32::try_from(self.quarantined).unwrap_or(u32::MAX),
        }
    }

    fn tell_capacity(&self, control: &OwnedFd) {
        if let Err(error) = send(control, &self.capacity().pack(), &[]) {
            tracing::debug!(%error, "the client does not read its control socket");
        }
    }

    fn answer_quiescing(&mut self) {
        if self.quiescing.is_empty()
            || !self.queue.is_empty()
            || self.runs.values().any(|run| !run.quarantined)
        {
            return;
        }
        for socket in std::mem::take(&mut self.quiescing) {
            self.tell_capacity(&socket);
        }
    }
}

fn refuse(asked: &Asked, error: &StepError) {
    let message = FromRun::NotStarted { step: error.step, errno: error.errno() };
    if let Err(error) = send(&asked.socket, &message.pack(), &[]) {
        tracing::debug!(%error, "the client of a run is gone");
    }
}

/// Whether the client of a waiting run has gone or wants it no more.
fn hung_up(socket: &OwnedFd) -> bool {
    match receive(socket) {
        Ok(Received::Nothing) => false,
        Ok(Received::Packet(..) | Received::End) | Err(_) => true,
    }
}
