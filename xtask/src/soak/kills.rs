//! `cargo xtask soak kills`: gateways over one record that are killed at random moments, a thousand times. The test that
//! runs with a few kills in `cargo xtask test` is what runs here, with as many as are asked for.

use std::process;

use anyhow::Result;

use crate::shell;

/// The test, by its whole name.
const TEST: &str = "journey::kills::nothing_is_lost_and_nothing_happens_twice_whenever_a_gateway_is_killed";

/// `cargo xtask soak kills`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Kills; some 20 fit into a second
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: u32,
    /// The seed of its choices; the moments are the machine's own
    #[arg(long)]
    seed: Option<u64>,
}

/// Kills so often; `true` if no promise was broken.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let seed = args.seed.unwrap_or_else(|| u64::from(process::id()));
    let mut command = shell::cargo(&["test", "--package", "execgate", "--test", "all", "--"]);
    command.args([TEST, "--exact", "--nocapture"]);
    command.env("EXECGATE_KILLS", args.count.to_string()).env("EXECGATE_SEED", seed.to_string());
    shell::streams(&mut command)
}
