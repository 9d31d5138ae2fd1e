//! The port of one way to pay within the scheme.

use core::fmt;

use execgate_model::{Amount, BoxFuture, UnixMs};

use super::{Credential, Problem};
use crate::{CaptureError, Endurance, Flow, Found, LookError, PaymentClaim, Taken, Unreachable};

/// What a credential is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// The price.
    pub amount: Amount,
    /// The time.
    pub now: UnixMs,
    /// When the money is to be taken.
    pub flow: Flow,
    /// For how long what was signed has to hold from now on, in seconds.
    pub lives_at_least_s: u64,
}

/// What is wrong with a credential. The words are for whoever sent it, and hold nothing that it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The kind.
    pub problem: Problem,
    /// What it is.
    pub words: String,
}

impl Fault {
    /// A fault in words.
    #[must_use]
    pub fn new(problem: Problem, words: impl Into<String>) -> Self {
        Self { problem, words: words.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.problem.slug(), self.words)
    }
}

/// A payment whose payer has shown that it is theirs.
#[derive(Clone, PartialEq, Eq)]
pub struct Pledge {
    /// What makes it unique.
    pub claim: PaymentClaim,
    /// What takes it. It is money.
    pub state: Vec<u8>,
    /// When it is taken: what nobody can verify beforehand is taken before the work, whatever was asked for.
    pub flow: Flow,
    /// Why it buys nothing here and now, where it does not.
    pub unfit: Option<Fault>,
}

impl fmt::Debug for Pledge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pledge")
            .field("claim", &self.claim)
            .field("unfit", &self.unfit)
            .finish_non_exhaustive()
    }
}

/// One way to pay a charge.
pub trait Method: Send + Sync {
    /// Its name in the scheme.
    fn name(&self) -> &'static str;

    /// The parameter `request` of a challenge for an amount; none where the amount cannot be paid this way.
    fn request(&self, amount: Amount) -> Option<String>;

    /// Whether that `request` of a challenge of ours is for the amount.
    fn asks(&self, request: &str, amount: Amount) -> bool {
        self.request(amount).is_some_and(|wanted| wanted == request)
    }

    /// What a credential pledges. Local: nobody is asked and nothing is taken. That its challenge is one of ours is for
    /// the rail to see.
    ///
    /// # Errors
    /// [`Fault`] where it pledges nothing, or it is not known whose.
    fn pledge(&self, credential: &Credential, ask: &Ask) -> Result<Pledge, Fault>;

    /// Whether that state is this method's.
    fn has_kept(&self, state: &[u8]) -> bool;

    /// As [`crate::Rail::capture`].
    ///
    /// # Errors
    /// As there.
    fn capture<'a>(&'a self, amount: Amount, state: &'a [u8]) -> BoxFuture<'a, Result<String, CaptureError>>;

    /// As [`crate::Rail::whereabouts`].
    ///
    /// # Errors
    /// As there.
    fn whereabouts<'a>(&'a self, state: &'a [u8]) -> BoxFuture<'a, Result<Found, Unreachable>>;

    /// As [`crate::Rail::funds`].
    ///
    /// # Errors
    /// As there.
    fn funds<'a>(&'a self, state: &'a [u8]) -> BoxFuture<'a, Result<Option<Amount>, LookError>>;

    /// As [`crate::Rail::may_go_back`].
    fn may_go_back(&self, _state: &[u8]) -> bool {
        false
    }

    /// As [`crate::Rail::endurance`].
    ///
    /// # Errors
    /// As there.
    fn endurance<'a>(&'a self, taken: &'a [Taken<'a>]) -> BoxFuture<'a, Result<Vec<Endurance>, Unreachable>> {
        Box::pin(async move {
            let count = taken.len();
            Err(Unreachable(format!("the method `{}` cannot tell of {count} whether they stay", self.name())))
        })
    }
}
