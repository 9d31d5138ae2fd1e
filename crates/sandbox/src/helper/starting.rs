//! How a run gets from the queue into a jail: a slot, what it needs, the stem's answer, the init's.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use execgate_forkpoint::jail::{At as _, Step, StepError};
use execgate_forkpoint::stem::SlotIds;
use execgate_forkpoint::wire::{
    FromResident, FromStem, Message as _, NetworkProfile, Received, Spawn, ToResident, ToStem, pair, receive,
    send,
};
use rustix::pipe::{PipeFlags, pipe_with};

use super::house::House;
use super::live::{Asked, BACKUP, BUILT_WITHIN, Live, Made, Phase};
use super::proxies::Proxy;
use super::scratch;
use super::stem_link::{Identity, StemLink};
use super::stems::StemId;
use crate::cgroup::Cgroups;
use crate::enforced::InterpreterStart;
use crate::limits::Limits;
use crate::wire::{End, FromRun};

/// Room above the cgroup's own limit of processes, so that the cgroup is what a guest meets and what is counted.
const ABOVE_CGROUP: u32 = 16;

/// So soon after it was asked for a resident does not die by chance.
const SOON: Duration = Duration::from_secs(1);

/// A jail to be made.
struct Order {
    asked: Option<Asked>,
    limits: Limits,
    slot: usize,
    stem: StemId,
    pool: Option<usize>,
}

impl House {
    /// Gives residents and free slots to the runs that wait.
    pub(super) fn hand_out(&mut self) {
        if !self.inspection.is_sound() {
            return self.refuse_all();
        }
        self.queue.retain(Asked::is_wanted);
        while let Some(asked) = self.queue.pop_front() {
            let pool = self.pool_of(&asked);
            if let Some(pool) = pool {
                self.pools[pool].use_it();
            }
            if let Some(run) = pool.and_then(|pool| self.spare_for(pool, &asked)) {
                self.give(run, asked);
                continue;
            }
            let Some(slot) = self.free.pop() else {
                self.queue.push_front(asked);
                return self.evict();
            };
            if let Some(pool) = pool {
                self.missed(pool, &asked.limits);
            }
            let limits = asked.limits.clone();
            // Until an interpreter is warm, each run starts its own. One that is started waits for nobody.
            let now = Instant::now();
            let warm = pool
                .filter(|pool| self.pools[*pool].interpreter().is_some() && self.pools[*pool].may_start(now));
            let warm = warm.and_then(|pool| Some((Some(pool), self.stems.ready(Some(pool))?)));
            match warm.map_or_else(|| self.native().map(|stem| (None, stem)), Ok) {
                Ok((pool, stem)) => self.start(Order { asked: Some(asked), limits, slot, stem, pool }),
                Err(error) => {
                    self.free.push(slot);
                    refuse(&asked, &error);
                }
            }
        }
    }

    /// Makes a jail in which a resident waits; false where that cannot be now.
    pub(super) fn start_spare(&mut self, pool: usize, stem: StemId, limits: &Limits) -> bool {
        let Some(slot) = self.free.pop() else { return false };
        let free = self.free.len();
        self.start(Order { asked: None, limits: limits.clone(), slot, stem, pool: Some(pool) });
        let is_started = self.free.len() == free;
        if !is_started {
            self.pools[pool].failed();
        }
        is_started
    }

    fn start(&mut self, order: Order) {
        self.last_run += 1;
        let run = self.last_run;
        let (slot, stem) = (order.slot, order.stem);
        match self.prepare(&order, run) {
            Ok(made) => {
                self.stems.has_forked(stem);
                self.runs.insert(run, Live::new(Made { asked: order.asked, ..made }));
            }
            // It died while it was idle, and its socket has not said so yet.
            Err(error)
                if is_dead_stem(&error) && order.asked.as_ref().is_none_or(|asked| asked.tries == 0) =>
            {
                self.free.push(slot);
                if let Some(asked) = order.asked {
                    self.queue.push_front(Asked { tries: 1, ..asked });
                }
                self.lose_stem(stem);
            }
            Err(error) => {
                if let Some(asked) = &order.asked {
                    refuse(asked, &error);
                }
                self.free.push(slot);
            }
        }
    }

