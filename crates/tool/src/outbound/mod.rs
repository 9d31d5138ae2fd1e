//! The gateway's own way out: fetches and actions of the operator go by it.
//!
//! ```text
//! URL → target (scheme, host, port) → resolver → guard (every address) → the checked address is dialled → answer
//! ```
//!
//! Sole boundary between callers and the gateway's own network. Every change here needs a second reader.

mod answer;
mod client;
mod courier;
mod dial;
mod guard;
mod pool;
mod target;

pub(crate) use answer::{read, refuse_encoded, shown_headers, text};
pub use client::HttpClient;
pub(crate) use client::{Exchange, Outgoing, bad_answer};
pub use courier::{Courier, CourierError, Delivery, Message, Reach};
#[cfg(test)]
pub(crate) use guard::{Resolve, judge};
pub(crate) use guard::{judge_private, judge_within};
pub(crate) use target::{Host, Target, URL_BYTES_MAX};
