//! The binary: reads its arguments, and hands over to one command.
//!
//! The sandbox's helper is this same binary, started anew before any thread or socket exists; it is told apart
//! first, and never reads the environment or a configuration.

mod administration;
mod announcement;
mod approver_key;
mod commands;
mod config;
mod disk;
mod gas;
mod idle;
mod keys;
mod log;
mod log_queue;
mod maintenance;
mod office;
mod outside;
mod plain;
mod policy;
mod ports;
mod privileges;
mod socket;
mod stdio;
mod terminal;
mod till;
mod toolbox;
mod upstreams;
mod webhook;
mod wire;
mod witness;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    if let Some(code) = commands::helper::if_called() {
        return code;
    }
    let cli = commands::Cli::parse();
    match commands::dispatch(cli) {
        Ok(code) => code,
        Err(error) => terminal::fault(&error),
    }
}
