//! `execgate scan`: what an MCP server of others offers, what each tool may do, and what it invites.
//!
//! A scan starts the server, and asks it for its list; it calls nothing. Exit codes: 0 nothing worse than `--fail-on`,
//! 1 something worse, 2 it cannot be scanned.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use execgate_tool::upstream::{
    FirstContact, Offer, PinBook, PinError, Pins, ServerName, Sharing, Upstream, UpstreamParts,
};
use rustix::process::geteuid;

use super::cli::Jail;
use crate::config::{Environment, Flags, Settings, Switch};
use crate::privileges::Account;
use crate::upstreams::{Noted, UpstreamFlags, digester};
use crate::{log, plain, terminal, wire};

/// From which severity on a scan fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FailOn {
    Medium,
    High,
    Critical,
}

impl FailOn {
    /// Whether a severity is as bad.
    fn is_met(self, severity: &str) -> bool {
        let rank = |word: &str| ["low", "medium", "high", "critical"].iter().position(|known| *known == word);
        let least = match self {
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        };
        rank(severity) >= rank(least)
    }
}

/// What a server offers.
#[derive(Debug, Args)]
pub(crate) struct Scan {
    /// Print all of it as JSON; `execgate policy init --from` reads it
    #[arg(long)]
    json: bool,
    /// Exit with 1 where a tool is as bad as this
    #[arg(long, value_enum)]
    fail_on: Option<FailOn>,
    /// A configuration file (TOML), for the sandbox
    #[arg(long, value_name = "FILE", env = "EXECGATE_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    jail: Jail,
    #[command(flatten)]
    server: UpstreamFlags,
}

/// What is told of a server in the jail that does not answer.
const IN_THE_JAIL: &str = "in the jail it has no file of this host but those of `--with`, and no network but what \
    `--allow-domain` names; `--sandbox off` starts it outside";

/// A book in which nothing is written.
struct NoBook;

impl PinBook for NoBook {
    fn pins(&self, _server: &ServerName) -> Result<Option<Pins>, PinError> {
        Ok(None)
    }

    fn accept_first(&self, _server: &ServerName, _pins: &Pins) -> Result<(), PinError> {
        Ok(())
    }

    fn see(&self, _server: &ServerName, _offer: &Offer) -> Result<(), PinError> {
        Ok(())
    }
}

impl Scan {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        let root = geteuid().is_root();
        let flags = Flags {
            config: self.config.clone(),
            tier: self.jail.tier,
            image: self.jail.image.clone(),
            image_cache: self.jail.image_cache.clone(),
            ..Flags::default()
        };
        let environment = Environment::read().without_gateway();
        let mut settings = self.server.fit(Settings::resolve(&flags, &environment, root)?)?;
        "error".clone_into(&mut settings.log_level);
        let account = Account::choose(None)?;
        let jails = if settings.code == Switch::On { wire::jails(&settings, &[])? } else { Vec::new() };
        account.map_or(Ok(()), Account::become_now)?;
        let log = log::start(&settings)?;
        let profiles = wire::profiles(jails, wire::tier(settings.tier, true))
            .context("the server cannot run in the jail here; `execgate doctor` says why")?;
        let name = self.server.name()?;
        let upstream = Upstream::new(UpstreamParts {
            name: name.clone(),
            connect: self.server.connect(&settings, profiles.as_ref(), None)?,
            book: Arc::new(NoBook),
            digester,
            first: FirstContact::Wait,
            call_within: Duration::from_secs(1),
            sharing: Sharing::Sole,
            asks: self.server.asks(),
        });
        let offer = wire::runtime()?.block_on(upstream.connect());
        log.flush();
        let offer = offer.with_context(|| {
            let told = format!("the server `{name}` cannot be scanned");
            if self.server.is_jailed() { format!("{told}; {IN_THE_JAIL}") } else { told }
        })?;
        drop(upstream);
        let noted = Noted::of(&name, &offer);
        if self.json {
            terminal::json(&noted)?;
        } else {
            tell(&noted);
        }
        let is_bad = |level: FailOn| noted.tools.iter().any(|tool| level.is_met(&tool.severity));
        Ok(ExitCode::from(u8::from(self.fail_on.is_some_and(is_bad))))
    }
}

fn tell(noted: &Noted) {
    let width = noted.tools.iter().map(|tool| tool.name.len()).max().unwrap_or_default().max(4);
    terminal::line(format_args!("{:<width$}  {:<11}  {:<8}  invites", "tool", "class", "severity"));
    for tool in &noted.tools {
        let invites = if tool.attacks.is_empty() { "-".to_owned() } else { tool.attacks.join(", ") };
        terminal::line(format_args!(
            "{:<width$}  {:<11}  {:<8}  {invites}",
            tool.name, tool.class, tool.severity
        ));
        terminal::line(format_args!("{:<width$}  {}", "", plain::text(&tool.because)));
    }
    if noted.unusable > 0 {
        terminal::line(format_args!(
            "{} entries are of no use: no good name or schema, or twice there",
            noted.unusable
        ));
    }
    if let Some(instructions) = &noted.instructions {
        terminal::line(format_args!("it would tell a model: {}", plain::text(instructions)));
    }
}
