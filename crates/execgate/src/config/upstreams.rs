//! Servers of others that a gateway stands in front of: from sections of the configuration to what the tools crate connects.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use execgate_sandbox::{EgressMeans, Language, Network};
use execgate_tool::upstream::{
    Asking, Asks, ClientAuth, Connect, FirstContact, FoldersSpec, HttpUpstream, HttpUpstreamSpec,
    JailedUpstream, JailedUpstreamSpec, KeptUpstream, KeptUpstreamSpec, OauthSpec, ServerName, Sharing,
    TokenShelf, program_of,
};
use execgate_tool::{Profiles, Secret, Secrets};
use url::Url;
use zeroize::Zeroizing;

use super::file::{ClientAuthSetting, FirstSetting, OauthSection, TransportSetting, UpstreamSection};
use super::network::Outward;

/// The most servers.
const SERVERS_MAX: usize = 64;

/// The memory of a server in the jail where nothing is said, and the least, in MiB.
const MEMORY_MIB: u64 = 512;
const MEMORY_MIB_MIN: u64 = 64;

/// How many callers may have a process of one server at once where nothing is said, and at most.
const PROCESSES: usize = 4;
const PROCESSES_MAX: usize = 64;

/// How long a process is kept that its caller calls nothing of where nothing is said, and at most, in seconds.
const IDLE_S: u64 = 600;
const IDLE_S_MAX: u64 = 24 * 3600;

/// Slots of a server in the jail beside those of its callers: that of the process which is asked what it offers, and one
/// for what has not yet ended while another takes its place.
const SLOTS_BESIDE: usize = 2;

/// The most slots that servers take together.
const SLOTS_MAX: usize = 256;

/// How long a call may take where nothing is said, and at most, in seconds.
const TIMEOUT_S: u64 = 300;
const TIMEOUT_S_MAX: u64 = 600;

/// One server, as it was declared; its secrets are read.
#[derive(Debug, Clone)]
pub(crate) struct Declared {
    pub(crate) name: ServerName,
    pub(crate) first: FirstContact,
    pub(crate) call_within: Duration,
    pub(crate) sharing: Sharing,
    pub(crate) asks: Asks,
    means: Means,
}

#[derive(Debug, Clone)]
enum Means {
    Http(HttpUpstreamSpec),
    Kept(KeptUpstreamSpec),
    Jailed { spec: JailedUpstreamSpec, keeps: bool },
}

impl Declared {
    /// Who connects it, in one of these sandboxes where it is in one.
    /// `shelf` keeps the tokens that take the place of the operator's.
    pub(crate) fn connect(
        &self,
        profiles: Option<&Profiles>,
        shelf: Arc<dyn TokenShelf>,
        data_dir: &Path,
    ) -> anyhow::Result<Arc<dyn Connect>> {
        Ok(match &self.means {
            Means::Http(spec) => Arc::new(HttpUpstream::new(spec.clone(), Some(shelf))?),
            Means::Kept(spec) => Arc::new(KeptUpstream::new(spec.clone())),
            Means::Jailed { spec, keeps } => {
                let sandbox = profiles.and_then(|profiles| profiles.find(None));
                let sandbox = sandbox.with_context(|| {
                    format!("the server `{}` is to run in the jail, and code is off here", self.name)
                })?;
                let spec = JailedUpstreamSpec {
                    folders: folders(&self.name, spec.folders.copied.as_deref(), *keeps, data_dir)?,
                    ..spec.clone()
                };
                Arc::new(JailedUpstream::new(spec, Arc::clone(sandbox)))
            }
        })
    }
}

