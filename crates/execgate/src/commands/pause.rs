//! `execgate pause|resume`: the kill switch. It is a row of the record, so it holds for every replica at once.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::cli::{Common, DataDir};
use crate::office::{Signs, with_desk};
use crate::terminal;

/// Which record to switch.
#[derive(Debug, Args)]
pub(crate) struct Switch {
    #[command(flatten)]
    data: DataDir,
    #[command(flatten)]
    common: Common,
}

impl Switch {
    pub(crate) fn execute(self, paused: bool) -> anyhow::Result<ExitCode> {
        with_desk(&self.data, &self.common, Signs::Nothing, async |desk| {
            desk.post(if paused { "/pause" } else { "/resume" }, &json!({})).await?;
            terminal::note(if paused {
                "paused: no new run is claimed until `execgate resume`; running ones finish"
            } else {
                "resumed"
            });
            Ok(ExitCode::SUCCESS)
        })
    }
}
