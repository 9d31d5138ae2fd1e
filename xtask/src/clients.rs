//! The clients, and the facilitator, that the tests of payments pay with: x402's own, unmodified, from npm and `PyPI`, as
//! the locks beside their tests say.

use std::fs;

use anyhow::{Context, Result};

use crate::{setup, shell};

/// The folder of the tools' folder in which they are; the tests look there. Another one for other packages.
const FOLDER: &str = "x402-clients-1";

/// Where the locks are in the work tree.
const SOURCE: &str = "crates/execgate/tests/clients";

/// What npm and pip go by.
const MANIFESTS: [&str; 3] = ["package.json", "package-lock.json", "requirements.txt"];

/// Installs them where they are missing.
pub(crate) fn install() -> Result<bool> {
    let folder = setup::tools_dir()?.join(FOLDER);
    // Written last: an install that broke off is done again.
    let whole = folder.join("whole");
    if whole.is_file() {
        return Ok(true);
    }
    let name = folder.to_str().context("the target directory's path is no UTF-8")?;
    println!("setup: installing clients of x402 into {name}: payments are tested with them");
    fs::create_dir_all(&folder).with_context(|| format!("failed to make {name}"))?;
    for manifest in MANIFESTS {
        let from = shell::root().join(SOURCE).join(manifest);
        fs::copy(&from, folder.join(manifest)).with_context(|| format!("failed to copy {manifest}"))?;
    }
    // No script of a package runs.
    let npm = ["ci", "--prefix", name, "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    let venv = format!("{name}/venv");
    let (pip, listed) = (format!("{venv}/bin/pip"), format!("{name}/requirements.txt"));
    let quiet = ["install", "--quiet", "--disable-pip-version-check", "--no-input", "--requirement", &listed];
    let installed = shell::streams(&mut shell::command("npm", &npm))?
        && shell::streams(&mut shell::command(setup::PYTHON, &["-m", "venv", "--clear", &venv]))?
        && shell::streams(&mut shell::command(&pip, &quiet))?;
    if installed {
        fs::write(whole, FOLDER).context("failed to note what is installed")?;
    }
    Ok(installed)
}
