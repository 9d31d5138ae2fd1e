//! What a witness answers. Every change here needs a second reader: what is cosigned is durable first, always.

use std::sync::{Arc, Mutex, PoisonError};

use execgate_model::{Clock, UnixMs};
use execgate_receipt::{Consistency, CosignerKey, Submission, VerifierKey, WitnessRefusal};
use execgate_web::{WitnessDesk, WitnessError};

use super::WitnessStore;

/// A witness of some logs.
pub(crate) struct Desk {
    key: CosignerKey,
    logs: Vec<VerifierKey>,
    store: Mutex<WitnessStore>,
    clock: Arc<dyn Clock>,
}

impl Desk {
    /// A witness of these logs.
    pub(crate) fn new(
        key: CosignerKey,
        logs: Vec<VerifierKey>,
        store: WitnessStore,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { key, logs, store: Mutex::new(store), clock }
    }

    fn cosign(&self, admitted: &Submission) -> Result<String, WitnessError> {
        let UnixMs(now_ms) = self.clock.now();
        match self.key.cosign(&admitted.text, now_ms / 1_000) {
            Ok(line) => Ok(format!("{line}\n")),
            Err(error) => {
                tracing::error!(%error, "a checkpoint could not be cosigned");
                Err(WitnessError::Unkept)
            }
        }
    }
}

impl WitnessDesk for Desk {
    fn add_checkpoint(&self, body: &[u8]) -> Result<String, WitnessError> {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let admitted = match Submission::judge(body, &self.logs, |origin| store.last(origin)) {
            Ok(admitted) => admitted,
            Err(refusal) => {
                tell(&mut store, body, &refusal);
                return Err(refusal.into());
            }
        };
        if let Err(error) = store.remember(&admitted) {
            tracing::error!(
                error = format!("{error:#}"),
                "a checkpoint could not be kept, so it is not cosigned"
            );
            return Err(WitnessError::Unkept);
        }
        tracing::info!(origin = admitted.head.origin, size = admitted.head.size, "cosigned");
        self.cosign(&admitted)
    }

    fn verifier(&self) -> String {
        self.key.verifier().to_string()
    }
}

/// Tells the operator of what only a log that misbehaves sends, and keeps what proves it.
fn tell(store: &mut WitnessStore, body: &[u8], refusal: &WitnessRefusal) {
    let named = || {
        let note = Consistency::parse(body).ok()?.newer;
        let origin = note.unverified_text().lines().next()?.to_owned();
        Some((origin, note.to_string()))
    };
    match refusal {
        WitnessRefusal::Forked { size } => {
            let Some((origin, note)) = named() else { return };
            tracing::error!(
                origin,
                size,
                note,
                "a log was forked: it has signed another root of a size that was cosigned"
            );
            if let Err(error) = store.keep_fork(&origin, &note) {
                tracing::error!(error = format!("{error:#}"), "the proof of the fork could not be kept");
            }
        }
        WitnessRefusal::Inconsistent(error) => {
            // Anybody can send a good checkpoint with a bad proof: that says nothing of the log.
            let Some((origin, _)) = named() else { return };
            tracing::warn!(origin, %error, "a checkpoint is not shown to be the log that was cosigned, grown");
        }
        WitnessRefusal::Form
        | WitnessRefusal::UnknownLog { .. }
        | WitnessRefusal::Unsigned
        | WitnessRefusal::Shrinks { .. }
        | WitnessRefusal::Stale { .. } => tracing::debug!(%refusal, "a submission was refused"),
    }
}
