//! The command line of the benchmarks: which cases, how many rounds, where the numbers go.

use std::path::PathBuf;
use std::time::Duration;
use std::{env, fs};

use anyhow::{Context, Result};

use crate::bench::machine::Machine;
use crate::bench::report::{Case, Report};
use crate::bench::{build, call, cpu, history, language, mapping, mcp, payments, sandbox};
use crate::{metadata, shell};

/// `cargo xtask bench`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which cases; all but `payments`, `mcp`, `build` and `history` if none is named.
    cases: Vec<Name>,
    /// Rounds for each contender (echo, simulate: slices, 5 by default; languages: runs, 200 by default).
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rounds: Option<u32>,
    /// Seconds for each contender that is bounded by time.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// Runs of the record that `history` fills.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    runs: u64,
    /// Where to write the numbers; `bench/latest.json` in the target directory if not said.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Measure this binary instead of building one.
    #[arg(long)]
    binary: Option<PathBuf>,
}

/// A case.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Name {
    /// `POST /execute` of `echo` at several numbers of connections, beside the disk's own cost.
    Echo,
    /// `POST /exec/simulate` of a pure tool under a policy file of 1,000 entries, likewise.
    Simulate,
    /// A Python process for each run, beside a bare interpreter and bubblewrap.
    Python,
    /// The same for Node.
    Javascript,
    /// The same for bash.
    Bash,
    /// The same for R.
    R,
    /// Reading and checking a call, without a run.
    Mapping,
    /// The sandbox as a library: from the pool, when asked for, without a pause.
    Sandbox,
    /// Paid calls of `POST /api/code-run`, beside the server of x402's makers with the same facilitator and work of the same kind.
    Payments,
    /// A tool of an MCP server, called directly, through `execgate proxy` and through a gateway, under one rule and a thousand.
    Mcp,
    /// A cold release build: time, crates, size.
    Build,
    /// Calls and replays while the record grows to a million runs, and how soon a run is in a checkpoint. Minutes, and 7 GB of
    /// disk that it gives back.
    History,
}

/// The cases that are run where none is named.
const ALL: [Name; 8] = [
    Name::Echo,
    Name::Simulate,
    Name::Mapping,
    Name::Python,
    Name::Javascript,
    Name::Bash,
    Name::R,
    Name::Sandbox,
];

/// What every case is given.
pub(crate) struct Plan {
    /// The binary under test.
    pub(crate) binary: PathBuf,
    /// A folder on the disk that the project is built on; each case makes its own folder in it.
    pub(crate) scratch: PathBuf,
    /// Rounds, where the person said how many.
    pub(crate) rounds: Option<u32>,
    /// How long a contender that is bounded by time runs, in all.
    pub(crate) length: Duration,
    /// How many runs the record of `history` has.
    pub(crate) runs: u64,
}

/// Measures; `true` once all cases are through.
pub(crate) fn run(args: &Args) -> Result<bool> {
    if cfg!(debug_assertions) {
        return run_optimised();
    }
    cpu::adopt_orphans()?;
    let target = metadata::workspace()?.target_directory;
    let scratch = target.join("bench");
    fs::create_dir_all(&scratch).context("failed to make the benchmarks' folder")?;
    let cases = if args.cases.is_empty() { ALL.to_vec() } else { args.cases.clone() };
    let binary = match &args.binary {
        Some(binary) => fs::canonicalize(binary).context("failed to find the binary")?,
        None => target.join("release/execgate"),
    };
    if args.binary.is_none() && cases.iter().any(|case| *case != Name::Build) {
        let built = shell::streams(&mut shell::cargo(&["build", "--release", "--package", "execgate"]))?;
        anyhow::ensure!(built, "the release binary does not build");
    }
    let length = Duration::from_secs(args.seconds);
    let plan = Plan { binary, scratch, rounds: args.rounds, length, runs: args.runs };
    let mut report = Report::new(Machine::read()?, env::args().skip(1).collect());
    println!("{}", report.heading());
    for case in cases {
        let measured = measure(case, &plan)?;
        println!("\n{}", measured.table());
        report.cases.push(measured);
    }
    let file = args.json.clone().unwrap_or_else(|| plan.scratch.join("latest.json"));
    report.write(&file)?;
    println!("\nnumbers: {}", file.display());
    Ok(true)
}

fn measure(case: Name, plan: &Plan) -> Result<Case> {
    match case {
        Name::Echo => call::measure(plan, &call::ECHO),
        Name::Simulate => call::measure(plan, &call::SIMULATE),
        Name::Python => language::measure(plan, &language::PYTHON),
        Name::Javascript => language::measure(plan, &language::JAVASCRIPT),
        Name::Bash => language::measure(plan, &language::BASH),
        Name::R => language::measure(plan, &language::R),
        Name::Mapping => mapping::measure(plan),
        Name::Sandbox => sandbox::measure(plan),
        Name::Payments => payments::measure(plan),
        Name::Mcp => mcp::measure(plan),
        Name::Build => build::measure(plan),
        Name::History => history::measure(plan),
    }
}

/// The client shares the cores with what it measures, so it is compiled with optimisation.
fn run_optimised() -> Result<bool> {
    let mut command = shell::cargo(&["run", "--release", "--quiet", "--package", "xtask", "--"]);
    command.args(env::args_os().skip(1)).current_dir(env::current_dir()?);
    shell::streams(&mut command)
}
