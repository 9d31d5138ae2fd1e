//! Into `parked`, and out of it again.
//!
//! Every change here needs a second reader: it is what starts a run when nobody stands by.

use core::time::Duration;
use std::sync::Arc;

use execgate_model::{ApprovalId, Caller, Identity, Proposal, RunId, Stage, Surface, UnixMs};
use execgate_receipt::approval::{MAX_STATEMENTS, same_artifact};
use execgate_store::{Change, Due, Parked, Parking, Record, Refused, Vote, WITHDRAWN_KEEPS_MS};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tracing::Instrument as _;

use super::request::expiry;
use super::yard::{Seen, Trace, Turn};
use super::{Closing, ParkedRequest, Today, Waiting};
use crate::approve::Judgement;
use crate::authorise::Authorised;
use crate::corridor::{Approach, Corridor, Unapproved, Walk};
use crate::execute::Claimed;
use crate::pay::Earlier;
use crate::propose::Quote;
use crate::witness::Render;
use crate::{Passage, Refusal};

/// Starts of one run that were taken back, at the most: each has left leaves, and what fails so often does not start.
const TRIES_MAX: u32 = 64;

/// Requests that may wait at the door for people, in one process: each looks at the record now and then.
const PATIENT_MAX: usize = 256;

/// How often one of them looks. People take longer, and a look takes some 10 µs.
const LOOK_EVERY: Duration = Duration::from_millis(200);

impl Corridor {
    /// Looks at every parked run whose time is over, or of which somebody has said something: ends the one, starts the
    /// other. What cannot be done now is looked at again in a later sweep.
    ///
    /// # Errors
    /// [`Refusal::Store`] if the record cannot be read.
    pub async fn tend(&self, render: &Arc<dyn Render>) -> Result<Vec<JoinHandle<()>>, Refusal> {
        let execute = &self.rooms().execute;
        let now = execute.clock.now();
        let due = execute.store.parked_due(now).await?;
        let yard = self.yard();
        yard.keep_only(&due, now);
        let (over, approved): (Vec<_>, Vec<_>) =
            due.into_iter().partition(|due| due.is_over || due.is_denied);
        for due in over {
            // Beside the turns of those that start: time does not wait for them.
            if let Err(refusal) = self.end(due.run, render).await {
                tracing::warn!(run = %due.run, rule = refusal.rule(), "a parked run that is over could not be ended");
            }
        }
        // Those that cannot start yet must not keep the others from their turn.
        let rules = self.rooms().authorise.rules.now().digest();
        let rests = |due: &Due| {
            let votes = usize::try_from(due.votes).unwrap_or(usize::MAX);
            yard.rests(due.run, Seen { rules, votes }, now)
        };
        let mut rested: Vec<_> = approved.into_iter().filter(|due| !rests(due)).map(|due| due.run).collect();
        if !rested.is_empty() {
            let first = yard.next_turn() % rested.len();
            rested.rotate_left(first);
        }
        Ok(rested.into_iter().filter_map(|run| self.start(run, render)).collect())
    }

    /// Ends a parked run whose time is over, or that was denied while it was being started.
    async fn end(&self, run: RunId, render: &Arc<dyn Render>) -> Result<(), Refusal> {
        let execute = &self.rooms().execute;
        let Some(parked) = execute.store.parked(run).await? else { return Ok(()) };
        let (walk, _presence) = self.set_out(Arc::clone(render))?;
        match walk.over(&parked) {
            Some(why) => walk.close(&parked, why).await.map(drop),
            None => Ok(()),
        }
    }

    /// Walks a parked run through the rooms, beside whoever asked for that. None where it walks already, too many do, or
    /// this process shuts down.
    pub(super) fn start(&self, run: RunId, render: &Arc<dyn Render>) -> Option<JoinHandle<()>> {
        let turn = self.yard().take(run)?;
        let (walk, presence) = self.set_out(Arc::clone(render)).ok()?;
        let (yard, clock) = (self.yard().clone(), Arc::clone(&self.rooms().execute.clock));
        let mut seen = Seen { rules: self.rooms().authorise.rules.now().digest(), votes: 0 };
        Some(tokio::spawn(async move {
            match walk.unpark(run, turn, &mut seen).await {
                Ok(passage) => tracing::info!(%run, outcome = passage.outcome, "a parked run has ended"),
                Err(refusal) => {
                    tracing::debug!(%run, rule = refusal.rule(), "a parked run goes on waiting");
                    // What was undone has its rest already.
                    if !matches!(refusal, Refusal::NotStarted(_)) {
                        yard.rest(run, clock.now(), Trace::None(seen));
                    }
                }
            }
            drop(presence);
        }))
    }

