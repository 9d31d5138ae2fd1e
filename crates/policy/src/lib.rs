//! What may happen: [`decide`] is a pure function of the request, the rules and what was spent.
//!
//! Nothing here does IO. What was spent is handed in; what is decided is evidence ([`Allow`]) that only
//! this crate can make.

mod decide;
mod set;

pub use decide::{Allow, ApprovalDemand, Decision, Denial, Request, Spent, decide};
pub use set::PolicySet;
