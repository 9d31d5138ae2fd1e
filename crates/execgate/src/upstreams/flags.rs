//! An upstream server on the command line: what it is called, where it runs, what it is handed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{self, Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use execgate_sandbox::PlacedFile;
use execgate_tool::upstream::{
    Asking, Asks, Connect, FoldersSpec, HttpUpstream, HttpUpstreamSpec, JailedUpstream, JailedUpstreamSpec,
    KeptUpstream, KeptUpstreamSpec, ServerName, program_of,
};
use execgate_tool::{Profiles, Secret};
use rustix::fs::{Access, access};
use zeroize::Zeroizing;

use crate::config::{EgressSection, Environment, NetworkSetting, Outward, Settings, Switch, folders};
use crate::wire;

/// The longest name, as [`ServerName`] has it.
const NAME_BYTES_MAX: usize = 32;

/// The files that go into the jail, together in bytes, and their number.
const FILES_BYTES_MAX: u64 = 96 << 20;
const FILES_MAX: usize = 8_000;

/// Its slots: its own, and one for what has not yet ended while another takes its place.
const SLOTS: usize = 2;

/// Programs behind which the one that is meant is an argument.
const LAUNCHERS: [&str; 9] = ["npx", "node", "python", "python3", "uvx", "uv", "bun", "deno", "tsx"];

/// Where programs lie in an image.
const FOLDERS: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];

/// Whether a server is confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SandboxWord {
    /// In the jail
    Jail,
    /// A process of this user's, which may do whatever this user may
    Off,
}

/// What a server may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AllowWord {
    /// Your model
    Sampling,
    /// A form for you
    Elicitation,
    /// Your folders
    Roots,
}

/// The server.
#[derive(Debug, Args)]
pub(crate) struct UpstreamFlags {
    /// What the server is called in receipts and in the book of what was accepted [default: after its program]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Where it runs. `off` is in every receipt
    #[arg(long, value_enum, default_value = "jail")]
    sandbox: SandboxWord,
    /// Hand it a variable: NAME takes it over from here, and it is kept out of answers; NAME=VALUE sets it
    #[arg(long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Put a file or a folder into its home folder in the jail, under its own name
    #[arg(long, value_name = "PATH")]
    with: Vec<PathBuf>,
    /// Put a copy of this folder into its home in the jail, as `workspace`. Nothing that it changes there comes back
    #[arg(long, value_name = "DIR[:ro]", value_parser = workspace)]
    workspace: Option<PathBuf>,
    /// Let what it writes to `kept` in its home in the jail live on from one start to the next, in the data directory
    #[arg(long)]
    keep: bool,
    /// Let it reach this name from the jail: example.org, or *.example.org for all below it
    #[arg(long, value_name = "NAME")]
    allow_domain: Vec<String>,
    /// Let it reach these addresses from the jail by number: 93.184.216.0/24, or one address
    #[arg(long, value_name = "CIDR")]
    allow_cidr: Vec<String>,
    /// Let it dial this port from the jail [default: 80 and 443]
    #[arg(long, value_name = "PORT")]
    allow_port: Vec<u16>,
    /// Its memory in the jail, in MiB
    #[arg(long, value_name = "MB", default_value_t = 512, value_parser = clap::value_parser!(u64).range(64..))]
    server_memory: u64,
    /// Where it starts, where it is not in the jail [default: here]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// The server is at this URL (Streamable HTTP) instead
    #[arg(long, value_name = "URL", conflicts_with = "command")]
    url: Option<String>,
    /// The URL is that of a server of the older transport, with a stream of events
    #[arg(long, requires = "url")]
    sse: bool,
    /// Send a header to the URL: its value is that of a variable, and is kept out of answers
    #[arg(long, value_name = "HEADER=VARIABLE", requires = "url")]
    header: Vec<String>,
    /// The URL may be in a private network, or on this host
    #[arg(long, requires = "url")]
    allow_private: bool,
    /// Hand on what it asks of you: sampling (your model), elicitation (a form for you), roots (your folders). Within a call
    /// alone, and where the policy allows it
    #[arg(long, value_name = "WHAT", value_enum)]
    allow: Vec<AllowWord>,
    /// The server: its program and arguments
    #[arg(last = true, value_name = "COMMAND", required_unless_present = "url")]
    command: Vec<String>,
}

impl UpstreamFlags {
    /// Its name.
    pub(crate) fn name(&self) -> anyhow::Result<ServerName> {
        let name = match (&self.name, &self.url) {
            (Some(name), _) => name.clone(),
            (None, Some(_)) => bail!("--url needs --name, which rules and receipts call the server by"),
            (None, None) => named_after(&self.command),
        };
        ServerName::new(name).map_err(|rule| anyhow::anyhow!("--name: {rule}"))
    }

    /// What it may ask of whoever calls it.
    pub(crate) fn asks(&self) -> Asks {
        let kind = |word: &AllowWord| match word {
            AllowWord::Sampling => Asking::Sampling,
            AllowWord::Elicitation => Asking::Elicitation,
            AllowWord::Roots => Asking::Roots,
        };
        self.allow.iter().map(kind).collect()
    }

