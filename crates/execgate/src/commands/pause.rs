//! `execgate pause|resume`: the kill switch. It is a row of the record, so it holds for every replica at once.

use std::process::ExitCode;

use clap::Args;

use super::cli::{Common, DataDir};
use crate::{terminal, wire};

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
        wire::with_record(&self.data, &self.common, async |store| {
            store.set_paused(paused).await?;
            terminal::note(if paused {
                "paused: no new run is claimed until `execgate resume`; running ones finish"
            } else {
                "resumed"
            });
            Ok(ExitCode::SUCCESS)
        })
    }
}
