//! `execgate policy init`: a policy to begin with; with `--from` one for the tools of an MCP server of others, by what was
//! guessed of each.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use execgate_tool::upstream::ServerName;
use serde_json::{Map, Value, json};

use crate::commands::cli::DataDir;
use crate::policy::parse;
use crate::privileges::become_owner_of;
use crate::terminal;
use crate::upstreams::{Book, Noted, NotedTool};

/// A policy that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Template {
    /// For the actions and tools of this gateway
    Starter,
    /// For the tools of X402engine's MCP server
    X402engine,
}

impl Template {
    const fn text(self) -> &'static str {
        match self {
            Self::Starter => STARTER,
            Self::X402engine => X402ENGINE,
        }
    }
}

/// The policy for X402engine's MCP server.
const X402ENGINE: &str = include_str!("x402engine.json");

/// The policy that is written where nothing else is asked for.
pub(super) const STARTER: &str = include_str!("starter.json");

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The file to write; one that is there is left alone
    #[arg(default_value = "policy.json")]
    file: PathBuf,
    /// Begin with this one
    #[arg(long, value_enum, default_value = "starter", conflicts_with = "from")]
    template: Template,
    /// Begin with the tools of an MCP server: the output of `execgate scan --json`, or the name of a server that a proxy
    /// of the data directory has started
    #[arg(long, value_name = "SCAN|SERVER")]
    from: Option<String>,
    #[command(flatten)]
    data: DataDir,
}

/// The longest file of a scan, in bytes.
const SCAN_BYTES_MAX: usize = 64 << 20;

impl Init {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        let text = match &self.from {
            None => self.template.text().to_owned(),
            Some(from) => {
                let policy = policy_of(&self.noted(from)?);
                let text = format!("{}\n", serde_json::to_string_pretty(&policy)?);
                parse(text.as_bytes()).context("no policy can be made of these tools")?;
                text
            }
        };
        let path = self.file.display();
        let mut file = match OpenOptions::new().write(true).create_new(true).open(&self.file) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                bail!("{path} is there already, and is left as it is");
            }
            Err(error) => return Err(error).with_context(|| format!("failed to make {path}")),
        };
        file.write_all(text.as_bytes()).with_context(|| format!("failed to write {path}"))?;
        let way = if self.from.is_some() || self.template == Template::X402engine {
            format!("`execgate proxy --policy {path} -- …`")
        } else {
            format!("`file = \"{path}\"` under [policy]")
        };
        terminal::line(format_args!("wrote {path}; put it in force by {way}"));
        Ok(ExitCode::SUCCESS)
    }

    /// What a server was seen to offer.
    fn noted(&self, from: &str) -> anyhow::Result<Noted> {
        match fs::read(from) {
            Ok(bytes) if bytes.len() > SCAN_BYTES_MAX => bail!("{from} has more than {SCAN_BYTES_MAX} bytes"),
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("{from} is no output of `execgate scan --json`")),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let server =
                    ServerName::new(from).map_err(|rule| anyhow::anyhow!("--from {from}: {rule}"))?;
                let data_dir = &self.data.data_dir;
                become_owner_of(data_dir)?;
                let noted = Book::of(data_dir).noted(&server)?;
                noted.with_context(|| {
                    format!("there is no file {from}, and no such server was ever seen here")
                })
            }
            Err(error) => Err(error).with_context(|| format!("failed to read {from}")),
        }
    }
}

/// A policy for what a server offers: what is not listed is denied, what only reads is allowed, what runs, destroys or pays
/// asks a person, as does what is as bad for another reason, and what speaks to the model where it should speak of itself is
/// denied.
fn policy_of(noted: &Noted) -> Value {
    let tools: Map<_, _> = noted.tools.iter().map(|tool| (tool.name.clone(), entry_of(tool))).collect();
    json!({
        "version": "1",
        "description": format!("Made of what the server `{}` says of its tools. Read it before you rely on it.", noted.server),
        "default": "deny",
        "all_tools": {"limits": [{"counter": "calls", "window": "minute", "max": 120, "scope": "grant"}]},
        "tools": tools,
    })
}

fn entry_of(tool: &NotedTool) -> Value {
    let per_minute = |max: u32| json!({"max": max, "window": "minute"});
    if tool.attacks.iter().any(|attack| attack == "tool-poisoning") {
        return json!({"risk": tool.class, "action": "deny", "reason": "its description speaks to the model: look at it"});
    }
    // A name that reads can still hand out what nobody should have.
    let is_bad = ["high", "critical"].contains(&tool.severity.as_str());
    match tool.class.as_str() {
        class @ ("read" | "write") if is_bad => {
            json!({"risk": class, "action": "require_approval", "rate_limit": per_minute(10)})
        }
        "read" => json!({"risk": "read"}),
        "write" => json!({"risk": "write", "rate_limit": per_minute(30)}),
        "execute" => json!({"risk": "execute", "action": "require_approval", "rate_limit": per_minute(10)}),
        class => json!({"risk": class, "action": "require_approval", "rate_limit": per_minute(5)}),
    }
}

#[cfg(test)]
mod tests {
    use execgate_model::Digest;
    use serde_json::json;

    use super::{STARTER, X402ENGINE, entry_of};
    use crate::policy::parse;
    use crate::upstreams::NotedTool;

    #[test]
    fn what_is_dangerous_is_asked_for_or_denied_whatever_its_class() {
        let action = |class: &str, severity: &str, attacks: &[&str]| {
            let tool = NotedTool {
                name: "t".to_owned(),
                digest: Digest::from_bytes([0; 32]),
                class: class.to_owned(),
                severity: severity.to_owned(),
                attacks: attacks.iter().map(|attack| (*attack).to_owned()).collect(),
                because: String::new(),
                entry: json!({}),
            };
            entry_of(&tool)["action"].clone()
        };
        assert_eq!(action("read", "low", &["exfiltration"]), json!(null));
        assert_eq!(action("write", "medium", &[]), json!(null));
        for (class, severity) in
            [("read", "high"), ("write", "high"), ("execute", "high"), ("financial", "critical")]
        {
            assert_eq!(action(class, severity, &["credential-theft"]), "require_approval", "{class}");
        }
        assert_eq!(action("read", "critical", &["tool-poisoning"]), "deny");
    }

    #[test]
    fn what_is_written_is_a_policy_and_all_its_examples_hold() {
        let loaded = parse(STARTER.as_bytes()).unwrap();
        assert!(loaded.policy.examples().len() >= 5);
        assert!(loaded.policy.tools().all(|(_, risk)| risk.is_some()));
        let other = parse(X402ENGINE.as_bytes()).unwrap();
        assert!(other.policy.examples().len() >= 5 && !other.policy.is_open());
    }
}