    fn has_egress(&self) -> bool {
        !self.allow_domain.is_empty() || !self.allow_cidr.is_empty()
    }

    /// Whether it runs in the jail.
    pub(crate) fn is_jailed(&self) -> bool {
        self.url.is_none() && self.sandbox == SandboxWord::Jail
    }

    /// Settings under which the server can be started.
    pub(crate) fn fit(&self, settings: Settings) -> anyhow::Result<Settings> {
        if !self.is_jailed() {
            let has_files = !self.with.is_empty() || self.workspace.is_some() || self.keep;
            if has_files || self.has_egress() || !self.allow_port.is_empty() {
                bail!(
                    "--with, --workspace, --keep, --allow-domain, --allow-cidr and --allow-port are for a server in the jail"
                );
            }
            return Ok(Settings { code: Switch::Off, ..settings });
        }
        if self.folder.is_some() {
            bail!("--folder is for a server outside the jail; --with puts files into it");
        }
        if !self.allow_port.is_empty() && !self.has_egress() {
            bail!("--allow-port goes with --allow-domain or --allow-cidr");
        }
        let section = EgressSection {
            domains: self.allow_domain.clone(),
            cidrs: self.allow_cidr.clone(),
            ports: (!self.allow_port.is_empty()).then(|| self.allow_port.clone()),
            // An address of a private network is opened by its number alone, which says that it is meant.
            allow_private: Some(!self.allow_cidr.is_empty()),
            ..EgressSection::default()
        };
        let section = self.has_egress().then_some(section);
        let setting = section.is_some().then_some(NetworkSetting::Egress);
        let outward =
            Outward::resolve(setting, section.as_ref()).context("what it may reach cannot be kept")?;
        let image = wire::image(&settings)?;
        let mut argv = self.command.clone();
        if let Some(program) = argv.first_mut().filter(|program| !program.contains('/')) {
            *program = found_in(&image.root, program)?;
        }
        let env =
            self.variables()?.into_iter().map(|(name, text)| (name, text.as_str().to_owned())).collect();
        if !self.secrets().is_empty() {
            bail!(
                "--env NAME hands a secret to strangers' code in the jail, from where it can be told in other words; \
                 --env NAME=VALUE says that it is none"
            );
        }
        let programs = vec![program_of(&self.name()?, argv, env)];
        Ok(Settings {
            code: Switch::On,
            residents: 0,
            slots: 1,
            aside: SLOTS,
            profiles: Vec::new(),
            outward,
            programs,
            ..settings
        })
    }

    /// Who connects it. `profiles` are the sandboxes of settings that were [fitted](Self::fit).
    pub(crate) fn connect(
        &self,
        settings: &Settings,
        profiles: Option<&Profiles>,
        data_dir: Option<&Path>,
    ) -> anyhow::Result<Arc<dyn Connect>> {
        let server = self.name()?;
        if let Some(url) = &self.url {
            let spec = HttpUpstreamSpec {
                server,
                url: url.clone(),
                is_legacy: self.sse,
                headers: self.headers()?,
                oauth: None,
                allow_private: self.allow_private,
            };
            return Ok(Arc::new(HttpUpstream::new(spec, None)?));
        }
        if self.is_jailed() {
            let sandbox =
                profiles.and_then(|profiles| profiles.find(None)).context("there is no jail here")?;
            let folders = match data_dir {
                Some(data_dir) => folders(&server, self.workspace.as_deref(), self.keep, data_dir)?,
                None if self.workspace.is_some() || self.keep => {
                    bail!("nothing is called here: --workspace and --keep are for `execgate proxy`")
                }
                None => FoldersSpec::default(),
            };
            let spec = JailedUpstreamSpec {
                server,
                folders,
                network: settings.outward.network.clone(),
                memory_bytes: self.server_memory << 20,
                files: self.files()?,
            };
            return Ok(Arc::new(JailedUpstream::new(spec, Arc::clone(sandbox))));
        }
        let folder = match &self.folder {
            Some(folder) => folder.clone(),
            None => std::env::current_dir().context("failed to find out where we are")?,
        };
        // Whoever has dropped root may be unable to be here.
        let folder = if access(&folder, Access::EXEC_OK).is_ok() { folder } else { PathBuf::from("/") };
        let (argv, env, secrets) = (self.command.clone(), self.variables()?, self.secrets());
        Ok(Arc::new(KeptUpstream::new(KeptUpstreamSpec {
            server,
            argv,
            env,
            secrets,
            folder,
            processes_max: SLOTS,
        })))
    }

    fn variables(&self) -> anyhow::Result<BTreeMap<String, Zeroizing<String>>> {
        let one = |text: &String| match text.split_once('=') {
            Some((name, value)) => Ok((name.to_owned(), Zeroizing::new(value.to_owned()))),
            None => {
                let value = Environment::secret(text);
                Ok((
                    text.clone(),
                    value.with_context(|| format!("--env {text}: no such variable is set here"))?,
                ))
            }
        };
        self.env.iter().map(one).collect()
    }

