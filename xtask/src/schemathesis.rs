//! Requests of every kind against the real binary, made up from its own `/openapi.json` by Schemathesis: no answer is a
//! fault of ours, and none is one that the description does not have.
//!
//! The code that is made up runs, in the jail and within its deadlines. What a rule of a schema cannot say, such as a
//! path or a pattern, is for the tests in `testkit` and `execgate`.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::bench::Server;
use crate::{metadata, setup, shell};

/// What is installed from `PyPI`. Both are pinned, because a seed means the same requests only with the same versions.
const PACKAGES: [&str; 2] = ["schemathesis==4.32.5", "hypothesis==6.170.15"];

/// The folder of the tools' folder in which it is installed; another one for other packages.
const FOLDER: &str = "schemathesis-4.32.5";

/// What an answer is held against. `positive_data_acceptance` is not among it: a call may fit its schema and still
/// break a rule that no schema says. What is about links and authentication finds nothing to do here.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance,negative_data_rejection,\
    missing_required_header,unsupported_method,allow_header_conformance";

/// Requests for each operation at most, beside those of the systematic phase. About a minute in all.
const EXAMPLES: &str = "200";

/// The same requests each time; another seed is for a person who looks for more.
const SEED: &str = "1";

/// The longest answer, in seconds: above the longest deadline that a call of `/api/code-run-pro` may ask for.
const ANSWER_S_MAX: &str = "90";

/// The longest check, in seconds: it hangs then, and is not merely slow beside other work.
const CHECK_S_MAX: &str = "900";

/// Installs it where it is missing.
pub(crate) fn install() -> Result<bool> {
    if program()?.is_file() {
        return Ok(true);
    }
    let folder = setup::tools_dir()?.join(FOLDER);
    let folder = folder.to_str().context("the target directory's path is no UTF-8")?;
    println!(
        "setup: installing {} into {folder}: makes up requests from the description",
        PACKAGES.join(" ")
    );
    let made = shell::streams(&mut shell::command(setup::PYTHON, &["-m", "venv", "--clear", folder]))?;
    let pip = format!("{folder}/bin/pip");
    let quiet = ["install", "--quiet", "--disable-pip-version-check", "--no-input"];
    Ok(made && shell::streams(&mut shell::command(&pip, &[&quiet[..], &PACKAGES].concat()))?)
}

/// Runs the checks; `true` if all of them pass.
pub(crate) fn check() -> Result<bool> {
    let program = program()?;
    ensure!(program.is_file(), "Schemathesis is not installed; `cargo xtask setup` does it");
    let target = metadata::workspace()?.target_directory;
    let scratch = target.join("schemathesis");
    fs::create_dir_all(&scratch).context("failed to make a folder for Schemathesis")?;
    let built = shell::streams(&mut shell::cargo(&["build", "--package", "execgate"]))?;
    ensure!(built, "the binary does not build");
    let server = Server::start(&target.join("debug/execgate"), &scratch)?;
    let description = format!("http://{}/openapi.json", server.address);
    let program = program.to_str().context("the path of Schemathesis is no UTF-8")?;
    // Ends by itself long before; `timeout` is for the day when it does not.
    let mut command = shell::command("timeout", &[CHECK_S_MAX, program, "run", &description]);
    command.args(["--checks", CHECKS, "--max-examples", EXAMPLES, "--seed", SEED]);
    command.args(["--request-timeout", ANSWER_S_MAX, "--request-retries", "0", "--workers", "1"]);
    command.args(["--continue-on-failure", "--generation-database", "none", "--warnings", "off"]);
    // A protocol of its own, whose makers' suite tests it (the journey `mcp`).
    command.args(["--exclude-path", "/mcp"]);
    // How fast requests are made up is no property of the server.
    command.args(["--suppress-health-check", "all"]);
    // It leaves notes where it runs.
    let passed = shell::streams(command.current_dir(&scratch))?;
    if !passed {
        println!("the server's last words:\n{}", server.said());
    }
    Ok(passed)
}

fn program() -> Result<PathBuf> {
    Ok(setup::tools_dir()?.join(FOLDER).join("bin/schemathesis"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_has_another_folder() {
        assert_eq!(FOLDER, PACKAGES[0].replace("==", "-"));
    }
}
