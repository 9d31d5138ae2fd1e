//! Verifiers that others wrote: what the recipes of docs/LOG.md run receipts through, and so the tests of them.

use anyhow::{Context, Result};

use crate::{setup, shell};

/// What is installed from `PyPI`: `cryptography` reads the key.
const PACKAGES: [&str; 3] = ["securesystemslib==1.6.0", "rfc8785==0.1.4", "cryptography"];

/// The folder of the tools' folder in which they are; the test of the recipes looks there.
const FOLDER: &str = "verifiers";

/// Installs them where they are missing.
pub(crate) fn install() -> Result<bool> {
    let folder = setup::tools_dir()?.join(FOLDER);
    // Written last: an install that broke off is done again.
    let whole = folder.join("whole");
    if whole.is_file() {
        return Ok(true);
    }
    let name = folder.to_str().context("the target directory's path is no UTF-8")?;
    println!("setup: installing {} into {name}: verify receipts without us", PACKAGES.join(" "));
    let made = shell::streams(&mut shell::command(setup::PYTHON, &["-m", "venv", "--clear", name]))?;
    let pip = format!("{name}/bin/pip");
    let quiet = ["install", "--quiet", "--disable-pip-version-check", "--no-input"];
    let installed = made && shell::streams(&mut shell::command(&pip, &[&quiet[..], &PACKAGES].concat()))?;
    if installed {
        std::fs::write(whole, PACKAGES.join("\n")).context("failed to note what is installed")?;
    }
    Ok(installed)
}