    /// Waits at the door for people, and then for the run: its answer, or that it waits still.
    ///
    /// # Errors
    /// As [`Self::walk`].
    pub async fn wait_out(&self, waiting: Box<Waiting>, patience: Duration) -> Result<Passage, Refusal> {
        let until = Instant::now() + patience;
        let Some(_place) = self.be_patient(PATIENT_MAX) else { return Err(Refusal::Parked(waiting)) };
        while Instant::now() < until && !self.is_draining() {
            sleep(LOOK_EVERY).await;
            let Some(record) = self.rooms().execute.store.run(waiting.run).await? else { break };
            match record.stage {
                Stage::Parked | Stage::Execute => {}
                Stage::Witness | Stage::Settled | Stage::Unknown => {
                    match Earlier::read(record, waiting.action_digest) {
                        Earlier::Answered(passage) => return Ok(Passage { replayed: false, ..passage }),
                        Earlier::Refused(refusal) => return Err(refusal),
                        Earlier::Running | Earlier::Parked | Earlier::Unpaid(_) => {}
                    }
                }
            }
        }
        Err(Refusal::Parked(waiting))
    }
}

impl Unapproved {
    /// What is told where nothing can wait.
    pub(crate) fn refusal(&self) -> Refusal {
        let reason = "this action needs an approval: ask for it alone, so that it can wait for one";
        if self.wanted.by_gateway() {
            return self.wanted.clone().into();
        }
        Refusal::ApprovalMissing { rule: self.wanted.rule().to_owned(), reason: reason.to_owned() }
    }
}

impl Walk {
    /// What the approve room says, to a parked run with what people have said of it. Of that only what still holds counts,
    /// and what does not is no fault of whoever asks; where it is not enough, it waits on.
    pub(crate) fn judge(
        &self,
        quote: &mut Quote,
        authorised: &Authorised,
        waits: Option<&Parked>,
    ) -> Result<Judgement, Refusal> {
        let approve = &self.rooms.approve;
        let Some(parked) = waits else { return approve.judge(quote, authorised) };
        let standing = approve.standing(quote, authorised, &parked.votes);
        let brought = quote.approve_by(|brought| one_list(brought, standing));
        match approve.judge(quote, authorised) {
            Err(Refusal::ApprovalMissing { .. }) if brought.is_none() => {
                quote.approve_by(|_| None);
                approve.judge(quote, authorised)
            }
            judgement => judgement,
        }
    }

    /// Claims a run for people to answer; the same run again where it waits already.
    pub(crate) async fn park(&self, unapproved: Unapproved) -> Result<Passage, Refusal> {
        let Unapproved { quote, hold, authorised, wanted, waits, _first } = unapproved;
        if let Some(parked) = waits {
            return Err(self.waiting(&parked).await);
        }
        if wanted.by_gateway() {
            return Err(wanted.into());
        }
        if let Some(reason) = unfound(&quote) {
            return Err(Refusal::ApprovalMissing {
                rule: wanted.rule().to_owned(),
                reason: reason.to_owned(),
            });
        }
        let execute = &self.rooms.execute;
        let request = ParkedRequest::new(&quote, &authorised, &wanted);
        let expires = expiry(&wanted, execute.clock.now());
        let caller = &quote.proposal().caller;
        let (tenant, own_place) = (caller.tenant.clone(), has_own_place(caller));
        let parking = Parking { tenant, own_place, head: request.to_bytes()?, expires };
        match execute.park(&quote, &hold, &authorised, &wanted, parking).await? {
            Claimed::Earlier(record) => self.earlier(*record, &quote, &hold).await,
            Claimed::Fresh(_) => {
                let waiting = Waiting::told(quote.run(), quote.terms().fingerprint, request, expires);
                self.bell.rings(&waiting);
                Err(Refusal::Parked(Box::new(waiting)))
            }
        }
    }

