//! The commands, one file each.

mod approve;
mod audit;
mod backup;
pub(crate) mod cli;
mod demo;
mod doctor;
mod fsck;
mod grant;
pub(crate) mod helper;
mod image;
mod keys;
mod log;
mod mcp;
mod openapi;
mod pause;
mod policy;
mod pricing;
mod proxy;
mod revenue;
mod run;
mod runs;
mod scan;
pub(crate) mod serve;
mod settle;
mod settler;
mod upstream;
mod verify;
mod witness;

pub(crate) use cli::{Cli, dispatch};
