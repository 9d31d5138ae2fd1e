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
mod openapi;
mod pause;
mod policy;
mod pricing;
mod revenue;
mod run;
mod runs;
pub(crate) mod serve;
mod settler;
mod verify;
mod witness;

pub(crate) use cli::{Cli, dispatch};
