//! `execgate keys list|rotate|retire`: the gateway's own keys. What is made or retired leaves a leaf in the log.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use execgate_model::KeyPurpose;
use serde_json::{Value, json};

use super::cli::{Common, DataDir};
use crate::office::{Signs, with_desk};
use crate::terminal;

/// The gateway's own keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// List every key that there ever was, oldest first
    List(List),
    /// Make a new key that signs from now on; those before it still count
    Rotate(Rotate),
    /// Retire a key for ever: what it signed counts only with proof that it stood in the log before
    Retire(Retire),
}

/// What a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Purpose {
    /// Statements about runs
    Receipt,
    /// Checkpoints of the log
    Log,
}

/// The record that a subcommand works on.
#[derive(Debug, Args)]
struct Place {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataDir,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// What the key signs
    #[arg(value_enum)]
    purpose: Purpose,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct Retire {
    /// The key's id: 16 hexadecimal digits
    id: String,
    #[command(flatten)]
    place: Place,
}

impl KeysCommand {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::List(List { place }) => place.ask(None),
            Self::Rotate(Rotate { purpose, place }) => {
                let purpose = match purpose {
                    Purpose::Receipt => KeyPurpose::Receipt,
                    Purpose::Log => KeyPurpose::Log,
                };
                place.ask(Some(("/keys".to_owned(), json!({"purpose": purpose}))))
            }
            Self::Retire(Retire { id, place }) => {
                place.ask(Some((format!("/keys/{}/retire", plain(&id)), json!({}))))
            }
        }
    }
}

/// An id without what has a meaning in a path.
fn plain(id: &str) -> String {
    id.chars().filter(char::is_ascii_alphanumeric).collect()
}

impl Place {
    /// Asks for a change, or for none, and tells the ring that comes of it.
    fn ask(self, change: Option<(String, Value)>) -> anyhow::Result<ExitCode> {
        with_desk(&self.data, &self.common, Signs::Nothing, async |desk| {
            let answer = match &change {
                Some((path, body)) => desk.post(path, body).await?,
                None => desk.get("/keys").await?,
            };
            let ring = answer.json()?;
            if self.json {
                terminal::json(&ring)?;
            } else {
                for key in ring["keys"].as_array().into_iter().flatten() {
                    terminal::line(row(key));
                }
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}

fn row(key: &Value) -> String {
    let text = |field: &str| key[field].as_str().unwrap_or_default().to_owned();
    let mut row = format!(
        "{}  {:<7}  {:<8}  since {}",
        text("key_id"),
        text("purpose"),
        text("state"),
        text("added_at")
    );
    if let Some(size) = key["retired_size"].as_u64() {
        row.push_str(&format!("  retired {} at size {size}", text("retired_at")));
    }
    if let Some(verifier) = key["verifier_key"].as_str() {
        row.push_str(&format!("\n                  {verifier}"));
    }
    row
}
