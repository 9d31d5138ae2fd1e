//! The helper's loop: slots, the queue before them, and every run from its message to its empty slot.
//! Each event moves one run one step; nothing here waits for a guest.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use execgate_forkpoint::jail::place;
use execgate_forkpoint::stem::Seed;
use execgate_forkpoint::wire::{Message as _, NetworkProfile, Received, receive, send};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::bounds::{bounded, bounded_time};
use super::broker::Broker;
use super::ids::IdMap;
use super::inspection::Inspection;
use super::live::{Asked, Live, Phase};
use super::pool::Pool;
use super::session::Terms;
use super::stem_link::StemLink;
use super::stems::{StemId, Stems};
use super::watchdog;
use crate::cgroup::Cgroups;
use crate::config::{Config, EgressMeans, Rotation};
use crate::wire::{FromHelper, FromRun, ToHelper};

/// How many questions of what has come to be may be open at once.
const QUESTIONS_MAX: usize = 64;

/// What a socket waits to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    /// That nothing runs.
    Quiet,
    /// That as many interpreters wait as are wanted.
    Warm,
}

/// The state of everything. What starts a run is in `starting`, what ends one in `ending`.
pub(super) struct House {
    pub(super) image: PathBuf,
    configured: usize,
    /// How many languages there are; what a stem has beyond them nobody may ask for.
    languages: u16,
    /// What the interpreter of each leaves alone, by its number.
    pub(super) idle_bytes: Vec<u64>,
    pub(super) seed: &'static Seed,
    pub(super) map: IdMap,
    pub(super) cgroups: Cgroups,
    /// What makes proxies, where runs may have them.
    pub(super) broker: Option<Broker>,
    /// What proxies are told beside a run's rules; the name servers are those of the host where it names none.
    pub(super) means: EgressMeans,
    /// What warm interpreters load, where there are to be any.
    pub(super) library: Option<OwnedFd>,
    pub(super) pools: Vec<Pool>,
    /// The programs of the native stem that serve sessions, by the numbers of their languages.
    pub(super) sessions: BTreeMap<u16, u16>,
    pub(super) stems: Stems,
    pub(super) rotation: Rotation,
    /// How many slots residents leave free.
    pub(super) spared: usize,
    pub(super) free: Vec<usize>,
    pub(super) total: usize,
    pub(super) quarantined: usize,
    pub(super) queue: VecDeque<Asked>,
    pub(super) runs: BTreeMap<u64, Live>,
    pub(super) last_run: u64,
    pub(super) inspection: Inspection,
    questions: Vec<(Question, OwnedFd)>,
}

