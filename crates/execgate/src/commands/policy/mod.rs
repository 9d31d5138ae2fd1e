//! `execgate policy init|check|test|explain|diff`: the rules, before they are in force.

mod check;
mod command;
mod diff;
mod examples;
mod explain;
mod init;

pub(crate) use command::PolicyCommand;
