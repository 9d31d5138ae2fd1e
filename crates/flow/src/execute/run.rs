//! The rest of the room: the handler, once.

use core::any::Any;
use core::future::poll_fn;
use core::panic::AssertUnwindSafe;
use core::task::Poll;
use std::panic::catch_unwind;
use std::thread;

use execgate_model::{BoxFuture, Digest, Outcome, Product, Progress, UnixMs};
use execgate_receipt::digest_json;
use execgate_store::Undone;
use execgate_tool::{Cancel, RunContext, RunFault};

use super::{Claim, Execute};
use crate::Refusal;
use crate::propose::Quote;

/// Proof that a claimed run has ended, one way or another. Only this room makes one.
#[derive(Debug, Clone)]
pub struct Ended {
    outcome: Outcome,
    result_digest: Option<Digest>,
    at: UnixMs,
}

impl Ended {
    /// What became of it.
    #[must_use]
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// The plain digest of its result; none where the outcome is unknown.
    #[must_use]
    pub fn result_digest(&self) -> Option<Digest> {
        self.result_digest
    }

    /// When.
    #[must_use]
    pub fn at(&self) -> UnixMs {
        self.at
    }

    /// The end of a run whose process died, seen by recovery.
    pub(crate) fn lost(at: UnixMs) -> Self {
        Self { outcome: Outcome::Unknown, result_digest: None, at }
    }
}

impl Execute {
    /// Runs a claimed call. A handler that panics, or whose end is lost, is `Unknown`: it may have acted.
    ///
    /// # Errors
    /// Where nothing had started, the claim is taken back and the refusal says why.
    pub async fn run(&self, claim: &Claim, quote: Quote, cancel: Cancel) -> Result<Ended, Refusal> {
        let (call, watcher, place) = quote.into_call();
        if let Some(watcher) = &watcher {
            watcher.see(Progress::Started);
        }
        let context = RunContext { run: claim.run(), cancel, watcher, place };
        // A panic in a handler ends here, and not with the walk that must record it.
        let product = caught(call.run(context)).await;
        self.crash.reached("ran");
        let (outcome, result_digest) = match product {
            Ok(Ok(product)) => observed(product),
            Ok(Err(RunFault::NotStarted(fault))) => {
                return Err(match self.store.undo(claim.run(), claim.facts().instance).await? {
                    Undone::Credited => Refusal::NotStartedPaid(fault),
                    Undone::Undone | Undone::TooLate => Refusal::NotStarted(fault),
                });
            }
            Ok(Err(RunFault::Lost(detail))) => {
                tracing::error!(run = %claim.run(), detail, "the end of a run is lost");
                (Outcome::Unknown, None)
            }
            Err(panic) => {
                let panic = said(panic.as_ref());
                tracing::error!(run = %claim.run(), panic, "a handler panicked");
                (Outcome::Unknown, None)
            }
        };
        Ok(Ended { outcome, result_digest, at: self.clock.now() })
    }
}

/// Polls a handler to its end, or to its panic. It is not polled again after one.
async fn caught<T>(mut handler: BoxFuture<'_, T>) -> thread::Result<T> {
    poll_fn(|context| {
        // Of what a handler has left half done only the run itself is of any use, and that is unknown then.
        let polled = catch_unwind(AssertUnwindSafe(|| handler.as_mut().poll(context)));
        match polled {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    })
    .await
}

/// What a panic has said.
fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text")
}

/// A result that has no exact digest cannot be proven, and so counts as not observed: receipt, answer and
/// charge all follow from this one judgement.
fn observed(product: Product) -> (Outcome, Option<Digest>) {
    match digest_json(&product.result) {
        Ok(digest) => (Outcome::Done { product }, Some(digest)),
        Err(error) => {
            tracing::error!(%error, "a result has no exact digest");
            (Outcome::Unknown, None)
        }
    }
}
