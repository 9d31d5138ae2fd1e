//! `cargo xtask test`: every check of the project, in one order, for a person and for CI alike.
//!
//! A failed step does not stop the next one, so that one run tells everything; there are no retries.
//! Output of the steps streams. Read on in [`crate::setup`], [`crate::licences`], [`crate::tidy`] and
//! [`crate::schemathesis`].

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::{licences, schemathesis, setup, shell, tidy};

/// `cargo xtask test`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only what a change usually breaks: no set-up, no licences, no journeys, no made-up requests, no doc tests.
    #[arg(long)]
    quick: bool,
    /// Only this step, as the table calls it.
    #[arg(long, value_name = "STEP", conflicts_with = "quick")]
    only: Option<String>,
}

/// How a step is done.
#[derive(Clone, Copy)]
enum Act {
    /// By cargo, with these words; those behind `--` go to the tool that cargo runs.
    Cargo(&'static [&'static str]),
    /// By this program itself.
    Here(fn() -> Result<bool>),
}

/// When a step is run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Always,
    Full,
    Quick,
}

/// One check.
struct Step {
    name: &'static str,
    when: When,
    act: Act,
}

/// Every step, in order: set-up, then from cheap to dear.
const STEPS: &[Step] = &[
    Step { name: "setup", when: When::Full, act: Act::Here(setup::for_tests) },
    Step { name: "fmt", when: When::Always, act: Act::Cargo(&["fmt", "--all", "--", "--check"]) },
    Step {
        name: "fmt of fuzz",
        when: When::Always,
        act: Act::Cargo(&["fmt", "--manifest-path", "fuzz/Cargo.toml", "--", "--check"]),
    },
    Step {
        name: "clippy",
        when: When::Always,
        act: Act::Cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    },
    Step { name: "tidy", when: When::Always, act: Act::Here(tidy::run) },
    Step { name: "licences", when: When::Full, act: Act::Here(licences::check) },
    Step {
        name: "unit tests",
        when: When::Quick,
        act: Act::Cargo(&["nextest", "run", "--workspace", "--lib", "--bins", "--retries", "0"]),
    },
    Step {
        name: "tests",
        when: When::Full,
        act: Act::Cargo(&["nextest", "run", "--workspace", "--retries", "0"]),
    },
    Step { name: "schemathesis", when: When::Full, act: Act::Here(schemathesis::check) },
    Step { name: "doc tests", when: When::Full, act: Act::Cargo(&["test", "--doc", "--workspace"]) },
];

/// What came of one step.
struct Verdict {
    name: &'static str,
    passed: bool,
    took: Duration,
}

/// Runs the steps and prints their verdicts; `true` if all passed.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let steps = chosen(args);
    let names: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
    anyhow::ensure!(!steps.is_empty(), "there is no such step; there are: {}", names.join(", "));
    let verdicts: Vec<Verdict> = steps.into_iter().map(take).collect();
    println!("\n{}", table(&verdicts));
    Ok(verdicts.iter().all(|verdict| verdict.passed))
}

fn chosen(args: &Args) -> Vec<&'static Step> {
    let mode = if args.quick { When::Quick } else { When::Full };
    let is_chosen = |step: &&Step| match &args.only {
        Some(name) => step.name == name,
        None => step.when == When::Always || step.when == mode,
    };
    STEPS.iter().filter(is_chosen).collect()
}

/// Takes one step. A step that could not even start has failed, and the next one is taken all the same.
fn take(step: &Step) -> Verdict {
    let start = Instant::now();
    let done = match step.act {
        Act::Cargo(words) => {
            let mut command = shell::cargo(&with_lock(words, shell::in_ci()));
            if let Ok(Some(nextest)) = setup::cargo_tool("cargo-nextest") {
                put_first_on_path(&mut command, &nextest);
            }
            println!("\n==> {}: {}", step.name, shell::shown(&command));
            shell::streams(&mut command)
        }
        Act::Here(act) => {
            println!("\n==> {}", step.name);
            act()
        }
    };
    let passed = done.unwrap_or_else(|error| {
        println!("{}: {error:#}", step.name);
        false
    });
    let verdict = Verdict { name: step.name, passed, took: start.elapsed() };
    println!("<== {}: {} in {}", verdict.name, word(passed), seconds(verdict.took));
    verdict
}

