//! The rest of the room: the handler, once.

use execgate_model::{Outcome, UnixMs};
use execgate_tool::{Cancel, Prepared, RunContext, RunFault};

use super::{Claim, Execute};
use crate::Refusal;

/// Proof that a claimed run has ended, one way or another. Only this room makes one.
#[derive(Debug, Clone)]
pub struct Ended {
    outcome: Outcome,
    at: UnixMs,
}

impl Ended {
    /// What became of it.
    #[must_use]
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// When.
    #[must_use]
    pub fn at(&self) -> UnixMs {
        self.at
    }

    /// The end of a run whose process died, seen by recovery.
    pub(crate) fn lost(at: UnixMs) -> Self {
        Self { outcome: Outcome::Unknown, at }
    }
}

impl Execute {
    /// Runs a claimed call. A handler that panics, or whose end is lost, is `Unknown`: it may have acted.
    ///
    /// # Errors
    /// Where nothing had started, the claim is taken back and the refusal says why.
    pub async fn run(
        &self,
        claim: &Claim,
        call: Box<dyn Prepared>,
        cancel: Cancel,
    ) -> Result<Ended, Refusal> {
        let context = RunContext { run: claim.run(), cancel };
        // A task of its own, so that a panic in a handler ends here and not with the walk that must record it.
        let product = tokio::spawn(call.run(context)).await;
        self.crash.reached("ran");
        let outcome = match product {
            Ok(Ok(product)) => Outcome::Done { product },
            Ok(Err(RunFault::NotStarted(fault))) => {
                self.store.undo(claim.run(), claim.facts().instance).await?;
                return Err(Refusal::NotStarted(fault));
            }
            Ok(Err(RunFault::Lost(detail))) => {
                tracing::error!(run = %claim.run(), detail, "the end of a run is lost");
                Outcome::Unknown
            }
            Err(panic) => {
                tracing::error!(run = %claim.run(), %panic, "a handler panicked");
                Outcome::Unknown
            }
        };
        Ok(Ended { outcome, at: self.clock.now() })
    }
}
