//! The handle: starts against a helper, hands out slots, runs requests.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use execgate_forkpoint::sys;
use execgate_forkpoint::wire::{Message as _, Received, pair, receive, send, text_memfd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::follow::Afterwards;
use super::handing::Handing;
use super::link::HelperLink;
use super::recovery::Helpers;
use super::session::{Session, Sessions};
use super::slots::{Depth, Slot, Slots, Waiting};
use crate::config::{Config, Language, VerdictBy};
use crate::egress::Ledger;
use crate::enforced::Enforced;
use crate::error::{RunError, SandboxError};
use crate::network::Network;
use crate::outcome::Run;
use crate::request::Request;
use crate::session::SessionRequest;
use crate::wire::{End, FromHelper, ToHelper};

/// Why nothing runs on such a kernel.
const NO_LANDLOCK: &str = "this kernel has no Landlock (Linux 5.13 or later, booted with lsm=landlock,...)";

/// What this side needs to know of a language.
#[derive(Debug, Clone)]
pub(super) struct Spoken {
    pub(super) name: String,
    pub(super) verdict: VerdictBy,
    /// Whether its sessions have checkpoints; none where it has no sessions.
    pub(super) session: Option<bool>,
}

impl From<Language> for Spoken {
    fn from(language: Language) -> Self {
        let session = language.session.map(|session| session.checkpoints);
        Self { name: language.name, verdict: language.verdict, session }
    }
}

/// A sandbox of one configuration. Cheap to share; dropping it ends the helper and every run. A helper that dies takes what
/// is under way with it, and another takes its place.
#[derive(Debug)]
pub struct Sandbox {
    helpers: Helpers,
    languages: Vec<Spoken>,
    slots: Arc<Slots>,
    /// The places of what lives long, and how many there are to be.
    aside: Arc<Slots>,
    aside_max: usize,
    sessions: Sessions,
    has_egress: bool,
}

impl Sandbox {
    /// Has a helper started on the link of [`crate::spawn_helper`].
    ///
    /// # Errors
    /// [`SandboxError::Refused`] says why this host cannot give the tier that was asked for; the others are faults.
    pub fn start(link: HelperLink, config: Config) -> Result<Self, SandboxError> {
        if config.slots == 0 || config.slots > Config::SLOTS_MAX {
            return Err(SandboxError::Slots { max: Config::SLOTS_MAX });
        }
        for language in &config.languages {
            let usable = |argv: &Vec<String>| {
                argv.first().is_some_and(|path| path.starts_with('/'))
                    && !argv.iter().any(|argument| argument.contains('\0'))
            };
            let session = language.session.as_ref().map(|session| &session.argv);
            if !usable(&language.argv) || !session.is_none_or(usable) {
                return Err(SandboxError::Language(language.name.clone()));
            }
        }
        // The helper finds this too, where it can begin: a kernel without Landlock may lack a call that it begins with.
        if sys::landlock_abi() == 0 {
            return Err(SandboxError::Refused(NO_LANDLOCK.to_owned()));
        }
        let has_egress = config.egress.is_some();
        let helpers = Helpers::start(link, &config)?;
        let languages = config.languages.into_iter().map(Spoken::from).collect();
        let (slots, sessions) = (Slots::new(config.slots), Sessions::default());
        let aside = Slots::new(0);
        Ok(Self { helpers, languages, slots, aside, aside_max: 0, sessions, has_egress })
    }

    /// Sets so many of its slots aside for what lives long: they are taken by [`Self::reserve_aside`] alone, and no other
    /// slot is, so that neither leaves the other without a place. Before anything runs.
    #[must_use]
    pub fn setting_aside(self, aside: usize) -> Self {
        let this = Self { aside_max: aside, ..self };
        this.has_capacity(this.slots.depth().usable);
        this
    }

    /// Shares out as many slots as there are. Where some are withdrawn it is those of runs that become fewer: what lives
    /// long holds its own already.
    fn has_capacity(&self, usable: usize) {
        self.aside.set_usable(self.aside_max.min(usable));
        self.slots.set_usable(usable.saturating_sub(self.aside_max));
    }

    /// What holds a run of this sandbox that has no network, as the helper has built it. What held a certain run is in
    /// that [`Run`].
    #[must_use]
    pub fn enforced(&self) -> Enforced {
        self.helpers.now().guarded.enforced.clone()
    }

    /// The names of its languages, in the order of its configuration.
    pub fn languages(&self) -> impl Iterator<Item = &str> {
        self.languages.iter().map(|spoken| spoken.name.as_str())
    }

    /// The names of those that have sessions, in the same order.
    pub fn session_languages(&self) -> impl Iterator<Item = &str> {
        let spoken = self.languages.iter().filter(|spoken| spoken.session.is_some());
        spoken.map(|spoken| spoken.name.as_str())
    }

    /// The helper's process, for those who watch it.
    #[must_use]
    pub fn helper_pid(&self) -> i32 {
        self.helpers.now().pid
    }

    /// How many helpers have died under it.
    #[must_use]
    pub fn helpers_lost(&self) -> u64 {
        self.helpers.lost()
    }

    /// Waits until no run is under way and every jail is torn down; gives the number of quarantined slots.
    ///
    /// # Errors
    /// [`RunError::HelperGone`], also where that takes longer than `within`.
    pub fn quiesce(&self, within: Duration) -> Result<u32, RunError> {
        let FromHelper::Capacity { quarantined, .. } = self.ask(&ToHelper::Quiesce, within)? else {
            return Err(RunError::HelperGone);
        };
        Ok(quarantined)
    }

    /// What lies idle now, so that runs begin at once: it costs memory. A helper that is busy with a jail may let one wait.
    ///
    /// # Errors
    /// As [`Self::quiesce`].
    pub fn waiting(&self, within: Duration) -> Result<Waiting, RunError> {
        let FromHelper::Waiting { interpreters, forking, bytes } = self.ask(&ToHelper::Look, within)? else {
            return Err(RunError::HelperGone);
        };
        let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        Ok(Waiting { interpreters: count(interpreters), forking: count(forking), bytes })
    }

    /// Waits until as many interpreters wait for runs as are wanted now.
    ///
    /// # Errors
    /// As [`Self::quiesce`].
    pub fn warm_up(&self, within: Duration) -> Result<(), RunError> {
        self.ask(&ToHelper::WarmUp, within).map(|_capacity| ())
    }

    /// Waits for the answer to a question.
    fn ask(&self, question: &ToHelper, within: Duration) -> Result<FromHelper, RunError> {
        let (ours, theirs) = pair().map_err(RunError::Pipes)?;
        send(&self.helpers.now().control, &question.pack(), &[theirs.as_fd()]).map_err(RunError::Send)?;
        drop(theirs);
        let timeout = Timespec::try_from(within).ok();
        let mut answered = None;
        loop {
            poll(&mut [PollFd::new(&ours, PollFlags::IN)], timeout.as_ref())
                .map_err(|error| RunError::Follow(error.into()))?;
            match (receive(&ours).map_err(RunError::Follow)?, answered.take()) {
                (Received::Packet(bytes, _), None) => match FromHelper::unpack(&bytes) {
                    Ok(answer @ (FromHelper::Capacity { .. } | FromHelper::Waiting { .. })) => {
                        answered = Some(answer);
                    }
                    Ok(FromHelper::Ready { .. } | FromHelper::Refused | FromHelper::ImageChanged)
                    | Err(_) => {
                        return Err(RunError::HelperGone);
                    }
                },
                // Closed by the helper: it holds nothing of this question any more.
                (Received::End, Some(answer)) => return Ok(answer),
                (Received::Packet(..) | Received::Nothing | Received::End, _) => {
                    return Err(RunError::HelperGone);
                }
            }
        }
    }

    /// Whether the helper is there. While it is not, no run starts. The next one comes by itself, unless the process that
    /// starts helpers is gone too: only a new sandbox mends that.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.helpers.now().is_there()
    }

    /// In what the image is not what its digest names, where that was found. Once it was, no run starts any more; only a
    /// new sandbox on a sound image mends that.
    #[must_use]
    pub fn image_change(&self) -> Option<&str> {
        self.hear_helper();
        self.helpers.image_change()
    }

    /// How full it is.
    #[must_use]
    pub fn depth(&self) -> Depth {
        self.hear_helper();
        self.slots.depth()
    }

    /// Takes a place for a run, before anything is claimed for it.
    ///
    /// # Errors
    /// [`RunError::Full`], [`RunError::ImageChanged`].
    pub fn reserve(&self) -> Result<Slot, RunError> {
        self.is_sound()?;
        Slots::take(&self.slots).or_else(|full| {
            // One that has ended without its owner's knowledge needs no place any more.
            if self.sessions.let_go_of_ended() { Slots::take(&self.slots) } else { Err(full) }
        })
    }

    /// The same, of those that are [set aside](Self::setting_aside).
    ///
    /// # Errors
    /// As [`Self::reserve`].
    pub fn reserve_aside(&self) -> Result<Slot, RunError> {
        self.is_sound()?;
        Slots::take(&self.aside)
    }

    fn is_sound(&self) -> Result<(), RunError> {
        self.hear_helper();
        match self.helpers.image_change() {
            Some(_) => Err(RunError::ImageChanged { has_begun: false }),
            None => Ok(()),
        }
    }

    /// Runs a request in a place of its own.
    ///
    /// # Errors
    /// As [`Self::reserve`] and [`Self::run_in`].
    pub fn run(&self, request: Request) -> Result<Run, RunError> {
        self.run_in(self.reserve()?, request)
    }

    /// Runs a request in a place that was taken before. Blocks until the verdict; nothing of the run is alive then
    /// or will be, but for what the kernel still tears down.
    ///
    /// # Errors
    /// [`RunError`]; where it is not [lost](RunError::is_lost), nothing has started.
    pub fn run_in(&self, slot: Slot, request: Request) -> Result<Run, RunError> {
        let (number, spoken) = self.spoken(&request.language)?;
        let outward = outward(&request.network, self.has_egress)?;
        let helper = self.helpers.now();
        let enforced = helper.guarded.of(&request.network);
        let (warm, network) = (request.warm, request.network.profile());
        let message = ToHelper::NewRun { language: number, warm, network, limits: request.limits.clone() };
        let outward = outward.map(|(rules, ledger)| (rules, Arc::new(ledger)));
        if let Some((sight, (_, ledger))) = request.network_sight.as_ref().zip(outward.as_ref()) {
            sight.show(ledger);
        }
        let mut handing = Handing::of(request, spoken.verdict)?;
        let beside: Vec<_> =
            outward.iter().flat_map(|(rules, ledger)| [rules.as_fd(), ledger.descriptor()]).collect();
        handing.send(helper.control.as_fd(), &message.pack(), &beside)?;
        let run = handing.follow(Afterwards::Kill, enforced);
        drop(slot);
        let (mut run, end) = run?;
        run.network = outward.map(|(_, ledger)| ledger.read());
        // A proxy that was not seen dead may still tell something.
        for report in run.network.iter_mut().filter(|_| end == End::Lost) {
            report.is_whole = false;
        }
        Ok(run)
    }

    /// A language, and its number.
    fn spoken(&self, name: &str) -> Result<(u16, &Spoken), RunError> {
        let found = (0..).zip(&self.languages).find(|(_, spoken)| spoken.name == name);
        found.ok_or_else(|| RunError::UnknownLanguage(name.to_owned()))
    }

    /// Opens a session: an interpreter that keeps what a run leaves for the next one. It takes a slot until it ends.
    ///
    /// # Errors
    /// [`RunError`]; nothing has started then.
    pub fn open_session(&self, request: SessionRequest) -> Result<Session, RunError> {
        let (number, spoken) = self.spoken(&request.language)?;
        let Some(checkpoints) = spoken.session else { return Err(RunError::NoSession(request.language)) };
        if request.limits.descriptors < SessionRequest::DESCRIPTORS_MIN {
            return Err(RunError::SessionDescriptors { min: SessionRequest::DESCRIPTORS_MIN });
        }
        let slot = self.reserve()?;
        let spoken = Spoken { session: Some(checkpoints), ..spoken.clone() };
        let helper = self.helpers.now();
        let enforced = helper.guarded.enforced.clone();
        let session = Session::open(request, &spoken, number, slot, helper.control.as_fd(), enforced)?;
        self.sessions.note(&session);
        Ok(session)
    }

    /// Takes up what the helper has said since the last time.
    fn hear_helper(&self) {
        if let Some(usable) = self.helpers.hear() {
            self.has_capacity(usize::try_from(usable).unwrap_or(usize::MAX));
        }
    }
}

/// The rules of a run with egress, and the ledger that its proxy fills.
fn outward(network: &Network, has_egress: bool) -> Result<Option<(OwnedFd, Ledger)>, RunError> {
    let Network::Egress(egress) = network else { return Ok(None) };
    if !has_egress {
        return Err(RunError::NoEgress);
    }
    let rules = serde_json::to_vec(egress).map_err(|error| RunError::Store(error.into()))?;
    let rules = text_memfd("rules", &rules).map_err(RunError::Store)?;
    Ok(Some((rules, Ledger::new().map_err(RunError::Store)?)))
}
