//! `execgate log new-origin`: what the operator says once it is known why the record is not the one that was seen.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::super::cli::{Common, DataDir};
use crate::office::{Signs, with_desk};
use crate::terminal;

/// A new name for the log. Whoever trusts the old one has to be told, and will not take the new one for it.
#[derive(Debug, Args)]
pub(crate) struct NewOrigin {
    /// The name, such as gateway.example/log-2 [default: the first one, with the time behind it]
    #[arg(long, value_name = "NAME")]
    origin: Option<String>,
    #[command(flatten)]
    data: DataDir,
    #[command(flatten)]
    common: Common,
}

impl NewOrigin {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        with_desk(&self.data, &self.common, Signs::Checkpoints, async |desk| {
            let asked = self.origin.as_ref().map_or_else(|| json!({}), |origin| json!({"origin": origin}));
            let told = desk.post("/log/new-origin", &asked).await?.json()?;
            terminal::line(format_args!("the log is called {} now", told["origin"].as_str().unwrap_or("-")));
            match told["fault"].as_str() {
                None => {
                    terminal::line("live runs are taken again; tell those who verify the log its new key")
                }
                Some(fault) => terminal::line(format_args!("LIVE RUNS ARE STILL REFUSED: {fault}")),
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}
