//! Several proposals in one order (CONTRACTS 4): all of them come to the claim before the first one is claimed, and
//! each is a run of its own, with a receipt of its own.
//!
//! Item `i` of a batch with the nonce `n` has the nonce `n#i`, and a digest over the whole batch is part of its
//! fingerprint, so that a batch with other content is refused. After a crash a repeated batch answers what is done
//! and ends at the item whose end is lost; the items behind that one are never started.
//!
//! A batch that costs something is paid for as one, and before it starts. The payment is that of its first item, whose run
//! holds the price of the whole: it is claimed with it, captured when that intent is durable, and found again after a
//! crash, as that of any call that is paid upfront. The items behind it cost nothing more, and none of them is started
//! before the first one has come to its end. Where the first one is lost or never starts, the whole is its payer's credit.

use execgate_model::{Amount, Caller, Credential, Digest, Nonce, Proposal, RunId, Scope};
use execgate_payment::{Flow, Hold};
use execgate_receipt::digest_json;
use serde_json::json;
use tracing::Instrument as _;

use crate::authorise::Judged;
use crate::corridor::{Approach, Walk};
use crate::due::Due;
use crate::notice::Sight;
use crate::propose::{NonceKey, fingerprint};
use crate::witness::Facts;
use crate::{Passage, Refusal, Room};

/// Items of one batch at most (CONTRACTS 4).
pub const BATCH_MAX: usize = 20;

/// The outcome of an item that did what it was asked for.
const VALUE: &str = "value";

/// The outcome of an item whose end is lost.
const UNKNOWN: &str = "unknown";

/// What becomes of the rest when an item does not come to a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterFailure {
    /// It is run all the same.
    GoOn,
    /// It is never started.
    Stop,
}

/// Proposals in their order, all by one caller. They have neither nonces nor credentials of their own.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The caller's name for all of them.
    pub nonce: Option<Nonce>,
    /// What is to be run, 1 to [`BATCH_MAX`].
    pub items: Vec<Proposal>,
    /// What a failure means for the rest.
    pub after_failure: AfterFailure,
    /// What came to pay for all of them.
    pub credential: Option<Credential>,
}

/// What the first item of a batch has brought for all of them.
struct Cover {
    /// A hold of nothing, for the others.
    hold: Hold,
    /// Who asks, as the payment shows it where nothing else does.
    caller: Caller,
    /// The session by which that was known before.
    session: Option<Scope>,
    /// The name of the batch: a payment is its own where there is none (CONTRACTS 2).
    nonce: Nonce,
}

/// A batch that has started.
#[derive(Debug)]
pub struct Batched {
    /// The batch, by a name that is the same on every retry under its nonce. It is no run.
    pub id: RunId,
    /// How each item ended that was started, in their order; those that are missing never were.
    pub items: Vec<Result<Passage, Refusal>>,
}

/// Why nothing of a batch has started, or nobody can tell whether its first item has.
#[derive(Debug)]
pub struct BatchRefusal {
    /// The item that is refused; none where it is the whole.
    pub item: Option<usize>,
    /// Why.
    pub refusal: Refusal,
}

impl BatchRefusal {
    /// What is wrong with an item; with the whole, where it is the payment.
    fn of(at: usize, refusal: Refusal) -> Self {
        let item = (refusal.room() != Room::Pay).then_some(at);
        Self { item, refusal }
    }
}

impl From<Refusal> for BatchRefusal {
    fn from(refusal: Refusal) -> Self {
        Self { item: None, refusal }
    }
}

/// Whether a refusal can follow a claim, so that the end of its item is not known here.
fn may_have_run(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Store(_) | Refusal::Receipt { .. } | Refusal::StillRunning { .. })
}

/// Whether nothing behind an item is started.
fn ends_here(after_failure: AfterFailure, ended: &Result<Passage, Refusal>) -> bool {
    match (after_failure, ended) {
        (AfterFailure::GoOn, Ok(passage)) => passage.outcome == UNKNOWN,
        (AfterFailure::GoOn, Err(refusal)) => may_have_run(refusal),
        (AfterFailure::Stop, ended) => ended.as_ref().map_or("", |passage| passage.outcome.as_str()) != VALUE,
    }
}

impl Batch {
    /// Its name, where whoever has given it is known by no more than a session.
    fn named_in_session(&self) -> Option<Nonce> {
        let in_session = self.items.first().is_some_and(|first| !first.caller.is_identified());
        self.nonce.clone().filter(|_| in_session)
    }

    /// The digest that binds its items to it.
    fn digest(&self) -> Result<Digest, BatchRefusal> {
        let mut prints = Vec::with_capacity(self.items.len());
        for (at, item) in self.items.iter().enumerate() {
            let print = fingerprint(item).map_err(|error| BatchRefusal {
                item: Some(at),
                refusal: Refusal::Undigestible(error.to_string()),
            })?;
            prints.push(print);
        }
        let whole = json!({"items": prints, "stopOnError": self.after_failure == AfterFailure::Stop});
        digest_json(&whole).map_err(|error| Refusal::Undigestible(error.to_string()).into())
    }

