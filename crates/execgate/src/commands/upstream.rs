//! `execgate upstream list|accept`: what MCP servers of others offer, and what of it may be called.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use execgate_model::Digest;
use execgate_tool::upstream::{PinBook as _, Pins, ServerName, Standing};
use serde_json::{Map, Value, json};

use super::cli::DataDir;
use crate::privileges::become_owner_of;
use crate::upstreams::{Book, Noted, NotedTool, digester};
use crate::{plain, terminal};

/// Servers of others
#[derive(Debug, Subcommand)]
pub(crate) enum UpstreamCommand {
    /// Say what each server was seen to offer, and how it stands
    List(List),
    /// Let calls reach what a server was seen to offer
    Accept(Accept),
}

/// What is there.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only this server
    #[arg(value_name = "SERVER")]
    server: Option<String>,
    /// Print JSON, with all that each server says of its tools
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataDir,
}

/// What is accepted.
#[derive(Debug, Args)]
pub(crate) struct Accept {
    /// The server
    #[arg(value_name = "SERVER")]
    server: String,
    /// Only these of its tools [default: all, and its instructions]
    #[arg(value_name = "TOOL")]
    tools: Vec<String>,
    /// Accept what has this digest and nothing else: it is told with what is shown [default: asks the person at the terminal]
    #[arg(long, value_name = "DIGEST")]
    digest: Option<String>,
    #[command(flatten)]
    data: DataDir,
}

impl UpstreamCommand {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::List(list) => list.execute(),
            Self::Accept(accept) => accept.execute(),
        }
    }
}

fn name(text: &str) -> anyhow::Result<ServerName> {
    ServerName::new(text).map_err(|rule| anyhow::anyhow!("{rule}"))
}

