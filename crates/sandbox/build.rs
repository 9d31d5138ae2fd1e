//! Builds the fork-point library as the shared object that warm interpreters load, and leaves it where the crate embeds
//! it from. In a target folder of its own, because the outer build holds the lock of the other.

#![expect(
    clippy::disallowed_methods,
    reason = "a build script starts the build of a part, and is told how by its environment"
)]

use std::env;
use std::error::Error;
use std::path::PathBuf;
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
    for watched in ["src", "Cargo.toml", "../../Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", folder.join(watched).display());
    }
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
    let built = cargo.output()?;
    if !built.status.success() {
        let why = String::from_utf8_lossy(&built.stderr);
        return Err(format!("the fork-point library does not build:\n{why}").into());
    }
    println!("cargo::rustc-env=FORKPOINT_LIBRARY={}", made.join("forkpoint").join(LIBRARY).display());
    Ok(())
}
