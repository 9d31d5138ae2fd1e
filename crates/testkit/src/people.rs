//! What people say of runs that wait, and what their callers take back, by the corridor of one process.

use std::sync::Arc;

use execgate_flow::parking::{Decided, DecisionError, Withdrawn};
use execgate_flow::witness::Render;
use execgate_model::RunId;
use execgate_web::OwnWords;
use serde_json::Value;

use crate::Gate;

impl Gate {
    /// Takes a run back for whoever has called it.
    ///
    /// # Panics
    /// If the record fails.
    pub async fn withdraw(&self, run: RunId) -> Withdrawn {
        let words: Arc<dyn Render> = Arc::new(OwnWords);
        self.corridor().withdraw(run, &words).await.expect("the record can be written")
    }

    /// Hands in what a person says: this process starts what may start.
    ///
    /// # Errors
    /// Why it does not count.
    pub async fn decide(&self, run: RunId, artifact: &Value) -> Result<Decided, DecisionError> {
        let words: Arc<dyn Render> = Arc::new(OwnWords);
        self.corridor().decide(run, artifact, &words).await
    }
}