/// The folders of a server in the jail. What is copied is nothing of the gateway's own.
pub(crate) fn folders(
    server: &ServerName,
    copied: Option<&Path>,
    keeps: bool,
    data_dir: &Path,
) -> anyhow::Result<FoldersSpec> {
    if let Some(folder) = copied {
        let shown = folder.display();
        let whole = folder.canonicalize();
        let whole = whole.with_context(|| format!("the workspace {shown} of `{server}` cannot be read"))?;
        let own = data_dir.canonicalize().context("the data directory has no path")?;
        if whole.starts_with(&own) || own.starts_with(&whole) {
            bail!("the workspace {shown} of `{server}` holds the data directory, or is in it");
        }
    }
    let kept = keeps.then(|| data_dir.join("upstreams").join(server.as_str()).join("workspace"));
    Ok(FoldersSpec { copied: copied.map(Path::to_path_buf), kept })
}

/// How many slots those that are in the jail need, beside those of runs.
pub(super) fn slots(sections: &[UpstreamSection]) -> anyhow::Result<usize> {
    let named = |section: &UpstreamSection| {
        sharing(section).with_context(|| format!("[[upstream]] `{}` is wrong", section.name))
    };
    let processes = |section: &UpstreamSection| match named(section)? {
        Sharing::Shared | Sharing::Sole => Ok(SLOTS_BESIDE),
        Sharing::PerCaller { processes_max, .. } => anyhow::Ok(processes_max + SLOTS_BESIDE),
    };
    let needed: usize =
        sections.iter().filter(|section| is_jailed(section)).map(processes).sum::<anyhow::Result<_>>()?;
    if needed > SLOTS_MAX {
        bail!("the servers in the jail need {needed} slots, and {SLOTS_MAX} can be: lower their `processes`");
    }
    Ok(needed)
}

/// What their egress needs of the host, beside that of runs; none where neither has any.
pub(super) fn means(
    sections: &[UpstreamSection],
    of_runs: Option<&EgressMeans>,
) -> anyhow::Result<Option<EgressMeans>> {
    let mut all = of_runs.cloned();
    for section in sections.iter().filter(|section| is_jailed(section)) {
        if let Some(means) = outward(section)?.means {
            let all = all.get_or_insert_default();
            all.name_servers.extend(means.name_servers);
            all.private_cidrs.extend(means.private_cidrs);
            all.denied_cidrs.extend(means.denied_cidrs);
        }
    }
    Ok(all)
}

/// What holds a server, and who shares it, in words for its operator.
pub(super) fn words(section: &UpstreamSection) -> anyhow::Result<String> {
    if let Some(url) = &section.url {
        // Its path and query may hold a key.
        let origin =
            url.parse::<Url>().map_or_else(|_| "a URL".to_owned(), |url| url.origin().ascii_serialization());
        let shared = shared_words(section, "session")?;
        return Ok(format!("at {origin}: what it does there, nothing here holds; {shared}"));
    }
    let shared = shared_words(section, "process")?;
    if !is_jailed(section) {
        return Ok(format!(
            "NO SANDBOX (`sandbox = false`): files, network and rights of this gateway's user; {shared}"
        ));
    }
    let network = match outward(section)?.network {
        Network::Egress(egress) => {
            let rules = egress.rules();
            let reached: Vec<_> = rules.domains.iter().chain(&rules.cidrs).map(String::as_str).collect();
            format!("network egress to {}", reached.join(", "))
        }
        other @ (Network::None | Network::Loopback) => format!("network {}", other.name()),
    };
    let memory = section.memory_mib.unwrap_or(MEMORY_MIB);
    let mut folders = String::new();
    if let Some(folder) = &section.workspace {
        folders.push_str(&format!(", a copy of {}", folder.display()));
    }
    if section.keeps == Some(true) {
        folders.push_str(", a folder that it keeps");
    }
    Ok(format!("in the jail, {network}, {memory} MiB{folders}; {shared}"))
}

