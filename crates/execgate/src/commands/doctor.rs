//! `execgate doctor`: what this host can enforce, found out by doing; and the command that mends what is missing.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use execgate_sandbox::image::{Image, ImageError, Reads, Recipe, Verification, advice};
use execgate_sandbox::{Report, probe};
use rustix::process::geteuid;
use serde_json::json;

use crate::config::{Environment, Flags, Payment, Settings, image_cache};
use crate::{announcement, terminal};

/// What this host can enforce. Exit code 1 if the default tier, `jail`, cannot be had, or the image was altered.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Where images are kept [default: /var/cache/execgate as root, else ~/.cache/execgate]
    #[arg(long, value_name = "DIR")]
    image_cache: Option<PathBuf>,
    /// A configuration file (TOML), whose MCP servers of others and payments are looked at
    #[arg(long, value_name = "FILE", env = "EXECGATE_CONFIG")]
    config: Option<PathBuf>,
}

impl Doctor {
    /// What a configuration says, where one is named.
    fn settings(&self) -> anyhow::Result<Option<Settings>> {
        if self.config.is_none() {
            return Ok(None);
        }
        let flags = Flags { config: self.config.clone(), ..Flags::default() };
        let environment = Environment::read().without_gateway();
        Settings::resolve(&flags, &environment, geteuid().is_root()).map(Some)
    }

    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        let settings = self.settings()?;
        let upstreams = settings.as_ref().map(Settings::upstreams_in_words).transpose()?.unwrap_or_default();
        let payment = settings.as_ref().and_then(|settings| settings.payment.as_ref());
        let unseen = payment.map(Payment::unseen).unwrap_or_default();
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
        // As its guests see it, which is what a gateway looks at when it replaces interpreters.
        let found = image.as_ref().ok().and_then(Option::as_ref).map(|image| image.verify(Reads::Seen));
        let is_altered = found.as_ref().is_some_and(|found| !matches!(found, Ok(found) if found.is_intact()));
        if self.json {
            let image = image.ok().flatten().map(|image| image.digest);
            let image_check = found.map(|found| found.map_err(|error| error.to_string()));
            terminal::json(&json!({
                "report": report, "image": image, "image_check": image_check, "missing": advice(),
                "upstreams": upstreams.into_iter().collect::<BTreeMap<_, _>>(),
                "payment_unseen": unseen.iter().map(ToString::to_string).collect::<Vec<_>>(),
            }))?;
        } else {
            tell(&report);
            match image {
                Ok(Some(image)) => tell_image(&image, found),
                Ok(None) => terminal::line(
                    "image      none yet; it is made on first use, or by: execgate image build",
                ),
                Err(error) => terminal::line(format_args!("image      cannot be had: {error}")),
            }
            for (name, words) in upstreams {
                terminal::line(format_args!("upstream   {name}: {words}"));
            }
            for network in unseen {
                terminal::line(format_args!("payment    --  {}", announcement::unseen(network)));
            }
            for advice in advice() {
                terminal::line(format_args!("missing    {}; to add: {}", advice.what, advice.command));
            }
        }
        Ok(ExitCode::from(u8::from(!report.has_jail() || is_altered)))
    }
}

/// How many places are shown at which an image was altered.
const DIFFERENCES_MAX: usize = 5;

fn tell_image(image: &Image, found: Option<Result<Verification, ImageError>>) {
    let digest = &image.digest;
    match found {
        Some(Ok(found)) if !found.is_intact() => {
            let count = found.differences.len();
            terminal::line(format_args!("image      --  {digest:.12} was altered in {count} places"));
            for difference in found.differences.iter().take(DIFFERENCES_MAX) {
                terminal::line(format_args!("               {difference}"));
            }
            terminal::line(format_args!(
                "               to mend it: execgate image build; then start the gateway again"
            ));
        }
        Some(Err(error)) => {
            terminal::line(format_args!("image      --  {digest:.12} cannot be read: {error}"))
        }
        Some(Ok(_)) | None => terminal::line(format_args!("image      {digest:.12}")),
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
