//! `execgate policy test`: the examples of a file, one by one.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::check::tell_wrong;
use super::command::judge;
use crate::terminal;

/// Exit codes: 0 every example holds, 1 one does not or the file is wrong, 2 it could not be read.
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// The policy file
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Test {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        // A file whose examples do not all hold is wrong, and the error says which one.
        let loaded = match judge(&self.file)? {
            Ok(loaded) => loaded,
            Err(error) => return tell_wrong(&error, self.json),
        };
        let examples = loaded.policy.examples();
        if self.json {
            let told: Vec<_> = examples
                .iter()
                .map(|e| json!({"example": e.pointer, "tool": e.tool, "decision": e.decision, "holds": true}))
                .collect();
            terminal::json(&json!({"valid": true, "examples": told}))?;
            return Ok(ExitCode::SUCCESS);
        }
        for example in examples {
            terminal::line(format_args!(
                "holds  {:<18} {:<20} {}",
                example.decision, example.tool, example.pointer
            ));
        }
        terminal::line(format_args!("{} examples hold", examples.len()));
        Ok(ExitCode::SUCCESS)
    }
}
