//! The one way out that a run may have: a proxy of its own, which dials allowed names and addresses for it.
//!
//! ```text
//! guest → listener on the guest's loopback → proxy (jailed, in the host's network) → the checked address
//! ```
//!
//! Sole boundary between guests and the network. Every change here needs a second reader.

mod address;
mod dns;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod head;
mod hello;
mod name;
mod proxy;
mod report;
mod rules;

pub use address::{Special, special};
pub(crate) use proxy::{Means, PROXY_DESCRIPTORS, live};
pub(crate) use report::Ledger;
pub use report::{Decision, NetworkReport, NetworkSight, Outcome};
pub(crate) use rules::networks;
pub use rules::{BadRule, Egress, EgressRules};