    /// The parked run of a nonce, as a request finds it that comes again: it goes on only with what people have said.
    pub(crate) async fn found(&self, record: &Record, again: &Proposal) -> Result<Found, Refusal> {
        let parked = self.rooms.execute.store.parked(record.run).await?;
        let parked = parked.ok_or(Refusal::StillRunning { run: record.run })?;
        if let Some(why) = self.over(&parked) {
            return self.close(&parked, why).await.map(Found::Ended);
        }
        let has_nothing = parked.votes.is_empty() && again.approval.is_none();
        if has_nothing || self.yard.rests_long(record.run, self.rooms.execute.clock.now()) {
            return Err(self.waiting(&parked).await);
        }
        Ok(Found::Waiting(Box::new(parked)))
    }

    /// What is told of a run that was found parked.
    pub(crate) async fn still_parked(&self, run: RunId) -> Result<Refusal, Refusal> {
        let parked = self.rooms.execute.store.parked(run).await?.ok_or(Refusal::StillRunning { run })?;
        Ok(self.waiting(&parked).await)
    }

    /// That a run waits, and for whom under the rules of today; or why that cannot be told.
    async fn waiting(&self, parked: &Parked) -> Refusal {
        let told = async {
            let request = ParkedRequest::from_bytes(&parked.parking.head)?;
            let today = self.yard.today(&self.rooms, parked, &request).await?;
            Ok(Refusal::Parked(Box::new(Waiting::of(parked, request, today))))
        };
        told.await.unwrap_or_else(|refusal| refusal)
    }

    /// Takes a run out of `parked`, if it may be: through all the rooms, under the rules of today. Its turn is over with its
    /// claim.
    pub(super) async fn unpark(self, run: RunId, turn: Turn, seen: &mut Seen) -> Result<Passage, Refusal> {
        let rooms = Arc::clone(&self.rooms);
        let Some(parked) = rooms.execute.store.parked(run).await? else {
            return Err(Refusal::StillRunning { run });
        };
        seen.votes = parked.votes.len();
        if let Some(why) = self.over(&parked) {
            return self.close(&parked, why).await;
        }
        let request = ParkedRequest::from_bytes(&parked.parking.head)?;
        let today = self.yard.today(&rooms, &parked, &request).await?;
        // Nobody else is asked, and what it asks for is not read, before enough people have spoken: under these rules, since
        // what was said under others binds nobody.
        let has_enough = today.terms.iter().all(|term| term.has_enough(&parked.votes));
        if !has_enough || self.yard.is_in_vain(run, &today, seen.votes) {
            return Err(Refusal::Parked(Box::new(Waiting::of(&parked, request, today))));
        }
        if today.refused.is_none() && !today.price.is_zero() {
            let flow = rooms.propose.prices.flow(&request.action, request.options.offer);
            return Err(Refusal::PaymentRequired { price: today.price, flow });
        }
        let walked = match rooms.authorise.as_of_now(&request.caller).await {
            Ok(caller) => {
                let (payload, place) = self.yard.payload(rooms.execute.store.as_ref(), &parked).await?;
                let proposal = request.into_proposal(caller, payload, place);
                self.walk_parked(proposal, &parked, today, turn).await
            }
            Err(refusal) => Err(refusal),
        };
        match walked {
            Err(refusal) if is_final(&refusal) => {
                let why = Closing::Refused { rule: refusal.rule().to_owned(), reason: refusal.to_string() };
                self.close(&parked, why).await
            }
            walked => walked,
        }
    }

    /// Walks the rooms again with a run that was parked.
    async fn walk_parked(
        &self,
        proposal: Proposal,
        parked: &Parked,
        today: Today,
        turn: Turn,
    ) -> Result<Passage, Refusal> {
        let mut sight = self.sight(&proposal);
        let span = sight.span();
        let walk = async {
            match self.approach(proposal, Some(Box::new(parked.clone())), &mut sight).await? {
                Approach::Approved(approved) => self.pass(approved.in_turn(turn), &mut sight).await,
                Approach::Unapproved(unapproved) => {
                    // This alone: what waits again after a start elsewhere has all that it needs.
                    self.yard.note_in_vain(parked.record.run, today, parked.votes.len());
                    self.park(*unapproved).await
                }
                Approach::Answered(passage) => Ok(passage),
            }
        };
        let walked = walk.instrument(span).await;
        match &walked {
            Err(refusal) if !is_final(refusal) => sight.look_away(),
            walked => sight.end(walked),
        }
        walked
    }

