//! A server at a URL: Streamable HTTP (MCP 2025-03-26 and later), or the older HTTP with a stream of events (2024-11-05).
//!
//! All goes by the gateway's own way out: every address is checked, no redirect is followed, and nothing is ever sent to
//! another origin than the one that the operator has named, but for what is told an authorization server to have a token.
//! Credentials are put in last and are taken out of what comes back.
//!
//! Every change here needs a second reader.

mod legacy;
mod line;
mod listen;
mod parameters;
mod server;
mod streamable;

#[cfg(test)]
mod tests;

pub(super) use parameters::Mirrored;
pub use server::{HttpUpstream, HttpUpstreamSpec};
