//! What may happen: [`decide`] is a pure function of the request, the rules and what was spent.
//!
//! Nothing here does IO. What was spent is handed in; what is decided is evidence ([`Allow`]) that only
//! this crate can make. The rules are a [`Policy`] file, an allow-list of actions, or both. The words of the file
//! are in `docs/POLICY.md`.

mod condition;
mod decide;
mod explain;
mod file;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod pattern;
mod schema;
mod set;
mod weigh;

pub use decide::{
    Allow, ApprovalDemand, ApprovalTerms, Decision, Denial, Kept, Own, Request, Reservation, Spent, decide,
};
pub use explain::{Explanation, Step, explain};
pub use file::{Example, LimitScope, Policy, PolicyError, Warning, Window};
pub use set::PolicySet;
