//! Actions of the operator's own (CONTRACTS 4): a fixed request to a service, or a fixed program in the jail. They are
//! declared in the configuration; nothing is loaded.
//!
//! ```text
//! configuration → spec → action (schema, templates, secrets) → tool
//! ```
//!
//! What a caller sends fills places that the operator has left, and never says whom is asked, what is run, or which secret
//! goes along. A secret is put in last, is sent to the one host, and is taken out of what comes back.

mod bad;
mod body;
mod command;
mod definition;
mod http;
mod redact;
mod schema;
mod secret;
mod template;
#[cfg(test)]
mod tests;
mod url;

pub use bad::BadAction;
pub use definition::{Action, ActionEffect, ActionParts, ActionSpec, CommandSpec, HttpSpec, KindSpec};
pub(crate) use redact::Redactor;
pub use secret::{BadSecret, Secret, Secrets};
