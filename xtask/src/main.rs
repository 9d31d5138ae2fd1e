//! `cargo xtask`: sets up, tests, tidies and measures the project itself. Never shipped.
//!
//! [`test`] is what the README tells a person to run and what CI runs; [`tidy`] is a test of the house
//! rules; [`bench`] drives the real binary beside its peers; [`soak`] takes an hour. Read on in the file of each.
#![expect(clippy::print_stdout, reason = "this is a program for a terminal: its output is its answer")]
#![expect(
    clippy::disallowed_methods,
    reason = "starts cargo, git, apt-get and what it measures; reads CI and PATH of the person who runs it"
)]

mod bench;
mod compare;
mod licences;
mod metadata;
mod packages;
mod schemathesis;
mod setup;
mod shell;
mod soak;
mod test;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Sets up, tests, tidies and measures execgate.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// One verb each; the file of the same name does it.
#[derive(Subcommand)]
enum Command {
    /// Install what the tests (or the benchmarks) need, saying what and why.
    Setup(setup::Args),
    /// Run everything that CI runs.
    Test(test::Args),
    /// Check the house rules that no compiler checks.
    Tidy,
    /// Measure the release binary and its peers in one run.
    Bench(bench::Args),
    /// Be the MCP server that the benchmark of proxies stands in front of.
    #[command(hide = true)]
    Upstream(bench::UpstreamArgs),
    /// Run the attacks of the sandbox's suite through other tools too, and print the table.
    Compare(compare::Args),
    /// Look for an hour for what a test does not find; lists the soaks where none is named.
    Soak(soak::Args),
}

fn main() -> anyhow::Result<ExitCode> {
    let passed = match Cli::parse().command {
        Command::Setup(args) => setup::run(&args)?,
        Command::Test(args) => test::run(&args)?,
        Command::Tidy => tidy::run()?,
        Command::Bench(args) => bench::run(&args)?,
        Command::Upstream(args) => bench::serve_upstream(&args)?,
        Command::Compare(args) => compare::run(&args)?,
        Command::Soak(args) => soak::run(&args)?,
    };
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
