//! How a run gets from the queue into a jail: a slot, what it needs, the stem's answer, the init's.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::pipe::{PipeFlags, pipe_with};

use super::house::House;
use super::live::{Asked, BACKUP, Live, Phase};
use super::scratch;
use super::stem_link::{Identity, StemLink};
use crate::cgroup::Cgroups;
use crate::jail::{At as _, Step, StepError};
use crate::limits::Limits;
use crate::stem::SlotIds;
use crate::wire::{End, FromRun, FromStem, Message as _, Received, Spawn, ToStem, receive, send};

/// Room above the cgroup's own limit of processes, so that the cgroup is what a guest meets and what is counted.
const ABOVE_CGROUP: u32 = 16;

impl House {
    /// Gives free slots to the runs that wait.
    pub(super) fn hand_out(&mut self) {
        self.queue.retain(Asked::is_wanted);
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
            // It died while it was idle, and its socket has not said so yet.
            Err(error) if is_dead_stem(&error) && asked.tries == 0 => {
                self.free.push(slot);
                self.queue.push_front(Asked { tries: 1, ..asked });
                self.lose_stem();
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
        let Some(stem) = &self.stem else { return Err(io::ErrorKind::BrokenPipe).at(Step::TellStem) };
        send(&stem.control, &ToStem::Spawn(spawn).pack(), &descriptors).at(Step::TellStem)?;
        Ok((report, scratch))
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
        }
    }

    pub(super) fn hear_stem(&mut self) {
        let Some(stem) = &self.stem else { return };
        let (message, fds) = match receive(&stem.control) {
            Ok(Received::Packet(bytes, fds)) => (FromStem::unpack(&bytes), fds),
            Ok(Received::Nothing) => return,
            Ok(Received::End) | Err(_) => return self.lose_stem(),
        };
        match message {
            Ok(FromStem::Spawned { run }) => self.spawned(run, fds),
            Ok(FromStem::SpawnFailed { run, step, errno }) => {
                if let Some(live) = self.take_told(run) {
                    live.tell(FromRun::NotStarted { step, errno });
                    self.free.push(live.slot);
                } else {
                    self.lose_stem();
                }
            }
            Ok(FromStem::Ready | FromStem::Failed { .. }) | Err(_) => self.lose_stem(),
        }
    }

    /// A run of which the stem has not said anything yet; it says one thing of each.
    fn take_told(&mut self, run: u64) -> Option<Live> {
        let is_told = self.runs.get(&run).is_some_and(|live| live.phase == Phase::Told);
        is_told.then(|| self.runs.remove(&run)).flatten()
    }

    /// The stem has made an init. A stem that lies is not asked again: all that it has made dies with it.
    fn spawned(&mut self, run: u64, fds: Vec<OwnedFd>) {
        let Some(live) = self.runs.get_mut(&run).filter(|live| live.phase == Phase::Told) else {
            return self.lose_stem();
        };
        let Some(init) = fds.into_iter().next() else { return self.lose_stem() };
        match StemLink::identify(&init) {
            Identity::Init(pid) => live.init = Some((init, pid)),
            Identity::Ended => live.gone = true,
            Identity::Forged => return self.lose_stem(),
        }
        live.phase = Phase::Building;
        if live.doomed {
            self.end(run, End::Killed, None);
        }
    }

    /// The jail stands: the run's clock starts.
    pub(super) fn begun(&mut self, run: u64) {
        let Some(live) = self.runs.get_mut(&run) else { return };
        live.phase = Phase::Running;
        live.drop_descriptors();
        live.deadline = Instant::now() + live.asked.limits.wall + BACKUP;
        live.tell(FromRun::Started);
    }
}

fn refuse(asked: &Asked, error: &StepError) {
    asked.tell(FromRun::NotStarted { step: error.step, errno: error.errno() });
}

fn is_dead_stem(error: &StepError) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset};
    error.step == Step::TellStem && matches!(error.error.kind(), BrokenPipe | ConnectionReset)
}
