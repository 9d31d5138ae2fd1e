//! The Model Context Protocol: 2026-07-28, and the revisions before it, on one endpoint and over a pipe.
//!
//! A [`desk`] is a list of tools and a way to call one, for each caller; [`server`] speaks the protocol for it, [`door`]
//! is how it is reached by HTTP and [`pipe`] how over standard input and output. [`own`] is the desk of this gateway's
//! tools, [`upstream`] that of a server of others; [`listening`] waits until what either lists is another list. The crate
//! `rmcp`, which knows the wire, is named in this folder and nowhere else.

mod approval;
mod asking;
mod calls;
mod challenge;
mod desk;
mod door;
mod entries;
#[cfg(test)]
mod fixtures;
mod line;
mod listening;
mod own;
mod parked;
mod pay;
mod pipe;
mod proposal;
mod result;
mod server;
mod tasks;
mod upstream;

pub(crate) use asking::Questions;
pub(crate) use calls::Calls;
pub(crate) use door::{door, hang_up, stream};
pub(crate) use listening::Listeners;
pub(crate) use parked::ParkedCalls;
pub use pipe::{PipeError, serve_pipe, serve_upstream_pipe};
pub(crate) use result::McpWords;
