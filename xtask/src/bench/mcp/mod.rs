//! What a call of a tool costs through `execgate proxy` and through `/mcp/NAME`, beside the same call without us.
//!
//! The server behind is one of this program's own ([`upstream`]), which only answers: what is left is what stands before it.
//! Sessions over pipes are processes of their own, as clients start them; sessions over HTTP are connections.

mod case;
mod doors;
mod memory;
mod pipes;
mod rules;
mod upstream;

pub(super) use case::measure;
pub(crate) use upstream::{Args as UpstreamArgs, run as serve};
