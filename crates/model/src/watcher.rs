//! Seeing a run's output as it comes, and asking whoever has called it. Nothing that is seen has an effect on the run; what
//! is answered has the effect that the run gives it.

use core::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::BoxFuture;

/// What can be seen of a run before it ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Progress<'a> {
    /// It is claimed and starts.
    Started,
    /// Bytes of its standard output; any bytes.
    Stdout(&'a [u8]),
    /// Bytes of its standard error; any bytes.
    Stderr(&'a [u8]),
    /// How far it is by its own word, of how much where it says so, and what it says beside it.
    Step {
        /// How far.
        number: f64,
        /// Of how much.
        total: Option<f64>,
        /// What it says.
        message: &'a str,
    },
}

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Unanswered {
    /// The code that an error of JSON-RPC has for it.
    pub code: i64,
    /// Why. For whoever asks, and in nothing that is kept.
    pub message: String,
}

/// Whoever has made a call, as far as it can be asked something while that is under way.
pub trait Respondent: Send + Sync {
    /// Whether a question of this method (`sampling/createMessage`) may be asked at all.
    fn takes(&self, method: &str) -> bool;

    /// Asks, and waits for the answer. Dropping this takes the question back.
    ///
    /// # Errors
    /// [`Unanswered`].
    fn ask<'a>(&'a self, method: &'a str, params: Value) -> BoxFuture<'a, Result<Value, Unanswered>>;
}

type See = dyn Fn(Progress<'_>) + Send + Sync;

/// Somebody who watches a run, or can be asked by it. Must not block: the run waits for it.
#[derive(Clone, Default)]
pub struct Watcher {
    see: Option<Arc<See>>,
    respondent: Option<Arc<dyn Respondent>>,
}

impl Watcher {
    /// A watcher that is told by this function.
    pub fn new(see: impl Fn(Progress<'_>) + Send + Sync + 'static) -> Self {
        Self { see: Some(Arc::new(see)), respondent: None }
    }

    /// The same, that can be asked.
    #[must_use]
    pub fn answering(self, respondent: Arc<dyn Respondent>) -> Self {
        Self { respondent: Some(respondent), ..self }
    }

    /// Whether anything that is shown is seen.
    #[must_use]
    pub fn sees(&self) -> bool {
        self.see.is_some()
    }

    /// Shows something.
    pub fn see(&self, progress: Progress<'_>) {
        if let Some(see) = &self.see {
            see(progress);
        }
    }

    /// Who can be asked, where somebody can.
    #[must_use]
    pub fn respondent(&self) -> Option<&Arc<dyn Respondent>> {
        self.respondent.as_ref()
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher")
            .field("sees", &self.see.is_some())
            .field("answers", &self.respondent.is_some())
            .finish()
    }
}