impl List {
    fn execute(self) -> anyhow::Result<ExitCode> {
        let data_dir = &self.data.data_dir;
        become_owner_of(data_dir)?;
        let book = Book::of(data_dir);
        let servers = match &self.server {
            Some(server) => vec![name(server)?],
            None => book.servers()?,
        };
        let mut all = Vec::new();
        for server in servers {
            let noted = book.noted(&server)?;
            let noted = noted.with_context(|| format!("nothing was ever seen of a server `{server}`"))?;
            let pins = book.pins(&server)?.unwrap_or_default();
            if self.json {
                all.push(told(&noted, &pins));
            } else {
                tell(&noted, &pins);
            }
        }
        if self.json {
            terminal::json(&all)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn standing(tool: &NotedTool, pins: &Pins) -> Standing {
    Standing::of(pins.tools.get(&tool.name), &tool.digest)
}

/// Accepted tools that were not there any more when the server was last seen.
fn gone<'p>(noted: &'p Noted, pins: &'p Pins) -> impl Iterator<Item = &'p String> {
    pins.tools.keys().filter(|name| !noted.tools.iter().any(|tool| tool.name == **name))
}

fn instructions(noted: &Noted, pins: &Pins) -> &'static str {
    match (noted.instructions_digest, pins.instructions) {
        (None, _) => "none",
        (Some(now), Some(accepted)) if now == accepted => "accepted",
        (Some(_), Some(_)) => "changed",
        (Some(_), None) => "new",
    }
}

fn told(noted: &Noted, pins: &Pins) -> Value {
    let tool = |tool: &NotedTool| {
        json!({
            "name": tool.name, "standing": standing(tool, pins).as_str(), "class": tool.class,
            "severity": tool.severity, "attacks": tool.attacks, "digest": tool.digest, "entry": tool.entry,
        })
    };
    json!({
        "server": noted.server,
        "info": noted.info,
        "digest": digest(noted, &[]).ok(),
        "instructions": {"standing": instructions(noted, pins), "text": noted.instructions},
        "tools": noted.tools.iter().map(tool).collect::<Vec<_>>(),
        "gone": gone(noted, pins).collect::<Vec<_>>(),
    })
}

fn tell(noted: &Noted, pins: &Pins) {
    terminal::line(format_args!("{} (instructions: {})", noted.server, instructions(noted, pins)));
    let width = noted.tools.iter().map(|tool| tool.name.len()).max().unwrap_or_default();
    for tool in &noted.tools {
        let (name, standing) = (&tool.name, standing(tool, pins).as_str());
        terminal::line(format_args!(
            "  {name:<width$}  {standing:<8}  {:<11}  {}",
            tool.class, tool.severity
        ));
    }
    for name in gone(noted, pins) {
        terminal::line(format_args!("  {name:<width$}  gone"));
    }
    if let Ok(digest) = digest(noted, &[]) {
        terminal::line(format_args!("  all of it: {digest}"));
    }
}

impl Accept {
    fn execute(self) -> anyhow::Result<ExitCode> {
        let data_dir = &self.data.data_dir;
        become_owner_of(data_dir)?;
        let (book, server) = (Book::of(data_dir), name(&self.server)?);
        let noted = seen(&book, &server)?;
        let mut pins = book.pins(&server)?.unwrap_or_default();
        if let Some(unknown) =
            self.tools.iter().find(|name| !noted.tools.iter().any(|tool| tool.name == **name))
        {
            bail!("the server `{server}` was seen without a tool `{unknown}`");
        }
        let digest = digest(&noted, &self.tools)?;
        self.show(&noted, &pins);
        terminal::line(format_args!("digest: {digest}"));
        self.agree(&digest)?;
        // A server may have said something else while a person was reading.
        if self::digest(&seen(&book, &server)?, &self.tools)? != digest {
            bail!("nothing was accepted: the server offers something else by now; look at it again");
        }
        for tool in chosen(&noted, &self.tools) {
            pins.tools.insert(tool.name.clone(), tool.digest);
        }
        if self.tools.is_empty() {
            pins.instructions = noted.instructions_digest;
            let there: Vec<_> = gone(&noted, &pins).cloned().collect();
            for name in there {
                pins.tools.remove(&name);
            }
        }
        book.accept(&server, &pins)?;
        terminal::line("accepted");
        Ok(ExitCode::SUCCESS)
    }

    /// All that is accepted and was not before: the whole of each entry, since all of it may reach a model.
    fn show(&self, noted: &Noted, pins: &Pins) {
        for tool in chosen(noted, &self.tools) {
            let before = standing(tool, pins);
            if before != Standing::Accepted {
                let (name, before, entry) = (&tool.name, before.as_str(), tool.entry.to_string());
                terminal::line(format_args!("{name} ({before}, {}, {})", tool.class, tool.severity));
                terminal::line(format_args!("  {}", plain::text(&entry)));
            }
        }
        if self.tools.is_empty() && !matches!(instructions(noted, pins), "none" | "accepted") {
            let said = noted.instructions.as_deref().unwrap_or_default();
            terminal::line(format_args!("instructions ({})", instructions(noted, pins)));
            terminal::line(format_args!("  {}", plain::text(said)));
        }
    }

    /// Whether it is this that is to be accepted.
    fn agree(&self, digest: &Digest) -> anyhow::Result<()> {
        let digest = digest.to_string();
        match &self.digest {
            Some(given) if *given == digest => Ok(()),
            Some(_) => {
                bail!("nothing was accepted: what the server offers has another digest; look at it again")
            }
            None if terminal::is_watched() => {
                let answer = terminal::ask("Accept this? [yes/no] ").context("nobody is at a terminal")?;
                if answer.trim() != "yes" {
                    bail!("nothing was accepted");
                }
                Ok(())
            }
            None => bail!("nothing was accepted: `--digest {digest}` accepts what was just shown"),
        }
    }
}

fn seen(book: &Book, server: &ServerName) -> anyhow::Result<Noted> {
    book.noted(server)?.with_context(|| {
        format!("nothing was ever seen of a server `{server}`; it is once `execgate proxy` has started it")
    })
}

/// What is accepted: these tools, or all.
fn chosen<'n>(noted: &'n Noted, tools: &'n [String]) -> impl Iterator<Item = &'n NotedTool> {
    noted.tools.iter().filter(move |tool| tools.is_empty() || tools.contains(&tool.name))
}

/// Over all that is accepted at once: a digest of each entry, and of the instructions where they are too.
fn digest(noted: &Noted, tools: &[String]) -> anyhow::Result<Digest> {
    let mut all = Map::new();
    for tool in chosen(noted, tools) {
        let digest = digester(&tool.entry);
        // What is shown is what is pinned, whoever has written to the file.
        if digest != Some(tool.digest) {
            bail!("what was noted of `{}` is not whole", tool.name);
        }
        all.insert(tool.name.clone(), json!(tool.digest));
    }
    let instructions = if tools.is_empty() { noted.instructions.as_ref() } else { None };
    let instructions = instructions.and_then(|text| digester(&json!(text)));
    if tools.is_empty() && instructions != noted.instructions_digest {
        bail!("what was noted of the instructions is not whole");
    }
    let told = json!({"server": noted.server, "tools": all, "instructions": instructions});
    digester(&told).context("what was noted has no digest")
}