/// Who shares it, and what it may ask of them.
fn shared_words(section: &UpstreamSection, what: &str) -> anyhow::Result<String> {
    let shared = match sharing(section)? {
        Sharing::Shared | Sharing::Sole => format!("one {what} for all callers"),
        Sharing::PerCaller { processes_max, idle } => {
            format!("a {what} for each caller, at most {processes_max}, idle {} s", idle.as_secs())
        }
    };
    let asks = asks(section)?;
    if asks.is_empty() {
        return Ok(shared);
    }
    let words: Vec<_> = asks.words().collect();
    Ok(format!("{shared}; it may ask its callers: {}", words.join(", ")))
}

/// What it may ask of the clients that call it.
fn asks(section: &UpstreamSection) -> anyhow::Result<Asks> {
    let kind = |word: &String| {
        Asking::named(word)
            .with_context(|| format!("`allow` has `sampling`, `elicitation` and `roots`, and no `{word}`"))
    };
    let asks: Asks = section.allow.iter().map(kind).collect::<anyhow::Result<_>>()?;
    let tells_apart = section.url.is_some() && section.transport != Some(TransportSetting::Sse);
    if !asks.is_empty() && section.shareable == Some(true) && !tells_apart {
        bail!(
            "`allow` and `shareable` do not go together here: by this transport nobody can tell which caller is asked"
        );
    }
    Ok(asks)
}

fn outward(section: &UpstreamSection) -> anyhow::Result<Outward> {
    Outward::resolve(section.network, section.egress.as_ref())
        .with_context(|| format!("the network of [[upstream]] `{}` is wrong", section.name))
}

fn sharing(section: &UpstreamSection) -> anyhow::Result<Sharing> {
    if section.shareable == Some(true) {
        if section.processes.is_some() || section.idle_s.is_some() {
            bail!(
                "`processes` and `idle_s` are for a server of which each caller has a process or a session of its own"
            );
        }
        return Ok(Sharing::Shared);
    }
    // A session costs less than a process.
    let usual = if section.url.is_some() { PROCESSES_MAX } else { PROCESSES };
    let (processes_max, idle) = (section.processes.unwrap_or(usual), section.idle_s.unwrap_or(IDLE_S));
    if !(1..=PROCESSES_MAX).contains(&processes_max) || !(1..=IDLE_S_MAX).contains(&idle) {
        bail!("`processes` is 1 to {PROCESSES_MAX}, `idle_s` 1 to {IDLE_S_MAX}");
    }
    Ok(Sharing::PerCaller { processes_max, idle: Duration::from_secs(idle) })
}

fn name(section: &UpstreamSection) -> anyhow::Result<ServerName> {
    ServerName::new(section.name.as_str())
        .map_err(|rule| anyhow::anyhow!("[[upstream]] `{}`: {rule}", section.name))
}

fn is_jailed(section: &UpstreamSection) -> bool {
    section.command.is_some() && section.sandbox.unwrap_or(true)
}

/// The programs of those that are in the jail.
pub(super) fn programs(sections: &[UpstreamSection]) -> anyhow::Result<Vec<Language>> {
    let program = |section: &UpstreamSection| {
        let argv = section.command.clone().unwrap_or_default();
        if !argv.first().is_some_and(|program| program.starts_with('/')) {
            bail!(
                "[[upstream]] `{}`: `command` begins with the path of a program in the image",
                section.name
            );
        }
        let env = section.env.clone().into_iter().collect();
        Ok(program_of(&name(section)?, argv, env))
    };
    sections.iter().filter(|section| is_jailed(section)).map(program).collect()
}

/// Reads what was declared, with the secrets that it names.
pub(super) fn load(sections: &[UpstreamSection], secrets: &Secrets) -> anyhow::Result<Vec<Declared>> {
    if sections.len() > SERVERS_MAX {
        bail!("there are {} upstream servers; at most {SERVERS_MAX} can be", sections.len());
    }
    let mut all: Vec<Declared> = Vec::new();
    for section in sections {
        let one = declared(section, secrets)
            .with_context(|| format!("[[upstream]] `{}` is wrong", section.name))?;
        if all.iter().any(|other| other.name == one.name) {
            bail!("two upstream servers are called `{}`", one.name);
        }
        all.push(one);
    }
    Ok(all)
}

