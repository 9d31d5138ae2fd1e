//! `execgate runs list|show|resolve`: the record, for the operator.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use execgate_model::{RunId, Stage};
use execgate_receipt::Timestamp;
use execgate_store::{Page, Record};
use serde_json::{Value, json};

use super::cli::{Common, DataDir};
use crate::{terminal, wire};

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
        let page = Page { before: self.before, limit: self.limit, stage: self.stage };
        wire::with_record(&self.data, &self.common, async |store| {
            let records = store.list(page).await?;
            if self.json {
                terminal::json(&records.iter().map(describe).collect::<Vec<_>>())?;
            } else {
                for record in &records {
                    terminal::line(row(record));
                }
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}

impl Show {
    fn execute(self) -> anyhow::Result<ExitCode> {
        wire::with_record(&self.data, &self.common, async |store| {
            let record = store.run(self.id).await?.with_context(|| format!("there is no run {}", self.id))?;
            if self.receipt {
                let receipt = record.receipt.context("this run has no receipt yet")?;
                terminal::raw(false, &receipt);
            } else if self.json {
                terminal::json(&describe(&record))?;
            } else {
                for (name, value) in describe(&record).as_object().into_iter().flatten() {
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
        let key = wire::receipt_key(&self.data)?;
        wire::with_record(&self.data, &self.common, async |store| {
            let record = store.run(self.id).await?.with_context(|| format!("there is no run {}", self.id))?;
            if record.stage != Stage::Unknown {
                bail!(
                    "the end of run {} is known ({}); there is nothing to resolve",
                    self.id,
                    record.stage.as_str()
                );
            }
            let resolution = wire::witness(key, store.clone()).resolve(&record, &self.note)?;
            if !store.resolve(resolution).await? {
                bail!("run {} has been resolved already", self.id);
            }
            terminal::note(format_args!("run {} is resolved", self.id));
            Ok(ExitCode::SUCCESS)
        })
    }
}

fn describe(record: &Record) -> Value {
    let time = |at| Timestamp::new(at).ok();
    json!({
        "id": record.run,
        "action": record.action,
        "effect": record.effect,
        "caller": record.caller,
        "stage": record.stage,
        "outcome": record.outcome,
        "receipt": record.content,
        "rail": record.rail,
        "price": record.price,
        "settlement": record.settlement.as_str(),
        "reference": record.settlement_reference,
        "resolution": record.resolution,
        "created_at": time(record.created),
        "finished_at": record.finished.and_then(time),
    })
}

fn row(record: &Record) -> String {
    let created = Timestamp::new(record.created).map(|at| at.to_string()).unwrap_or_default();
    let outcome = record.outcome.as_deref().unwrap_or("-");
    format!(
        "{}  {created}  {:<8} {:<20} {:<12} {}",
        record.run,
        record.stage.as_str(),
        outcome,
        record.action.as_str(),
        record.caller
    )
}