    /// The items under their own nonces, bound to the batch. What a payment says of its payer is true of all of them; the
    /// first shows it anew.
    fn bound(self, digest: Digest, cover: Option<&Cover>) -> Result<Vec<Proposal>, BatchRefusal> {
        let mut items = self.items;
        let nonce = self.nonce.as_ref().or(cover.map(|cover| &cover.nonce));
        for (at, item) in items.iter_mut().enumerate() {
            item.options.batch = Some(digest);
            if let Some(cover) = cover.filter(|_| at > 0) {
                item.caller = cover.caller.clone();
            }
            if let Some(nonce) = nonce {
                let nonce = Nonce::new(format!("{nonce}#{at}")).map_err(Refusal::from)?;
                item.nonce = Some(nonce);
            }
        }
        Ok(items)
    }
}

impl Walk {
    /// Walks a batch to the claim, and only then claims and runs its items one by one.
    pub(crate) async fn batch(self, mut batch: Batch) -> Result<Batched, BatchRefusal> {
        let asked = self.asked(&batch).await?;
        let digest = batch.digest()?;
        let in_session = batch.named_in_session();
        let price = self.price(&batch, &asked)?;
        if !price.is_zero() && batch.credential.is_none() {
            if let Some(items) = self.answered_before(&batch, digest, price).await? {
                let id = self.name(&batch, None, digest);
                return Ok(Batched { id: self.named_as_first(id, in_session, digest, &items).await, items });
            }
            return Err(Refusal::PaymentRequired { price, flow: Flow::Upfront }.into());
        }
        let cover = if price.is_zero() { None } else { Some(self.cover(&mut batch, price).await?) };
        let id = self.name(&batch, cover.as_ref(), digest);
        let after_failure = batch.after_failure;
        let mut approached = Vec::with_capacity(batch.items.len());
        for (at, item) in batch.bound(digest, cover.as_ref())?.into_iter().enumerate() {
            let due = match &cover {
                None => Due::Own,
                Some(_) if at == 0 => Due::Batch(price),
                Some(Cover { hold, session, .. }) => Due::Covered { hold, session: session.as_ref() },
            };
            approached.push(self.approach_item(at, item, due).await?);
        }
        let items = self.pass_items(approached, after_failure, cover.is_some()).await?;
        Ok(Batched { id: self.named_as_first(id, in_session, digest, &items).await, items })
    }

    /// What is asked for each item. What the rules refuse whoever pays for it is refused before anybody is asked to pay.
    async fn asked(&self, batch: &Batch) -> Result<Vec<Amount>, BatchRefusal> {
        let mut asked = Vec::with_capacity(batch.items.len());
        for (at, item) in batch.items.iter().enumerate() {
            let mut sight = self.sight(item);
            match self.precheck(item, &mut sight).await {
                Ok((price, _)) => {
                    asked.push(price);
                    sight.look_away();
                }
                Err(refusal) => {
                    sight.refuse(&refusal);
                    return Err(BatchRefusal::of(at, refusal));
                }
            }
        }
        Ok(asked)
    }

    /// What a caller that is known was answered under the name of its batch already, though it brings no payment now, as of
    /// one call ([`Walk::answered`]). None where a part of it was never started: that the payment of the batch starts.
    async fn answered_before(
        &self,
        batch: &Batch,
        digest: Digest,
        price: Amount,
    ) -> Result<Option<Vec<Result<Passage, Refusal>>>, BatchRefusal> {
        if batch.nonce.is_none() {
            return Ok(None);
        }
        let mut seen: Vec<(Sight, Result<Passage, Refusal>)> = Vec::with_capacity(batch.items.len());
        for (at, mut item) in batch.clone().bound(digest, None)?.into_iter().enumerate() {
            let refused = |refusal| BatchRefusal::of(at, refusal);
            let mut sight = self.sight(&item);
            let (_, Judged { allow, .. }) = self.precheck(&item, &mut sight).await.map_err(refused)?;
            item.options.profile = allow.profile().map(str::to_owned);
            let Some(passage) = self.answered(&item, price).await.map_err(refused)? else {
                sight.look_away();
                seen.into_iter().for_each(|(sight, _)| sight.look_away());
                return Ok(None);
            };
            seen.push((sight, Ok(passage)));
            if seen.last().is_some_and(|(_, ended)| ends_here(batch.after_failure, ended)) {
                break;
            }
        }
        let tell = |(sight, ended): (Sight, Result<Passage, Refusal>)| {
            sight.end(&ended);
            ended
        };
        Ok(Some(seen.into_iter().map(tell).collect()))
    }

