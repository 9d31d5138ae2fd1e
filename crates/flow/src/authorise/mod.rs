//! **Authorise**: may this caller do this? Identity, IAM, policy.
//!
//! The decision is `policy`'s; this room gathers what it needs and asks.

mod iam;
mod room;
mod rules;

pub use iam::{Iam, IamAnswer, IamWord, NoIam};
pub use room::{Authorise, Authorised};
pub use rules::Rules;
