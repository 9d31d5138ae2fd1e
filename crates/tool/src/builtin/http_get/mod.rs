//! `http_get`: fetches what is anybody's on the internet, and nothing that is not.
//!
//! ```text
//! URL → target (scheme, host, port) → resolver → guard (every address) → the checked address is dialled → answer
//! ```
//!
//! A redirect starts again at the URL. Sole boundary between callers and the gateway's own network. Every change here
//! needs a second reader.

mod answer;
mod client;
mod dial;
mod guard;
mod target;
#[cfg(test)]
mod tests;
mod tool;

pub use client::HttpClient;
pub(super) use tool::HttpGet;
