//! The clients of others that pay, unchanged and pinned, which the tests of money pay with: `mppx` from npm, as its lock
//! file says, and `pympp` from `PyPI`, with every package below it. They lie beside the tests, and are installed here.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::{setup, shell};

/// Where the manifests are in the work tree.
const SOURCE: &str = "crates/execgate/tests/payers";

/// The folder of the tools' folder for npm's client; the journeys look there.
const MPPX: &str = "mppx-0.11.0";

/// The folder of the tools' folder for `PyPI`'s client; the journeys look there.
const PYMPP: &str = "pympp-0.16.0";

/// What npm goes by.
const MANIFESTS: [&str; 2] = ["package.json", "package-lock.json"];

/// Installs them where they are missing.
pub(crate) fn install() -> Result<bool> {
    Ok(once(MPPX, npm)? && once(PYMPP, pip)?)
}

/// Written last: an install that broke off is done again.
fn once(folder: &str, install: fn(&Path) -> Result<bool>) -> Result<bool> {
    let folder = setup::tools_dir()?.join(folder);
    let whole = folder.join("whole");
    if whole.is_file() {
        return Ok(true);
    }
    println!("setup: installing into {}: a client of others that pays", folder.display());
    fs::create_dir_all(&folder).with_context(|| format!("failed to make {}", folder.display()))?;
    let installed = install(&folder)?;
    if installed {
        fs::write(whole, "").context("failed to note what is installed")?;
    }
    Ok(installed)
}

fn npm(folder: &Path) -> Result<bool> {
    for manifest in MANIFESTS {
        let from = shell::root().join(SOURCE).join("mppx").join(manifest);
        fs::copy(&from, folder.join(manifest)).with_context(|| format!("failed to copy {manifest}"))?;
    }
    let folder = folder.to_str().context("the target directory's path is no UTF-8")?;
    // No script of a package runs. Its peers are what the lock says: the newest viem wants what the registry lacks.
    let quiet = ["--ignore-scripts", "--legacy-peer-deps", "--no-audit", "--no-fund", "--loglevel=error"];
    shell::streams(&mut shell::command("npm", &[&["ci", "--prefix", folder], &quiet[..]].concat()))
}

fn pip(folder: &Path) -> Result<bool> {
    let wanted = shell::root().join(SOURCE).join("pympp/requirements.txt");
    let wanted = wanted.to_str().context("the path of the work tree is no UTF-8")?;
    let folder = folder.to_str().context("the target directory's path is no UTF-8")?;
    let made = shell::streams(&mut shell::command(setup::PYTHON, &["-m", "venv", "--clear", folder]))?;
    let pip = format!("{folder}/bin/pip");
    // Nothing is installed that is not listed.
    let args = [
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
        "--no-deps",
        "--requirement",
        wanted,
    ];
    Ok(made && shell::streams(&mut shell::command(&pip, &args))?)
}
