//! `execgate grant rotate|revoke`.

use std::process::ExitCode;

use clap::Args;
use execgate_model::GrantId;
use serde_json::json;

use super::command::Place;
use super::words;
use crate::office::{Signs, with_desk};
use crate::terminal;

#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// The grant's id
    id: GrantId,
    /// How long the old key is taken too; 0s: not any more
    #[arg(long, value_name = "LENGTH", default_value = "24h", value_parser = words::length_text)]
    overlap: String,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// The grant's id
    id: GrantId,
    #[command(flatten)]
    place: Place,
}

impl Rotate {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        with_desk(&self.place.data, &self.place.common, Signs::Nothing, async |desk| {
            let path = format!("/grants/{}/rotate", self.id);
            let keyed = desk.post(&path, &json!({"overlap": self.overlap})).await?.json()?;
            words::tell_key(&keyed, self.place.json)?;
            Ok(ExitCode::SUCCESS)
        })
    }
}

impl Revoke {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        with_desk(&self.place.data, &self.place.common, Signs::Nothing, async |desk| {
            let answer = desk.post(&format!("/grants/{}/revoke", self.id), &json!({})).await?;
            if self.place.json {
                terminal::json(&answer.json()?)?;
            } else if answer.changed == Some(false) {
                terminal::note(format_args!("grant {} was revoked before", self.id));
            } else {
                terminal::note(format_args!(
                    "grant {} is revoked: every gateway of this record refuses its keys within 0.1 s",
                    self.id
                ));
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}
