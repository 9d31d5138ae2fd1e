//! The order of a soak: programs, then for each machine kernel, userland, boot; then the table.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::boot::{self, Parts};
use super::machine::{self, Machine};
use super::programs::{self, Programs, Wanted};
use super::told::Told;
use super::{kernel, userland};
use crate::{metadata, setup};

/// What is run where nothing else is asked for: what a kernel decides. The rest shows the languages, or takes long.
const KERNELS_OWN: &str = "^all suite::(tiers|limits|lifetime|recovery|escape|isolation|refusals|sessions|checkpoints|node_checkpoints|leaks::(a_|sixteen))|\
                           ^warm suite::residents::";

/// How long one test may take, in seconds: four times the slowest that was seen.
const TEST_SECONDS: u64 = 900;

/// `cargo xtask soak vm`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this machine; may be given again.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Only tests whose `PROGRAM MODULE::NAME` this extended regular expression is found in.
    #[arg(long, value_name = "REGEX", conflicts_with = "full")]
    filter: Option<String>,
    /// All tests, those of the languages too.
    #[arg(long)]
    full: bool,
    /// Processors of a machine, and tests at once [default: those of this machine, but 4 at the most]
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: Option<u8>,
    /// How long a machine may take, in minutes.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=1440))]
    minutes: u64,
    /// Keep the disk of the tests, to boot it by hand.
    #[arg(long)]
    keep: bool,
    /// Fetch kernels and userlands anew.
    #[arg(long)]
    fresh: bool,
}

/// What came of a machine.
struct Sum {
    machine: &'static Machine,
    told: Told,
    took: Duration,
}

/// Boots the machines in their order; `true` if all passed.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let machines = machine::chosen(&args.only)?;
    ensure!(setup::for_machines()?, "something is missing that machines are made with");
    let folder = metadata::workspace()?.target_directory.join("vm");
    if args.fresh && folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("failed to remove {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("failed to make {}", folder.display()))?;
    println!("vm: building the tests");
    let programs = programs::build()?;
    let mut sums = Vec::new();
    for machine in machines {
        let start = Instant::now();
        let told = take(machine, &programs, args, &folder)?;
        for finding in told.failed() {
            println!(
                "\n--- {}: {} {}\n{}",
                machine.name,
                finding.program,
                finding.name,
                finding.why.join("\n")
            );
        }
        sums.push(Sum { machine, told, took: start.elapsed() });
    }
    println!("\n{}", table(&sums));
    Ok(sums.iter().all(|sum| sum.told.passed()))
}

fn take(machine: &Machine, programs: &Programs, args: &Args, folder: &Path) -> Result<Told> {
    println!("\n==> {}: {}", machine.name, machine.why);
    let kernel = kernel::fetch(machine.kernel, folder)?;
    let root = userland::fill(machine.userland, &programs.execgate, folder)?;
    let filter = if args.full { "" } else { args.filter.as_deref().unwrap_or(KERNELS_OWN) };
    let jobs = args.jobs.map_or_else(processors, usize::from);
    let tests = folder.join(format!("tests-{}.disk", machine.name));
    let left_out = machine.left_out;
    let wanted = Wanted { work: machine.work, filter, left_out, jobs, test_seconds: TEST_SECONDS };
    programs.disk(&wanted, &tests)?;
    let log = folder.join(format!("{}.log", machine.name));
    let bound = Duration::from_secs(args.minutes * 60);
    let told = boot::boot(&Parts {
        kernel: &kernel,
        root: &root,
        tests: &tests,
        log: &log,
        processors: jobs,
        bound,
    })?;
    if !args.keep {
        fs::remove_file(&tests).context("failed to remove the disk of the tests")?;
    }
    println!("vm: all that was printed is in {}", log.display());
    Ok(told)
}

/// Processors of a machine: an emulated one wants a real one.
fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from).min(4)
}

fn table(sums: &[Sum]) -> String {
    let head = format!(
        "{:<8} {:<26} {:<10} {:>6} {:>6} {:>9} {:>8}  verdict",
        "machine", "kernel", "userland", "passed", "failed", "left out", "time"
    );
    let line = |sum: &Sum| {
        let failed = sum.told.failed().count();
        let kernel = sum.told.up.as_deref().and_then(|up| up.split(' ').next()).unwrap_or("did not come up");
        let verdict = match (sum.told.passed(), sum.told.is_done) {
            (true, _) => "ok",
            (false, true) => "FAILED",
            (false, false) => "FAILED: stopped half-way",
        };
        format!(
            "{:<8} {kernel:<26} {:<10} {:>6} {failed:>6} {:>9} {:>6} s  {verdict}",
            sum.machine.name,
            sum.machine.userland.suite,
            sum.told.findings.len() - failed,
            sum.told.left_out,
            sum.took.as_secs()
        )
    };
    [head].into_iter().chain(sums.iter().map(line)).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_of_each_machine_what_passed_and_what_did_not_come_to_its_end() {
        let machines = machine::chosen(&["6.1".to_owned(), "6.12".to_owned()]).unwrap();
        let said = [
            vec![
                "vm: up 6.1.0-56-cloud-amd64 landlock",
                "vm: left-out 3",
                "vm: planned 1",
                "vm: ok all a 1",
                "vm: done 2",
            ],
            vec!["vm: up 6.12 landlock", "vm: failed all a 1"],
        ];
        let sum = |(machine, lines): (&'static Machine, &Vec<&str>)| {
            let mut told = Told::default();
            for line in lines {
                told.line(line);
            }
            Sum { machine, told, took: Duration::from_secs(70) }
        };
        let sums: Vec<Sum> = machines.into_iter().zip(&said).map(sum).collect();
        assert_eq!(
            table(&sums),
            "machine  kernel                     userland   passed failed  left out     time  verdict\n\
             6.1      6.1.0-56-cloud-amd64       bookworm        1      0         3     70 s  ok\n\
             6.12     6.12                       sid             0      1         0     70 s  FAILED: stopped half-way"
        );
    }
}
