//! MCP servers of others: how one is named on the command line and started, and the book of what was accepted of each.

mod book;
mod flags;
mod looked_after;
mod shelf;

pub(crate) use book::{Book, Noted, NotedTool, digester};
pub(crate) use flags::UpstreamFlags;
pub(crate) use looked_after::looked_after;