fn declared(section: &UpstreamSection, secrets: &Secrets) -> anyhow::Result<Declared> {
    let name = name(section)?;
    let seconds = section.timeout_s.unwrap_or(TIMEOUT_S);
    if !(1..=TIMEOUT_S_MAX).contains(&seconds) {
        bail!("`timeout_s` is 1 to {TIMEOUT_S_MAX}");
    }
    let means = match (&section.command, &section.url) {
        (None, Some(url)) => Means::Http(http(section, name.clone(), url, secrets)?),
        (Some(argv), None) => started(section, name.clone(), argv, secrets)?,
        (Some(_), Some(_)) | (None, None) => bail!("it has either `command` or `url`"),
    };
    let first = match section.first.unwrap_or(FirstSetting::Wait) {
        FirstSetting::Accept => FirstContact::Accept,
        FirstSetting::Wait => FirstContact::Wait,
    };
    let (call_within, sharing, asks) = (Duration::from_secs(seconds), sharing(section)?, asks(section)?);
    Ok(Declared { name, first, call_within, sharing, asks, means })
}

fn secret(named: &str, secrets: &Secrets) -> anyhow::Result<Secret> {
    secrets.find(named).cloned().with_context(|| format!("there is no section [secrets.{named}]"))
}

fn http(
    section: &UpstreamSection,
    server: ServerName,
    url: &str,
    secrets: &Secrets,
) -> anyhow::Result<HttpUpstreamSpec> {
    if section.sandbox.is_some()
        || !section.env.is_empty()
        || !section.secrets.is_empty()
        || section.network.is_some()
        || section.egress.is_some()
        || section.workspace.is_some()
        || section.keeps.is_some()
    {
        bail!(
            "`sandbox`, `env`, `secrets`, `network`, `egress`, `workspace` and `keeps` are for a server with a `command`"
        );
    }
    let mut headers = BTreeMap::new();
    for (header, value) in &section.headers {
        let before = value.prefix.clone().unwrap_or_default();
        headers.insert(header.clone(), (before, secret(&value.secret, secrets)?));
    }
    let is_legacy = section.transport == Some(TransportSetting::Sse);
    let allow_private = section.allow_private.unwrap_or(false);
    let oauth = section.oauth.as_ref().map(|oauth| tokens(oauth, secrets)).transpose()?;
    let spec = HttpUpstreamSpec { server, url: url.to_owned(), is_legacy, headers, oauth, allow_private };
    // What is wrong with it is told at the start.
    HttpUpstream::new(spec.clone(), None)?;
    Ok(spec)
}

/// How tokens for a server are had.
fn tokens(section: &OauthSection, secrets: &Secrets) -> anyhow::Result<OauthSpec> {
    let named = |name: &Option<String>| name.as_deref().map(|name| secret(name, secrets)).transpose();
    if section.client_id.is_empty() {
        bail!("`oauth`: `client_id` says who asks");
    }
    Ok(OauthSpec {
        client_id: section.client_id.clone(),
        client_secret: named(&section.client_secret)?,
        refresh_token: named(&section.refresh_token)?,
        token_url: section.token_url.clone(),
        issuer: section.issuer.clone(),
        scope: section.scope.clone(),
        auth: section.auth.map(|auth| match auth {
            ClientAuthSetting::Basic => ClientAuth::Basic,
            ClientAuthSetting::Post => ClientAuth::Post,
        }),
    })
}

