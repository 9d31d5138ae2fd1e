//! Installs what the tests and the benchmarks need; the one list of it, with the reason of each.
//!
//! Installs only what is missing, says what and why before it does, and installs Debian packages only as
//! root. Must never be needed by a person who only *uses* execgate.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::{metadata, shell};

/// `cargo xtask setup`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Also install what only the benchmarks need.
    #[arg(long)]
    bench: bool,
}

/// Who needs a thing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum For {
    Tests,
    Benchmarks,
}

impl For {
    fn what(self) -> &'static str {
        match self {
            Self::Tests => "all that the tests need",
            Self::Benchmarks => "all that the benchmarks need",
        }
    }
}

/// What shows that a thing is there.
enum Probe {
    /// This file exists.
    File(&'static str),
    /// A program of this name is found.
    Program(&'static str),
}

/// A Debian package.
struct Package {
    name: &'static str,
    probe: Probe,
    needed_by: For,
    why: &'static str,
}

/// Every Debian package that this project needs beside the Rust toolchain.
const PACKAGES: &[Package] = &[
    Package {
        name: "gcc",
        probe: Probe::Program("cc"),
        needed_by: For::Tests,
        why: "links Rust and compiles the bundled SQLite",
    },
    Package {
        name: "libc6-dev",
        probe: Probe::File("/usr/include/stdio.h"),
        needed_by: For::Tests,
        why: "the headers that the bundled SQLite is compiled with",
    },
    Package {
        name: "git",
        probe: Probe::Program("git"),
        needed_by: For::Tests,
        why: "`tidy` asks it which files belong to the project",
    },
    Package {
        name: "bash",
        probe: Probe::File("/bin/bash"),
        needed_by: For::Tests,
        why: "a language of the sandbox, and the shell of .ci/run",
    },
    Package {
        name: "python3",
        probe: Probe::File("/usr/bin/python3"),
        needed_by: For::Tests,
        why: "a language of the sandbox; the distribution's own, since a version manager's shim is no interpreter",
    },
    Package {
        name: "util-linux",
        probe: Probe::Program("setpriv"),
        needed_by: For::Tests,
        why: "setpriv starts the sandbox's tests as an ordinary user",
    },
    Package {
        name: "libcap2-bin",
        probe: Probe::Program("capsh"),
        needed_by: For::Tests,
        why: "capsh shows and drops capabilities in the sandbox's tests",
    },
    Package {
        name: "bubblewrap",
        probe: Probe::Program("bwrap"),
        needed_by: For::Benchmarks,
        why: "the peer that an isolated run is measured against",
    },
];

/// A program that cargo builds from its registry.
struct CargoTool {
    name: &'static str,
    version: &'static str,
    why: &'static str,
}

/// Every program that this project needs from cargo's registry; built into `target/tools` where missing.
const CARGO_TOOLS: &[CargoTool] = &[
    CargoTool {
        name: "cargo-nextest",
        version: "0.9.143",
        why: "runs the tests, each in a process of its own",
    },
    CargoTool {
        name: "cargo-deny",
        version: "0.20.2",
        why: "checks licences, duplicate versions and sources (two to four minutes to build)",
    },
];

/// `cargo xtask setup`: installs what is missing.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let ready = install(For::Tests)?;
    Ok(if args.bench { install(For::Benchmarks)? && ready } else { ready })
}

/// Installs what the tests need.
pub(crate) fn for_tests() -> Result<bool> {
    install(For::Tests)
}

/// The path of one of [`CARGO_TOOLS`], where it is installed.
pub(crate) fn cargo_tool(name: &str) -> Result<Option<PathBuf>> {
    let built = tools_dir()?.join("bin").join(name);
    Ok(if built.is_file() { Some(built) } else { shell::find_program(name) })
}

fn tools_dir() -> Result<PathBuf> {
    Ok(metadata::workspace()?.target_directory.join("tools"))
}

fn install(needed_by: For) -> Result<bool> {
    let missing: Vec<&Package> = PACKAGES
        .iter()
        .filter(|package| package.needed_by == needed_by && !is_there(&package.probe))
        .collect();
    let packages_ready = missing.is_empty() || install_packages(&missing)?;
    let tools_ready = needed_by == For::Benchmarks || install_cargo_tools()?;
    if packages_ready && tools_ready {
        println!("setup: {} is there", needed_by.what());
    }
    Ok(packages_ready && tools_ready)
}

fn is_there(probe: &Probe) -> bool {
    match probe {
        Probe::File(path) => PathBuf::from(path).exists(),
        Probe::Program(name) => shell::find_program(name).is_some(),
    }
}

fn install_packages(missing: &[&Package]) -> Result<bool> {
    for package in missing {
        println!("setup: Debian package {} is missing: {}", package.name, package.why);
    }
    let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
    let may_install = rustix::process::geteuid().is_root() && shell::find_program("apt-get").is_some();
    if !may_install {
        println!(
            "setup: not root on Debian; install them yourself: apt-get install --no-install-recommends {}",
            names.join(" ")
        );
        return Ok(false);
    }
    let mut install =
        vec!["install", "--yes", "--quiet", "--option=Dpkg::Use-Pty=0", "--no-install-recommends"];
    install.extend(names);
    for args in [vec!["update", "--quiet"], install] {
        let mut command = shell::command("apt-get", &args);
        command.env("DEBIAN_FRONTEND", "noninteractive");
        if !shell::streams(&mut command)? {
            println!("setup: {} failed", shell::shown(&command));
            return Ok(false);
        }
    }
    Ok(true)
}

fn install_cargo_tools() -> Result<bool> {
    let root = tools_dir()?;
    let Some(root) = root.to_str() else { bail!("the target directory's path is no UTF-8") };
    let mut ready = true;
    for tool in CARGO_TOOLS {
        if cargo_tool(tool.name)?.is_some() {
            continue;
        }
        println!("setup: building {} {} into {root}: {}", tool.name, tool.version, tool.why);
        let args = ["install", tool.name, "--version", tool.version, "--locked", "--root", root];
        ready &= shell::streams(&mut shell::cargo(&args))?;
    }
    Ok(ready)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_tells_what_is_there_from_what_is_not() {
        assert!(is_there(&Probe::File("/")));
        assert!(is_there(&Probe::Program("sh")));
        assert!(!is_there(&Probe::File("/no-such-file")));
        assert!(!is_there(&Probe::Program("no-such-program")));
    }

    #[test]
    fn every_entry_says_why() {
        assert!(PACKAGES.iter().all(|package| package.why.len() > 20));
        assert!(CARGO_TOOLS.iter().all(|tool| tool.why.len() > 20));
    }
}
