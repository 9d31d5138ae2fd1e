//! A run's typed stage. A ticket moves only to the stage that comes next, and only against the evidence of the
//! room that it leaves; so a skipped room does not compile:
//!
//! ```compile_fail
//! use execgate_flow::ticket::{Authorised, Claimed, Ticket};
//! fn skip(ticket: Ticket<Authorised>, claim: &execgate_flow::execute::Claim) -> Ticket<Claimed> {
//!     ticket.advance(claim) // `Claimed: Follows<Authorised>` does not hold: approve was skipped
//! }
//! ```
//!
//! The same move from the right stage compiles, so the example above fails for its reason alone:
//!
//! ```
//! use execgate_flow::ticket::{Approved, Claimed, Ticket};
//! fn walk(ticket: Ticket<Approved>, claim: &execgate_flow::execute::Claim) -> Ticket<Claimed> {
//!     ticket.advance(claim)
//! }
//! ```
//!
//! Nobody outside this crate can make a first ticket:
//!
//! ```compile_fail
//! use execgate_flow::ticket::{Proposed, Ticket};
//! fn forge(quote: &execgate_flow::propose::Quote) -> Ticket<Proposed> {
//!     Ticket::issue(quote) // private to the crate
//! }
//! ```

use core::marker::PhantomData;

use execgate_model::RunId;

use crate::approve::Approval;
use crate::execute::{Claim, Ended};
use crate::propose::Quote;
use crate::witness::Witnessed;

/// A stage of a run.
pub trait Stage {}

/// Says that this stage comes right after `P`, and after no other, and what proves the move.
pub trait Follows<P: Stage>: Stage {
    /// What only the room between the two can make.
    type Evidence;
}

macro_rules! stages {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        $($(#[$doc])* #[derive(Debug)] pub struct $name; impl Stage for $name {})+
    };
}

stages!(
    /// Checked and priced.
    Proposed,
    /// Paid for, or nothing to pay.
    Paid,
    /// Allowed by the rules.
    Authorised,
    /// Approved, or by a named rule in no need of it.
    Approved,
    /// The intent is durable.
    Claimed,
    /// The handler has ended.
    Executed,
    /// The outcome and its receipt are durable.
    Recorded,
    /// The money is where it belongs.
    Settled,
);

impl Follows<Proposed> for Paid {
    type Evidence = execgate_payment::Hold;
}
impl Follows<Paid> for Authorised {
    type Evidence = execgate_policy::Allow;
}
impl Follows<Authorised> for Approved {
    type Evidence = Approval;
}
impl Follows<Approved> for Claimed {
    type Evidence = Claim;
}
impl Follows<Claimed> for Executed {
    type Evidence = Ended;
}
impl Follows<Executed> for Recorded {
    type Evidence = Witnessed;
}
impl Follows<Recorded> for Settled {
    type Evidence = execgate_payment::Settlement;
}

/// Proof that a run has reached the stage `S`.
#[must_use = "a ticket that is dropped strands its run"]
#[derive(Debug)]
pub struct Ticket<S: Stage> {
    run: RunId,
    stage: PhantomData<S>,
}

impl Ticket<Proposed> {
    /// The first ticket of a run.
    pub(crate) fn issue(quote: &Quote) -> Self {
        Self { run: quote.run(), stage: PhantomData }
    }

    /// A run without a nonce is named by its payment, which is known only once it is verified.
    pub(crate) fn named(self, run: RunId) -> Self {
        Self { run, ..self }
    }
}

impl<S: Stage> Ticket<S> {
    /// The run that holds it.
    #[must_use]
    pub fn run(&self) -> RunId {
        self.run
    }

    /// Moves to the next stage against the evidence of the room between.
    pub fn advance<N: Follows<S>>(self, _evidence: &N::Evidence) -> Ticket<N> {
        Ticket { run: self.run, stage: PhantomData }
    }
}