    /// Makes what the run needs and tells the stem.
    fn prepare(&mut self, order: &Order, run: u64) -> Result<Made, StepError> {
        let &Order { slot, stem, pool, .. } = order;
        let limits = &order.limits;
        let number = u32::try_from(slot).unwrap_or(u32::MAX);
        let scratch = scratch::make(limits, self.map.guest_outside(number)).at(Step::Scratch)?;
        let (report, report_write) = pipe_with(PipeFlags::CLOEXEC).at(Step::ReportPipe)?;
        let is_session = order.asked.as_ref().is_some_and(|asked| asked.session.is_some());
        let is_resident = pool.is_some() || is_session;
        let sockets = is_resident.then(pair).transpose().at(Step::ReportPipe)?;
        let language = match (pool, &order.asked) {
            (Some(pool), _) => self.pools[pool].language,
            (None, Some(asked)) => asked.language,
            (None, None) => 0,
        };
        let idle_bytes = self.idle_bytes.get(usize::from(language)).copied().unwrap_or(0);
        let program = match pool {
            Some(pool) => self.pools[pool].program(),
            None if is_session => self.sessions.get(&language).copied().unwrap_or(u16::MAX),
            None => language,
        };
        let is_awaited = order.asked.is_some();
        let network = order.asked.as_ref().map_or(NetworkProfile::None, |asked| asked.network);
        let spawn = self.spawn(run, number, program, limits);
        let data_bytes = spawn.data_bytes.map(|bytes| bytes.saturating_add(idle_bytes));
        let spawn = Spawn { is_awaited, network, data_bytes, ..spawn };
        let shape = self.shape(limits);
        let proxy = self.ask_for_proxy(run, order.asked.as_ref())?;
        let cgroups = self.cgroups.arm(slot, limits).at(Step::ArmCgroup)?;
        let own = order.asked.iter().filter(|_| !is_resident).flat_map(|asked| &asked.descriptors);
        let descriptors: Vec<BorrowedFd<'_>> = own
            .map(OwnedFd::as_fd)
            .chain(sockets.iter().map(|(_, theirs)| theirs.as_fd()))
            .chain([scratch.as_fd(), report_write.as_fd()])
            .chain(proxy.iter().map(OwnedFd::as_fd))
            .chain(cgroups)
            .collect();
        let Some(link) = self.stems.get(stem).map(|stem| &stem.link) else {
            return Err(io::ErrorKind::BrokenPipe).at(Step::TellStem);
        };
        send(&link.control, &ToStem::Spawn(spawn).pack(), &descriptors).at(Step::TellStem)?;
        let hand_out = sockets.map(|(ours, _)| ours);
        let memory_bytes = limits.memory_bytes;
        let proxy = if proxy.is_some() { Proxy::Asked } else { Proxy::None };
        Ok(Made { asked: None, slot, stem, pool, shape, memory_bytes, hand_out, report, scratch, proxy })
    }

