//! `execgate image prune`: removes images that no gateway uses and nobody is likely to want again.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use clap::Args;
use execgate_model::Clock as _;
use execgate_sandbox::image::{Image, Keep, Recipe};

use super::command::CacheDir;
use super::words;
use crate::ports::SystemClock;
use crate::terminal;

const SECONDS_A_DAY: u64 = 86_400;

/// The image of this host's present packages always stays, and so does one that a running gateway uses. An image that a
/// configuration names by its digest stays only as long as it is taken now and then.
#[derive(Debug, Args)]
#[group(id = "what", required = true, multiple = false, args = ["keep", "older_than"])]
pub(crate) struct Prune {
    /// Keep so many of those that were taken last, and remove the others
    #[arg(long, value_name = "N")]
    keep: Option<usize>,
    /// Remove those that were last taken longer ago
    #[arg(long, value_name = "DAYS")]
    older_than: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cache: CacheDir,
}

impl Prune {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        let cache = self.cache.path()?;
        let keep = match (self.keep, self.older_than) {
            (Some(count), _) => Keep::Newest(count),
            (None, days) => Keep::TakenSince(days_ago(days.unwrap_or_default())?),
        };
        // on a host without a package database there is none to spare
        let present = Image::find(&cache, &Recipe::host()).ok().flatten();
        let spared: Vec<String> = present.into_iter().map(|image| image.digest).collect();
        let pruned = Image::prune(&cache, keep, &spared)?;
        if self.json {
            terminal::json(&pruned)?;
            return Ok(ExitCode::SUCCESS);
        }
        for digest in &pruned.removed {
            terminal::line(format_args!("removed  {digest}"));
        }
        for digest in &pruned.in_use {
            terminal::line(format_args!("in use   {digest}"));
        }
        for digest in &pruned.foreign {
            terminal::line(format_args!(
                "left     {digest}: of another version, which does not say whether it uses it; remove the folder by \
                 hand once no gateway of that version runs"
            ));
        }
        terminal::line(format_args!(
            "{} images removed, {}",
            pruned.removed.len(),
            words::size(pruned.bytes)
        ));
        Ok(ExitCode::SUCCESS)
    }
}

fn days_ago(days: u64) -> anyhow::Result<SystemTime> {
    let now = Duration::from_millis(SystemClock::new().now().0);
    let since = Duration::from_secs(days.saturating_mul(SECONDS_A_DAY));
    SystemTime::UNIX_EPOCH.checked_add(now.saturating_sub(since)).context("--older-than is out of range")
}
