//! The commands, one file each.

mod approve;
mod audit;
pub(crate) mod cli;
mod demo;
mod doctor;
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
