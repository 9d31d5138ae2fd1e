//! The port of a tool: what can be asked of anything that runs.

use core::future::ready;
use std::borrow::Cow;

use execgate_model::{BodyPlace, BoxFuture, Digest, Effect, Product, RunId, RunOptions, Watcher};
use serde_json::Value;

use crate::Cancel;

/// A call, checked by the doors and not yet by the tool.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The arguments.
    pub payload: &'a Value,
    /// What else was asked.
    pub options: &'a RunOptions,
    /// For real, or simulated.
    pub effect: Effect,
}

/// Why a call can never run. The text is for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BadCall {
    /// Where in the payload, as a JSON pointer; empty for the payload itself.
    pub pointer: String,
    /// What the rule is.
    pub message: String,
}

impl BadCall {
    /// A complaint about one place of the payload.
    #[must_use]
    pub fn at(pointer: &str, message: impl Into<String>) -> Self {
        Self { pointer: pointer.to_owned(), message: message.into() }
    }
}

/// Why a call cannot run now. Nothing has started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotStarted {
    /// Every slot is taken.
    #[error("every slot is taken")]
    Full,
    /// What the tool needs is switched off or not there on this host. The text is for the caller.
    #[error("{0}")]
    Unavailable(String),
    /// We failed to start it. The text is for the operator.
    #[error("failed to start: {0}")]
    Fault(String),
}

/// Why a call has no outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunFault {
    /// Nothing had started: the claim can be taken back.
    #[error(transparent)]
    NotStarted(#[from] NotStarted),
    /// It had started, and its end is lost. The text is for the operator.
    #[error("the end of a started run is lost: {0}")]
    Lost(String),
}

/// What a run is told about itself.
#[derive(Debug, Clone)]
pub struct RunContext {
    /// Its id, which goes upstream as the idempotency key.
    pub run: RunId,
    /// Whether somebody wants it to end.
    pub cancel: Cancel,
    /// Who sees its output as it comes.
    pub watcher: Option<Watcher>,
    /// What its request takes up in memory: to be kept as long as the arguments are.
    pub place: BodyPlace,
}

/// A call that is checked and only has to be started.
pub trait Prepared: Send + Sync {
    /// Told before anything else whose run it is: the digest of a known caller's scope; none of anybody else's. Most
    /// tools do the same for everybody.
    ///
    /// # Errors
    /// [`NotStarted`] where it cannot be theirs.
    fn belongs_to(&mut self, _owner: Option<Digest>) -> Result<(), NotStarted> {
        Ok(())
    }

    /// Waits for what can change its mind without anybody having asked, as far as that is soon: before its slot is taken, and
    /// before anything is claimed or paid for. Most tools have no mind of their own.
    ///
    /// # Errors
    /// [`NotStarted`] where it cannot be run now, or its caller is gone.
    fn ready<'a>(&'a self, _cancel: &'a Cancel) -> BoxFuture<'a, Result<(), NotStarted>> {
        Box::pin(ready(Ok(())))
    }

    /// Takes the slot that the run will need, before anything is claimed.
    ///
    /// # Errors
    /// [`NotStarted`] if there is none.
    fn reserve(&mut self) -> Result<(), NotStarted>;

    /// Whether its run blocks whatever thread it is polled on, as one in a jail does. Such a run has a thread to itself, from
    /// its claim to its receipt.
    fn blocks(&self) -> bool {
        false
    }

    /// Runs it, once.
    fn run(self: Box<Self>, context: RunContext) -> BoxFuture<'static, Result<Product, RunFault>>;
}

/// What a tool says of itself to people and models.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// One sentence.
    pub summary: Cow<'static, str>,
    /// The JSON Schema of its payload.
    pub schema: Value,
}

/// Something that can be run.
pub trait Tool: Send + Sync {
    /// The action that it answers to.
    fn name(&self) -> &str;

    /// What it says of itself.
    fn describe(&self) -> Description;

    /// Whether its calls run in a sandbox that can be chosen by a profile.
    fn has_profiles(&self) -> bool {
        false
    }

    /// Whether its calls reach beyond this gateway and its jails, so that what they do cannot be taken back: where it has a
    /// price it is paid before the work, unless the operator says otherwise, and its timeouts are charged (CONTRACTS 3).
    fn reaches_out(&self) -> bool {
        false
    }

    /// Checks a call, without any effect.
    ///
    /// # Errors
    /// [`BadCall`] names the place and the rule.
    fn prepare(&self, call: &Call<'_>) -> Result<Box<dyn Prepared>, BadCall>;
}
