//! Licences, duplicate versions and sources of every dependency, by `cargo-deny` and `deny.toml`.
//!
//! Advisories are left out: their database is a git repository, which the machines that test this project
//! cannot fetch. `cargo deny check advisories` works wherever it can.

use anyhow::{Context, Result};

use crate::{setup, shell};

/// Runs the checks; `true` if all of them pass.
pub(crate) fn check() -> Result<bool> {
    let program = setup::cargo_tool("cargo-deny")?
        .context("cargo-deny is not installed; `cargo xtask setup` builds it")?;
    let program = program.to_str().context("the path of cargo-deny is no UTF-8")?;
    shell::streams(&mut shell::command(
        program,
        &["--workspace", "--locked", "check", "licenses", "bans", "sources"],
    ))
}
