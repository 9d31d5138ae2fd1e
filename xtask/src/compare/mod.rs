//! `cargo xtask compare`: the attacks of the sandbox's own suite, through other tools too.
//!
//! Read on in `tool.rs`: how each tool is called, as somebody who takes care would.

mod attack;
mod command;
mod table;
mod tool;

pub(crate) use command::{Args, run};
