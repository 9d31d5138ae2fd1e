//! `execgate doctor`: what this host can enforce, found out by doing; and the command that mends what is missing.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use execgate_sandbox::image::{Image, Recipe, advice};
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
    /// Where images are kept [default: /var/cache/execgate as root, else ~/.cache/execgate]
    #[arg(long, value_name = "DIR")]
    image_cache: Option<PathBuf>,
}

impl Doctor {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        let scratch = tempfile::Builder::new()
            .prefix("execgate-doctor-")
            .tempdir()
            .context("failed to make a folder")?;
        // The jail's own user has to find its way to it.
        let open = Permissions::from_mode(0o755);
        fs::set_permissions(scratch.path(), open).context("failed to open the folder to others")?;
        let report = probe(scratch.path());
        let set = self.image_cache.as_ref().map(|path| path.display().to_string());
        let cache = image_cache(set.as_deref(), geteuid().is_root(), &Environment::read())?;
        let image = Image::find(&cache, &Recipe::host());
        if self.json {
            let image = image.ok().flatten().map(|image| image.digest);
            terminal::json(&json!({"report": report, "image": image, "missing": advice()}))?;
        } else {
            tell(&report);
            match image {
                Ok(Some(image)) => terminal::line(format_args!("image      {:.12}", image.digest)),
                Ok(None) => terminal::line(
                    "image      none yet; it is made on first use, or by: execgate image build",
                ),
                Err(error) => terminal::line(format_args!("image      cannot be had: {error}")),
            }
            for advice in advice() {
                terminal::line(format_args!("missing    {}; to add: {}", advice.what, advice.command));
            }
        }
        Ok(ExitCode::from(u8::from(!report.has_jail())))
    }
}

fn tell(report: &Report) {
    for check in &report.checks {
        terminal::line(format_args!(
            "{:<10} {}  {}",
            check.name,
            if check.ok { "ok" } else { "--" },
            check.detail
        ));
        if let Some(mend) = &check.mend {
            terminal::line(format_args!("               to mend it: {mend}"));
        }
    }
    for tier in &report.tiers {
        let told = match (&tier.enforced, &tier.refusal) {
            (Some(_), _) => "can be served".to_owned(),
            (None, refusal) => format!("cannot be served: {}", refusal.as_deref().unwrap_or("unknown")),
        };
        terminal::line(format_args!("tier {:<16} {told}", tier.tier.name()));
    }
}
