//! Builds what warm interpreters load, the fork-point library as a shared object, and what their inits become, and leaves
//! both where the crate embeds them from. The library in a target folder of its own, because the outer build holds the
//! lock of the other.

#![expect(
    clippy::disallowed_methods,
    reason = "a build script starts the build of a part, and is told how by its environment"
)]

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the outer build tells its own compiler, and must not reach this one.
const OUTER: [&str; 6] = [
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_TARGET_DIR",
];

/// The library's name in its target folder.
const LIBRARY: &str = "libexecgate_forkpoint.so";

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../forkpoint");
    for watched in ["src", "reaper", "Cargo.toml", "../../Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", folder.join(watched).display());
    }
    let library = library(&folder)?;
    println!("cargo::rustc-env=FORKPOINT_LIBRARY={}", library.display());
    let reaper = reaper(&folder)?;
    println!("cargo::rustc-env=FORKPOINT_REAPER={}", reaper.display());
    Ok(())
}

/// A program of its own, without a library.
fn reaper(folder: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let made = PathBuf::from(env::var("OUT_DIR")?).join("reaper");
    let mut rustc = Command::new(env::var("RUSTC")?);
    rustc.arg(folder.join("reaper/main.rs")).arg("-o").arg(&made);
    rustc.args(["--edition=2024", "--crate-name=reaper", "--target"]).arg(env::var("TARGET")?);
    for option in ["panic=abort", "opt-level=s", "relocation-model=static", "strip=symbols"] {
        rustc.arg("-C").arg(option);
    }
    for option in ["-nostartfiles", "-nostdlib", "-static", "-Wl,--build-id=none"] {
        rustc.arg("-C").arg(format!("link-arg={option}"));
    }
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.arg("-C").arg(format!("linker={linker}"));
    }
    built(&mut rustc, "the program that reaps")?;
    Ok(made)
}

fn built(command: &mut Command, what: &str) -> Result<(), Box<dyn Error>> {
    let built = command.output()?;
    if built.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&built.stderr);
    Err(format!("{what} does not build:\n{why}").into())
}

fn library(folder: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let target = PathBuf::from(env::var("OUT_DIR")?).join("forkpoint");
    let mut cargo = Command::new(env::var("CARGO")?);
    for outer in OUTER {
        cargo.env_remove(outer);
    }
    cargo
        .args([
            "rustc",
            "--package=execgate-forkpoint",
            "--lib",
            "--crate-type=cdylib",
            "--profile=forkpoint",
        ])
        .args(["--locked", "--offline", "--manifest-path"])
        .arg(folder.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target);
    // Named only where it is another: a named one keeps a folder of its own.
    let (own, wanted) = (env::var("HOST")?, env::var("TARGET")?);
    let mut made = target.clone();
    if own != wanted {
        cargo.arg("--target").arg(&wanted);
        made.push(wanted);
    }
    built(&mut cargo, "the fork-point library")?;
    Ok(made.join("forkpoint").join(LIBRARY))
}
