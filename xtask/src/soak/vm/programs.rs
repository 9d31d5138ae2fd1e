//! What is run inside: the tests of the sandbox, the helper that they start, and execgate itself, on a disk.
//!
//! They are built with a C library that is as old as that of the oldest userland, or older.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::boot::TESTS_MARK;
use super::disk;
use super::machine::Work;
use crate::{metadata, shell};

/// Tells the tests, when they are compiled, that they will run on an emulated processor: they wait longer.
const EMULATED: &str = "EXECGATE_TEST_EMULATED";

/// Room on the disk for nothing but its own tables, in MiB.
const ROOM_MIB: u64 = 16;

/// The programs.
pub(super) struct Programs {
    pub(super) execgate: PathBuf,
    helper: PathBuf,
    /// Name and place of each integration test.
    tests: Vec<(String, PathBuf)>,
    /// Where the tests look for images.
    scratch: PathBuf,
}

/// What the guest is told.
pub(super) struct Wanted<'a> {
    pub(super) work: Work,
    /// An extended regular expression over `PROGRAM MODULE::NAME`.
    pub(super) filter: &'a str,
    /// Another, of what is left out all the same.
    pub(super) left_out: &'a str,
    pub(super) jobs: usize,
    /// How long one test may take, in seconds.
    pub(super) test_seconds: u64,
}

#[derive(Deserialize)]
struct Message {
    target: Option<Target>,
    executable: Option<PathBuf>,
    profile: Option<Profile>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

/// What cargo has made.
#[derive(Debug, PartialEq, Eq)]
enum Made {
    Test(String, PathBuf),
    Program(String, PathBuf),
}

/// Builds them.
pub(super) fn build() -> Result<Programs> {
    let mut made = cargo(&["test", "--no-run", "--package=execgate-sandbox", "--tests"])?;
    made.extend(cargo(&["build", "--package=execgate", "--bin=execgate"])?);
    let program = |wanted: &str| {
        made.iter()
            .find_map(|made| match made {
                Made::Program(name, path) if name == wanted => Some(path.clone()),
                Made::Program(..) | Made::Test(..) => None,
            })
            .with_context(|| format!("cargo has made no {wanted}"))
    };
    let (execgate, helper) = (program("execgate")?, program("sandbox-helper")?);
    let is_test = |made| match made {
        Made::Test(name, path) => Some((name, path)),
        Made::Program(..) => None,
    };
    let mut tests: Vec<_> = made.into_iter().filter_map(is_test).collect();
    // `all` before `warm`: from cheap to dear.
    tests.sort_unstable();
    Ok(Programs { execgate, helper, tests, scratch: metadata::workspace()?.target_directory.join("tmp") })
}

fn cargo(args: &[&str]) -> Result<Vec<Made>> {
    let mut command: Command = shell::cargo(args);
    command.arg("--message-format=json-render-diagnostics").env(EMULATED, "1").stderr(Stdio::inherit());
    if shell::in_ci() {
        command.arg("--locked");
    }
    let built = command.output().context("failed to start cargo")?;
    ensure!(built.status.success(), "{} failed", shell::shown(&command));
    read(&String::from_utf8(built.stdout).context("cargo printed no UTF-8")?)
}

fn read(messages: &str) -> Result<Vec<Made>> {
    let mut all = Vec::new();
    for line in messages.lines() {
        let message: Message = serde_json::from_str(line).context("failed to read what cargo tells")?;
        let Message { target: Some(target), executable: Some(path), profile: Some(profile) } = message else {
            continue;
        };
        let is = |kind: &str| target.kind.iter().any(|known| known == kind);
        match profile.test {
            true if is("test") => all.push(Made::Test(target.name, path)),
            false if is("bin") => all.push(Made::Program(target.name, path)),
            true | false => {}
        }
    }
    Ok(all)
}

impl Programs {
    /// Makes a disk of them and of what the guest is told.
    pub(super) fn disk(&self, wanted: &Wanted<'_>, place: &Path) -> Result<()> {
        let folder = tempfile::tempdir().context("failed to make a folder")?;
        let at = |name: &str| folder.path().join(name);
        let failed = "failed to fill the disk of the tests";
        for (name, program) in [("execgate", &self.execgate), ("sandbox-helper", &self.helper)] {
            fs::copy(program, at(name)).context(failed)?;
        }
        for (name, program) in &self.tests {
            fs::copy(program, at(name)).context(failed)?;
        }
        for (name, script) in
            [("init.sh", include_str!("guest/init.sh")), ("suite.sh", include_str!("guest/suite.sh"))]
        {
            fs::write(at(name), script).context(failed)?;
        }
        let places = format!("{}\n{}\n", self.helper.display(), self.scratch.display());
        fs::write(at("places"), places).context(failed)?;
        fs::write(at("wanted"), self.told(wanted)?).context(failed)?;
        disk::make(folder.path(), place, ROOM_MIB, TESTS_MARK)
    }

    /// The settings that `guest/suite.sh` reads.
    fn told(&self, wanted: &Wanted<'_>) -> Result<String> {
        ensure!(!wanted.filter.contains('\''), "a filter has no quote in it");
        let names: Vec<&str> = self.tests.iter().map(|(name, _)| name.as_str()).collect();
        Ok(format!(
            "WORK={}\nPROGRAMS='{}'\nFILTER='{}'\nLEFT_OUT='{}'\nJOBS={}\nTEST_SECONDS={}\n",
            wanted.work.name(),
            names.join(" "),
            wanted.filter,
            wanted.left_out,
            wanted.jobs,
            wanted.test_seconds
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_and_programs_are_told_apart_from_everything_else_that_cargo_makes() {
        let told = r#"{"reason":"compiler-artifact","target":{"name":"x","kind":["lib"]},"profile":{"test":false},"executable":null}
{"reason":"compiler-artifact","target":{"name":"x","kind":["lib"]},"profile":{"test":true},"executable":"/t/x"}
{"reason":"compiler-artifact","target":{"name":"sandbox-helper","kind":["bin"]},"profile":{"test":true},"executable":"/t/h-1"}
{"reason":"compiler-artifact","target":{"name":"sandbox-helper","kind":["bin"]},"profile":{"test":false},"executable":"/t/h"}
{"reason":"compiler-artifact","target":{"name":"warm","kind":["test"]},"profile":{"test":true},"executable":"/t/warm-1"}
{"reason":"build-finished","success":true}"#;
        let made = [
            Made::Program("sandbox-helper".to_owned(), "/t/h".into()),
            Made::Test("warm".to_owned(), "/t/warm-1".into()),
        ];
        assert_eq!(read(told).unwrap(), made);
    }
}
