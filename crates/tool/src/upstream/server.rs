//! One server, looked after: it is connected, what it offers is held against what was accepted, and when it is gone it is
//! connected again, ever more slowly.

use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use execgate_model::{Digest, Watcher};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, interval, sleep, sleep_until, timeout};

use super::asking::{Asks, CallAsks};
use super::beside::{Beside, Changes};
use super::client::{Client, Manner};
use super::connect::{Connect, ConnectError};
use super::entry::{Digester, Entry};
use super::lanes::{Lanes, Seat, Sharing, Starts};
use super::offer::{Hello, Offer};
use super::pins::{FirstContact, PinBook, Pins, Standing};
use super::reading::{Listing, Reading};
use super::words::ServerName;
use crate::NotStarted;

/// Calls of one server under way at once.
const CALLS_MAX: usize = 64;

/// Whose a process is that all callers share: no digest of a caller is this.
const EVERYBODY: Digest = Digest::from_bytes([0; 32]);

/// Lists of one server under way at once that callers have asked for, and how long each may take with all its pages.
const LISTS_MAX: usize = 8;
const LISTED_WITHIN: Duration = Duration::from_secs(60);

/// What is told where there are more.
const TOO_MANY_LISTS: &str = "too many lists of this server are under way; try again later";

/// How long it is waited before a server that is gone is connected again: at first, and at most.
const BACK_OFF_FIRST: Duration = Duration::from_millis(250);
const BACK_OFF_MAX: Duration = Duration::from_mins(1);

/// How often tools are listed anew of a server that does not say that they have changed: some never do, and what one says
/// while nobody listens is lost.
pub(super) const LIST_EVERY: Duration = Duration::from_mins(1);

/// How often it is looked what was accepted meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What a server is looked after with.
pub struct UpstreamParts {
    /// Its name.
    pub name: ServerName,
    /// Who connects it.
    pub connect: Arc<dyn Connect>,
    /// What was accepted.
    pub book: Arc<dyn PinBook>,
    /// Who computes digests.
    pub digester: Digester,
    /// What becomes of one of which nothing was accepted.
    pub first: FirstContact,
    /// How long one call may take.
    pub call_within: Duration,
    /// Whether its callers share a process.
    pub sharing: Sharing,
    /// What it may ask of the clients that call it.
    pub asks: Asks,
}

/// A tool as it is offered now.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The tool.
    pub entry: Entry,
    /// How it stands.
    pub standing: Standing,
}

/// What is known of a server now.
#[derive(Clone, Default)]
struct Now {
    client: Option<Arc<Client>>,
    offer: Option<Arc<Offer>>,
    tools: Arc<[Seen]>,
    /// Its instructions, where they are what was accepted.
    instructions: Option<String>,
    pins: Option<Arc<Pins>>,
}

/// A server.
pub struct Upstream {
    parts: UpstreamParts,
    now: RwLock<Now>,
    places: Arc<Semaphore>,
    /// Places for what is listed: of their own, so that lists take none of calls.
    lists: Semaphore,
    /// The processes of callers, where each has one of its own; that of `now` is asked for its offer alone then.
    lanes: Option<Lanes>,
    /// Counts how often what may be had of it has changed.
    changes: watch::Sender<Changes>,
    /// What it lists beside its tools, as far as it tells of changes.
    pub(super) beside: Beside,
    /// Why it is not connected.
    fault: Mutex<Option<String>>,
}

