//! The command line, and the way from it to a run.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use execgate_sandbox::Request;
use execgate_tool::rich_results;
use rustix::process::geteuid;

use super::super::cli::Jail;
use crate::config::{EgressSection, Environment, Flags, NetworkSetting, Outward, Settings};
use crate::privileges::{Account, Aside};
use crate::wire;

/// Code in the jail.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The language: python, javascript, bash, r, or py, js, ts, sh, … [default: by the file's ending, else python]
    #[arg(short, long, value_name = "LANG")]
    pub(super) lang: Option<String>,
    /// Run this code instead of a file
    #[arg(short = 'e', long = "eval", value_name = "CODE")]
    pub(super) code: Option<String>,
    /// The deadline in seconds
    #[arg(long, value_name = "S", default_value_t = 30.0)]
    pub(super) timeout: f64,
    /// Memory in MiB, files in memory included
    #[arg(long, value_name = "MB", default_value_t = 512, value_parser = clap::value_parser!(u64).range(16..))]
    pub(super) memory: u64,
    /// Put this file into the run, under its own name or another: data.csv, data.csv=in/data.csv
    #[arg(long = "with", value_name = "FILE[=PATH]")]
    pub(super) with: Vec<String>,
    /// Bring back the files of this pattern, relative to /home/user or below /tmp: '*.png', 'out/**'
    #[arg(long, value_name = "PATTERN")]
    pub(super) collect: Vec<String>,
    /// Where files that are brought back are written
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(super) out: PathBuf,
    /// Write over files that are there already
    #[arg(long)]
    pub(super) overwrite: bool,
    /// Ask for rich results: pictures go to --out, the rest is in --json
    #[arg(long)]
    pub(super) rich: bool,
    /// Print the result as JSON, when it is there
    #[arg(long)]
    pub(super) json: bool,
    /// The file to run, or - for standard input
    #[arg(value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    /// Arguments for the code
    #[arg(last = true, value_name = "ARGS")]
    pub(super) args: Vec<String>,
    #[command(flatten)]
    jail: Jail,
    /// The network of the run [default: none; egress with --allow-domain or --allow-cidr]
    #[arg(long, value_enum)]
    network: Option<NetworkSetting>,
    /// Let the run reach this name through its proxy: example.org, or *.example.org for all below it
    #[arg(long, value_name = "NAME")]
    allow_domain: Vec<String>,
    /// Let the run reach these addresses by number through its proxy: 93.184.216.0/24
    #[arg(long, value_name = "NET")]
    allow_cidr: Vec<String>,
}

impl Run {
    /// The network that was asked for.
    fn outward(&self) -> anyhow::Result<Outward> {
        let is_named = !self.allow_domain.is_empty() || !self.allow_cidr.is_empty();
        let section = is_named.then(|| EgressSection {
            domains: self.allow_domain.clone(),
            cidrs: self.allow_cidr.clone(),
            ..EgressSection::default()
        });
        let setting = self.network.or(is_named.then_some(NetworkSetting::Egress));
        Outward::resolve(setting, section.as_ref())
            .context("--network, --allow-domain and --allow-cidr do not go together")
    }

    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        if !self.timeout.is_finite() || self.timeout <= 0.0 {
            bail!("--timeout must be a positive number of seconds");
        }
        let flags = Flags {
            tier: self.jail.tier,
            image: self.jail.image.clone(),
            image_cache: self.jail.image_cache.clone(),
            slots: Some(1),
            ..Flags::default()
        };
        let root = geteuid().is_root();
        // Only the sandbox's settings matter here; whatever the environment says of a gateway does not.
        let environment = Environment::read().without_gateway();
        let settings = Settings::resolve(&flags, &environment, root)?;
        let outward = self.outward()?;
        let request = Request { network: outward.network, ..self.request()? };
        let out = self.open_out()?;
        let account = Account::choose(None)?;
        let image = wire::image(&settings)?;
        let helper = execgate_sandbox::spawn_helper().context("the sandbox's helper could not be started")?;
        let language = request.language.clone();
        let jail = wire::Jail {
            name: String::new(),
            helper,
            image,
            slots: settings.slots,
            aside: 0,
            residents: 0,
            egress: outward.means,
            programs: Vec::new(),
        };
        let aside = match (account, &out) {
            (Some(account), None) => account.become_now().map(|()| None)?,
            // What comes back is written where whoever called may write.
            (Some(account), Some(_)) => Some(account.step_aside()?),
            (None, _) => None,
        };
        let sandbox = jail
            .start(wire::tier(settings.tier, true), 0)
            .context("code cannot be run here; `execgate doctor` says why")?;
        if !sandbox.languages().any(|known| known == language) {
            let known: Vec<_> = sandbox.languages().collect();
            bail!(
                "this image has no {language}; it has {}. `execgate image build` makes one of this host's \
                 packages, and `execgate doctor` says how to add a language",
                known.join(", ")
            );
        }
        let ran = sandbox.run(request).context("the run did not start")?;
        let results = if self.rich { rich_results(&ran.displays).0 } else { Vec::new() };
        self.tell(&language, &ran, &results)?;
        if let Some(out) = &out {
            aside.map(Aside::step_back).transpose()?;
            self.save_all(out, &ran, &results);
        }
        Ok(ExitCode::from(self.exit_code(ran.verdict)))
    }
}
