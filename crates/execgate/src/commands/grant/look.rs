//! `execgate grant list|show`.

use std::process::ExitCode;

use clap::Args;
use execgate_model::GrantId;

use super::command::Place;
use super::words;
use crate::office::{Signs, with_desk};
use crate::terminal;

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Those too that are revoked
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The grant's id
    id: GrantId,
    #[command(flatten)]
    place: Place,
}

impl List {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        with_desk(&self.place.data, &self.place.common, Signs::Nothing, async |desk| {
            let grants = desk.get(&format!("/grants?all={}", self.all)).await?.json()?;
            if self.place.json {
                terminal::json(&grants)?;
            } else {
                for grant in grants.as_array().into_iter().flatten() {
                    terminal::line(words::row(grant));
                }
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}

impl Show {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        with_desk(&self.place.data, &self.place.common, Signs::Nothing, async |desk| {
            let grant = desk.get(&format!("/grants/{}", self.id)).await?.json()?;
            if self.place.json {
                terminal::json(&grant)?;
            } else {
                for (name, value) in grant.as_object().into_iter().flatten() {
                    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    terminal::line(format_args!("{name:<14} {text}"));
                }
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}
