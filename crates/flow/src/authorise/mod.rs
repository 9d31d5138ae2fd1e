//! **Authorise**: may this caller do this? Identity, IAM, policy.
//!
//! The decision is `policy`'s; this room gathers what it needs and asks.

mod grants;
mod iam;
mod key;
mod room;
mod rules;
mod tokens;
mod uses;

pub use grants::{Grants, Holder, KeyError};
pub use iam::{Iam, IamAnswer, IamWord, NoIam, Question};
pub use key::GrantKey;
pub(crate) use room::IAM_RULE;
pub use room::{Authorise, Authorised};
pub use rules::Rules;
pub use tokens::{Bearer, TokenError, Tokens};
use uses::Uses;
