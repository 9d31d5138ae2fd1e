//! `execgate doctor`: what this host can enforce, found out by doing; and the command that mends what is missing.

use std::process::ExitCode;

use clap::Args;
use execgate_sandbox::image::{Image, Recipe};
use execgate_sandbox::{Report, probe};
use rustix::process::geteuid;
use serde_json::json;

use crate::config::{Environment, image_cache};
use crate::terminal;

/// What this host can enforce. Exit code 1 if the default tier, `jail`, cannot be had.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        let report = probe();
        let cache = image_cache(None, geteuid().is_root(), &Environment::read())?;
        let image = Image::find(&cache, &Recipe::host());
        if self.json {
            let image = image.ok().flatten().map(|image| image.digest);
            terminal::json(&json!({"report": report, "image": image}))?;
        } else {
            tell(&report);
            match image {
                Ok(Some(image)) => terminal::line(format_args!("image      {:.12}", image.digest)),
                Ok(None) => terminal::line("image      none yet; it is made on first use, or by: execgate image build"),
                Err(error) => terminal::line(format_args!("image      cannot be had: {error}")),
            }
        }
        Ok(ExitCode::from(u8::from(!report.has_jail())))
    }
}

fn tell(report: &Report) {
    drop(report);
}