fn started(
    section: &UpstreamSection,
    server: ServerName,
    argv: &[String],
    secrets: &Secrets,
) -> anyhow::Result<Means> {
    if section.transport.is_some()
        || section.allow_private.is_some()
        || section.oauth.is_some()
        || !section.headers.is_empty()
    {
        bail!("`transport`, `allow_private`, `headers` and `oauth` are for a server with a `url`");
    }
    if section.memory_mib.is_some_and(|mib| mib < MEMORY_MIB_MIN) {
        bail!("`memory_mib` is at least {MEMORY_MIB_MIN}");
    }
    if is_jailed(section) {
        if !section.secrets.is_empty() {
            bail!("`secrets` reach no guest: strangers' code could tell them in other words");
        }
        let memory_bytes = section.memory_mib.unwrap_or(MEMORY_MIB) << 20;
        let (network, files) = (outward(section)?.network, Vec::new());
        if section.workspace.as_ref().is_some_and(|folder| !folder.is_absolute()) {
            bail!("`workspace` is the whole path of a folder");
        }
        let folders = FoldersSpec { copied: section.workspace.clone(), kept: None };
        let spec = JailedUpstreamSpec { server, network, memory_bytes, files, folders };
        return Ok(Means::Jailed { spec, keeps: section.keeps == Some(true) });
    }
    if section.network.is_some() || section.egress.is_some() {
        bail!("`network` and `egress` are for a server in the jail: outside it has the network of this host");
    }
    if section.workspace.is_some() || section.keeps.is_some() {
        bail!("`workspace` and `keeps` are for a server in the jail: outside it has the files of this host");
    }
    let plain = section.env.iter().map(|(name, text)| (name.clone(), Zeroizing::new(text.clone())));
    let mut env: BTreeMap<_, _> = plain.collect();
    let mut taken = Vec::new();
    for (variable, named) in &section.secrets {
        let secret = secret(named, secrets)?;
        env.insert(variable.clone(), secret.text());
        taken.push(secret);
    }
    let folder = section.folder.clone().unwrap_or_else(|| PathBuf::from("/"));
    let processes_max = SLOTS_BESIDE
        + match sharing(section)? {
            Sharing::Shared | Sharing::Sole => 0,
            Sharing::PerCaller { processes_max, .. } => processes_max,
        };
    let argv = argv.to_vec();
    Ok(Means::Kept(KeptUpstreamSpec { server, argv, env, secrets: taken, folder, processes_max }))
}

#[cfg(test)]
mod tests {
    use execgate_sandbox::Network;
    use execgate_tool::Secrets;

    use super::{UpstreamSection, load, means, programs, slots, words};
    use crate::config::file::File;

    fn told(section: &str) -> String {
        let file: File = toml::from_str(&format!("[[upstream]]\nname = \"a\"\n{section}")).unwrap();
        let loaded =
            programs(&file.upstream).and_then(|_| load(&file.upstream, &Secrets::default()).map(drop));
        loaded.err().map(|error| format!("{error:#}")).unwrap_or_default()
    }

