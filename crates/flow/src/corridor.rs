//! The corridor: the one place that knows the order of the rooms. Read [`Walk::approach`]
//! and [`Walk::pass`]: what comes before the claim, and the claim with what comes behind it.

use core::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use execgate_model::{Amount, Caller, Effect, Proposal, RuleId, Stage};
use execgate_payment::{Hold, Rails, Settlement};
use execgate_store::Parked;
use execgate_tool::{Blocked, Cancel, Description};
use tokio::sync::watch;
use tracing::Instrument as _;

use crate::among::Among;
use crate::approve::{Approval, Approve, Judgement, Wanted};
use crate::authorise::{Authorise, Authorised, Grants, Judged, RulesFor, prepared_under};
use crate::batch::{Batch, BatchRefusal, Batched};
use crate::due::Due;
use crate::execute::{Claim, Claimed, Execute, owner};
use crate::log::LogGate;
use crate::notice::{Bell, NoBell, Notice, Sight};
use crate::own_thread::Lent;
use crate::parking::{Boundless, Lodging, Running, Trace, Turn, Yard};
use crate::pay::{Bought, Duplicates, Known, Pay, Places, only_its_own};
use crate::presence::{HangUp, Presence};
use crate::propose::{Prices, Propose, Quote};
use crate::settle::{Held, Settle, Walks, due};
use crate::ticket::{self, Ticket};
use crate::witness::{Recording, Render, Witness, Witnessed};
use crate::{Passage, Refusal, Room, Thread};

/// The rooms, furnished.
#[derive(Clone)]
pub struct Rooms {
    /// Checks and prices.
    pub propose: Propose,
    /// Holds the money.
    pub pay: Pay,
    /// Asks the rules.
    pub authorise: Authorise,
    /// Asks for the approval.
    pub approve: Approve,
    /// Claims and runs.
    pub execute: Execute,
    /// Writes the receipt.
    pub witness: Witness,
    /// Moves the money.
    pub settle: Settle,
    /// Whether the record is the one that its log was seen with.
    pub log: LogGate,
}

impl Rooms {
    /// What no approval can let pass is refused before anybody is asked to pay for it.
    fn precheck(&self, proposal: &Proposal) -> Result<(), Refusal> {
        let name = proposal.action.as_str();
        let blocked = Blocked::find(name, proposal.surface.namespace());
        if blocked.is_some_and(|blocked| !self.propose.has_handler(blocked)) {
            return Err(Refusal::no_handler(name));
        }
        self.approve.precheck(proposal)
    }
}

/// The corridor of one process.
pub struct Corridor {
    rooms: Arc<Rooms>,
    notice: Arc<dyn Notice>,
    bell: Arc<dyn Bell>,
    duplicates: Duplicates,
    yard: Yard,
    patient: Arc<()>,
    draining: Arc<AtomicBool>,
    walkers: watch::Sender<()>,
}

/// One run's way through the rooms.
#[derive(Clone)]
pub(crate) struct Walk {
    pub(crate) rooms: Arc<Rooms>,
    notice: Arc<dyn Notice>,
    pub(crate) bell: Arc<dyn Bell>,
    pub(crate) duplicates: Duplicates,
    pub(crate) render: Arc<dyn Render>,
    pub(crate) yard: Yard,
    pub(crate) cancel: Cancel,
    draining: Arc<AtomicBool>,
}

/// How far a run has come that has claimed nothing yet.
pub(crate) enum Approach {
    /// It may be claimed.
    Approved(Box<Approved>),
    /// People are to be asked first.
    Unapproved(Box<Unapproved>),
    /// It is answered already.
    Answered(Passage),
}

/// A run that is paid for, allowed and approved.
pub(crate) struct Approved {
    quote: Quote,
    hold: Hold,
    authorised: Authorised,
    approval: Approval,
    ticket: Ticket<ticket::Approved>,
    waits: Option<Box<Parked>>,
    /// Its turn among parked runs that start.
    turn: Option<Turn>,
    _first: Places,
}

impl Approved {
    /// The same, whose turn it is.
    pub(crate) fn in_turn(self, turn: Turn) -> Self {
        Self { turn: Some(turn), ..self }
    }
}

/// A run that is allowed, and wants an approval.
pub(crate) struct Unapproved {
    pub(crate) quote: Quote,
    pub(crate) hold: Hold,
    pub(crate) authorised: Authorised,
    pub(crate) wanted: Wanted,
    /// It is parked already.
    pub(crate) waits: Option<Box<Parked>>,
    pub(crate) _first: Places,
}