    /// The price of the whole.
    fn price(&self, batch: &Batch, asked: &[Amount]) -> Result<Amount, BatchRefusal> {
        let Some(first) = batch.items.first() else { return Ok(Amount::ZERO) };
        let price = self.rooms.propose.prices.of_batch(&first.caller, asked);
        Ok(price.ok_or_else(|| Refusal::Undigestible("the batch costs more than there is".to_owned()))?)
    }

    /// Verifies the payment of a batch, and hands it to the first item, which brings it.
    async fn cover(&self, batch: &mut Batch, price: Amount) -> Result<Cover, BatchRefusal> {
        let required = || Refusal::PaymentRequired { price, flow: Flow::Upfront };
        let head = batch.items.first_mut().ok_or_else(required)?;
        head.credential = batch.credential.take();
        let session = head.caller.scope().filter(|_| !head.caller.is_identified());
        let quote = self.rooms.propose.enter(head.clone(), price);
        let mut quote = quote.map_err(|refusal| BatchRefusal::of(0, refusal))?.upfront();
        let (hold, _) = self.rooms.pay.enter(&mut quote).await?;
        let claim = hold.paid().claim.as_ref().ok_or_else(required)?;
        if hold.paid().flow != Flow::Upfront {
            let reason = "a batch is paid before it starts".to_owned();
            return Err(Refusal::PaymentRefused { price, flow: Flow::Upfront, reason }.into());
        }
        let proposal = quote.proposal();
        let nonce = match &proposal.nonce {
            Some(nonce) => nonce.clone(),
            None => Nonce::new(format!("payment:{}", claim.key)).map_err(Refusal::from)?,
        };
        Ok(Cover { hold: hold.covering(), caller: proposal.caller.clone(), session, nonce })
    }

    async fn approach_item(
        &self,
        at: usize,
        item: Proposal,
        due: Due<'_>,
    ) -> Result<(Approach, Sight), BatchRefusal> {
        let mut sight = self.sight(&item);
        let span = sight.span();
        match self.approach_due(item, None, due, &mut sight).instrument(span).await {
            Ok(Approach::Unapproved(unapproved)) => {
                let refusal = unapproved.refusal();
                sight.refuse(&refusal);
                Err(BatchRefusal::of(at, refusal))
            }
            Ok(approach) => Ok((approach, sight)),
            Err(refusal) => {
                sight.refuse(&refusal);
                Err(BatchRefusal::of(at, refusal))
            }
        }
    }

    /// Claims and runs them in their order. Where they are paid for, the first one is the payment's: nothing of the rest is
    /// started where it has not come to its end.
    async fn pass_items(
        &self,
        approached: Vec<(Approach, Sight)>,
        after_failure: AfterFailure,
        is_paid: bool,
    ) -> Result<Vec<Result<Passage, Refusal>>, BatchRefusal> {
        let mut items = Vec::with_capacity(approached.len());
        for (approach, mut sight) in approached {
            if self.cancel.is_cancelled() || self.is_closed() {
                break;
            }
            let ended = match approach {
                Approach::Answered(passage) => Ok(passage),
                Approach::Unapproved(unapproved) => Err(unapproved.refusal()),
                Approach::Approved(approved) => {
                    sight.resume();
                    let span = sight.span();
                    self.pass(*approved, &mut sight).instrument(span).await
                }
            };
            sight.end(&ended);
            let ends_here = ends_here(after_failure, &ended);
            // What is answered from a time when nothing was to be paid pays for nothing behind it.
            let is_covered = !is_paid || !items.is_empty() || ended.as_ref().is_ok_and(Passage::is_bought);
            if is_paid
                && items.is_empty()
                && let Err(refusal) = ended
            {
                return Err(BatchRefusal::of(0, refusal));
            }
            items.push(ended);
            if ends_here || !is_covered {
                break;
            }
        }
        Ok(items)
    }

    /// The name of a batch of a session: in the scope that its first run has, since a later answer may come with another
    /// payment, or with none.
    async fn named_as_first(
        &self,
        id: RunId,
        in_session: Option<Nonce>,
        digest: Digest,
        items: &[Result<Passage, Refusal>],
    ) -> RunId {
        let (Some(nonce), Some(Ok(first))) = (in_session, items.first()) else { return id };
        let record = self.rooms.execute.store.run(first.run).await.ok().flatten();
        let facts = record.and_then(|record| Facts::from_bytes(&record.intent).ok());
        let scope = facts.and_then(|facts| facts.caller.scope());
        scope.map_or(id, |scope| NonceKey::run(&scope, &nonce, digest))
    }

    fn name(&self, batch: &Batch, cover: Option<&Cover>, digest: Digest) -> RunId {
        let scope = match cover {
            Some(cover) => cover.caller.scope(),
            None => batch.items.first().and_then(|item| item.caller.scope()),
        };
        match (batch.nonce.as_ref().or(cover.map(|cover| &cover.nonce)), scope) {
            (Some(nonce), Some(scope)) => NonceKey::run(&scope, nonce, digest),
            _ => RunId::from_entropy(self.rooms.propose.entropy.sixteen()),
        }
    }
}
