//! Installs what the tests, the benchmarks and the soaks need; the one list of it, with the reason of each.
//!
//! Installs only what is missing, says what and why before it does, and installs Debian packages only as
//! root. Must never be needed by a person who only *uses* execgate.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::{metadata, packages, schemathesis, shell};

/// `cargo xtask setup`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Also install what only the benchmarks need.
    #[arg(long)]
    bench: bool,
    /// Also install what only the soaks need.
    #[arg(long)]
    soak: bool,
}

/// Who needs a thing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum For {
    Tests,
    Benchmarks,
    Soaks,
    Machines,
}

impl For {
    fn what(self) -> &'static str {
        match self {
            Self::Tests => "all that the tests need",
            Self::Benchmarks => "all that the benchmarks need",
            Self::Soaks => "all that the soaks need",
            Self::Machines => "all that virtual machines need",
        }
    }
}

/// What shows that a thing is there.
enum Probe {
    /// This file exists.
    File(&'static str),
    /// A program of this name is found.
    Program(&'static str),
    /// The distribution's Python has this module.
    Module(&'static str),
}

/// The distribution's own Python; a version manager's may lack what Debian's packages bring.
pub(crate) const PYTHON: &str = "/usr/bin/python3";

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
        name: "python3-venv",
        probe: Probe::Module("ensurepip"),
        needed_by: For::Tests,
        why: "makes the folder that Schemathesis is installed in, apart from the distribution's own packages",
    },
    Package {
        name: "golang-go",
        probe: Probe::Program("go"),
        needed_by: For::Tests,
        why: "brings the checksum database's own verifier of logs, which the recipes of docs/LOG.md are run with",
    },
    Package {
        name: "python3-cryptography",
        probe: Probe::Module("cryptography"),
        needed_by: For::Tests,
        why: "mints approval artifacts as OpenExec's clients do",
    },
    Package {
        name: "nodejs",
        probe: Probe::Program("node"),
        needed_by: For::Tests,
        why: "a language of the sandbox",
    },
    Package {
        name: "r-base-core",
        probe: Probe::File("/usr/lib/R/bin/exec/R"),
        needed_by: For::Tests,
        why: "a language of the sandbox",
    },
    Package {
        name: "r-cran-ggplot2",
        probe: Probe::File("/usr/lib/R/site-library/ggplot2"),
        needed_by: For::Tests,
        why: "what people plot with in R, for the tests of rich results",
    },
    Package {
        name: "fonts-dejavu-core",
        probe: Probe::File("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"),
        needed_by: For::Tests,
        why: "the letters in R's pictures",
    },
    Package {
        name: "python3-numpy",
        probe: Probe::Module("numpy"),
        needed_by: For::Tests,
        why: "the first thing that generated Python imports",
    },
    Package {
        name: "python3-pandas",
        probe: Probe::Module("pandas"),
        needed_by: For::Tests,
        why: "tables, for the tests of rich results",
    },
    Package {
        name: "python3-matplotlib",
        probe: Probe::Module("matplotlib"),
        needed_by: For::Tests,
        why: "pictures, for the tests of rich results",
    },
    Package {
        name: "python3-pip",
        probe: Probe::Program("pip3"),
        needed_by: For::Tests,
        why: "fetches Python packages into images",
    },
    Package {
        name: "npm",
        probe: Probe::Program("npm"),
        needed_by: For::Tests,
        why: "fetches Node packages into images, and the Ethereum node that payments are tested on",
    },
    Package {
        name: "jq",
        probe: Probe::Program("jq"),
        needed_by: For::Tests,
        why: "the examples of docs/CODE.md read answers with it",
    },
    Package {
        name: "curl",
        probe: Probe::Program("curl"),
        needed_by: For::Tests,
        why: "the examples of docs/CODE.md ask with it",
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
        name: "postgresql",
        probe: Probe::File("/usr/lib/postgresql"),
        needed_by: For::Tests,
        why: "the database that `sql_write` is tested on",
    },
    Package {
        name: "libssl-dev",
        probe: Probe::File("/usr/include/openssl/evp.h"),
        needed_by: For::Tests,
        why: "OpenSSL for a program that has it in itself, which draws random numbers in the jail",
    },
    Package {
        name: "bubblewrap",
        probe: Probe::Program("bwrap"),
        needed_by: For::Benchmarks,
        why: "the peer that an isolated run is measured against",
    },
    Package {
        name: "stress-ng",
        probe: Probe::Program("stress-ng"),
        needed_by: For::Soaks,
        why: "asks the kernel in the jail for more of everything than there is",
    },
    Package {
        name: "trinity",
        probe: Probe::Program("trinity"),
        needed_by: For::Soaks,
        why: "makes system calls in the jail that nobody meant",
    },
    Package {
        name: "g++",
        probe: Probe::Program("c++"),
        needed_by: For::Soaks,
        why: "compiles libFuzzer, which the fuzz targets are linked with",
    },
    Package {
        name: "qemu-system-x86",
        probe: Probe::Program("qemu-system-x86_64"),
        needed_by: For::Machines,
        why: "emulates the machines that other kernels are booted on",
    },
    Package {
        name: "mmdebstrap",
        probe: Probe::Program("mmdebstrap"),
        needed_by: For::Machines,
        why: "fills the disks of other Debians",
    },
    Package {
        name: "debian-archive-keyring",
        probe: Probe::File("/usr/share/keyrings/debian-archive-keyring.gpg"),
        needed_by: For::Machines,
        why: "the keys that other Debians are signed with",
    },
    Package {
        name: "e2fsprogs",
        probe: Probe::Program("mkfs.ext4"),
        needed_by: For::Machines,
        why: "makes disks of folders",
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
    let also = [(args.bench, For::Benchmarks), (args.soak, For::Soaks), (args.soak, For::Machines)];
    let mut ready = install(For::Tests)?;
    for (_, needed_by) in also.into_iter().filter(|(is_asked, _)| *is_asked) {
        ready &= install(needed_by)?;
    }
    Ok(ready)
}

/// Installs what the tests need.
pub(crate) fn for_tests() -> Result<bool> {
    install(For::Tests)
}

/// Installs what the soaks need.
pub(crate) fn for_soaks() -> Result<bool> {
    install(For::Soaks)
}

/// Installs what virtual machines need.
pub(crate) fn for_machines() -> Result<bool> {
    install(For::Machines)
}

/// The path of one of [`CARGO_TOOLS`], where it is installed.
pub(crate) fn cargo_tool(name: &str) -> Result<Option<PathBuf>> {
    let built = tools_dir()?.join("bin").join(name);
    Ok(if built.is_file() { Some(built) } else { shell::find_program(name) })
}

/// Where the tools are that no distribution has.
pub(crate) fn tools_dir() -> Result<PathBuf> {
    Ok(metadata::workspace()?.target_directory.join("tools"))
}

fn install(needed_by: For) -> Result<bool> {
    let missing: Vec<&Package> = PACKAGES
        .iter()
        .filter(|package| package.needed_by == needed_by && !is_there(&package.probe))
        .collect();
    let packages_ready = missing.is_empty() || install_packages(&missing)?;
    let tools_ready = needed_by != For::Tests
        || (install_cargo_tools()? && schemathesis::install()? && packages::install()?);
    if packages_ready && tools_ready {
        println!("setup: {} is there", needed_by.what());
    }
    Ok(packages_ready && tools_ready)
}

fn is_there(probe: &Probe) -> bool {
    match probe {
        Probe::File(path) => PathBuf::from(path).exists(),
        Probe::Program(name) => shell::find_program(name).is_some(),
        Probe::Module(name) => {
            let mut command = shell::command(PYTHON, &["-c", &format!("import {name}")]);
            shell::captures(&mut command).is_ok()
        }
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
        assert!(!is_there(&Probe::Module("no_such_module")));
    }

    #[test]
    fn every_entry_says_why() {
        assert!(PACKAGES.iter().all(|package| package.why.len() > 20));
        assert!(CARGO_TOOLS.iter().all(|tool| tool.why.len() > 20));
    }
}
