//! `cargo xtask bench`: the real binary beside its peers, in one run, on one machine.
//!
//! Contenders alternate round by round in a rotated order, so that a slow moment of the machine falls on
//! all of them. Everything is bounded in count and time, talks to the loopback address only, and ends only
//! processes that it started. A case is a file of its own with a line in `command.rs`.

mod build;
mod call;
mod command;
mod cpu;
mod disk;
mod floor;
mod history;
mod http;
mod language;
mod load;
mod machine;
mod mapping;
mod mcp;
mod nonce;
mod payments;
mod peer;
mod program;
mod report;
mod sandbox;
mod series;
mod server;

pub(crate) use command::{Args, run};
pub(crate) use cpu::{adopt_orphans, children, living_descendants, reap_others};
pub(crate) use http::{Connection, post};
pub(crate) use mcp::{UpstreamArgs, serve as serve_upstream};
pub(crate) use nonce::Nonces;
pub(crate) use server::Server;
