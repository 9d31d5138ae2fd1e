//! `execgate policy init`: a policy to begin with.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;

use crate::terminal;

/// The policy that is written.
pub(super) const STARTER: &str = include_str!("starter.json");

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The file to write; one that is there is left alone
    #[arg(default_value = "policy.json")]
    file: PathBuf,
}

impl Init {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        let path = self.file.display();
        let mut file = match OpenOptions::new().write(true).create_new(true).open(&self.file) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                bail!("{path} is there already, and is left as it is");
            }
            Err(error) => return Err(error).with_context(|| format!("failed to make {path}")),
        };
        file.write_all(STARTER.as_bytes()).with_context(|| format!("failed to write {path}"))?;
        terminal::line(format_args!("wrote {path}; put it in force by `file = \"{path}\"` under [policy]"));
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::STARTER;
    use crate::policy::parse;

    #[test]
    fn the_starter_is_a_policy_and_all_its_examples_hold() {
        let loaded = parse(STARTER.as_bytes()).unwrap();
        assert!(loaded.policy.examples().len() >= 5);
        assert!(loaded.policy.tools().all(|(_, risk)| risk.is_some()));
    }
}
