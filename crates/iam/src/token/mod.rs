//! Access tokens of an operator's authorization servers (OAuth 2.1 resource server; RFC 6750, 7515, 7517, 9068).
//!
//! `form` reads a token and believes nothing of it, `keys` are what an issuer publishes, `source` keeps them fresh,
//! `claims` judges what a token says once its signature holds, and `tokens` is the whole way of one token.

mod algorithm;
#[cfg(any(test, fuzzing))]
pub(crate) mod checks;
mod claims;
mod form;
mod issuer;
mod keys;
mod source;
mod tokens;

pub use algorithm::Algorithm;
pub use issuer::{IssuerParts, KeysPlace, PartsError, RoleRule, TenantRule};
pub use source::KeysFault;
pub use tokens::{OpenError, TokenIssuers};

#[cfg(test)]
#[path = "../../../testkit/src/mint.rs"]
#[expect(unreachable_pub, reason = "it is another crate's, too")]
mod mint;
#[cfg(test)]
mod tests;
