//! The subcommands that only look.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::gateway::Place;
use super::keygen::Keygen;
use super::shown::Shown;
use crate::{plain, terminal};

/// What waits for an approval.
#[derive(Debug, Args)]
pub(crate) struct Approvals {
    #[command(subcommand)]
    command: Option<ApprovalsCommand>,
    #[command(flatten)]
    place: Place,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum ApprovalsCommand {
    /// List what waits, newest first
    List,
    /// Show everything that would be signed
    Show {
        /// The approval
        id: String,
    },
}

/// What an approver needs.
#[derive(Debug, Subcommand)]
pub(crate) enum ApproverCommand {
    /// Make a key, encrypted by a passphrase, and print what the operator needs of it
    Keygen(Keygen),
}

impl Approvals {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        match self.command.unwrap_or(ApprovalsCommand::List) {
            ApprovalsCommand::List => {
                let waiting = self.place.get("/approvals?limit=200")?;
                if self.json {
                    terminal::line(plain::json(&waiting));
                    return Ok(ExitCode::SUCCESS);
                }
                let waiting = waiting.as_array().map(Vec::as_slice).unwrap_or_default();
                if waiting.is_empty() {
                    terminal::note("nothing waits for an approval");
                }
                for one in waiting {
                    terminal::line(row(one));
                }
                Ok(ExitCode::SUCCESS)
            }
            ApprovalsCommand::Show { id } => {
                let answer = self.place.approval(&id)?;
                if self.json {
                    terminal::line(plain::json(&answer));
                    return Ok(ExitCode::SUCCESS);
                }
                match Shown::read(&answer, &id) {
                    Ok(shown) => terminal::line(shown.text()),
                    // It waits no more, and there is nothing to sign.
                    Err(_) if answer["request"].is_null() => terminal::line(plain::json(&answer)),
                    Err(error) => return Err(error),
                }
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

impl ApproverCommand {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Keygen(keygen) => keygen.execute(),
        }
    }
}

/// What waits, in one line.
fn row(one: &Value) -> String {
    let text = |name: &str| plain::line(one[name].as_str().unwrap_or("-"));
    let approved = one["approvals"].as_array().map_or(0, Vec::len);
    format!(
        "{}  until {}  {:<20} {:<24} {} said, {}",
        text("id"),
        text("expires_at"),
        text("action"),
        text("caller"),
        approved,
        if one["dryRun"] == true { "dry-run" } else { "live" }
    )
}
