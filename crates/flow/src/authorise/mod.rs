//! **Authorise**: may this caller do this? Identity, IAM, policy.
//!
//! The decision is `policy`'s; this room gathers what it needs and asks.

mod grants;
mod iam;
mod key;
mod own;
mod room;
mod rules;
mod simulations;
mod tokens;
mod uses;

pub use grants::{Grants, Holder, KeyError};
pub use iam::{Iam, IamAnswer, IamWord, NoIam, Question};
pub use key::GrantKey;
pub use own::{OwnRules, OwnRulesError};
pub(crate) use room::IAM_RULE;
pub(crate) use room::prepared_under;
pub use room::{Authorise, Authorised, Judged, RulesFor};
pub use rules::Rules;
pub use simulations::{Rates, SimulationRate};
pub use tokens::{Bearer, Opens, TokenError, Tokens};
use uses::Uses;
