//! `execgate grant list|show`.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use execgate_model::{Clock as _, GrantId};

use super::command::Place;
use super::words;
use crate::ports::SystemClock;
use crate::{terminal, wire};

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
        let now = SystemClock::new().now();
        wire::with_record(&self.place.data, &self.place.common, async |store| {
            let mut grants = store.grants().await?;
            grants.retain(|grant| self.all || grant.revoked.is_none());
            if self.place.json {
                terminal::json(&grants.iter().map(|grant| words::describe(grant, now)).collect::<Vec<_>>())?;
            } else {
                for grant in &grants {
                    terminal::line(words::row(grant, now));
                }
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}

impl Show {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        let now = SystemClock::new().now();
        wire::with_record(&self.place.data, &self.place.common, async |store| {
            let grant = store.grant(self.id.clone()).await?.with_context(|| words::missing(&self.id))?;
            let described = words::describe(&grant, now);
            if self.place.json {
                terminal::json(&described)?;
            } else {
                for (name, value) in described.as_object().into_iter().flatten() {
                    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    terminal::line(format_args!("{name:<14} {text}"));
                }
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}