    /// Those that were taken over and are long enough to be told from words.
    fn secrets(&self) -> Vec<Secret> {
        let taken = self.env.iter().filter(|text| !text.contains('='));
        let secret = |name: &String| Secret::new(name, Environment::secret(name)?).ok();
        taken.filter_map(secret).collect()
    }

    fn headers(&self) -> anyhow::Result<BTreeMap<String, (String, Secret)>> {
        let one = |text: &String| {
            let (header, variable) = text.split_once('=').context("--header is HEADER=VARIABLE")?;
            let value = Environment::secret(variable);
            let value = value.with_context(|| format!("--header {header}: no such variable is set here"))?;
            // What is secret is behind the word for its kind.
            let (before, secret) = match value.split_once(' ') {
                Some((kind @ ("Bearer" | "Basic"), rest)) => {
                    (format!("{kind} "), Zeroizing::new(rest.to_owned()))
                }
                Some(_) | None => (String::new(), value.clone()),
            };
            let secret = Secret::new(variable, secret).with_context(|| format!("--header {header}"))?;
            Ok((header.to_owned(), (before, secret)))
        };
        self.header.iter().map(one).collect()
    }

    fn files(&self) -> anyhow::Result<Vec<PlacedFile>> {
        let (mut files, mut bytes) = (Vec::new(), 0_u64);
        for path in &self.with {
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.with_context(|| format!("--with {} names no file", path.display()))?;
            gather(path, name, &mut files, &mut bytes)
                .with_context(|| format!("--with {} cannot be", path.display()))?;
        }
        Ok(files)
    }
}

/// A folder that is copied; what would be written back is not had.
fn workspace(text: &str) -> Result<PathBuf, String> {
    let folder = text.strip_suffix(":ro").unwrap_or(text);
    if text.ends_with(":rw") {
        return Err("a folder of this host is not written to: --keep has one that lives on".to_owned());
    }
    path::absolute(folder).map_err(|error| error.to_string())
}

/// A file, or all files of a folder. Links are followed as files, and never as folders.
fn gather(path: &Path, inside: &str, files: &mut Vec<PlacedFile>, bytes: &mut u64) -> anyhow::Result<()> {
    let shown = path.display();
    let metadata = fs::symlink_metadata(path).with_context(|| format!("failed to look at {shown}"))?;
    if metadata.is_dir() {
        for entry in fs::read_dir(path).with_context(|| format!("failed to list {shown}"))? {
            let entry = entry.with_context(|| format!("failed to list {shown}"))?;
            let name = entry.file_name();
            let name = name.to_str().with_context(|| format!("a name in {shown} is no UTF-8"))?;
            gather(&entry.path(), &format!("{inside}/{name}"), files, bytes)?;
        }
        return Ok(());
    }
    if !fs::metadata(path).is_ok_and(|metadata| metadata.is_file()) {
        return Ok(());
    }
    let content = fs::read(path).with_context(|| format!("failed to read {shown}"))?;
    *bytes += u64::try_from(content.len()).unwrap_or(u64::MAX);
    if *bytes > FILES_BYTES_MAX || files.len() >= FILES_MAX {
        bail!("there are more than {FILES_MAX} files or {FILES_BYTES_MAX} bytes");
    }
    files.push(PlacedFile::new(inside, content).with_context(|| format!("{shown} cannot be put there"))?);
    Ok(())
}

/// A program of an image, by its name.
fn found_in(root: &Path, program: &str) -> anyhow::Result<String> {
    let paths = FOLDERS.iter().map(|folder| format!("{folder}/{program}"));
    let found =
        paths.into_iter().find(|path| root.join(path.trim_start_matches('/')).symlink_metadata().is_ok());
    found.with_context(|| {
        format!(
            "the image has no program `{program}`, and a server runs in the jail unless you say otherwise: \
             name one that the image has (node, python3) with its files in --with, or write --sandbox off"
        )
    })
}

/// The name of a server that nobody has named.
fn named_after(command: &[String]) -> String {
    let base = |word: &str| word.rsplit('/').next().unwrap_or_default().to_owned();
    let program = command.first().map(|program| base(program)).unwrap_or_default();
    let meant = if LAUNCHERS.contains(&program.as_str()) {
        command.iter().skip(1).find(|word| !word.starts_with('-')).map(|word| base(word))
    } else {
        None
    };
    let meant = meant.unwrap_or(program);
    let stem = meant.split(['.', '@']).next().unwrap_or_default().to_ascii_lowercase();
    let fits = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '-' };
    stem.chars().map(fits).take(NAME_BYTES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::named_after;

    #[test]
    fn a_server_is_called_after_what_is_meant() {
        let name =
            |command: &str| named_after(&command.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(name("npx -y @modelcontextprotocol/server-everything stdio"), "server-everything");
        assert_eq!(name("npx some-server@1.2"), "some-server");
        assert_eq!(name("python3 /opt/My_Server.py"), "my_server");
        assert_eq!(name("/usr/bin/github-mcp stdio"), "github-mcp");
    }
}