/// Adds `--locked` in CI, where a stale `Cargo.lock` must not be mended in passing. `cargo fmt` reads none.
fn with_lock(words: &[&'static str], in_ci: bool) -> Vec<&'static str> {
    let mut words = words.to_vec();
    if in_ci && words.first() != Some(&"fmt") {
        let end = words.iter().position(|word| *word == "--").unwrap_or(words.len());
        words.insert(end, "--locked");
    }
    words
}

/// Puts a tool's folder first on the command's `PATH`, so that cargo finds what `setup` built.
fn put_first_on_path(command: &mut std::process::Command, tool: &std::path::Path) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = tool.parent().map(std::path::Path::to_path_buf).into_iter();
    if let Ok(joined) = std::env::join_paths(folders.chain(std::env::split_paths(&path))) {
        command.env("PATH", joined);
    }
}

fn table(verdicts: &[Verdict]) -> String {
    let mut lines = vec![format!("{:<12} {:<8} {:>10}", "step", "verdict", "time")];
    for verdict in verdicts {
        lines.push(format!("{:<12} {:<8} {:>10}", verdict.name, word(verdict.passed), seconds(verdict.took)));
    }
    let passed = verdicts.iter().filter(|verdict| verdict.passed).count();
    lines.push(format!("steps: {passed} passed, {} failed", verdicts.len() - passed));
    lines.join("\n")
}

fn word(passed: bool) -> &'static str {
    if passed { "ok" } else { "FAILED" }
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_can_be_taken_alone_and_the_quick_ones_apart() {
        let names = |quick: bool, only: Option<&str>| {
            let args = Args { quick, only: only.map(str::to_owned) };
            chosen(&args).iter().map(|step| step.name).collect::<Vec<_>>()
        };
        assert_eq!(names(false, Some("tidy")), ["tidy"]);
        assert_eq!(names(true, None), ["fmt", "fmt of fuzz", "clippy", "tidy", "unit tests"]);
        assert_eq!(names(false, None).len(), STEPS.len() - 1);
        assert!(names(false, Some("nothing")).is_empty());
    }

    #[test]
    fn a_failed_step_is_told_and_the_next_one_is_taken() {
        let broken = Step { name: "broken", when: When::Always, act: Act::Here(|| anyhow::bail!("no")) };
        let red = Step { name: "red", when: When::Always, act: Act::Here(|| Ok(false)) };
        let green = Step { name: "green", when: When::Always, act: Act::Here(|| Ok(true)) };
        let passed: Vec<bool> = [broken, red, green].iter().map(|step| take(step).passed).collect();
        assert_eq!(passed, [false, false, true]);
    }

    #[test]
    fn the_table_ends_with_the_count() {
        let verdicts = [
            Verdict { name: "fmt", passed: true, took: Duration::from_millis(1234) },
            Verdict { name: "tidy", passed: false, took: Duration::from_millis(60) },
        ];
        assert_eq!(
            table(&verdicts),
            "step         verdict        time\n\
             fmt          ok            1.2 s\n\
             tidy         FAILED        0.1 s\n\
             steps: 1 passed, 1 failed"
        );
    }

    #[test]
    fn ci_never_mends_the_lock_file() {
        assert_eq!(
            with_lock(&["clippy", "--", "-D", "warnings"], true),
            ["clippy", "--locked", "--", "-D", "warnings"]
        );
        assert_eq!(with_lock(&["nextest", "run"], true), ["nextest", "run", "--locked"]);
        assert_eq!(with_lock(&["fmt", "--all"], true), ["fmt", "--all"]);
        assert_eq!(with_lock(&["nextest", "run"], false), ["nextest", "run"]);
    }

    #[test]
    fn every_way_to_run_tests_refuses_retries() {
        let runs: Vec<&[&str]> = STEPS
            .iter()
            .filter_map(|step| match step.act {
                Act::Cargo(words) if words.first() == Some(&"nextest") => Some(words),
                Act::Cargo(_) | Act::Here(_) => None,
            })
            .collect();
        assert_eq!(runs.len(), 2);
        assert!(runs.iter().all(|words| words.ends_with(&["--retries", "0"])));
    }
}