/// What became readable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Control,
    Stem(StemId),
    Broker,
    Waiting,
    Inspector,
    Client(u64),
    Report(u64),
    Resident(u64),
    Init(u64),
    Asker(u64),
    Checkpoint(u64, u32),
    Copy(u64),
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
        seed: &'static Seed,
        map: IdMap,
        cgroups: Cgroups,
        (stem, broker): (StemLink, Option<Broker>),
        warm: (Option<OwnedFd>, Vec<Pool>, BTreeMap<u16, u16>),
        total: usize,
    ) -> Self {
        let mut stems = Stems::default();
        stems.insert(stem, None);
        let (library, pools, sessions) = warm;
        let waiting: usize = pools.iter().map(Pool::ceiling).sum();
        let inspection = Inspection::new(&config);
        Self {
            image: config.image.path,
            configured: config.slots,
            languages: u16::try_from(config.languages.len()).unwrap_or(u16::MAX),
            idle_bytes: config.languages.iter().map(|language| language.idle_bytes).collect(),
            seed,
            map,
            cgroups,
            broker,
            means: config.egress.unwrap_or_default(),
            library,
            pools,
            sessions,
            stems,
            rotation: config.rotation,
            spared: total.saturating_sub(waiting),
            free: (0..total).rev().collect(),
            total,
            quarantined: 0,
            queue: VecDeque::new(),
            runs: BTreeMap::new(),
            last_run: 0,
            inspection,
            questions: Vec::new(),
        }
    }

    /// Serves until the client closes the control socket; then everything is killed by dropping it.
    pub(super) fn serve(mut self, control: &OwnedFd) -> ExitCode {
        let mut looked_at = Instant::now();
        // Slots that one before it had withdrawn are there again.
        self.tell_capacity(control);
        loop {
            let Ok(ready) = self.wait(control, looked_at) else { return ExitCode::FAILURE };
            for source in ready {
                if self.handle(source, control) == Next::Stop {
                    // The stem first: cgroups can only be removed when nothing lives in them.
                    self.stems.clear();
                    return ExitCode::SUCCESS;
                }
            }
            looked_at = Instant::now();
            self.look_at_clocks();
            self.inspect(control);
            self.collect_files();
            if self.recycle() {
                self.tell_capacity(control);
            }
            self.renew_stems();
            self.hand_out();
            self.refill();
            self.answer_questions();
        }
    }

    fn wait(&self, control: &OwnedFd, looked_at: Instant) -> rustix::io::Result<Vec<Source>> {
        let mut sources = vec![Source::Control];
        let mut fds = vec![PollFd::new(control, PollFlags::IN)];
        for (id, stem) in self.stems.iter() {
            sources.push(Source::Stem(id));
            fds.push(PollFd::new(&stem.link.control, PollFlags::IN));
        }
        if let Some(broker) = &self.broker {
            sources.push(Source::Broker);
            fds.push(PollFd::new(&broker.control, PollFlags::IN));
        }
        if let Some(inspector) = self.inspection.inspector() {
            sources.push(Source::Inspector);
            fds.push(PollFd::new(inspector, PollFlags::IN));
        }
        for asked in &self.queue {
            sources.push(Source::Waiting);
            fds.push(PollFd::new(&asked.socket, PollFlags::IN));
        }
        for (id, run) in &self.runs {
            for (source, fd) in watched(*id, run) {
                sources.push(source);
                fds.push(PollFd::new(fd, PollFlags::IN));
            }
        }
        let timeout = self.next_clock(looked_at).and_then(|at| {
            Timespec::try_from(at.saturating_duration_since(Instant::now()) + Duration::from_millis(1)).ok()
        });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        let ready = fds.iter().map(|fd| !fd.revents().is_empty());
        Ok(sources.iter().copied().zip(ready).filter_map(|(source, ready)| ready.then_some(source)).collect())
    }

    fn next_clock(&self, looked_at: Instant) -> Option<Instant> {
        let watching = matches!(self.cgroups, Cgroups::None);
        let now = Instant::now();
        let next = |run: &Live| match run.phase {
            Phase::Dying { .. } => Some(run.next_look(now)),
            Phase::Running if watching => Some(run.deadline.min(now + watchdog::EVERY)),
            Phase::Between if watching => Some(run.deadline.min(now + watchdog::EVERY)),
            Phase::Told | Phase::Building | Phase::Opening | Phase::Running | Phase::Between => {
                Some(run.deadline)
            }
            Phase::Idle => None,
        };
        let pools = self.pools.iter().filter_map(|pool| pool.next_clock(looked_at));
        let others = self.stems.next_clock().into_iter().chain(self.inspection.next_clock());
        self.runs.values().filter_map(next).chain(pools).chain(others).min()
    }

    fn handle(&mut self, source: Source, control: &OwnedFd) -> Next {
        match source {
            Source::Control => return self.hear_control(control),
            Source::Stem(id) => self.hear_stem(id),
            Source::Broker => self.hear_broker(),
            // Looked at when slots are handed out, files are collected, or the image is.
            Source::Waiting | Source::Inspector => {}
            Source::Client(run) => self.hear_client(run),
            Source::Report(run) => self.hear_report(run),
            Source::Resident(run) => self.hear_resident(run),
            Source::Asker(run) => self.hear_asker(run),
            Source::Checkpoint(run, checkpoint) => self.hear_checkpoint(run, checkpoint),
            Source::Copy(run) => self.hear_copy(run),
            Source::Init(run) => {
                // An init ends only when everything in its process namespace has.
                if let Some(run) = self.runs.get_mut(&run) {
                    run.gone = true;
                }
            }
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
            // stdin, stdout, stderr, code, frames, sheet come after the run's own socket, and then perhaps which
            // files to collect and the memory file for them; with egress, its rules and its ledger are the last.
            Ok(ToHelper::NewRun { language, warm, network, limits })
                if language < self.languages && is_whole(network, fds.len()) =>
            {
                let mut descriptors = fds.split_off(1);
                let egress =
                    (network == NetworkProfile::Egress).then(|| descriptors.pop().zip(descriptors.pop()));
                let egress = egress.flatten().map(|(ledger, rules)| (rules, ledger));
                let mut collect = descriptors.split_off(place::SCRATCH_INDEX).into_iter();
                let collect = collect.next().zip(collect.next());
                if let Some(socket) = fds.pop() {
                    let limits = bounded(limits);
                    self.take_in(Asked {
                        socket,
                        language,
                        warm,
                        network,
                        limits,
                        descriptors,
                        collect,
                        egress,
                        tries: 0,
                        is_cold: false,
                        session: None,
                    });
                }
                Next::Serve
            }
            Ok(ToHelper::OpenSession { language, limits, idle, absolute })
                if self.sessions.contains_key(&language) && fds.len() == 2 =>
            {
                let sheet = fds.split_off(1);
                if let Some(socket) = fds.pop() {
                    let terms = Terms { idle: bounded_time(idle), absolute: bounded_time(absolute) };
                    self.take_in(Asked::for_session(socket, sheet, language, bounded(limits), terms));
                }
                Next::Serve
            }
            Ok(ToHelper::Look) => {
                for socket in fds {
                    if let Err(error) = send(&socket, &self.waiting().pack(), &[]) {
                        tracing::debug!(%error, "whoever asked what waits is gone");
                    }
                }
                Next::Serve
            }
            Ok(question @ (ToHelper::Quiesce | ToHelper::WarmUp)) if self.questions.len() < QUESTIONS_MAX => {
                let question = if question == ToHelper::Quiesce {
                    Question::Quiet
                } else {
                    self.pools.iter_mut().for_each(Pool::use_it);
                    Question::Warm
                };
                self.questions.extend(fds.into_iter().map(|socket| (question, socket)));
                Next::Serve
            }
            Ok(
                ToHelper::NewRun { .. } | ToHelper::OpenSession { .. } | ToHelper::Quiesce | ToHelper::WarmUp,
            )
            | Err(_) => Next::Stop,
        }
    }

    /// Queues a run. More runs than there are slots wait only where a client does not keep to its own.
    fn take_in(&mut self, asked: Asked) {
        self.inspection.use_it();
        if self.queue.len() < self.total {
            self.queue.push_back(asked);
        } else {
            asked.tell(FromRun::Withdrawn);
        }
    }

    /// Whether a cgroup counts what a run holds.
    pub(super) fn counts_memory(&self) -> bool {
        !matches!(self.cgroups, Cgroups::None)
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

    fn answer_questions(&mut self) {
        if self.questions.is_empty() {
            return;
        }
        let is_quiet = self.queue.is_empty()
            && self.inspection.inspector().is_none()
            && !self.runs.values().any(|run| !run.quarantined && !Self::is_spare(run));
        let is_warm = self.is_warm();
        let (due, open) =
            std::mem::take(&mut self.questions).into_iter().partition(|(question, _)| match question {
                Question::Quiet => is_quiet,
                Question::Warm => is_warm,
            });
        self.questions = open;
        let due: Vec<(Question, OwnedFd)> = due;
        for (_, socket) in due {
            self.tell_capacity(&socket);
        }
    }
}