    /// The answer of a run that somebody else has taken out of `parked`.
    async fn ended_elsewhere(&self, was: &Record) -> Result<Passage, Refusal> {
        let running = Refusal::StillRunning { run: was.run };
        let Some(record) = self.rooms.execute.store.run(was.run).await? else { return Err(running) };
        match Earlier::read(record, was.fingerprint) {
            Earlier::Answered(passage) => Ok(passage),
            Earlier::Refused(refusal) => Err(refusal),
            Earlier::Running | Earlier::Parked | Earlier::Unpaid(_) => Err(running),
        }
    }

    /// Why a run that waits is to be ended, whatever the rules say; none where it may start.
    fn over(&self, parked: &Parked) -> Option<Closing> {
        if let Some(no) = parked.denial() {
            let reason = self.rooms.approve.reason_of(no);
            return Some(Closing::Denied { approver: no.approver.clone(), reason });
        }
        if parked.parking.expires <= self.rooms.execute.clock.now() {
            return Some(Closing::Expired);
        }
        (parked.tries >= TRIES_MAX).then(never_starts)
    }

    /// Ends a parked run that is never to start: its end says what is in force of it, however often it was started since it
    /// was read.
    pub(super) async fn close(&self, parked: &Parked, why: Closing) -> Result<Passage, Refusal> {
        let store = &self.rooms.execute.store;
        if let Some(passage) = self.refuse(parked, &why, None).await? {
            return Ok(passage);
        }
        while let Some(again) = store.parked(parked.record.run).await? {
            if let Some(passage) = self.refuse(&again, &why, None).await? {
                return Ok(passage);
            }
        }
        self.ended_elsewhere(&parked.record).await
    }

    /// The same, once: none where it does not wait any more, or was started in vain since it was read.
    pub(super) async fn refuse(
        &self,
        parked: &Parked,
        why: &Closing,
        denial: Option<(Vote, Change)>,
    ) -> Result<Option<Passage>, Refusal> {
        let rooms = &self.rooms;
        let finish = rooms.witness.close(&parked.record, why, self.render.as_ref())?;
        let passage = Passage {
            run: finish.run,
            content: finish.content,
            outcome: finish.outcome.clone(),
            answer: finish.answer.clone(),
            replayed: false,
            laps: Vec::new(),
            bought: None,
        };
        // What people have said yes to is over with it, wherever else their statements lie.
        let spent = same_artifact(&parked.parking.tenant, ApprovalId::from(parked.record.run));
        let keeps =
            (*why == Closing::Withdrawn).then(|| UnixMs(finish.at.0.saturating_add(WITHDRAWN_KEEPS_MS)));
        let refused = rooms.execute.store.refuse(finish, parked.tries, spent, denial, keeps).await?;
        rooms.execute.crash.reached("refused");
        Ok((refused == Refused::Ended).then_some(passage))
    }
}

/// A parked run, as a request of its nonce finds it.
pub(crate) enum Found {
    /// It may go on with what people have said.
    Waiting(Box<Parked>),
    /// Its time was over.
    Ended(Passage),
}

/// Why nobody would find a call again that waits; none where its caller does.
fn unfound(quote: &Quote) -> Option<&'static str> {
    let Proposal { surface, caller, .. } = quote.proposal();
    if quote.is_named_by_payment() {
        return Some(
            "this action needs an approval before it is paid for: give the call a nonce, so that it can wait",
        );
    }
    // By HTTP the first answer names the session, for its caller to show; clients of the protocol hand on no header.
    (*surface == Surface::Mcp && caller.is_new()).then_some(
        "this action needs an approval, and a caller that shows nothing is another one with each call, so that nobody would \
         find it again: show what identifies a caller, which is a key of a grant, a token, or a session in the header \
         `Execgate-Session` (64 hexadecimal digits, random and kept secret)",
    )
}

