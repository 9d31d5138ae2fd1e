//! `cargo xtask soak money`: gateways, and the settler that moves their money on a real chain, killed at random moments
//! hundreds of times; then every unit is looked for. The test that runs with a few kills in `cargo xtask test` is what runs
//! here, with as many as are asked for.

use std::process;

use anyhow::Result;

use crate::shell;

/// The test, by its whole name.
const TEST: &str = "journey::money::every_unit_is_accounted_for_whoever_is_killed";

/// `cargo xtask soak money`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Kills; some two fit into a second
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    kills: u32,
    /// The seed of its choices; the moments are the machine's own
    #[arg(long)]
    seed: Option<u64>,
}

/// Kills so often; `true` if every unit is accounted for.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let seed = args.seed.unwrap_or_else(|| u64::from(process::id()));
    let mut command = shell::cargo(&["test", "--package", "execgate", "--test", "all", "--"]);
    command.args([TEST, "--exact", "--nocapture"]);
    command.env("EXECGATE_KILLS", args.kills.to_string()).env("EXECGATE_SEED", seed.to_string());
    shell::streams(&mut command)
}
