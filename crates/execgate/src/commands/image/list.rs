//! `execgate image list`: every image of a cache, the last taken first.

use std::process::ExitCode;
use std::time::SystemTime;

use clap::Args;
use execgate_sandbox::image::{Image, Listed};
use serde_json::{Value, json};

use super::command::CacheDir;
use super::words;
use crate::terminal;

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cache: CacheDir,
}

impl List {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        let cache = self.cache.path()?;
        let images = Image::list(&cache)?;
        if self.json {
            terminal::json(&images.iter().map(as_json).collect::<Vec<_>>())?;
            return Ok(ExitCode::SUCCESS);
        }
        if images.is_empty() {
            terminal::note(format_args!("there are no images in {}", cache.display()));
        }
        for image in &images {
            tell(image);
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn tell(image: &Listed) {
    let taken = words::ago(image.last_taken);
    let used = if image.in_use == Some(true) { ", in use" } else { "" };
    match &image.summary {
        Ok(summary) => {
            let asked = words::asked(&summary.added);
            let with = if asked.is_empty() { String::new() } else { format!("; with {asked}") };
            terminal::line(format_args!(
                "{}  {:>8}  taken {taken}{used}; {}{with}",
                image.digest,
                words::size(summary.bytes),
                summary.recipe
            ));
        }
        Err(error) => {
            terminal::line(format_args!("{}  {:>8}  taken {taken}{used}; {error}", image.digest, "?"))
        }
    }
}

fn as_json(image: &Listed) -> Value {
    let seconds =
        |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let summary = image.summary.as_ref().ok();
    json!({
        "digest": image.digest,
        "made_at": seconds(image.made),
        "last_taken_at": seconds(image.last_taken),
        "in_use": image.in_use,
        "recipe": summary.map(|summary| &summary.recipe),
        "files": summary.map(|summary| summary.files),
        "bytes": summary.map(|summary| summary.bytes),
        "interpreters": summary.map(|summary| &summary.interpreters),
        "added": summary.map(|summary| &summary.added),
        "error": image.summary.as_ref().err(),
    })
}