/// A run that has its slot, and is claimed next.
struct Ready {
    quote: Quote,
    hold: Hold,
    authorised: Authorised,
    approval: Approval,
    ticket: Ticket<ticket::Approved>,
    waits: Option<Box<Parked>>,
    turn: Option<Turn>,
    presence: WalkPresence,
}

/// That a run walks, for those who look for runs that nobody walks with, and that a parked one runs.
type WalkPresence = (Walks, Option<Running>);

/// What came of a run that was ready.
enum Acted {
    /// It was claimed and has ended.
    Here(Box<Done>),
    /// Another request had claimed it: its answer.
    Earlier(Box<Passage>),
}

/// A run whose end is durable, and whose money is not moved yet.
struct Done {
    claim: Box<Claim>,
    hold: Hold,
    ticket: Ticket<ticket::Recorded>,
    witnessed: Witnessed,
    is_charged: bool,
    prepaid: Option<Settlement>,
    presence: WalkPresence,
}

impl Corridor {
    /// A corridor of these rooms, and who takes note of what they decide.
    #[must_use]
    pub fn new(rooms: Rooms, notice: Arc<dyn Notice>) -> Self {
        Self {
            rooms: Arc::new(rooms),
            notice,
            bell: Arc::new(NoBell),
            duplicates: Duplicates::default(),
            yard: Yard::new(Arc::new(Boundless)),
            patient: Arc::default(),
            draining: Arc::default(),
            walkers: watch::Sender::new(()),
        }
    }

    /// The same, and who is told of runs that wait for people.
    #[must_use]
    pub fn telling(self, bell: Arc<dyn Bell>) -> Self {
        Self { bell, ..self }
    }

    /// The same, and where what parked runs ask for finds room in memory.
    #[must_use]
    pub fn lodging(self, lodging: Arc<dyn Lodging>) -> Self {
        Self { yard: Yard::new(lodging), ..self }
    }

    /// Walks a proposal through the rooms. A run with a nonce or a payment goes on when the caller hangs up
    /// (drops this future); any other is cancelled then.
    ///
    /// # Errors
    /// [`Refusal`] names the room and the rule.
    pub async fn walk(&self, proposal: Proposal, render: Arc<dyn Render>) -> Result<Passage, Refusal> {
        let caller = if proposal.nonce.is_none() && proposal.credential.is_none() {
            Presence::Needed
        } else {
            Presence::Dispensable
        };
        self.accompany(caller, render, |walk| walk.rooms(proposal)).await
    }

    /// Walks a batch: nothing of it starts before all of it may. It goes on without its caller as one run does.
    ///
    /// # Errors
    /// [`BatchRefusal`] names the item. Nothing of the batch has started then.
    pub async fn walk_batch(&self, batch: Batch, render: Arc<dyn Render>) -> Result<Batched, BatchRefusal> {
        let caller = if batch.nonce.is_none() && batch.credential.is_none() {
            Presence::Needed
        } else {
            Presence::Dispensable
        };
        self.accompany(caller, render, |walk| walk.batch(batch)).await
    }

    async fn accompany<T, E, F>(
        &self,
        caller: Presence,
        render: Arc<dyn Render>,
        rooms: impl FnOnce(Walk) -> F,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Refusal> + Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let (walk, presence) = self.set_out(render)?;
        let mut hang_up = HangUp((caller == Presence::Needed).then(|| walk.cancel.clone()));
        let walk = rooms(walk);
        let walked = tokio::spawn(async move {
            let walked = walk.await;
            drop(presence);
            walked
        })
        .await;
        hang_up.0 = None;
        walked.unwrap_or_else(|fault| Err(Refusal::Receipt { detail: fault.to_string() }.into()))
    }

    /// A walk that begins, and its presence: whoever drains waits until that is dropped.
    pub(crate) fn set_out(&self, render: Arc<dyn Render>) -> Result<(Walk, watch::Receiver<()>), Refusal> {
        // Present before the flag is read: whoever drains either sees this walker or is seen by it.
        let presence = self.walkers.subscribe();
        if self.is_draining() {
            let reason = "this gateway is shutting down";
            return Err(Refusal::Busy { rule: "draining", reason });
        }
        let walk = Walk {
            rooms: Arc::clone(&self.rooms),
            notice: Arc::clone(&self.notice),
            bell: Arc::clone(&self.bell),
            duplicates: self.duplicates.clone(),
            render,
            yard: self.yard.clone(),
            cancel: Cancel::default(),
            draining: Arc::clone(&self.draining),
        };
        Ok((walk, presence))
    }

