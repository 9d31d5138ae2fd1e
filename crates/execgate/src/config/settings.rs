//! The settings in force: flag > environment > file > default (CONTRACTS 4).

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{self, Path, PathBuf};

use anyhow::{Context as _, bail};
use execgate_flow::authorise::Rates;
use execgate_iam::{IssuerParts, ServiceUrl};
use execgate_model::{ActionName, TenantId};
use execgate_sandbox::{EgressMeans, Language};

use super::approvals::Approvals;
use super::file::{AuditSection, File, LogFormat, ProfileSection, RecordSection, UpstreamSection};
use super::issuers::{issuers, public_url};
use super::network::Outward;
use super::upstreams;
use super::witnesses::{WitnessPlace, witnesses};
use super::{
    Actions, Declared, Environment, Guarding, Payment, SqlSetting, Switch, TierSetting, Transparency,
    WebhookSetting, image_cache,
};
use crate::policy::PolicyFile;

/// The port that is listened on where nothing says otherwise.
const PORT: u16 = 5091;

/// Runs at once in one sandbox: a jail holds a uid, a cgroup and some memory.
const SLOTS_MAX: usize = 64;

/// What was given on the command line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flags {
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) free: bool,
    pub(crate) database: Option<String>,
    pub(crate) config: Option<PathBuf>,
    pub(crate) tier: Option<TierSetting>,
    pub(crate) slots: Option<usize>,
    pub(crate) image: Option<String>,
    pub(crate) image_cache: Option<PathBuf>,
    /// Nobody is served: a record is looked at.
    pub(crate) for_record: bool,
}

/// An image that calls may choose by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Profile {
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) slots: Option<usize>,
}

/// The settings of a gateway.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) listen: SocketAddr,
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) hosts: Vec<String>,
    pub(crate) connections: usize,
    pub(crate) database: Option<String>,
    pub(crate) answers: AnswersKept,
    /// Bytes of free space below which no run is claimed.
    pub(crate) min_free: u64,
    pub(crate) tenant: TenantId,
    pub(crate) require_grant: bool,
    pub(crate) alias: Option<String>,
    pub(crate) rates: Rates,
    pub(crate) guard: Option<Guarding>,
    pub(crate) issuers: Vec<IssuerParts>,
    /// Scheme, name and port under which others reach this gateway.
    pub(crate) public_url: Option<String>,
    /// How callers pay; none where nobody does.
    pub(crate) payment: Option<Payment>,
    pub(crate) allowed_actions: Option<BTreeSet<ActionName>>,
    pub(crate) policy: Option<PolicyFile>,
    /// Programs of upstream servers, for the jail.
    pub(crate) programs: Vec<Language>,
    /// Slots that are set aside for servers of others, beside `slots`.
    pub(crate) aside: usize,
    /// Servers of others that this gateway stands in front of.
    pub(crate) upstreams: Vec<UpstreamSection>,
    pub(crate) approvals: Approvals,
    pub(crate) code: Switch,
    pub(crate) tools: Switch,
    pub(crate) tier: TierSetting,
    pub(crate) slots: usize,
    pub(crate) residents: usize,
    pub(crate) image: Option<String>,
    pub(crate) image_cache: PathBuf,
    pub(crate) outward: Outward,
    pub(crate) profiles: Vec<Profile>,
    pub(crate) actions: Actions,
    /// Who is told of runs that wait for an approval.
    pub(crate) webhook: Option<WebhookSetting>,
    /// The database that `sql_write` writes to.
    pub(crate) sql_write: Option<SqlSetting>,
    pub(crate) log_file: Option<PathBuf>,
    pub(crate) log_level: String,
    pub(crate) log_format: LogFormat,
    pub(crate) audit: AuditKept,
    pub(crate) transparency: Transparency,
    pub(crate) witnesses: Vec<WitnessPlace>,
}

