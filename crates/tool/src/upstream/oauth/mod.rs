//! Tokens for a server that wants some which end (OAuth 2.1; MCP 2025-11-25, authorization): by credentials of a client, or by
//! a refresh token that the operator has been given.
//!
//! ```text
//! a call → the token of now ─ none, ends soon, was refused → where tokens are had → a token → the call
//! ```
//!
//! A secret goes to an endpoint that the operator has named, or to that of an issuer which it has named; and to the server's
//! own origin. Nothing that a server says changes that. Every change here needs a second reader.

mod answer;
mod challenge;
mod discovery;
mod ports;
mod tokens;

#[cfg(test)]
mod tests;

pub(super) use challenge::Challenge;
pub use ports::{ClientAuth, OauthSpec, TokenShelf};
pub(super) use tokens::Tokens;