    fn spawn(&self, run: u64, slot: u32, language: u16, limits: &Limits) -> Spawn {
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
            is_awaited: false,
            network: NetworkProfile::None,
        }
    }

    pub(super) fn hear_stem(&mut self, id: StemId) {
        let Some(stem) = self.stems.get(id) else { return };
        let (message, fds) = match receive(&stem.link.control) {
            Ok(Received::Packet(bytes, fds)) => (FromStem::unpack(&bytes), fds),
            Ok(Received::Nothing) => return,
            Ok(Received::End) | Err(_) => return self.lose_stem(id),
        };
        match message {
            Ok(FromStem::Ready) => self.is_ready(id),
            Ok(FromStem::Spawned { run }) => self.spawned(id, run, fds),
            Ok(FromStem::SpawnFailed { run, step, errno }) => {
                if let Some(live) = self.take_told(id, run) {
                    self.free.push(live.slot);
                    if let Some(pool) = live.pool.filter(|_| live.asked.is_none()) {
                        self.pools[pool].failed();
                    }
                    match live.asked {
                        Some(asked) if live.doomed => asked.tell(FromRun::Withdrawn),
                        Some(asked) if live.pool.is_some() => self.again_cold(asked),
                        Some(asked) => asked.tell(FromRun::NotStarted { step, errno }),
                        None => {}
                    }
                } else {
                    self.lose_stem(id);
                }
            }
            Ok(FromStem::Failed { step, errno }) => {
                tracing::warn!(%step, errno, "an interpreter could not be kept warm");
                let pool = stem.pool;
                self.lose_stem(id);
                if let Some(pool) = pool.filter(|_| step == Step::StemForks) {
                    self.pools[pool].cannot_fork();
                }
            }
            Err(_) => self.lose_stem(id),
        }
    }

    /// A run of which the stem has not said anything yet; it says one thing of each.
    fn take_told(&mut self, stem: StemId, run: u64) -> Option<Live> {
        let is_told = self.runs.get(&run).is_some_and(|live| live.phase == Phase::Told && live.stem == stem);
        is_told.then(|| self.runs.remove(&run)).flatten()
    }

    /// The stem has made an init. A stem that lies is not asked again: all that it has made dies with it.
    fn spawned(&mut self, stem: StemId, run: u64, fds: Vec<OwnedFd>) {
        let is_told = |live: &&mut Live| live.phase == Phase::Told && live.stem == stem;
        let Some(live) = self.runs.get_mut(&run).filter(is_told) else {
            return self.lose_stem(stem);
        };
        let Some(init) = fds.into_iter().next() else { return self.lose_stem(stem) };
        match StemLink::identify(&init) {
            Identity::Init(pid) => live.init = Some((init, pid)),
            Identity::Ended => live.gone = true,
            Identity::Forged => return self.lose_stem(stem),
        }
        live.phase = Phase::Building;
        if live.doomed {
            self.give_up(run);
        }
    }

    /// A resident waits, or has died. It says one thing before it has its run.
    pub(super) fn hear_resident(&mut self, run: u64) {
        let Some(live) = self.runs.get_mut(&run) else { return };
        if live.session.is_some() {
            return self.hear_interpreter(run);
        }
        let Some(socket) = &live.hand_out else { return };
        let message = match receive(socket) {
            Ok(Received::Nothing) => return,
            Ok(Received::Packet(bytes, _)) => FromResident::unpack(&bytes).ok(),
            Ok(Received::End) | Err(_) => None,
        };
        match (live.phase, message) {
            (Phase::Running, Some(FromResident::Failed { step, errno })) => {
                live.tell(FromRun::NotStarted { step, errno });
                self.kill(run);
            }
            // It has let go of the socket, and is the guest's.
            (Phase::Running, _) => live.hand_out = None,
            (Phase::Building, Some(FromResident::Waiting)) => {
                live.phase = Phase::Idle;
                if let Some(pool) = live.pool {
                    self.pools[pool].one_waits(live.asked_at.elapsed());
                }
                if live.asked.is_some() {
                    self.hand_over(run);
                } else {
                    // While nobody waits for it.
                    live.is_counted = self.cgroups.recount(live.slot).is_ok();
                }
            }
            (Phase::Opening, Some(FromResident::Waiting)) => self.opened(run),
            (Phase::Opening, Some(FromResident::Failed { step, errno })) => {
                live.tell(FromRun::NotStarted { step, errno });
                self.kill(run);
            }
            _ => self.lose_resident(run),
        }
    }

    /// A resident has died, or says what none would. One that never came as far as waiting, or waited for no time, is
    /// what the next would be too, but where that may be for the limits of the run that it was made for.
    pub(super) fn lose_resident(&mut self, run: u64) {
        let Some(live) = self.runs.get(&run) else { return };
        if let Some(pool) = live.pool.filter(|_| live.asked.is_none())
            && (live.phase == Phase::Building || live.asked_at.elapsed() < SOON)
        {
            tracing::warn!(language = self.pools[pool].language, "an interpreter died before it had its run");
            self.pools[pool].failed();
        }
        self.discard(run);
    }

    /// Ends a run that its client has given up before it began, or as it may have begun.
    pub(super) fn give_up(&mut self, run: u64) {
        let Some(live) = self.runs.get(&run) else { return };
        if live.is_waiting() {
            live.tell(FromRun::Withdrawn);
            self.kill(run);
        } else {
            self.end(run, End::Killed, None);
        }
    }

    /// Gives a resident to a run that its jail fits.
    fn give(&mut self, run: u64, asked: Asked) {
        if let Some(pool) =
            self.runs.get(&run).filter(|live| live.phase != Phase::Idle).and_then(|live| live.pool)
        {
            self.missed(pool, &asked.limits);
        }
        let Some(live) = self.runs.get_mut(&run) else { return self.queue.push_front(asked) };
        // From here on it is counted. One that has only waited since it was has used nothing.
        let is_armed = live.is_counted && self.cgroups.is_armed(live.slot, &asked.limits);
        let armed = if is_armed { Ok(()) } else { self.cgroups.arm(live.slot, &asked.limits).map(|_| ()) };
        live.asked = Some(asked);
        live.asked_at = Instant::now();
        let waits = live.phase == Phase::Idle;
        match armed {
            Ok(()) if waits => self.hand_over(run),
            // As soon as it does.
            Ok(()) => {}
            Err(error) => {
                tracing::warn!(%error, "a cgroup could not be set to a run's limits");
                self.discard(run);
            }
        }
    }

    /// Nothing of the run was there before; from here on it has begun.
    fn hand_over(&mut self, run: u64) {
        let Some(live) = self.runs.get_mut(&run) else { return };
        let (Some(asked), Some(socket)) = (&live.asked, &live.hand_out) else { return };
        let descriptors: Vec<BorrowedFd<'_>> = asked.descriptors.iter().map(OwnedFd::as_fd).collect();
        let is_session = asked.session.is_some();
        let order = if is_session { ToResident::Open } else { ToResident::Run };
        match send(socket, &order.pack(), &descriptors) {
            Ok(()) if is_session => {
                live.phase = Phase::Opening;
                live.deadline = Instant::now() + BUILT_WITHIN;
            }
            Ok(()) => self.begun(run),
            // It has died, and its run has not begun.
            Err(_) => self.discard(run),
        }
    }

    /// Ends a resident that has no run yet and does not serve for one. Whoever asked for it gets another start.
    pub(super) fn discard(&mut self, run: u64) {
        let Some(live) = self.runs.get_mut(&run) else { return };
        let asked = live.asked.take();
        let errno = if Instant::now() >= live.deadline { libc::ETIMEDOUT } else { libc::ECHILD };
        self.kill(run);
        match asked {
            // The one that it had was its own already.
            Some(asked) if asked.is_cold => {
                asked.tell(FromRun::NotStarted { step: Step::AwaitRun, errno });
            }
            Some(asked) => self.again_cold(asked),
            None => {}
        }
    }

    fn again_cold(&mut self, asked: Asked) {
        self.queue.push_front(Asked { is_cold: true, ..asked });
    }

    /// The jail stands: the run's clock starts.
    pub(super) fn begun(&mut self, run: u64) {
        let interpreter = self.start_of(run);
        let Some(live) = self.runs.get_mut(&run) else { return };
        live.phase = Phase::Running;
        live.drop_descriptors();
        if let Some(asked) = live.serves() {
            live.deadline = Instant::now() + asked.limits.wall + BACKUP;
        }
        live.tell(FromRun::Started { interpreter });
    }

    /// How the interpreter of a run has come to it.
    pub(super) fn start_of(&self, run: u64) -> InterpreterStart {
        match self.runs.get(&run).and_then(|live| live.pool).and_then(|pool| self.pools.get(pool)) {
            None => InterpreterStart::Executed,
            Some(pool) if pool.interpreter().is_some() => InterpreterStart::Forked,
            Some(_) => InterpreterStart::Waited,
        }
    }
}

fn refuse(asked: &Asked, error: &StepError) {
    asked.tell(FromRun::NotStarted { step: error.step, errno: error.errno() });
}

fn is_dead_stem(error: &StepError) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset};
    error.step == Step::TellStem && matches!(error.error.kind(), BrokenPipe | ConnectionReset)
}
