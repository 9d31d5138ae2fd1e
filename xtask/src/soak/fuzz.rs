//! `cargo xtask soak fuzz`: every fuzz target in its turn, one at a time.
//!
//! What is found is kept between soaks: the corpus, the inputs that targets died of, and whose turn comes next, all in
//! the target directory. A target that died has no further turn. What must hold stands beside the parsers, in files
//! called `fuzz.rs`; the same bodies are property tests on every compiler.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::soak::build::{self, Target};
use crate::soak::plan::{self, Turn};
use crate::soak::told::Told;
use crate::{metadata, setup, shell};

/// The longest input: several of every structure that is parsed, and still thousands of calls in a second.
const INPUT_BYTES_MAX: u32 = 16 << 10;

/// The longest call, in seconds. The slowest that is meant to be takes milliseconds.
const CALL_S_MAX: u32 = 10;

/// What a target may use, in MiB; `AddressSanitizer` keeps a quarter of it of what was freed.
const MEMORY_MIB_MAX: u32 = 1024;

/// One allocation, in MiB: no input is so large, and no parser may believe a length.
const ALLOCATION_MIB_MAX: u32 = 128;

/// Where the name of the target lies whose turn is next, in the folder of the corpora.
const NEXT: &str = "next";

/// `cargo xtask soak fuzz`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long, building apart.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=1440))]
    minutes: u64,
    /// Only this target: a file of `fuzz/src/bin`.
    #[arg(long, value_name = "TARGET")]
    only: Option<String>,
    /// Call each target with its seeds and nothing else.
    #[arg(long)]
    seed_only: bool,
}

/// Where things lie.
struct Places {
    corpus: PathBuf,
    crashes: PathBuf,
    seeds: PathBuf,
}

/// What came of all turns of a target.
#[derive(Default)]
struct Sum {
    executions: u64,
    coverage: u64,
    took: Duration,
    /// Why it has no further turn: the input that it died of, or what else happened.
    end: Option<String>,
}

/// Runs the soak; `true` if no target died.
pub(crate) fn run(args: &Args) -> Result<bool> {
    ensure!(setup::for_soaks()?, "something is missing that the fuzz targets are built with");
    let target_dir = metadata::workspace()?.target_directory;
    let places = Places {
        corpus: target_dir.join("fuzz-corpus"),
        crashes: target_dir.join("fuzz-crashes"),
        seeds: shell::root().join("fuzz/seeds"),
    };
    let targets = chosen(build::targets()?, args.only.as_deref())?;
    let mut sums = BTreeMap::new();
    if args.seed_only {
        for target in &targets {
            take(target, &places, None, sums.entry(target.name.clone()).or_default())?;
        }
    } else {
        let first = if args.only.is_none() { first(&targets, &places) } else { 0 };
        let turns = plan::turns(targets.len(), first, Duration::from_secs(args.minutes * 60));
        for turn in &turns {
            let Some(target) = targets.get(turn.target) else { continue };
            let sum: &mut Sum = sums.entry(target.name.clone()).or_default();
            if sum.end.is_none() {
                take(target, &places, Some(turn), sum)?;
            }
        }
        if let Some(next) = targets.get(plan::next(targets.len(), &turns)).filter(|_| args.only.is_none()) {
            fs::write(places.corpus.join(NEXT), &next.name).context("failed to note whose turn is next")?;
        }
    }
    println!("\n{}", table(&sums));
    Ok(sums.values().all(|sum| sum.end.is_none()))
}

fn chosen(targets: Vec<Target>, only: Option<&str>) -> Result<Vec<Target>> {
    let Some(only) = only else { return Ok(targets) };
    let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
    let names = names.join(", ");
    let found: Vec<Target> = targets.into_iter().filter(|target| target.name == only).collect();
    ensure!(!found.is_empty(), "there is no target `{only}`; there are {names}");
    Ok(found)
}

/// Whose turn it is after the last soak.
fn first(targets: &[Target], places: &Places) -> usize {
    let noted = fs::read_to_string(places.corpus.join(NEXT)).unwrap_or_default();
    targets.iter().position(|target| target.name == noted).unwrap_or(0)
}

/// One turn, or a look at the seeds alone.
fn take(target: &Target, places: &Places, turn: Option<&Turn>, sum: &mut Sum) -> Result<()> {
    let start = Instant::now();
    let mut child = command(target, places, turn)?
        .spawn()
        .with_context(|| format!("failed to start {}", target.program.display()))?;
    let mut told = Told::default();
    if let Some(stderr) = child.stderr.take() {
        for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
            told.line(&String::from_utf8_lossy(&line));
        }
    }
    let status = child.wait().context("failed to wait for a fuzz target")?;
    let took = start.elapsed();
    println!(
        "{:<16} {:>5} s {:>10} calls {:>8} calls/s {:>6} edges {:>6} inputs kept",
        target.name,
        took.as_secs(),
        told.executions,
        told.executions / took.as_secs().max(1),
        told.coverage,
        told.corpus
    );
    sum.executions += told.executions;
    sum.coverage = sum.coverage.max(told.coverage);
    sum.took += took;
    if !status.success() {
        println!("{}", told.why());
        sum.end = Some(match told.reproducer {
            Some(input) => format!("{} {}", target.program.display(), input.display()),
            None => format!("{status}, and no input was left"),
        });
    }
    Ok(())
}

