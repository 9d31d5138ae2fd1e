//! Programs of others that the tests run: from npm and `PyPI`, into a folder each of the tools' folder, pinned by what lies
//! beside the tests.

use std::fs;

use anyhow::{Context, Result};

use crate::{setup, shell};

/// Verifiers of receipts that others wrote: what the recipes of docs/LOG.md run. `cryptography` reads the key.
const VERIFIERS: [&str; 3] = ["securesystemslib==1.6.0", "rfc8785==0.1.4", "cryptography"];

/// The folder of the server of x402's makers.
pub(crate) const X402_EXPRESS: &str = "x402-express-2.27.0";

/// The folder of the Ethereum node, and where its program is in it.
pub(crate) const ANVIL: &str = "anvil-1.7.1";

/// The node's program, in its folder.
pub(crate) const ANVIL_PROGRAM: &str = "node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil";

/// What npm goes by.
const MANIFESTS: [&str; 2] = ["package.json", "package-lock.json"];

/// What pip goes by, where more is installed than fits in a line.
const LISTED: &str = "requirements.txt";

/// Installs all that is missing. The tests look for it in the folders that are named here: another folder for other packages.
pub(crate) fn install() -> Result<bool> {
    Ok(once("verifiers", "verify receipts without us", |folder| python(folder, &VERIFIERS))?
        && once(ANVIL, "the Ethereum node that payments are tested on", |folder| {
            npm("crates/testkit/chain", folder, &[])
        })?
        && once("x402-clients-2", "clients of x402, and a facilitator", |folder| {
            let source = "crates/execgate/tests/clients";
            Ok(npm(source, folder, &[])?
                && python(&format!("{folder}/venv"), &["--requirement", &listed(source)?])?)
        })?
        // Its peers are what the lock says: the newest viem wants what the registry lacks.
        && once("mppx-0.11.0", "a client of MPP", |folder| {
            npm("crates/execgate/tests/payers/mppx", folder, &["--legacy-peer-deps"])
        })?
        && once("server-everything-2026.8.31", "the reference server of MCP, for a proxy to stand in front of", |folder| {
            npm("crates/execgate/tests/upstreams/everything", folder, &[])
        })?
        && once(X402_EXPRESS, "the server of x402's makers, which the benchmark of payments measures", |folder| {
            npm("xtask/peers/x402-express", folder, &[])
        })?
        // Nothing is installed that is not listed.
        && once("pympp-0.16.0", "a client of MPP", |folder| {
            let listed = listed("crates/execgate/tests/payers/pympp")?;
            python(folder, &["--no-deps", "--requirement", &listed])
        })?
        && once("langchain-core-1.7.2", "tools of LangChain, for the page that shows one", |folder| {
            let listed = listed("crates/execgate/tests/langchain")?;
            python(folder, &["--no-deps", "--requirement", &listed])
        })?
        && once("mcp-clients-1", "clients of MCP, its conformance suite, and a Node for it", |folder| {
            let source = "crates/execgate/tests/mcp";
            Ok(npm(source, folder, &[])?
                && python(&format!("{folder}/venv"), &["--no-deps", "--requirement", &listed(source)?])?)
        })?)
}

/// Installs into a folder of that name where that has not been done.
fn once(folder: &str, what: &str, install: impl FnOnce(&str) -> Result<bool>) -> Result<bool> {
    let folder = setup::tools_dir()?.join(folder);
    // Written last: an install that broke off is done again.
    let whole = folder.join("whole");
    if whole.is_file() {
        return Ok(true);
    }
    let name = folder.to_str().context("the target directory's path is no UTF-8")?;
    println!("setup: installing into {name}: {what}");
    fs::create_dir_all(&folder).with_context(|| format!("failed to make {name}"))?;
    let installed = install(name)?;
    if installed {
        fs::write(whole, "").context("failed to note what is installed")?;
    }
    Ok(installed)
}

/// What the lock in a folder of the work tree says. No script of a package runs.
fn npm(source: &str, folder: &str, more: &[&str]) -> Result<bool> {
    for manifest in MANIFESTS {
        let from = shell::root().join(source).join(manifest);
        fs::copy(&from, format!("{folder}/{manifest}"))
            .with_context(|| format!("failed to copy {manifest}"))?;
    }
    let args = ["ci", "--prefix", folder, "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    shell::streams(&mut shell::command("npm", &[&args[..], more].concat()))
}

/// A Python of its own, with these packages.
fn python(folder: &str, packages: &[&str]) -> Result<bool> {
    let made = shell::streams(&mut shell::command(setup::PYTHON, &["-m", "venv", "--clear", folder]))?;
    let pip = format!("{folder}/bin/pip");
    let quiet = ["install", "--quiet", "--disable-pip-version-check", "--no-input"];
    Ok(made && shell::streams(&mut shell::command(&pip, &[&quiet[..], packages].concat()))?)
}

/// The list of packages in a folder of the work tree.
fn listed(source: &str) -> Result<String> {
    let list = shell::root().join(source).join(LISTED);
    Ok(list.to_str().context("the path of the work tree is no UTF-8")?.to_owned())
}
