//! **Recover**: "we died in this room", one answer per stage.
//!
//! | died in | answer |
//! | --- | --- |
//! | propose, pay, authorise, approve | nothing was claimed: nothing to do |
//! | execute, before the payment is recorded that comes first | nothing has started: the claim is taken back, and the payment is looked for |
//! | execute | the handler may have acted: `unknown`, never started again by itself; the hold is released |
//! | witness | the outcome is durable: the money is moved as it says (looked for first, and captured where it was not) |
//! | settle | as witness; a capture that nobody can tell the end of stays `pending`, and one that failed is left to a new payment |
//!
//! Only runs of dead instances are touched (`store::orphans`), and unknown runs whose hold nobody let go of.

mod room;

pub use room::{Recover, Recovered};
