//! `execgate settle status|retry|taken|gone`: money that is not settled, for the operator.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use execgate_model::{Digest, RunId};
use serde_json::{Value, json};

use super::cli::{Common, DataDir};
use crate::office::{Desk, Refused, Signs, with_desk};
use crate::{plain, terminal};

/// How long looking for one payment may take: a rail looks, and may be asked to take it.
const LOOK_TIME: Duration = Duration::from_secs(90);

/// The exit code where nobody can tell yet of some payment.
const LEFT: u8 = 1;

/// Looks at money that is not settled.
#[derive(Debug, Subcommand)]
pub(crate) enum SettleCommand {
    /// List payments that are not settled: pending, loose (their run was taken back), capturing, unpaid, reversed (taken, and
    /// taken back by their chain for good)
    Status(Status),
    /// Look where pending payments are, and ask again for what may still be taken; 1 where nobody can tell yet
    Retry(Retry),
    /// Say that a pending payment was taken, where nobody else can tell; moves nothing
    Taken(Taken),
    /// Say that a pending payment was not taken and never will be, where nobody else can tell
    Gone(Gone),
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataDir,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct Retry {
    /// The run's `exec_id`
    #[arg(value_name = "RUN", required_unless_present = "all")]
    id: Option<RunId>,
    /// Every run that has a payment pending
    #[arg(long, conflicts_with = "id")]
    all: bool,
    #[command(flatten)]
    data: DataDir,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct Taken {
    /// What took it: the hash of a transaction, or the rail's own name for the movement
    #[arg(long, value_name = "HASH")]
    transaction: String,
    #[command(flatten)]
    word: Word,
}

#[derive(Debug, Args)]
pub(crate) struct Gone {
    #[command(flatten)]
    word: Word,
}

/// Of which payment something is said.
#[derive(Debug, Args)]
struct Word {
    /// The run's `exec_id`
    #[arg(value_name = "RUN")]
    id: RunId,
    /// Which payment, where several of the run are pending
    #[arg(long, value_name = "DIGEST")]
    payment: Option<Digest>,
    /// Do not ask whether it is meant, even where nobody can be asked what became of it
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    data: DataDir,
    #[command(flatten)]
    common: Common,
}

impl SettleCommand {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Status(status) => status.execute(),
            Self::Retry(retry) => retry.execute(),
            Self::Taken(Taken { transaction, word }) => word.execute(Some(&transaction)),
            Self::Gone(Gone { word }) => word.execute(None),
        }
    }
}

impl Status {
    fn execute(self) -> anyhow::Result<ExitCode> {
        with_desk(&self.data, &self.common, Signs::NothingAndWritesNothing, async |desk| {
            let payments = desk.get("/payments").await?.json()?;
            if self.json {
                terminal::json(&payments)?;
            } else {
                for payment in payments.as_array().into_iter().flatten() {
                    terminal::line(row(payment));
                }
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}

impl Retry {
    fn execute(self) -> anyhow::Result<ExitCode> {
        with_desk(&self.data, &self.common, Signs::NothingAndAsksRails, async |desk| {
            desk.patient(LOOK_TIME);
            let runs = match self.id {
                Some(id) => vec![id.to_string()],
                None => pending(desk).await?,
            };
            let mut left = 0;
            for run in runs {
                let found = match desk.post(&format!("/payments/{run}/retry"), &json!({})).await {
                    // Listed a moment ago: its payment has ended since, and it was taken back.
                    Err(error) if self.all && Refused::is(&error, "not-found") => json!({}),
                    Err(error) if Refused::is(&error, "not-found") => {
                        bail!("{error}; `execgate settle status` lists what is not settled")
                    }
                    found => found?.json()?,
                };
                let of = |name: &str| found[name].as_u64().unwrap_or_default();
                left += of("left");
                let words = ["captured", "unpaid", "released", "left"].map(|name| match (name, of(name)) {
                    (_, 0) => None,
                    ("left", count) => Some(format!("{count} of which nobody can tell yet")),
                    (name, count) => Some(format!("{count} {name}")),
                });
                let words: Vec<_> = words.into_iter().flatten().collect();
                let words = if words.is_empty() { "nothing pending".to_owned() } else { words.join(", ") };
                terminal::line(format_args!("{run}  {words}"));
            }
            Ok(if left == 0 { ExitCode::SUCCESS } else { ExitCode::from(LEFT) })
        })
    }
}

/// The runs whose payments are looked for, each once.
async fn pending(desk: &mut Desk) -> anyhow::Result<Vec<String>> {
    let payments = desk.get("/payments").await?.json()?;
    let is_open = |payment: &&Value| payment["state"] == "pending" || payment["state"] == "loose";
    let named = payments.as_array().into_iter().flatten().filter(is_open);
    let mut runs: Vec<_> = named.filter_map(|payment| payment["run"].as_str()).map(str::to_owned).collect();
    runs.sort_unstable();
    runs.dedup();
    Ok(runs)
}

/// Asks whether something is meant.
fn mean(prompt: &str) -> anyhow::Result<()> {
    let typed = terminal::ask(prompt).context("nobody is there to be asked; --yes says that it is meant")?;
    if typed.trim() != "yes" {
        bail!("nothing was recorded");
    }
    Ok(())
}

impl Word {
    fn execute(self, transaction: Option<&str>) -> anyhow::Result<ExitCode> {
        if !self.yes {
            let said = match transaction {
                Some(transaction) => format!("was taken by {}", plain::text(transaction)),
                None => "was not taken, and never will be".to_owned(),
            };
            mean(&format!("The payment of run {} {said}. It is recorded for good. Type yes: ", self.id))?;
        }
        with_desk(&self.data, &self.common, Signs::NothingAndAsksRails, async |desk| {
            desk.patient(LOOK_TIME);
            let mut said = match transaction {
                Some(transaction) => json!({"word": "taken", "transaction": transaction}),
                None => json!({"word": "gone"}),
            };
            if let Some(payment) = self.payment {
                said["payment"] = json!(payment);
            }
            let path = format!("/payments/{}/end", self.id);
            said["only_if_asked"] = json!(!self.yes);
            let ended = match desk.post(&path, &said).await {
                Err(error) if Refused::is(&error, "unasked") => {
                    mean(&format!(
                        "{}. Is it meant all the same? Type yes: ",
                        plain::text(&error.to_string())
                    ))?;
                    said["only_if_asked"] = json!(false);
                    desk.post(&path, &said).await
                }
                ended => ended,
            };
            let ended = ended?.json()?;
            if let Some(why) = ended["unasked"].as_str() {
                terminal::note(format_args!("nobody could be asked what became of it: {}", plain::text(why)));
            }
            let credit = if ended["credit"] == true { ", and is owed to its payer" } else { "" };
            let text = |name: &str| plain::text(ended[name].as_str().unwrap_or("-"));
            terminal::note(format_args!(
                "the payment of run {} ({} of {}) is {}{credit}",
                self.id,
                text("amount"),
                text("payer"),
                text("state")
            ));
            Ok(ExitCode::SUCCESS)
        })
    }
}

fn row(payment: &Value) -> String {
    let text = |name: &str| plain::text(payment[name].as_str().unwrap_or("-"));
    let age = payment["age_s"].as_u64().map_or_else(|| "-".to_owned(), |age| format!("{age}s"));
    format!(
        "{}  {:<9} {:>10} {:<6} {:>8}  {}  {}",
        text("run"),
        text("state"),
        text("amount"),
        text("rail"),
        age,
        text("payer"),
        text("reference")
    )
}
