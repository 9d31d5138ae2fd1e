//! Who is asked about callers beside the grants: an operator's identity service (`EP_GUARD_URL`), behind the port
//! [`execgate_flow::authorise::Iam`], and the tokens of its authorization servers, behind
//! [`execgate_flow::authorise::Tokens`], which `token` is about. And `witness`: the way to those that cosign the log.
//!
//! `guard` is the whole way of one question to the service: what was answered lately (`cache`), whether there is a place
//! and whether asking has a point now (`breaker`), the exchange (`exchange`), and what is asked and understood (`words`).
//! It is never asked while a run executes, and nobody else is called by it: no redirect is followed.

mod breaker;
mod cache;
mod exchange;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod guard;
mod token;
mod url;
mod witness;
mod words;

pub use execgate_line::TlsError;
pub use guard::{Guard, GuardParts, Unreached};
pub use token::{
    Algorithm, IssuerParts, KeysFault, KeysPlace, OpenError, PartsError, RoleRule, TenantRule, TokenIssuers,
};
pub use url::{ServiceUrl, UrlError};
pub use witness::WitnessClient;