/// Free space below which no run is claimed, where nobody says otherwise: the WAL and the ends of all that may run.
const MIN_FREE_MIB: u32 = 256;

const MIB: u64 = 1 << 20;

/// How long and how many answers are kept for replays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AnswersKept {
    pub(crate) days: u32,
    pub(crate) bytes: u64,
}

impl AnswersKept {
    fn of_file(section: &RecordSection) -> Self {
        Self {
            days: section.keep_answers_days.unwrap_or(30),
            bytes: u64::from(section.keep_answers_mib.unwrap_or(4_096)) * MIB,
        }
    }
}

/// How much of the audit trail is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AuditKept {
    pub(crate) days: u32,
    pub(crate) lines: u64,
}

impl AuditKept {
    /// A line takes some 400 bytes, so that the trail has its end at about half a GB where nobody says otherwise.
    const USUAL: Self = Self { days: 90, lines: 1_000_000 };

    fn of_file(section: &AuditSection) -> Self {
        Self {
            days: section.keep_days.unwrap_or(Self::USUAL.days),
            lines: section.keep_lines.unwrap_or(Self::USUAL.lines),
        }
    }
}

impl Settings {
    /// The servers of others, with the secrets that they are handed.
    pub(crate) fn load_upstreams(&self) -> anyhow::Result<Vec<Declared>> {
        upstreams::load(&self.upstreams, &self.actions.secrets()?)
    }

    /// What holds each server of others, by its name, in words.
    pub(crate) fn upstreams_in_words(&self) -> anyhow::Result<Vec<(String, String)>> {
        let words =
            |section: &UpstreamSection| anyhow::Ok((section.name.clone(), upstreams::words(section)?));
        self.upstreams.iter().map(words).collect()
    }

    /// What egress of runs, and of servers of others, needs of the host.
    pub(crate) fn egress_means(&self) -> anyhow::Result<Option<EgressMeans>> {
        upstreams::means(&self.upstreams, self.outward.means.as_ref())
    }

    /// Resolves the settings of a process that runs as root or not.
    ///
    /// Whatever is asked for and cannot be done yet is an error: a gateway that ignored it would be open where
    /// its operator believes it closed.
    pub(crate) fn resolve(flags: &Flags, environment: &Environment, root: bool) -> anyhow::Result<Self> {
        let file = File::read(flags.config.as_deref())?;
        let payment = payment(flags, environment, &file)?;
        let listen = listen(flags, environment, &file)?;
        let free = flags.free || file.server.free.unwrap_or(false);
        let require_grant = file.identity.require_grant.unwrap_or(false);
        if !flags.for_record {
            refuse_an_open_door(listen, free, require_grant, payment.as_ref())?;
        }
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        let slots = flags.slots.or(file.sandbox.slots).filter(|slots| *slots > 0).unwrap_or(processors * 2);
        let cache = flags.image_cache.as_ref().map(|path| path.display().to_string());
        let tenant = TenantId::new(file.identity.tenant.as_deref().unwrap_or("default"))?;
        let public_url = public_url(&file.server)?;
        let own_host = public_url.as_ref().map(|url| url.host());
        let hosts = file.server.hosts.iter().map(String::as_str).chain(own_host);
        Ok(Self {
            listen,
            admin: admin(&file, listen)?,
            hosts: hosts.map(str::to_ascii_lowercase).collect(),
            witnesses: witnesses(&file.witness)?,
            transparency: Transparency::of_file(&file.transparency, public_url.as_ref(), file.witness.len())?,
            public_url: public_url.as_ref().and_then(ServiceUrl::origin),
            issuers: issuers(&file.identity.issuer, &tenant)?,
            connections: file.server.connections.unwrap_or(1024).max(1),
            database: flags
                .database
                .clone()
                .or_else(|| environment.openexec_db_url.clone())
                .or_else(|| environment.database_url.clone())
                .or_else(|| file.record.database.clone().filter(|url| !url.is_empty())),
            answers: AnswersKept::of_file(&file.record),
            min_free: u64::from(file.record.min_free_mib.unwrap_or(MIN_FREE_MIB)) * MIB,
            tenant,
            require_grant,
            alias: alias(environment)?,
            rates: rates(&file)?,
            guard: Guarding::of(environment, &file.identity)?,
            payment,
            allowed_actions: allowed_actions(environment, &file)?,
            policy: policy_file(&file)?,
            programs: upstreams::programs(&file.upstream)?,
            aside: upstreams::slots(&file.upstream)?,
            upstreams: file.upstream.clone(),
            approvals: Approvals::resolve(environment, &file)?,
            code: file.surfaces.code.unwrap_or(Switch::On),
            tools: file.surfaces.tools.unwrap_or(Switch::On),
            tier: flags.tier.or(file.sandbox.tier).unwrap_or(TierSetting::Auto),
            slots: slots.min(SLOTS_MAX),
            residents: file.sandbox.residents.unwrap_or(RESIDENTS).min(SLOTS_MAX),
            image: flags.image.clone().or(file.sandbox.image.clone()).filter(|digest| !digest.is_empty()),
            image_cache: image_cache(
                cache.as_deref().or(file.sandbox.image_cache.as_deref()),
                root,
                environment,
            )?,
            outward: Outward::of_file(&file.sandbox)?,
            profiles: profiles(&file)?,
            actions: Actions::declared(&file, flags.config.as_deref()),
            webhook: WebhookSetting::of_file(&file)?,
            sql_write: SqlSetting::of_file(&file)?,
            log_file: environment
                .log_file
                .clone()
                .or_else(|| file.log.file.clone().filter(|path| !path.is_empty()))
                .map(PathBuf::from),
            log_level: file.log.level.clone().unwrap_or_else(|| "info".to_owned()),
            log_format: file.log.format.unwrap_or_default(),
            audit: AuditKept::of_file(&file.audit),
        })
    }

