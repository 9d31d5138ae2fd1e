//! `execgate grant create|list|show|rotate|revoke`: who may ask, by which key. A gateway that runs sees a change by itself.

mod change;
mod command;
mod create;
mod look;
mod rules;
mod words;

pub(crate) use command::GrantCommand;
