//! The policy file: read strictly, compiled once.
//!
//! What this version cannot honour is an error that names the field; nothing is ever ignored.

mod conditions;
mod entry;
mod error;
mod examples;
mod limits;
mod place;
mod policy;
mod schema;
mod warnings;

pub(crate) use entry::{Action, ApprovalRule, Entry, Mode};
pub use error::PolicyError;
pub use examples::Example;
pub(crate) use limits::Limit;
pub use limits::{LimitScope, Window};
pub(crate) use policy::Default as OtherTools;
pub use policy::Policy;
pub use warnings::Warning;

#[cfg(test)]
pub(crate) use conditions::read_condition;