    /// Everybody who can reach the listener is on this machine.
    pub(crate) fn is_local(&self) -> bool {
        self.listen.ip().is_loopback()
    }

    /// The URL of the record.
    pub(crate) fn database_url(&self, data_dir: &Path) -> String {
        self.database.clone().unwrap_or_else(|| super::sqlite_url(data_dir))
    }
}

/// Nobody is served by mistake: for nothing where it should be paid, or strangers for nothing.
fn refuse_an_open_door(
    listen: SocketAddr,
    free: bool,
    require_grant: bool,
    payment: Option<&Payment>,
) -> anyhow::Result<()> {
    if free && payment.is_some() {
        bail!(
            "to be served free of charge and to be paid exclude each other: leave out --free, or the wallet"
        );
    }
    if !listen.ip().is_loopback() && !free && !require_grant && payment.is_none() {
        bail!(
            "{listen} is not loopback, and free mode serves this machine only; --free serves others free of charge, \
             PAYMENT_WALLET those who pay, `identity.require_grant = true` those alone that have the key of a grant, or a token"
        );
    }
    Ok(())
}

/// How often something is simulated for nothing.
fn rates(file: &File) -> anyhow::Result<Rates> {
    let usual = Rates::default();
    let each = file.surfaces.simulate_per_minute.unwrap_or(usual.each);
    let local = file.surfaces.simulate_per_minute_local.unwrap_or(usual.local);
    if each == 0 || local == 0 {
        bail!("`surfaces.simulate_per_minute` and `surfaces.simulate_per_minute_local` are at least 1");
    }
    Ok(Rates { each, local })
}

/// The name by which internal grants may go.
fn alias(environment: &Environment) -> anyhow::Result<Option<String>> {
    let Some(name) = &environment.achilles_agent_id else { return Ok(None) };
    // What the log of calls says of others is of this form.
    let kinds = ["local", "anonymous", "session:", "grant:", "wallet:", "subject:", "claimed:"];
    if name.len() > ALIAS_BYTES_MAX
        || name.chars().any(char::is_control)
        || kinds.iter().any(|kind| name.starts_with(kind))
    {
        bail!(
            "ACHILLES_AGENT_ID is no name: at most {ALIAS_BYTES_MAX} bytes in one line, and not one of {}",
            kinds.join(", ")
        );
    }
    Ok(Some(name.clone()))
}

