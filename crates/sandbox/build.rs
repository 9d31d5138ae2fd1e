//! Builds the fork-point library as the shared object that warm interpreters load, and leaves it where the crate embeds
//! it from. In a target folder of its own, because the outer build holds the lock of the other.

use std::env;
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

fn main() {
    let folder = PathBuf::from(variable("CARGO_MANIFEST_DIR")).join("../forkpoint");
    for watched in ["src", "Cargo.toml", "../../Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", folder.join(watched).display());
    }
    let out = PathBuf::from(variable("OUT_DIR"));
    let target = out.join("forkpoint");
    let mut cargo = Command::new(variable("CARGO"));
    for outer in OUTER {
        cargo.env_remove(outer);
    }
    let built = cargo
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
        .arg(&target)
        .output();
    let built = built.unwrap_or_else(|error| fail(&format!("cargo could not be started: {error}")));
    if !built.status.success() {
        fail(&String::from_utf8_lossy(&built.stderr));
    }
    println!("cargo::rustc-env=FORKPOINT_LIBRARY={}", target.join("forkpoint").join(LIBRARY).display());
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|error| fail(&format!("{name}: {error}")))
}

fn fail(why: &str) -> ! {
    panic!("the fork-point library does not build:\n{why}")
}
