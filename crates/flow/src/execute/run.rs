//! The rest of the room: the handler, once.

use execgate_model::{Digest, Outcome, Product, Progress, UnixMs};
use execgate_receipt::digest_json;
use execgate_store::Undone;
use execgate_tool::{Cancel, RunContext, RunFault};
use tracing::Instrument as _;

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
        // A task of its own, so that a panic in a handler ends here and not with the walk that must record it.
        let product = tokio::spawn(call.run(context).in_current_span()).await;
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
                tracing::error!(run = %claim.run(), %panic, "a handler panicked");
                (Outcome::Unknown, None)
            }
        };
        Ok(Ended { outcome, result_digest, at: self.clock.now() })
    }
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