/// Bytes of the name by which internal grants may go: those of an `agentId`.
const ALIAS_BYTES_MAX: usize = 128;

/// As many interpreters of a language wait at the most where the operator does not say: each costs some MB.
const RESIDENTS: usize = 4;

/// Each profile is a process with ids of its own, of which there are 256 blocks; a few are what anybody needs.
const PROFILES_MAX: usize = 16;

fn profiles(file: &File) -> anyhow::Result<Vec<Profile>> {
    if file.profiles.len() > PROFILES_MAX {
        bail!("there are {} profiles; at most {PROFILES_MAX} can be", file.profiles.len());
    }
    let read = |(name, section): (&String, &ProfileSection)| {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name == "default" || name.len() > 32 || !name.chars().all(plain) {
            bail!("a profile cannot be called `{name}`: 1 to 32 of a-z, 0-9 and -, and not `default`");
        }
        let slots = section.slots.map(|slots| slots.clamp(1, SLOTS_MAX));
        Ok(Profile { name: name.clone(), image: section.image.clone(), slots })
    };
    file.profiles.iter().map(read).collect()
}

/// Who is paid. Where the wallet is in the gateway's own environment alone, its record can be looked at all the same.
fn payment(flags: &Flags, environment: &Environment, file: &File) -> anyhow::Result<Option<Payment>> {
    let section = file.payment.as_ref();
    let is_named = environment.payment_wallet.is_some() || section.is_some_and(|paid| paid.wallet.is_some());
    Payment::resolve(environment, section.filter(|_| is_named || !flags.for_record))
}

fn listen(flags: &Flags, environment: &Environment, file: &File) -> anyhow::Result<SocketAddr> {
    if let Some(listen) = flags.listen {
        return Ok(listen);
    }
    if let Some(port) = &environment.port {
        let port: u16 = port.parse().with_context(|| format!("PORT is `{port}`, which is no port"))?;
        let address = file.server.listen.as_deref().map(str::parse::<SocketAddr>).transpose();
        let ip = address.context("`server.listen` is no address")?.map(|address| address.ip());
        return Ok(SocketAddr::new(ip.unwrap_or(Ipv4Addr::UNSPECIFIED.into()), port));
    }
    match &file.server.listen {
        Some(text) => {
            text.parse().with_context(|| format!("`server.listen` is `{text}`, which is no address"))
        }
        None => Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, PORT))),
    }
}

/// The listener of the administration: on this machine, and no other one's.
fn admin(file: &File, public: SocketAddr) -> anyhow::Result<Option<SocketAddr>> {
    let Some(text) = file.admin.listen.as_deref().filter(|text| !text.is_empty()) else { return Ok(None) };
    let listen: SocketAddr =
        text.parse().with_context(|| format!("`admin.listen` is `{text}`, which is no address"))?;
    if !listen.ip().is_loopback() {
        bail!(
            "`admin.listen` is {listen}, which is not loopback; the administration is for this machine alone"
        );
    }
    if listen.port() != 0 && listen.port() == public.port() {
        bail!(
            "`admin.listen` is {listen}, the port of the public door; the administration needs one of its own"
        );
    }
    Ok(Some(listen))
}

/// The policy file, by its whole name: it is read again while the gateway serves.
fn policy_file(file: &File) -> anyhow::Result<Option<PolicyFile>> {
    let path = file.policy.file.as_deref().filter(|path| !path.is_empty());
    let path = path.map(path::absolute).transpose().context("`policy.file` is no path")?;
    Ok(path.as_deref().map(PolicyFile::at))
}

