//! The subcommands, and what they share.

use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;

use super::check::Check;
use super::diff::Diff;
use super::examples::Test;
use super::explain::Explain;
use super::import::Import;
use super::init::Init;
use super::sign::Sign;
use crate::policy::{Loaded, parse, read};

/// The rules
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Write a policy to begin with: what it does not list is denied
    Init(Init),
    /// Check a policy file, its examples included
    Check(Check),
    /// Run the examples of a policy file one by one
    Test(Test),
    /// Say what a policy decides on a call, and every rule that was looked at
    Explain(Explain),
    /// Say what changes for which tool between two policy files
    Diff(Diff),
    /// Print a policy of Intercept (YAML) as one of ours
    Import(Import),
    /// Sign a policy file, for `execgate proxy --policy-key`
    Sign(Sign),
}

impl PolicyCommand {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Init(init) => init.execute(),
            Self::Check(check) => check.execute(),
            Self::Test(test) => test.execute(),
            Self::Explain(explain) => explain.execute(),
            Self::Diff(diff) => diff.execute(),
            Self::Import(import) => import.execute(),
            Self::Sign(sign) => sign.execute(),
        }
    }
}

/// A policy file, or why it is wrong. A file that cannot be read is a fault, and no answer.
pub(super) fn judge(path: &Path) -> anyhow::Result<anyhow::Result<Loaded>> {
    Ok(parse(&read(path)?))
}
