//! `cargo xtask soak`: what takes an hour and finds what a test does not. Bounded in time and memory, never part of
//! `cargo xtask test`. A soak is a file or a folder of its own with a line in `command.rs`.

mod attack;
mod binary;
mod build;
mod census;
mod command;
mod fuzz;
mod kernel_log;
mod kills;
mod leaks;
mod money;
mod plan;
mod told;
mod vm;

pub(crate) use command::{Args, run};
