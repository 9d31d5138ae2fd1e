//! `execgate runs list|show|resolve`: the record, for the operator.

use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Subcommand};
use execgate_model::{RunId, Stage};
use serde_json::{Value, json};

use super::cli::{Common, DataDir};
use crate::office::{Signs, with_desk};
use crate::terminal;

/// Looks at recorded runs.
#[derive(Debug, Subcommand)]
pub(crate) enum Runs {
    /// List runs, newest first
    List(List),
    /// Show one run
    Show(Show),
    /// Say what became of a run whose end is unknown; adds a signed statement, runs nothing
    Resolve(Resolve),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// At most so many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Only runs older than this one (the last of the page before)
    #[arg(long, value_name = "EXEC_ID")]
    before: Option<RunId>,
    /// Only runs of this stage: execute, witness, settled, unknown
    #[arg(long, value_parser = stage)]
    stage: Option<Stage>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataDir,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The run's `exec_id`
    id: RunId,
    /// Print the receipt file instead
    #[arg(long)]
    receipt: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataDir,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct Resolve {
    /// The run's `exec_id`
    id: RunId,
    /// What became of it, in your words
    #[arg(long, value_name = "TEXT")]
    note: String,
    #[command(flatten)]
    data: DataDir,
    #[command(flatten)]
    common: Common,
}

fn stage(word: &str) -> Result<Stage, String> {
    let words = || Stage::ALL.map(Stage::as_str).join(", ");
    Stage::from_word(word).ok_or_else(|| format!("a stage is one of {}", words()))
}

impl Runs {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::List(list) => list.execute(),
            Self::Show(show) => show.execute(),
            Self::Resolve(resolve) => resolve.execute(),
        }
    }
}

impl List {
    fn execute(self) -> anyhow::Result<ExitCode> {
        let mut path = format!("/runs?limit={}", self.limit);
        if let Some(before) = self.before {
            path += &format!("&before={before}");
        }
        if let Some(stage) = self.stage {
            path += &format!("&stage={}", stage.as_str());
        }
        with_desk(&self.data, &self.common, Signs::Nothing, async |desk| {
            let runs = desk.get(&path).await?.json()?;
            if self.json {
                terminal::json(&runs)?;
            } else {
                for run in runs.as_array().into_iter().flatten() {
                    terminal::line(row(run));
                }
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}

impl Show {
    fn execute(self) -> anyhow::Result<ExitCode> {
        with_desk(&self.data, &self.common, Signs::Nothing, async |desk| {
            if self.receipt {
                let receipt = desk.get(&format!("/runs/{}/receipt", self.id)).await?;
                terminal::raw(false, &receipt.body);
                return Ok(ExitCode::SUCCESS);
            }
            let run = desk.get(&format!("/runs/{}", self.id)).await?.json()?;
            if self.json {
                terminal::json(&run)?;
            } else {
                for (name, value) in run.as_object().into_iter().flatten() {
                    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    terminal::line(format_args!("{name:<12} {text}"));
                }
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}

impl Resolve {
    fn execute(self) -> anyhow::Result<ExitCode> {
        if self.note.trim().is_empty() {
            bail!("--note must say what became of the run");
        }
        with_desk(&self.data, &self.common, Signs::Statements, async |desk| {
            desk.post(&format!("/runs/{}/resolve", self.id), &json!({"note": self.note})).await?;
            terminal::note(format_args!("run {} is resolved", self.id));
            Ok(ExitCode::SUCCESS)
        })
    }
}

fn row(run: &Value) -> String {
    let text = |name: &str| run[name].as_str().unwrap_or("-");
    format!(
        "{}  {}  {:<8} {:<20} {:<12} {}",
        text("id"),
        text("created_at"),
        text("stage"),
        text("outcome"),
        text("action"),
        text("caller")
    )
}
