//! The commands, one file each.

mod audit;
mod backup;
pub(crate) mod cli;
mod demo;
mod doctor;
mod fsck;
mod grant;
pub(crate) mod helper;
mod image;
mod openapi;
mod pause;
mod policy;
mod run;
mod runs;
pub(crate) mod serve;
mod verify;

pub(crate) use cli::{Cli, dispatch};