/// The target as it is started. Without a turn it reads its seeds and ends.
fn command(target: &Target, places: &Places, turn: Option<&Turn>) -> Result<Command> {
    let (corpus, crashes) = (places.corpus.join(&target.name), places.crashes.join(&target.name));
    for folder in [&corpus, &crashes] {
        fs::create_dir_all(folder).with_context(|| format!("failed to make {}", folder.display()))?;
    }
    let mut command = Command::new(&target.program);
    command
        .arg(format!("-max_len={INPUT_BYTES_MAX}"))
        .arg(format!("-timeout={CALL_S_MAX}"))
        .arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}"))
        .arg(format!("-artifact_prefix={}/", crashes.display()))
        .args(["-print_final_stats=1", "-detect_leaks=0"])
        // SQLite's one file defines two tables of one name; nothing of ours is concerned.
        .env("ASAN_OPTIONS", format!("detect_odr_violation=0:max_allocation_size_mb={ALLOCATION_MIB_MAX}"))
        .current_dir(shell::root())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    match turn {
        Some(turn) => command.arg(format!("-max_total_time={}", turn.length.as_secs())).arg(&corpus),
        None => command.arg("-runs=0"),
    };
    command.arg(seeds(target, &places.seeds)?);
    Ok(command)
}

/// The folder of a target's seeds, which it must have.
fn seeds(target: &Target, seeds: &Path) -> Result<PathBuf> {
    let folder = seeds.join(&target.name);
    ensure!(folder.is_dir(), "the target `{}` has no seeds in {}", target.name, seeds.display());
    Ok(folder)
}

fn table(sums: &BTreeMap<String, Sum>) -> String {
    let mut lines = vec![format!("{:<16} {:>12} {:>8} {:>7}  died", "target", "calls", "edges", "time")];
    for (name, sum) in sums {
        let end = sum.end.as_deref().unwrap_or("-");
        let (calls, edges, took) = (sum.executions, sum.coverage, sum.took.as_secs());
        lines.push(format!("{name:<16} {calls:>12} {edges:>8} {took:>5} s  {end}"));
    }
    let died = sums.values().filter(|sum| sum.end.is_some()).count();
    lines.push(format!("targets: {} held, {died} died", sums.len() - died));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A target that is this shell script, with seeds, in a folder of its own.
    fn target(folder: &Path, script: &str) -> (Target, Places) {
        let program = folder.join("program");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir_all(folder.join("seeds/t")).unwrap();
        let [corpus, crashes, seeds] = ["corpus", "crashes", "seeds"].map(|name| folder.join(name));
        (Target { name: "t".to_owned(), program }, Places { corpus, crashes, seeds })
    }

    #[test]
    fn a_target_that_dies_is_told_with_how_to_see_it_again() {
        let folder = tempfile::tempdir().unwrap();
        let script = "echo '#9\tNEW    cov: 3 ft: 1 corp: 2/2b' >&2; echo 'Test unit written to x/crash-1' >&2; exit 77";
        let (target, places) = target(folder.path(), script);
        let mut sum = Sum::default();
        take(&target, &places, None, &mut sum).unwrap();
        let program = target.program.display();
        assert_eq!((sum.executions, sum.end), (9, Some(format!("{program} x/crash-1"))));
        assert!(places.corpus.join("t").is_dir() && places.crashes.join("t").is_dir());
    }

    #[test]
    fn a_target_that_holds_is_bounded_in_time_and_given_its_corpus() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = "case \"$*\" in *-max_total_time=30*/corpus/t*/seeds/t) exit 0;; esac; exit 1";
        let (target, places) = target(folder.path(), wanted);
        let mut sum = Sum::default();
        let turn = Turn { target: 0, length: Duration::from_secs(30) };
        take(&target, &places, Some(&turn), &mut sum).unwrap();
        assert_eq!(sum.end, None);
    }

    #[test]
    fn an_unknown_target_is_told_which_there_are() {
        let named = |name: &str| Target { name: name.to_owned(), program: PathBuf::new() };
        let told = chosen(vec![named("a"), named("b")], Some("c")).unwrap_err().to_string();
        assert_eq!(told, "there is no target `c`; there are a, b");
        assert_eq!(chosen(vec![named("a"), named("b")], Some("b")).unwrap(), [named("b")]);
    }

    #[test]
    fn the_table_ends_with_the_count() {
        let sum = |end: Option<&str>| Sum {
            executions: 5,
            coverage: 7,
            took: Duration::from_secs(60),
            end: end.map(str::to_owned),
        };
        let sums = BTreeMap::from([("door".to_owned(), sum(None)), ("keys".to_owned(), sum(Some("p x")))]);
        assert_eq!(
            table(&sums),
            "target                  calls    edges    time  died\n\
             door                        5        7    60 s  -\n\
             keys                        5        7    60 s  p x\n\
             targets: 1 held, 1 died"
        );
    }
}
