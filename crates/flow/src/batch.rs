//! Several proposals in one order (CONTRACTS 4): all of them come to the claim before the first one is claimed, and
//! each is a run of its own, with a receipt of its own.
//!
//! Item `i` of a batch with the nonce `n` has the nonce `n#i`, and a digest over the whole batch is part of its
//! fingerprint, so that a batch with other content is refused. After a crash a repeated batch answers what is done
//! and ends at the item whose end is lost; the items behind that one are never started.

use execgate_model::{Amount, Digest, Nonce, Proposal, RunId};
use execgate_payment::Flow;
use execgate_receipt::digest_json;
use serde_json::json;
use tracing::Instrument as _;

use crate::corridor::{Approach, Walk};
use crate::propose::{NonceKey, fingerprint};
use crate::{Passage, Refusal};

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
}

/// A batch that has started.
#[derive(Debug)]
pub struct Batched {
    /// The batch, by a name that is the same on every retry under its nonce. It is no run.
    pub id: RunId,
    /// How each item ended that was started, in their order; those that are missing never were.
    pub items: Vec<Result<Passage, Refusal>>,
}

/// Why nothing of a batch has started.
#[derive(Debug)]
pub struct BatchRefusal {
    /// The item that is refused; none where it is the whole.
    pub item: Option<usize>,
    /// Why.
    pub refusal: Refusal,
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

impl Batch {
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

    /// The items under their own nonces, bound to the batch.
    fn bound(self, digest: Digest) -> Result<Vec<Proposal>, BatchRefusal> {
        let mut items = self.items;
        for (at, item) in items.iter_mut().enumerate() {
            item.options.batch = Some(digest);
            if let Some(nonce) = &self.nonce {
                let nonce = Nonce::new(format!("{nonce}#{at}")).map_err(Refusal::from)?;
                item.nonce = Some(nonce);
            }
        }
        Ok(items)
    }
}

impl Walk {
    /// Walks a batch to the claim, and only then claims and runs its items one by one.
    pub(crate) async fn batch(self, batch: Batch) -> Result<Batched, BatchRefusal> {
        let of = |at: usize| move |refusal| BatchRefusal { item: Some(at), refusal };
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
                    return Err(of(at)(refusal));
                }
            }
        }
        self.price(&batch, &asked)?;
        let digest = batch.digest()?;
        let id = self.name(&batch, digest);
        let after_failure = batch.after_failure;
        let mut approached = Vec::with_capacity(batch.items.len());
        for (at, item) in batch.bound(digest)?.into_iter().enumerate() {
            let mut sight = self.sight(&item);
            let span = sight.span();
            match self.approach(item, None, &mut sight).instrument(span).await {
                Ok(Approach::Unapproved(unapproved)) => {
                    let refusal = unapproved.refusal();
                    sight.refuse(&refusal);
                    return Err(of(at)(refusal));
                }
                Ok(approach) => approached.push((approach, sight)),
                Err(refusal) => {
                    sight.refuse(&refusal);
                    return Err(of(at)(refusal));
                }
            }
        }
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
            let ends_here = match (after_failure, &ended) {
                (AfterFailure::GoOn, Ok(passage)) => passage.outcome == UNKNOWN,
                (AfterFailure::GoOn, Err(refusal)) => may_have_run(refusal),
                (AfterFailure::Stop, ended) => {
                    ended.as_ref().map_or("", |passage| passage.outcome.as_str()) != VALUE
                }
            };
            items.push(ended);
            if ends_here {
                break;
            }
        }
        Ok(Batched { id, items })
    }

    /// A batch is paid as one, and no rail here takes such a payment yet.
    fn price(&self, batch: &Batch, asked: &[Amount]) -> Result<(), BatchRefusal> {
        let Some(first) = batch.items.first() else { return Ok(()) };
        let price = self.rooms.propose.prices.of_batch(&first.caller, asked);
        let price =
            price.ok_or_else(|| Refusal::Undigestible("the batch costs more than there is".to_owned()))?;
        let flow = Flow::Authorization;
        if price.is_zero() { Ok(()) } else { Err(Refusal::PaymentRequired { price, flow }.into()) }
    }

    fn name(&self, batch: &Batch, digest: Digest) -> RunId {
        let scope = batch.items.first().and_then(|item| item.caller.scope());
        match (&batch.nonce, scope) {
            (Some(nonce), Some(scope)) => NonceKey::run(&scope, nonce, digest),
            _ => RunId::from_entropy(self.rooms.propose.entropy.sixteen()),
        }
    }
}
