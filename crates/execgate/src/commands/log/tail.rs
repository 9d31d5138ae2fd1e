//! `execgate log tail`: where the log stands, and its newest entries.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::super::cli::{Common, DataDir};
use crate::office::{Signs, with_desk};
use crate::terminal;

/// The end of the log.
#[derive(Debug, Args)]
pub(crate) struct Tail {
    /// So many entries
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1024))]
    lines: u32,
    /// Entries behind so many, in the place of the newest
    #[arg(long, value_name = "INDEX")]
    after: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataDir,
    #[command(flatten)]
    common: Common,
}

impl Tail {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        with_desk(&self.data, &self.common, Signs::Checkpoints, async |desk| {
            let after = self.after.map(|after| format!("&after={after}")).unwrap_or_default();
            let log = desk.get(&format!("/log?limit={}{after}", self.lines)).await?.json()?;
            if self.json {
                terminal::json(&log)?;
            } else {
                show(&log);
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}

fn show(log: &Value) {
    let text = |name: &str| log[name].as_str().unwrap_or("-");
    terminal::line(format_args!("origin      {}", text("origin")));
    terminal::line(format_args!("key         {}", text("key")));
    terminal::line(format_args!("entries     {} ({} signed)", log["entries_in_all"], log["size"]));
    terminal::line(format_args!("root        {}", text("root")));
    if let Some(fault) = log["fault"].as_str() {
        terminal::line(format_args!("LIVE RUNS ARE REFUSED: {fault}"));
    }
    for entry in log["entries"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let text = |name: &str| entry[name].as_str().unwrap_or("-");
        let (at, kind, digest) = (text("at"), text("kind"), text("digest"));
        if !terminal::told(format_args!("{:>10}  {at:<24}  {kind:<10}  {digest}", entry["index"])) {
            break;
        }
    }
}
