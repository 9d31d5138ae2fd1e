//! Running other programs: where from, and how their output is taken.
//!
//! Every child is waited for; none is ever found by name.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Directories where Debian keeps programs of the administrator, which an ordinary `PATH` leaves out.
const ADMIN_DIRS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// The root of the work tree, as cargo tells it or, without cargo, as it was when this was compiled.
pub(crate) fn root() -> PathBuf {
    let here = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    here.parent().map_or(here.clone(), Path::to_path_buf)
}

/// Whether this is a run of CI, which sets `CI=true`.
pub(crate) fn in_ci() -> bool {
    env::var("CI").is_ok_and(|value| value == "true" || value == "1")
}

/// A command that runs in the root of the work tree.
pub(crate) fn command(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(root());
    command
}

/// What begins the names of variables by which cargo tells a program of its own package.
const OF_THE_PACKAGE: [&str; 2] = ["CARGO_PKG_", "CARGO_MANIFEST_"];

/// The cargo that started this, so that one toolchain does it all.
///
/// It is not told of xtask's own package: build scripts that look at such variables would take them for a change, and half
/// of the workspace would be built anew wherever `cargo xtask` and `cargo` take turns.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let program = env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = command(&program, args);
    let is_of_the_package = |name: &OsString| {
        OF_THE_PACKAGE.iter().any(|begin| name.as_encoded_bytes().starts_with(begin.as_bytes()))
    };
    for name in env::vars_os().map(|(name, _)| name).filter(is_of_the_package) {
        command.env_remove(name);
    }
    command
}

/// Runs a command with its output going straight to the terminal; `true` if it succeeded.
pub(crate) fn streams(command: &mut Command) -> Result<bool> {
    let status = command.status().with_context(|| format!("failed to start {}", shown(command)))?;
    Ok(status.success())
}

/// Runs a command and returns what it printed; a failure carries its standard error.
pub(crate) fn captures(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("failed to start {}", shown(command)))?;
    if !output.status.success() {
        bail!("{} failed: {}", shown(command), String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("{} printed no UTF-8", shown(command)))
}

/// The command as a person would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut words = vec![program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|arg| arg.to_string_lossy().into_owned()));
    words.join(" ")
}

/// The program of this name on `PATH` or among the administrator's programs.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(ADMIN_DIRS.iter().map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|candidate| candidate.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_holds_the_workspace_manifest() {
        let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[workspace]"));
    }

    #[test]
    fn cargo_is_not_told_of_the_package_that_starts_it() {
        let cargo = cargo(&["--version"]);
        // Whatever runs the tests has set it.
        assert!(cargo.get_envs().any(|told| told == ("CARGO_MANIFEST_DIR".as_ref(), None)));
        assert!(cargo.get_envs().all(|(name, _)| name != "PATH"));
    }

    #[test]
    fn a_failed_command_is_told_with_what_it_said() {
        let told =
            captures(&mut command("/bin/sh", &["-c", "echo why >&2; exit 3"])).unwrap_err().to_string();
        assert_eq!(told, "sh -c echo why >&2; exit 3 failed: why");
        assert!(!streams(&mut command("/bin/sh", &["-c", "exit 1"])).unwrap());
    }
}
