//! `execgate grant rotate|revoke`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use execgate_flow::authorise::GrantKey;
use execgate_model::{Clock as _, GrantId};
use execgate_store::{Changed, NewKey};

use super::command::Place;
use super::words;
use crate::ports::{SystemClock, SystemEntropy};
use crate::{terminal, wire};

#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// The grant's id
    id: GrantId,
    /// How long the old key is taken too; 0s: not any more
    #[arg(long, value_name = "LENGTH", default_value = "24h", value_parser = words::length)]
    overlap: Duration,
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
        let now = SystemClock::new().now();
        let key = GrantKey::mint(self.id.clone(), &SystemEntropy);
        let new = NewKey { digest: key.digest(), old_expires: words::after(now, self.overlap) };
        wire::with_record(&self.place.data, &self.place.common, async |store| {
            match store.rotate_grant(self.id.clone(), new).await? {
                Changed::Done => {}
                Changed::Missing => bail!(words::missing(&self.id)),
                Changed::Revoked => bail!("grant {} is revoked, and a revoked grant has no key", self.id),
            }
            let grant = store.grant(self.id.clone()).await?.with_context(|| words::missing(&self.id))?;
            words::tell_key(&grant, &key, now, self.place.json)?;
            Ok(ExitCode::SUCCESS)
        })
    }
}

impl Revoke {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        let now = SystemClock::new().now();
        wire::with_record(&self.place.data, &self.place.common, async |store| {
            let changed = store.revoke_grant(self.id.clone(), now).await?;
            if changed == Changed::Missing {
                bail!(words::missing(&self.id));
            }
            if self.place.json {
                let grant = store.grant(self.id.clone()).await?.with_context(|| words::missing(&self.id))?;
                terminal::json(&words::describe(&grant, now))?;
            } else if changed == Changed::Revoked {
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
