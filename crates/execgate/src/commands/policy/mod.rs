//! `execgate policy init|check|test|explain|diff|import|sign`: the rules, before they are in force.

mod check;
mod command;
mod diff;
mod examples;
mod explain;
mod import;
mod init;
mod sign;

pub(crate) use command::PolicyCommand;
