//! Builds the fuzz targets: each file of `fuzz/src/bin`, with what libFuzzer steers by and `AddressSanitizer`.
//!
//! The compiler is the one that everything else is built with. Coverage is instrumented by a pass that any compiler
//! has; only the sanitizer is behind a flag of the unstable kind, which `RUSTC_BOOTSTRAP` admits, here and nowhere else.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::{metadata, shell};

/// What the compiler is told, beside what is in `fuzz/Cargo.toml`.
const FLAGS: [&str; 7] = [
    "--cfg=fuzzing",
    // The coverage that libFuzzer reads: counters for each edge, their places, and what is compared with what.
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    // Tells a stack that overflows, one allocation that is too large, and what unsafe code of a dependency does.
    "-Zsanitizer=address",
];

/// A target that is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Its name, which is also that of its seeds' folder.
    pub(crate) name: String,
    /// The program.
    pub(crate) program: PathBuf,
}

/// One line of what cargo tells of a build.
#[derive(Deserialize)]
struct Message {
    target: Option<Named>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

/// Builds all targets; they come in the order of their names.
pub(crate) fn targets() -> Result<Vec<Target>> {
    let build_dir = metadata::workspace()?.target_directory.join("fuzz");
    let mut command = shell::cargo(&[
        "build",
        "--release",
        "--manifest-path=fuzz/Cargo.toml",
        // A named target keeps the flags from build scripts and macros, which run within the compiler.
        "--target=host-tuple",
        "--message-format=json-render-diagnostics",
    ]);
    if shell::in_ci() {
        command.arg("--locked");
    }
    command.arg("--target-dir").arg(build_dir).stderr(Stdio::inherit());
    command.env("RUSTC_BOOTSTRAP", "1").env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"));
    let built = command.output().context("failed to start cargo")?;
    ensure!(built.status.success(), "the fuzz targets do not build");
    read(&String::from_utf8(built.stdout).context("cargo printed no UTF-8")?)
}

fn read(messages: &str) -> Result<Vec<Target>> {
    let mut targets = Vec::new();
    for line in messages.lines() {
        let message: Message = serde_json::from_str(line).context("failed to read what cargo tells")?;
        if let Message { target: Some(Named { name }), executable: Some(program) } = message {
            targets.push(Target { name, program });
        }
    }
    targets.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(targets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_what_cargo_made_a_program_of() {
        let told = r#"{"reason":"compiler-artifact","target":{"name":"libfuzzer-sys"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"keys"},"executable":"/t/keys"}
{"reason":"compiler-artifact","target":{"name":"door"},"executable":"/t/door"}
{"reason":"build-finished","success":true}"#;
        let named = |name: &str| Target { name: name.to_owned(), program: format!("/t/{name}").into() };
        assert_eq!(read(told).unwrap(), [named("door"), named("keys")]);
        assert!(read("rubbish").is_err());
    }

    #[test]
    fn every_target_has_seeds_and_no_seeds_lie_about() {
        let names = |folder: &str| {
            let entries = std::fs::read_dir(shell::root().join(folder)).unwrap();
            let mut names: Vec<PathBuf> =
                entries.map(|entry| PathBuf::from(entry.unwrap().file_name()).with_extension("")).collect();
            names.sort();
            names
        };
        assert_eq!(names("fuzz/src/bin"), names("fuzz/seeds"));
    }
}