    #[test]
    fn what_a_server_has_fits_what_it_is() {
        for good in [
            "command = [\"/usr/bin/python3\", \"-m\", \"x\"]\nshareable = true\n",
            "command = [\"/bin/x\"]\nprocesses = 2\nidle_s = 5\nnetwork = \"egress\"\negress = { domains = [\"a.org\"] }\n",
            "command = [\"npx\", \"x\"]\nshareable = true\nsandbox = false\nenv = { MODE = \"x\" }\n",
            "url = \"https://mcp.example/mcp\"\n",
            "url = \"https://mcp.example/mcp\"\nshareable = true\nallow = [\"sampling\", \"roots\"]\n",
            "url = \"https://mcp.example/mcp\"\nprocesses = 2\n",
            "command = [\"/bin/x\"]\nallow = [\"elicitation\"]\nworkspace = \"/srv/notes\"\nkeeps = true\n",
            "url = \"https://mcp.example/sse\"\ntransport = \"sse\"\nfirst = \"accept\"\n",
        ] {
            assert_eq!(told(good), "", "{good}");
        }
        for (bad, why) in [
            ("", "either `command` or `url`"),
            ("command = [\"/bin/x\"]\nprocesses = 65\n", "`processes` is 1 to 64"),
            ("command = [\"/bin/x\"]\nshareable = true\nidle_s = 5\n", "of its own"),
            ("command = [\"/bin/x\"]\nnetwork = \"egress\"\n", "no rule says"),
            ("command = [\"/bin/x\"]\nsandbox = false\nnetwork = \"none\"\n", "in the jail"),
            ("url = \"https://a.example/\"\nshareable = true\nprocesses = 2\n", "of its own"),
            ("url = \"https://a.example/\"\nallow = [\"samples\"]\n", "and no `samples`"),
            ("command = [\"/bin/x\"]\nshareable = true\nallow = [\"roots\"]\n", "which caller is asked"),
            ("command = [\"/bin/x\"]\nworkspace = \"notes\"\n", "whole path"),
            ("command = [\"/bin/x\"]\nsandbox = false\nkeeps = true\n", "in the jail"),
            ("url = \"https://a.example/\"\nworkspace = \"/srv\"\n", "with a `command`"),
            ("command = [\"npx\"]\nshareable = true\n", "path of a program"),
            ("command = [\"/bin/x\"]\nshareable = true\nsecrets = { A = \"B\" }\n", "reach no guest"),
            (
                "command = [\"/bin/x\"]\nshareable = true\nsandbox = false\nsecrets = { A = \"B\" }\n",
                "[secrets.B]",
            ),
            ("url = \"https://a.example/\"\nsandbox = false\n", "with a `command`"),
            (
                "url = \"http://a.example/\"\nheaders = { Authorization = { secret = \"B\" } }\n",
                "[secrets.B]",
            ),
            ("url = \"ftp://a.example/\"\n", "http or https"),
            ("url = \"https://a.example/\"\noauth = { client_id = \"a\" }\n", "or both"),
            (
                "url = \"https://a.example/\"\noauth = { client_id = \"a\", client_secret = \"B\" }\n",
                "[secrets.B]",
            ),
            ("command = [\"/bin/x\"]\nshareable = true\noauth = { client_id = \"a\" }\n", "with a `url`"),
            ("url = \"https://a.example/\"\ntimeout_s = 0\n", "timeout_s"),
        ] {
            assert!(told(bad).contains(why), "{bad}: {}", told(bad));
        }
    }

    #[test]
    fn servers_have_slots_and_ways_out_beside_those_of_runs() {
        let file: File = toml::from_str(
            "[[upstream]]\nname = \"a\"\ncommand = [\"/bin/x\"]\nprocesses = 3\n\
             network = \"egress\"\negress = { cidrs = [\"10.0.0.0/8\"], allow_private = true, name_servers = [\"10.0.0.53\"] }\n\
             [[upstream]]\nname = \"b\"\ncommand = [\"/bin/x\"]\nshareable = true\n\
             [[upstream]]\nname = \"c\"\ncommand = [\"x\"]\nsandbox = false\n",
        )
        .unwrap();
        assert_eq!(slots(&file.upstream).unwrap(), (3 + 2) + 2);
        let words = |at: usize| words(&file.upstream[at]).unwrap();
        assert_eq!(
            words(0),
            "in the jail, network egress to 10.0.0.0/8, 512 MiB; a process for each caller, at most 3, idle 600 s"
        );
        assert_eq!(words(1), "in the jail, network none, 512 MiB; one process for all callers");
        assert!(words(2).starts_with("NO SANDBOX (`sandbox = false`)"), "{}", words(2));
        let means = |of_runs| means(&file.upstream, of_runs).unwrap();
        assert_eq!(means(None).unwrap().private_cidrs, ["10.0.0.0/8"]);
        assert!(super::means(&[], None).unwrap().is_none());
        // What the host has for all of them is not asked for each.
        let asked = |section: &UpstreamSection| match super::outward(section).unwrap().network {
            Network::Egress(egress) => egress.rules().name_servers.clone(),
            Network::None | Network::Loopback => None,
        };
        assert_eq!(asked(&file.upstream[0]).unwrap().as_ref(), means(None).unwrap().name_servers);
    }
}