    /// The rooms.
    pub(crate) fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    /// Where parked runs stand.
    pub(crate) fn yard(&self) -> &Yard {
        &self.yard
    }

    /// A place among those who wait at the door for people, where fewer than so many do.
    pub(crate) fn be_patient(&self, most: usize) -> Option<Arc<()>> {
        let place = Arc::clone(&self.patient);
        // One is the corridor's own.
        (Arc::strong_count(&place) <= most + 1).then_some(place)
    }

    /// The tools of `/exec/*`, by name, but for those that are hidden from this caller.
    pub fn tools<'c>(&'c self, rules: &'c RulesFor) -> impl Iterator<Item = (&'c str, Description)> {
        self.rooms.propose.tools().filter(move |(name, _)| !rules.hides(name))
    }

    /// Whether a name is that of a tool of `/exec/*`, shown or not.
    #[must_use]
    pub fn has_tool(&self, name: &str) -> bool {
        self.rooms.propose.is_tool(name)
    }

    /// Whether an approval unlocks a blocked tool here.
    #[must_use]
    pub fn can_unlock(&self, blocked: Blocked) -> bool {
        self.rooms.propose.has_handler(blocked)
    }

    /// The rules that hold for a caller now.
    ///
    /// # Errors
    /// As [`Authorise::rules_for`].
    pub async fn rules_for(&self, caller: &Caller) -> Result<RulesFor, Refusal> {
        self.rooms.authorise.rules_for(caller).await
    }

    /// The grants whose holders may come in.
    #[must_use]
    pub fn grants(&self) -> Arc<Grants> {
        Arc::clone(&self.rooms.authorise.grants)
    }

    /// How many requests walk.
    #[must_use]
    pub fn walking(&self) -> usize {
        self.walkers.receiver_count()
    }

    /// How many of them wait for the first one of their nonce.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.duplicates.waiting()
    }

    /// Turns new runs away from now on.
    pub fn close(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Waits until every run that walks has come to its end.
    pub async fn drained(&self) {
        self.walkers.closed().await;
    }

    /// What the rules would say to a proposal now: the rule that wants an approval, where one does. Has no effect, and
    /// asks nobody else.
    ///
    /// # Errors
    /// [`Refusal`] names the rule that would refuse it.
    pub fn would(&self, rules: &RulesFor, proposal: &Proposal) -> Result<Option<RuleId>, Refusal> {
        let price = self.rooms.propose.prices.asked(proposal, rules.price(proposal.action.as_str()));
        let judged = rules.judge(proposal, price)?;
        self.rooms.precheck(proposal)?;
        match self.rooms.propose.registry.find(proposal.action.as_str()) {
            Some(_) => Ok(judged.demand.map(|demand| demand.rule)),
            None => Err(Refusal::UnknownAction { action: proposal.action.to_string() }),
        }
    }

    /// Whether the gateway's policy denies what it does not list.
    #[must_use]
    pub fn denies_unlisted(&self) -> bool {
        self.rooms.authorise.rules.now().policy().is_some_and(|policy| !policy.is_open())
    }

    /// What is asked for what.
    #[must_use]
    pub fn prices(&self) -> &Prices {
        &self.rooms.propose.prices
    }

    /// How it can be paid.
    #[must_use]
    pub fn rails(&self) -> &Rails {
        &self.rooms.pay.rails
    }

    /// Whether new runs are turned away.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }
}

impl Walk {
    async fn rooms(self, proposal: Proposal) -> Result<Passage, Refusal> {
        let mut sight = self.sight(&proposal);
        let span = sight.span();
        let walk = async {
            match self.approach(proposal, None, &mut sight).await? {
                Approach::Approved(approved) => self.pass(*approved, &mut sight).await,
                Approach::Unapproved(unapproved) => self.park(*unapproved).await,
                Approach::Answered(passage) => Ok(passage),
            }
        };
        let walked = walk.instrument(span).await;
        sight.end(&walked);
        walked
    }

    /// Watches a walk that begins now.
    pub(crate) fn sight(&self, proposal: &Proposal) -> Sight {
        let (notice, clock) = (Arc::clone(&self.notice), Arc::clone(&self.rooms.execute.clock));
        let is_known = self.rooms.propose.registry.find(proposal.action.as_str()).is_some();
        let policy = self.rooms.authorise.rules.now().digest();
        Sight::begin(notice, clock, proposal, is_known, policy)
    }