/// The end of a run that people have approved, and that was started in vain too often.
fn never_starts() -> Closing {
    let reason = format!("it was approved, and could not be started in {TRIES_MAX} tries");
    Closing::Refused { rule: "not-started".to_owned(), reason }
}

/// Whether a caller's runs wait in places of its own. A session is to be had for nothing, so that all of them share.
const fn has_own_place(caller: &Caller) -> bool {
    match caller.identity {
        Identity::Anonymous | Identity::Session { .. } => false,
        Identity::Local | Identity::Grant { .. } | Identity::Wallet { .. } | Identity::Subject { .. } => true,
    }
}

/// Whether a refusal of an approved run ends it. What time, money or the operator can mend does not: it goes on waiting.
fn is_final(refusal: &Refusal) -> bool {
    match refusal {
        Refusal::UnknownAction { .. }
        | Refusal::BadCall(_)
        | Refusal::Undigestible(_)
        | Refusal::BadId(_)
        | Refusal::Denied { .. }
        | Refusal::ApprovalReused => true,
        Refusal::Parked(_)
        | Refusal::PaymentRequired { .. }
        | Refusal::WatchedUnpaid
        | Refusal::PaymentRefused { .. }
        | Refusal::PayerLimited { .. }
        | Refusal::PaymentUnreadable { .. }
        | Refusal::RailUnavailable { .. }
        | Refusal::PaymentReused
        | Refusal::LimitReached { .. }
        | Refusal::IamUnreachable
        | Refusal::ApprovalMissing { .. }
        | Refusal::ArtifactUnreadable { .. }
        | Refusal::ClawShield(_)
        | Refusal::ApprovalInvalid(_)
        | Refusal::OwnApproval { .. }
        // Somebody sends its nonce with other content at this moment; the nonce is its own all the same.
        | Refusal::NonceReused { .. }
        | Refusal::AnswerExpired { .. }
        | Refusal::Unpaid { .. }
        | Refusal::SettlementPending { .. }
        | Refusal::StillRunning { .. }
        | Refusal::Busy { .. }
        | Refusal::NotStarted(_)
        | Refusal::NotStartedPaid(_)
        | Refusal::NoSlot(_)
        | Refusal::Store(_)
        | Refusal::Receipt { .. } => false,
    }
}

/// What came with a request, and what people have handed in: one list, where it is statements that came. No longer than what
/// may come at once: what came goes before.
fn one_list(brought: Option<&str>, votes: Vec<Value>) -> Option<String> {
    let mut list = match brought.map(serde_json::from_str) {
        None => Vec::new(),
        Some(Ok(Value::Array(more))) => more,
        Some(Ok(one)) if one.get("payloadType").is_some() => vec![one],
        // Of another kind, or unreadable: for the approve room to say.
        Some(_) => return brought.map(str::to_owned),
    };
    let room = MAX_STATEMENTS.saturating_sub(list.len());
    list.extend(votes.into_iter().take(room));
    (!list.is_empty()).then(|| Value::Array(list).to_string())
}

#[cfg(test)]
mod tests {
    use execgate_receipt::approval::MAX_STATEMENTS;
    use serde_json::{Value, json};

    use super::one_list;

    #[test]
    fn what_came_and_what_was_handed_in_are_never_more_than_may_come() {
        let votes = |count: usize| (0..count).map(|at| json!({"payloadType": "v", "at": at})).collect();
        let count = |brought: Option<&str>, handed_in: usize| {
            let list = one_list(brought, votes(handed_in)).unwrap();
            serde_json::from_str::<Value>(&list).unwrap().as_array().unwrap().len()
        };
        assert_eq!(one_list(None, Vec::new()), None);
        assert_eq!(count(None, MAX_STATEMENTS + 5), MAX_STATEMENTS);
        assert_eq!(count(Some("{\"payloadType\": \"b\"}"), MAX_STATEMENTS), MAX_STATEMENTS);
        assert_eq!(count(Some("[1, 2]"), 3), 5);
        // Too many that came are for the approve room to refuse.
        let many = Value::Array(votes(MAX_STATEMENTS + 1)).to_string();
        assert_eq!(count(Some(&many), 2), MAX_STATEMENTS + 1);
        assert_eq!(one_list(Some("{\"approval_id\": \"x\"}"), votes(1)).unwrap(), "{\"approval_id\": \"x\"}");
    }
}
