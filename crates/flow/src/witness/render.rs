//! How an outcome becomes a body. The corridor decides what is answered; a surface decides its words.

use execgate_model::{ActionName, Digest, Effect, Outcome, RunId, Surface, UnixMs};
use execgate_store::Answer;

use crate::authorise::IamWord;
use crate::parking::Closed;

/// All that a surface may say of a run.
#[derive(Debug, Clone, Copy)]
pub struct Summary<'a> {
    /// The run.
    pub run: RunId,
    /// The contract under which it came in.
    pub surface: Surface,
    /// What was run.
    pub action: &'a ActionName,
    /// For real, or simulated.
    pub effect: Effect,
    /// How the identity service was asked.
    pub iam: IamWord,
    /// Whether it, or a grant, said yes.
    pub iam_approved: bool,
    /// The rail that pays.
    pub rail: &'a str,
    /// When it was claimed.
    pub started: UnixMs,
    /// When it ended, or was found to be lost.
    pub ended: UnixMs,
    /// What became of it.
    pub outcome: &'a Outcome,
    /// Its content receipt.
    pub content: Digest,
    /// Its receipt file (JSON), for those who want it with the answer.
    pub receipt: &'a [u8],
    /// Whether the caller asked for it.
    pub wants_receipt: bool,
}

/// A surface's words for the end of a run. Must be a pure function: its bytes are answered again on a replay.
pub trait Render: Send + Sync {
    /// The answer, `Outcome::Unknown` included.
    fn answer(&self, summary: &Summary<'_>) -> Answer;

    /// The answer of a run that waited for people and never started.
    fn closed(&self, closed: &Closed<'_>) -> Answer;
}