    /// Whether nothing more is to be started.
    pub(crate) fn is_closed(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// What is asked for a proposal, and what the rules say to it, whatever its caller pays. Has no effect.
    pub(crate) async fn precheck(
        &self,
        proposal: &Proposal,
        sight: &mut Sight,
    ) -> Result<(Amount, Judged), Refusal> {
        let rules = self.rooms.authorise.rules_for(&proposal.caller).await?;
        sight.ruled(rules.digest());
        let price = self.rooms.propose.prices.asked(proposal, rules.price(proposal.action.as_str()));
        let judged = rules.judge(proposal, price)?;
        self.rooms.precheck(proposal)?;
        Ok((price, judged))
    }

    /// The rooms before the claim: they only compute. `waits`: it is a parked run that may be taken out.
    pub(crate) async fn approach(
        &self,
        proposal: Proposal,
        waits: Option<Box<Parked>>,
        sight: &mut Sight,
    ) -> Result<Approach, Refusal> {
        self.approach_due(proposal, waits, Due::Own, sight).await
    }

    /// The same, where something else than its own price may be due.
    pub(crate) async fn approach_due(
        &self,
        mut proposal: Proposal,
        waits: Option<Box<Parked>>,
        due: Due<'_>,
        sight: &mut Sight,
    ) -> Result<Approach, Refusal> {
        let rooms = Arc::clone(&self.rooms);
        let (price, Judged { allow, .. }) = self.precheck(&proposal, sight).await?;
        // What can be no replay would only be asked to pay for nothing.
        if proposal.nonce.is_none() && proposal.credential.is_none() {
            rooms.log.ask(proposal.effect)?;
        }
        proposal.options.profile = allow.profile().map(str::to_owned);
        if matches!(due, Due::Own)
            && let Some(passage) = self.answered(&proposal, price).await?
        {
            return Ok(Approach::Answered(passage));
        }
        let quote = rooms.propose.enter(proposal, due.of(price))?.resume(waits.as_deref())?;
        let mut quote = match due {
            Due::Own => quote,
            Due::Batch(_) => quote.upfront(),
            Due::Covered { session, .. } => quote.within(session),
        };
        let ticket = Ticket::issue(&quote);
        sight.lap(Room::Propose);

        let (hold, claim) = match due {
            Due::Own | Due::Batch(_) => rooms.pay.enter(&mut quote).await?,
            Due::Covered { hold, .. } => (hold.clone(), None),
        };
        sight.paid_by(&quote.proposal().caller);
        let known = match claim {
            Some(claim) => only_its_own(rooms.execute.store.as_ref(), &quote, claim.key, &hold).await?,
            None => Known::Perhaps,
        };
        let ticket = ticket.named(quote.run()).advance::<ticket::Paid>(&hold);
        sight.named(quote.run());
        let (first, waits) = match self.among_duplicates(&quote, &hold, waits).await? {
            Among::First(guard, waits) => (guard, waits),
            Among::Answered(passage) => return Ok(Approach::Answered(passage)),
        };
        let hold = self.looked(&quote, hold, known).await?;
        rooms.log.ask(quote.proposal().effect)?;
        sight.lap(Room::Pay);

        if price.is_zero() && quote.proposal().effect == Effect::DryRun {
            rooms.authorise.simulations.take(&quote.proposal().caller, quote.proposal().peer)?;
        }
        let authorised = rooms.authorise.enter(quote.proposal(), price, quote.args_digest()).await?;
        let ticket = ticket.advance::<ticket::Authorised>(&authorised.allow);
        sight.authorised(&authorised);
        sight.lap(Room::Authorise);

        let approval = match self.judge(&mut quote, &authorised, waits.as_deref())? {
            Judgement::Approved(approval) => approval,
            Judgement::Wanted(wanted) => {
                let unapproved = Unapproved { quote, hold, authorised, wanted, waits, _first: first };
                return Ok(Approach::Unapproved(Box::new(unapproved)));
            }
        };
        let ticket = ticket.advance::<ticket::Approved>(&approval);
        sight.lap(Room::Approve);
        let approved =
            Approved { quote, hold, authorised, approval, ticket, waits, turn: None, _first: first };
        Ok(Approach::Approved(Box::new(approved)))
    }

    /// The claim, and the rooms behind it.
    pub(crate) async fn pass(&self, approved: Approved, sight: &mut Sight) -> Result<Passage, Refusal> {
        let rooms = Arc::clone(&self.rooms);
        let Approved { mut quote, hold, mut authorised, mut approval, ticket, waits, turn, _first } =
            approved;
        let caller = &quote.proposal().caller;
        let owned_by = caller.scope().filter(|_| caller.is_identified()).map(|scope| owner(scope.as_str()));
        quote.prepared().belongs_to(owned_by)?;
        Turn::lend(turn.as_ref(), quote.prepared().ready(&self.cancel)).await?;
        // As they are now: an item of a batch may have waited long for those before it. What counts is what they say
        // at the claim: their limits, and whether they want an approval.
        let (_, now) = self.precheck(quote.proposal(), sight).await?;
        rooms.log.ask(quote.proposal().effect)?;
        prepared_under(&now.allow, quote.proposal())?;
        let has_changed = now.allow.policy() != authorised.allow.policy();
        if has_changed {
            authorised.rejudge(now);
            sight.authorised(&authorised);
        }
        // An approval ends, too.
        if has_changed || approval.approved().is_some() {
            approval = rooms.approve.enter(&quote, &authorised)?;
        }
        quote.prepared().reserve()?;
        let walks = rooms.settle.walking.begin(quote.run());
        let runs = waits.as_ref().map(|_| self.yard.runs(quote.run(), self.cancel.clone()));
        let lent = Lent::to(quote.prepared().blocks());
        let ready = Ready { quote, hold, authorised, approval, ticket, waits, turn, presence: (walks, runs) };
        let acted = lent.poll(self.act(ready, lent.thread(), sight)).await;
        drop(lent);
        let done = match acted? {
            Acted::Here(done) => *done,
            Acted::Earlier(passage) => return Ok(*passage),
        };
        let Done { claim, hold, ticket, witnessed, is_charged, prepaid, presence } = done;

        let settlement = match prepaid {
            Some(settlement) => settlement,
            None => rooms.settle.enter(Held::by(&claim, &hold), is_charged).await?,
        };
        let ticket = ticket.advance::<ticket::Settled>(&settlement);
        sight.lap(Room::Settle);
        drop(presence);
        let bought = Bought::now(&hold, &settlement, claim.facts().started);
        Ok(Passage { bought, ..witnessed.into_passage(ticket, sight.laps()) })
    }

    /// From the claim to the receipt: what a run that blocks has a thread of its own for.
    async fn act(&self, ready: Ready, thread: Thread, sight: &mut Sight) -> Result<Acted, Refusal> {
        let rooms = Arc::clone(&self.rooms);
        let Ready { quote, hold, authorised, approval, ticket, waits, turn, presence } = ready;
        let claim =
            rooms.execute.claim(&quote, &hold, &authorised, &approval, waits.as_deref(), thread).await?;
        let claim = match claim {
            Claimed::Fresh(claim) => claim,
            Claimed::Earlier(record) => {
                drop((turn, presence));
                let passage = self.earlier(*record, &quote, &hold).await?;
                return Ok(Acted::Earlier(Box::new(passage)));
            }
        };
        let ticket = ticket.advance::<ticket::Claimed>(&claim);
        sight.claimed(&claim);
        if let Some(parked) = &waits {
            // Should it not start: from before anybody can see that it waits again.
            let now = rooms.execute.clock.now();
            self.yard.rest(claim.run(), now, Trace::Leaves { before: parked.tries });
        }
        drop(turn);
        let prepaid = rooms.settle.before(&claim, &hold).await?;
        let ended = rooms.execute.run(&claim, quote, self.cancel.clone()).await?;
        waits.inspect(|_| self.yard.forget(ticket.run()));
        let ticket = ticket.advance::<ticket::Executed>(&ended);
        sight.lap(Room::Execute);

        let is_settled = hold.amount().is_zero() || prepaid.is_some();
        let stage = if is_settled { Stage::Settled } else { Stage::Witness };
        let due = due(Some(&ended.outcome().word()), claim.facts(), ended.at());
        let (hold, metered) = rooms.settle.metered(claim.facts(), hold, due)?;
        let (facts, salt, render) = (claim.facts(), claim.salt(), self.render.as_ref());
        let recording = Recording { stage, metered, thread };
        let witnessed = rooms.witness.record(facts, salt, &ended, render, recording).await?;
        let ticket = ticket.advance::<ticket::Recorded>(&witnessed);
        sight.lap(Room::Witness);
        let is_charged = !due.is_zero();
        Ok(Acted::Here(Box::new(Done { claim, hold, ticket, witnessed, is_charged, prepaid, presence })))
    }
}
