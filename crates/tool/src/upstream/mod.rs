//! MCP servers of others, each of whose tools is a [`Tool`](crate::Tool) here: behind the same corridor as every other.
//!
//! ```text
//! a process, a jail or a URL → link (bounded frames) → client (calls, answers) → offer (entries, digests)
//!                            → held against the pins → the tools that may be called
//! ```
//!
//! What a server says is a stranger's word: it is bounded before it is parsed, shown as data, and no decision follows from
//! it but the ones that make less possible. Every change here needs a second reader.

mod asking;
mod beside;
mod client;
mod connect;
mod entry;
mod folders;
mod hearing;
mod http;
mod jailed;
mod kept;
mod lanes;
mod link;
mod listening;
mod message;
mod oauth;
mod offer;
mod pins;
mod reading;
mod risk;
mod server;
mod sse;
mod tool;
mod toolbox;
mod words;

#[cfg(test)]
mod asking_tests;
#[cfg(test)]
mod changes_tests;
#[cfg(test)]
mod double;
#[cfg(test)]
mod tests;

pub use asking::{Asking, Asks};
pub use beside::{Changes, Listed};
pub use connect::{Connect, ConnectError, Opened};
pub use entry::{Digester, Entry};
pub use folders::FoldersSpec;
pub use http::{HttpUpstream, HttpUpstreamSpec};
pub use jailed::{JailedUpstream, JailedUpstreamSpec, program_of};
pub use kept::{KeptUpstream, KeptUpstreamSpec};
pub use lanes::Sharing;
pub use oauth::{ClientAuth, OauthSpec, TokenShelf};
pub use offer::{Hello, Offer};
pub use pins::{FirstContact, PinBook, PinError, Pins, Standing};
pub use reading::{Listing, Reading};
pub use risk::{Attack, RiskFinding, classify};
pub use server::{Seen, Upstream, UpstreamParts};
pub use tool::RPC_ERROR;
pub use toolbox::Upstreams;
pub use words::ServerName;