impl Upstream {
    /// A server that is not connected yet.
    #[must_use]
    pub fn new(parts: UpstreamParts) -> Self {
        let places = Arc::new(Semaphore::new(CALLS_MAX));
        let lanes = match parts.sharing {
            Sharing::Shared | Sharing::Sole => None,
            Sharing::PerCaller { processes_max, idle } => Some(Lanes::new(processes_max, idle)),
        };
        Self {
            parts,
            now: RwLock::default(),
            places,
            lists: Semaphore::new(LISTS_MAX),
            lanes,
            changes: watch::Sender::default(),
            beside: Beside::default(),
            fault: Mutex::default(),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &ServerName {
        &self.parts.name
    }

    /// What it said of itself, once it was connected; without instructions that nobody has accepted.
    #[must_use]
    pub fn hello(&self) -> Option<Hello> {
        let now = self.now();
        let offer = now.offer?;
        Some(Hello { instructions: now.instructions, ..offer.hello.clone() })
    }

    /// Every tool that it offers, in its order.
    #[must_use]
    pub fn tools(&self) -> Arc<[Seen]> {
        self.now().tools
    }

    /// The tools that were accepted, in its order.
    #[must_use]
    pub fn accepted(&self) -> Vec<Entry> {
        let tools = self.tools();
        let accepted = tools.iter().filter(|seen| seen.standing == Standing::Accepted);
        accepted.map(|seen| seen.entry.clone()).collect()
    }

    /// A tool that was accepted.
    #[must_use]
    pub fn find(&self, tool: &str) -> Option<Entry> {
        let tools = self.tools();
        let seen = tools.iter().find(|seen| seen.entry.name == tool)?;
        (seen.standing == Standing::Accepted).then(|| seen.entry.clone())
    }

    /// Whether it has resources, or prompts.
    #[must_use]
    pub fn can(&self, reading: Reading) -> bool {
        self.now().offer.is_some_and(|offer| offer.hello.can(reading.capability()))
    }

    /// What it lists beside its tools; of the process that serves everybody, or of the one that is asked for offers alone.
    ///
    /// # Errors
    /// The reason, for the caller.
    pub async fn list(&self, listing: Listing) -> Result<Vec<Value>, String> {
        let _permit = self.lists.try_acquire().map_err(|_| TOO_MANY_LISTS.to_owned())?;
        let client = self.shared().map_err(|error| error.to_string())?;
        let (method, of) = listing.method();
        match timeout(LISTED_WITHIN, client.list(method, of)).await {
            Ok(listed) => listed.map_err(|error| error.to_string()),
            Err(_) => Err("the server does not end its list in time".to_owned()),
        }
    }

    /// Tells of changes of what may be had of it.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Changes> {
        self.changes.subscribe()
    }

    pub(super) fn has_changed(&self, change: impl FnOnce(&mut Changes)) {
        self.changes.send_modify(change);
    }

    /// What confines it, for receipts and for its operator.
    #[must_use]
    pub fn enforced(&self) -> Value {
        let mut told = self.parts.connect.enforced();
        let whose = if told["transport"] == "stdio" { "process" } else { "session" };
        told[whose] = if self.lanes.is_some() { "per-caller" } else { "shared" }.into();
        if !self.parts.asks.is_empty() {
            told["may_ask"] = self.parts.asks.words().collect();
        }
        told
    }

    /// What it may ask of the clients that call it.
    #[must_use]
    pub fn asks(&self) -> &Asks {
        &self.parts.asks
    }

    /// What it is told of them.
    fn manner(&self) -> Manner {
        Manner { asks: self.parts.asks.clone(), is_shared: self.parts.sharing == Sharing::Shared }
    }

    /// A call whose client can be asked by this server; none where nothing may be.
    pub(super) fn askable(&self, watcher: Option<&Watcher>, until: Instant) -> Option<Arc<CallAsks>> {
        let respondent = watcher.and_then(Watcher::respondent).filter(|_| !self.parts.asks.is_empty())?;
        Some(Arc::new(CallAsks::new(self.parts.asks.clone(), Arc::clone(respondent), until)))
    }

    pub(super) fn call_within(&self) -> Duration {
        self.parts.call_within
    }

    pub(super) fn digester(&self) -> Digester {
        self.parts.digester
    }

    fn now(&self) -> Now {
        self.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Connects it, and holds what it offers against what was accepted.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(&self) -> Result<Arc<Offer>, ConnectError> {
        let connected = self.try_connect().await;
        let fault = connected.as_ref().err().map(ToString::to_string);
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
        connected
    }

    async fn try_connect(&self) -> Result<Arc<Offer>, ConnectError> {
        // Where each caller has one of its own, this one is nobody's.
        let owner = self.lanes.is_none().then_some(EVERYBODY);
        let opened = self.parts.connect.open_of(owner).await?;
        let client = Client::greet(opened.0, Arc::clone(&self.parts.connect), self.manner()).await?;
        let (offer, as_of) = client.offer(self.parts.digester).await?;
        let (client, offer) = (Arc::new(client), Arc::new(offer));
        self.take(Some(Arc::clone(&client)), Arc::clone(&offer));
        client.has_listed(as_of);
        Ok(offer)
    }

    /// Looks after it for as long as this is polled: connects it again, lists anew what has changed, and takes up what was
    /// accepted.
    pub async fn tend(&self) {
        let mut wait = BACK_OFF_FIRST;
        loop {
            let Some(client) = self.now().client.filter(|client| client.ended().is_none()) else {
                self.gone();
                sleep(wait).await;
                wait = match self.connect().await {
                    Ok(_) => BACK_OFF_FIRST,
                    Err(error) => {
                        tracing::warn!(server = %self.parts.name, %error, "an upstream server cannot be connected");
                        (wait * 2).min(BACK_OFF_MAX)
                    }
                };
                continue;
            };
            tokio::select! {
                () = self.tend_tools(&client) => {}
                () = self.tend_beside(&client) => {}
                () = client.listen() => {}
            }
        }
    }

    /// Lists its tools anew where they have changed, and now and then where it has not said so; until it is gone.
    async fn tend_tools(&self, client: &Arc<Client>) {
        let (mut heard, mut look) = (client.heard(), interval(LOOK_EVERY));
        let (mut next, mut wait) = (Instant::now() + LIST_EVERY, BACK_OFF_FIRST);
        loop {
            if heard.borrow_and_update().has_ended {
                return;
            }
            if client.is_behind() {
                // One that says so again and again is not asked as often.
                next = next.min(Instant::now() + wait);
            }
            tokio::select! {
                _ = heard.changed() => {}
                () = sleep_until(next) => {
                    let is_listed = self.list_again(client).await;
                    wait = if is_listed { BACK_OFF_FIRST } else { (wait * 2).min(BACK_OFF_MAX) };
                    next = Instant::now() + LIST_EVERY;
                }
                _ = look.tick() => self.look(),
            }
        }
    }

    /// Whether its tools were listed.
    async fn list_again(&self, client: &Arc<Client>) -> bool {
        match client.offer(self.parts.digester).await {
            Ok((offer, as_of)) => {
                self.take(Some(Arc::clone(client)), Arc::new(offer));
                client.has_listed(as_of);
                true
            }
            Err(error) => {
                tracing::warn!(server = %self.parts.name, %error, "the tools of an upstream server cannot be listed");
                false
            }
        }
    }

    /// It is not there. Its tools stay listed: what is called meanwhile is told so.
    fn gone(&self) {
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = now.client.take() {
            let why = client.ended().unwrap_or_default();
            tracing::warn!(server = %self.parts.name, why, "an upstream server is gone");
            *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        }
    }

    /// Looks whether something else is accepted by now.
    fn look(&self) {
        if let Some(lanes) = &self.lanes {
            lanes.sweep();
        }
        let now = self.now();
        if let Some(offer) = now.offer
            && self.pins() != now.pins
        {
            self.take(now.client, offer);
        }
    }

    /// What was accepted. A book that cannot be read has accepted nothing.
    fn pins(&self) -> Option<Arc<Pins>> {
        let pins = self.parts.book.pins(&self.parts.name).unwrap_or_else(|error| {
            tracing::error!(server = %self.parts.name, %error, "what was accepted of an upstream server cannot be read");
            Some(Pins::default())
        });
        pins.map(Arc::new)
    }

    /// Holds an offer against what was accepted.
    fn take(&self, client: Option<Arc<Client>>, offer: Arc<Offer>) {
        let name = &self.parts.name;
        let is_known = self.now().offer.is_some_and(|known| known == offer);
        if !is_known && let Err(error) = self.parts.book.see(name, &offer) {
            tracing::error!(server = %name, %error, "what an upstream server offers cannot be noted");
        }
        let mut pins = self.pins();
        if pins.is_none() && self.parts.first == FirstContact::Accept {
            let all = Pins::of(&offer);
            match self.parts.book.accept_first(name, &all) {
                Ok(()) => pins = Some(Arc::new(all)),
                Err(error) => {
                    tracing::error!(server = %name, %error, "an upstream server cannot be accepted")
                }
            }
        }
        let accepted = pins.clone().unwrap_or_default();
        let stand = |entry: &Entry| {
            let standing = Standing::of(accepted.tools.get(&entry.name), &entry.digest);
            Seen { entry: entry.clone(), standing }
        };
        let tools: Arc<[Seen]> = offer.entries.iter().map(stand).collect();
        for seen in tools.iter().filter(|seen| seen.standing != Standing::Accepted) {
            let (tool, standing) = (&seen.entry.name, seen.standing.as_str());
            tracing::warn!(server = %name, tool, standing, "a tool is hidden until it is accepted");
        }
        let instructions =
            offer.hello.instructions.clone().filter(|_| accepted.instructions == offer.instructions);
        let before = {
            let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
            let before = core::mem::take(&mut now.tools);
            *now = Now { client, offer: Some(offer), tools: Arc::clone(&tools), instructions, pins };
            before
        };
        if before != tools {
            self.changes.send_modify(|changes| changes.tools += 1);
        }
    }

    /// Takes a place for a call of this caller's. Nothing is sent, and nothing started.
    pub(super) fn reserve(&self, owner: Option<Digest>) -> Result<Place, NotStarted> {
        let line = match &self.lanes {
            None => Line::Shared(self.shared()?),
            Some(lanes) => Line::Own(lanes.seat(owner.ok_or_else(|| self.of_nobody())?)?),
        };
        let permit = Arc::clone(&self.places).try_acquire_owned().map_err(|_| NotStarted::Full)?;
        Ok(Place { line, _permit: permit })
    }

    fn of_nobody(&self) -> NotStarted {
        NotStarted::Unavailable(format!(
            "each caller has a process or a session of the server `{}` to itself, and it is not known who asks: show a key",
            self.parts.name
        ))
    }

    fn in_flux(&self) -> NotStarted {
        NotStarted::Unavailable(format!(
            "the server `{}` has said that its tools have changed, and does not list them; try again later",
            self.parts.name
        ))
    }

    /// Waits until it is known what the process that serves everybody offers; that of this caller is asked, where it is there.
    pub(super) async fn knows_its_tools(
        &self,
        owner: Option<Digest>,
        entry: &Entry,
    ) -> Result<(), NotStarted> {
        match (&self.lanes, owner) {
            (Some(lanes), Some(owner)) => lanes.holds(owner, self.starts(), entry).await,
            // Whoever is nobody has no place either.
            (Some(_), None) => Ok(()),
            (None, _) if self.shared()?.is_known().await => Ok(()),
            (None, _) => Err(self.in_flux()),
        }
    }

    /// With what a process of a caller is started.
    fn starts(&self) -> Starts<'_> {
        Starts { connect: &self.parts.connect, digester: self.parts.digester, manner: self.manner() }
    }

    /// The process that serves everybody.
    fn shared(&self) -> Result<Arc<Client>, NotStarted> {
        let client = self.now().client.filter(|client| client.ended().is_none());
        client.ok_or_else(|| {
            NotStarted::Unavailable(format!(
                "the server `{}` is not connected now; try again later",
                self.parts.name
            ))
        })
    }

    /// The process of a place: for a call of a tool that was accepted, or for what is no tool.
    pub(super) async fn line_of(
        &self,
        place: &Place,
        entry: Option<&Entry>,
    ) -> Result<Arc<Client>, NotStarted> {
        match &place.line {
            Line::Shared(client) => {
                if entry.is_some() && !client.is_known().await {
                    return Err(self.in_flux());
                }
                Ok(Arc::clone(client))
            }
            Line::Own(seat) => seat.client(self.starts(), entry).await,
        }
    }
}

/// A place for one call.
pub(super) struct Place {
    line: Line,
    _permit: OwnedSemaphorePermit,
}

/// Whose process it is.
enum Line {
    Shared(Arc<Client>),
    Own(Seat),
}