/// What a run, or what waits for one, can be heard by.
fn watched(id: u64, run: &Live) -> Vec<(Source, &OwnedFd)> {
    let mut watched = Vec::new();
    let is_dying = matches!(run.phase, Phase::Dying { .. });
    if let Some(asked) = run.asked.as_ref().filter(|_| !is_dying) {
        watched.push((Source::Client(id), &asked.socket));
    }
    match (run.phase, &run.init) {
        // The stem's message comes before the init's.
        (Phase::Told, _) => {}
        (Phase::Building | Phase::Idle | Phase::Opening | Phase::Running | Phase::Between, _) => {
            watched.push((Source::Report(id), &run.report));
            // One that has its run says nothing more there, or its end comes with it: nobody need wake up for its closing.
            let speaks = run.phase != Phase::Running || run.session.is_some();
            let socket = run.hand_out.as_ref().filter(|_| speaks);
            watched.extend(socket.map(|socket| (Source::Resident(id), socket)));
        }
        (Phase::Dying { .. }, Some((init, _))) if !run.gone => watched.push((Source::Init(id), init)),
        (Phase::Dying { .. }, _) => {}
    }
    if let Some(session) = run.session.as_ref().filter(|_| !is_dying) {
        // Until its files are collected nobody listens to a run that has ended.
        let asker = session.run.as_ref().filter(|_| run.phase == Phase::Running);
        watched.extend(asker.map(|asked| (Source::Asker(id), &asked.socket)));
        let checkpoints = session.checkpoints();
        watched.extend(checkpoints.map(|(number, socket)| (Source::Checkpoint(id, number), socket)));
        watched.extend(session.copy().map(|socket| (Source::Copy(id), socket)));
    }
    if let Some(collecting) = &run.collecting {
        let ends = collecting.collector().into_iter().chain(run.proxy.pidfd());
        watched.extend(ends.map(|process| (Source::Waiting, process)));
    }
    watched
}

/// Whether as many descriptors came as a run may have: its own, those of collecting, those of egress.
fn is_whole(network: NetworkProfile, count: usize) -> bool {
    let least = 1 + place::SCRATCH_INDEX + if network == NetworkProfile::Egress { 2 } else { 0 };
    [least, least + 2].contains(&count)
}