fn allowed_actions(environment: &Environment, file: &File) -> anyhow::Result<Option<BTreeSet<ActionName>>> {
    let names: Option<Vec<String>> = match &environment.allowed_actions {
        Some(list) => {
            Some(list.split(',').map(|name| name.trim().to_owned()).filter(|n| !n.is_empty()).collect())
        }
        None => file.policy.allowed_actions.clone(),
    };
    let names = names.map(|names| names.into_iter().map(ActionName::new).collect::<Result<_, _>>());
    names.transpose().context("the list of allowed actions is wrong")
}

#[cfg(test)]
mod tests {
    use super::{Environment, File, Flags, Settings, admin};
    use crate::config::file::AdminSection;

    fn resolve(flags: Flags, environment: Environment) -> anyhow::Result<Settings> {
        Settings::resolve(&flags, &environment, true)
    }

    #[test]
    fn without_any_setting_it_serves_this_machine() {
        let settings = resolve(Flags::default(), Environment::default()).unwrap();
        assert_eq!(settings.listen.to_string(), "127.0.0.1:5091");
        assert!(settings.is_local() && settings.allowed_actions.is_none());
    }

    #[test]
    fn off_loopback_free_mode_has_to_be_meant() {
        let port = Environment { port: Some("8080".to_owned()), ..Environment::default() };
        let error = resolve(Flags::default(), port.clone()).unwrap_err().to_string();
        assert!(error.contains("--free"), "{error}");
        let settings = resolve(Flags { free: true, ..Flags::default() }, port).unwrap();
        assert_eq!(settings.listen.to_string(), "0.0.0.0:8080");
    }

    #[test]
    fn the_administration_listens_on_this_machine_and_apart() {
        let admin = |text: &str| {
            let section = AdminSection { listen: Some(text.to_owned()) };
            admin(&File { admin: section, ..File::default() }, "127.0.0.1:5091".parse().unwrap())
        };
        assert_eq!(admin("").unwrap(), None);
        for right in ["127.0.0.1:5092", "[::1]:5092", "127.0.0.1:0"] {
            assert_eq!(admin(right).unwrap().unwrap().to_string(), right);
        }
        for wrong in [
            "5092",
            "localhost:5092",
            "0.0.0.0:5092",
            "10.0.0.1:5092",
            "[::]:5092",
            "127.0.0.1:5091",
            "[::1]:5091",
        ] {
            assert!(admin(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_flag_wins_over_the_environment() {
        let flags = Flags { database: Some("sqlite:///flag.db".into()), ..Flags::default() };
        let environment = Environment {
            openexec_db_url: Some("sqlite:///openexec.db".into()),
            database_url: Some("sqlite:///database.db".into()),
            ..Environment::default()
        };
        let url = |flags, env| resolve(flags, env).unwrap().database.unwrap();
        assert_eq!(url(flags, environment.clone()), "sqlite:///flag.db");
        assert_eq!(url(Flags::default(), environment), "sqlite:///openexec.db");
    }

    #[test]
    fn what_is_asked_for_and_not_there_is_refused() {
        let cases = [
            Environment { payment_wallet: Some("0x0".into()), ..Environment::default() },
            Environment { openexec_mode: Some("open".into()), ..Environment::default() },
            Environment { ep_guard_url: Some("http://guard".into()), ..Environment::default() },
            Environment { ep_guard_url: Some("guard.example".into()), ..Environment::default() },
        ];
        for environment in cases {
            assert!(resolve(Flags::default(), environment).is_err());
        }
    }

    #[test]
    fn the_allow_list_is_separated_by_commas_and_may_be_empty_of_names() {
        let list = |text: &str| {
            let environment = Environment { allowed_actions: Some(text.into()), ..Environment::default() };
            resolve(Flags::default(), environment).unwrap().allowed_actions.unwrap().len()
        };
        assert_eq!((list("echo, add"), list(",")), (2, 0));
    }
}
