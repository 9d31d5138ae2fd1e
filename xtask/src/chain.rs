//! The Ethereum node that the tests of money run against, from npm, as the lock file beside them says.

use std::fs;

use anyhow::{Context, Result};

use crate::{setup, shell};

/// The folder of the tools' folder in which it is; `testkit` looks there.
const FOLDER: &str = "anvil-1.7.1";

/// Where the package and its lock are in the work tree.
const SOURCE: &str = "crates/testkit/chain";

/// What npm goes by.
const MANIFESTS: [&str; 2] = ["package.json", "package-lock.json"];

/// Installs it where it is missing.
pub(crate) fn install() -> Result<bool> {
    let folder = setup::tools_dir()?.join(FOLDER);
    // Written last: an install that broke off is done again.
    let whole = folder.join("whole");
    if whole.is_file() {
        return Ok(true);
    }
    let name = folder.to_str().context("the target directory's path is no UTF-8")?;
    println!("setup: installing anvil into {name}: the Ethereum node that payments are tested on");
    fs::create_dir_all(&folder).with_context(|| format!("failed to make {name}"))?;
    for manifest in MANIFESTS {
        let from = shell::root().join(SOURCE).join(manifest);
        fs::copy(&from, folder.join(manifest)).with_context(|| format!("failed to copy {manifest}"))?;
    }
    // No script of a package runs: the program lies in the package of this platform.
    let args = ["ci", "--prefix", name, "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    let installed = shell::streams(&mut shell::command("npm", &args))?;
    if installed {
        fs::write(whole, FOLDER).context("failed to note what is installed")?;
    }
    Ok(installed)
}
