//! The composition root: the only file that names concrete types of stores, rails and executors together.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use execgate_flow::administer::Keyring;
use execgate_flow::approve::{ApprovalMode, Approve};
use execgate_flow::authorise::{Authorise, Grants, Iam, NoIam, SimulationRate};
use execgate_flow::execute::Execute;
use execgate_flow::log::{Log, LogGate, LogKeys, LogParts, WitnessLine, Witnesses};
use execgate_flow::notice::{Notice, Several, Trail};
use execgate_flow::pay::Pay;
use execgate_flow::propose::Propose;
use execgate_flow::recover::Recover;
use execgate_flow::witness::{InForce, Witness};
use execgate_flow::{Corridor, Rooms};
use execgate_iam::{Guard, GuardParts, TokenIssuers, WitnessClient};
use execgate_model::{Clock as _, Entropy as _, InstanceId, NoCrash, Role, UnixMs};
use execgate_receipt::{Gateway, KeyName, SigningKey, sha256};
use execgate_sandbox::image::{Image, Progress, Recipe};
use execgate_sandbox::{
    Config as SandboxConfig, EgressMeans, HelperLink, ImageChecks, ImageRoot, Language, Rotation, Sandbox,
    Tier, TierChoice,
};
use execgate_store::{OpenOptions, Store, open, open_to_read};
use execgate_tool::upstream::Upstreams;
use execgate_tool::{Action, Catalogue, Languages, Profiles, Registry, code};
use execgate_web::{
    DoorRules, ExecMode, House, HouseParts, Metrics, Office, OfficeParts, OpenConnections, OwnWords, Pulse,
    Reading, ReadingKind, Resource, RuleDesk, ServiceInfo, TokenDoor, ToolSurface,
};
use rustix::process::geteuid;

use crate::commands::cli::Common;
use crate::config::{Environment, Settings, Switch, TierSetting, WitnessPlace};
use crate::disk::DiskWatch;
use crate::idle::IdleGauge;
use crate::keys::{self, KeyFolder};
use crate::log_queue::LogQueue;
use crate::outside::OutsideFiles;
use crate::policy::{Ground, RuleBook};
use crate::ports::{SystemClock, SystemEntropy};
use crate::terminal;
use crate::till::{self, Mute};
use crate::toolbox::{Loaded, tools, workspaces};
use crate::webhook::HttpBell;

/// The version of this binary.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Makes the data directory, for its owner alone.
pub(crate) fn make_data_dir(path: &Path) -> anyhow::Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("failed to make the data directory {}", path.display()))
}

/// The image that is named, or that of this host's packages: found in the cache, or built now with a progress
/// line.
pub(crate) fn image(settings: &Settings) -> anyhow::Result<Image> {
    let cache = &settings.image_cache;
    if let Some(digest) = &settings.image {
        return Image::open(cache, digest).context("failed to open the image that is named");
    }
    let image = Image::ensure(cache, &Recipe::host(), &mut draw_progress);
    terminal::progress_end();
    image.context("failed to make the image that code runs in")
}

/// Draws how far an image is.
pub(crate) fn draw_progress(progress: Progress<'_>) {
    const EVERY: usize = 64;
    if progress.files_done.is_multiple_of(EVERY) || progress.files_done == progress.files_total {
        let percent = progress.files_done * 100 / progress.files_total.max(1);
        terminal::progress(&format!(
            "building the image: {percent:>3} % ({} of {} files)",
            progress.files_done, progress.files_total
        ));
    }
}

/// The tier that a setting means; `strongest_allowed` where one person uses their own machine for free.
pub(crate) fn tier(setting: TierSetting, strongest_allowed: bool) -> TierChoice {
    match setting {
        TierSetting::Auto if strongest_allowed => TierChoice::Strongest,
        TierSetting::Auto | TierSetting::Jail => TierChoice::Exactly(Tier::Jail),
        TierSetting::JailNoCgroup => TierChoice::Exactly(Tier::JailNoCgroup),
        TierSetting::JailSingleUid => TierChoice::Exactly(Tier::JailSingleUid),
    }
}

/// What a sandbox will be made of: its helper was started while this process may have been root.
pub(crate) struct Jail {
    /// The profile; empty for the one of calls that name none.
    pub(crate) name: String,
    pub(crate) helper: HelperLink,
    pub(crate) image: Image,
    pub(crate) slots: usize,
    /// Slots beside them, for what lives long.
    pub(crate) aside: usize,
    /// How many interpreters of a language may wait.
    pub(crate) residents: usize,
    /// What egress needs, where runs may have it.
    pub(crate) egress: Option<EgressMeans>,
    /// Programs of the operator's actions.
    pub(crate) programs: Vec<Language>,
}

impl Jail {
    /// The sandbox, with every language that the image has. Two that live at the same time need two blocks of ids.
    pub(crate) fn start(self, tier: TierChoice, id_block: u8) -> anyhow::Result<Arc<Sandbox>> {
        let root = &self.image.root;
        for program in self.programs.iter().filter_map(|program| program.argv.first()) {
            // A link may lead anywhere; that it is there is enough, because only the jail follows it.
            let path = root.join(program.trim_start_matches('/'));
            path.symlink_metadata().with_context(|| format!("the image has no program {program}"))?;
        }
        let languages = code::present(root).into_iter().chain(self.programs).collect();
        let config = SandboxConfig {
            image: ImageRoot { path: self.image.root.clone(), digest: self.image.digest.clone() },
            languages,
            slots: self.slots + self.aside,
            residents: self.residents,
            tier,
            id_block,
            egress: self.egress,
            image_checks: ImageChecks::default(),
            rotation: Rotation::default(),
        };
        let sandbox = Sandbox::start(self.helper, config).context("the sandbox could not be started")?;
        Ok(Arc::new(sandbox.setting_aside(self.aside)))
    }
}

/// The jails of a gateway: that of calls that name no profile, and those of the profiles. Needs whatever rights the
/// helpers are to have.
pub(crate) fn jails(settings: &Settings, actions: &[Action]) -> anyhow::Result<Vec<Jail>> {
    let spawn = || execgate_sandbox::spawn_helper().context("the sandbox's helper could not be started");
    let residents = settings.residents;
    let egress = || settings.outward.means.clone();
    let programs = |profile: Option<&str>| {
        let programs = actions.iter().filter_map(Action::program);
        programs.filter(|(of, _)| *of == profile).map(|(_, program)| program).collect::<Vec<_>>()
    };
    let default = Jail {
        name: String::new(),
        helper: spawn()?,
        image: image(settings)?,
        slots: settings.slots,
        aside: settings.aside,
        residents,
        egress: settings.egress_means()?,
        programs: programs(None).into_iter().chain(settings.programs.iter().cloned()).collect(),
    };
    let mut jails = vec![default];
    for profile in &settings.profiles {
        let image = Image::open(&settings.image_cache, &profile.image)
            .with_context(|| format!("failed to open the image of the profile `{}`", profile.name))?;
        let slots = profile.slots.unwrap_or(settings.slots);
        let (name, helper, egress) = (profile.name.clone(), spawn()?, egress());
        let programs = programs(Some(&profile.name));
        jails.push(Jail { name, helper, image, slots, aside: 0, residents, egress, programs });
    }
    Ok(jails)
}

/// The sandboxes of a gateway's jails.
pub(crate) fn profiles(jails: Vec<Jail>, tier: TierChoice) -> anyhow::Result<Option<Profiles>> {
    let mut default = None;
    let mut named = Vec::new();
    for (block, jail) in (0..=u8::MAX).zip(jails) {
        let name = jail.name.clone();
        let sandbox = jail.start(tier, block)?;
        if name.is_empty() { default = Some(sandbox) } else { named.push((name, sandbox)) }
    }
    Ok(default.map(|default| Profiles::new(default, named)))
}

/// Opens the record of a data directory as a new instance.
pub(crate) fn record(data_dir: &Path, url: String) -> anyhow::Result<Arc<dyn Store>> {
    open(&record_options(data_dir, url)).context("the record could not be opened")
}

/// Opens the record of a data directory to look at it: nothing of it is written.
pub(crate) fn record_to_read(data_dir: &Path, url: String) -> anyhow::Result<Arc<dyn Store>> {
    open_to_read(&record_options(data_dir, url)).context("the record could not be opened")
}

fn record_options(data_dir: &Path, url: String) -> OpenOptions {
    OpenOptions {
        url,
        data_dir: data_dir.to_owned(),
        instance: InstanceId::from_entropy(SystemEntropy.sixteen()),
        at: SystemClock::new().now(),
    }
}

/// The settings of a command of the operator over a record.
pub(crate) fn record_settings(common: &Common) -> anyhow::Result<Settings> {
    // What the environment says of a gateway is the gateway's business; a record can be looked at all the same.
    let environment = Environment::read().for_record();
    Settings::resolve(&common.for_record(), &environment, true)
}

/// Threads of a process beside those that drive it: more than runs in jails there can be at once, each of which has one, or
/// has one that drives the rest take its place.
const THREADS_MAX: usize = 8 * 1_024;

/// The runtime of a process.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().max_blocking_threads(THREADS_MAX).build().context("failed to start the runtime")
}

/// The witness room of a record.
pub(crate) fn witness(key: Arc<InForce<SigningKey>>, store: Arc<dyn Store>) -> Witness {
    Witness {
        key,
        gateway: Gateway { name: "execgate".to_owned(), version: VERSION.to_owned() },
        store,
        clock: Arc::new(SystemClock::new()),
        crash: Arc::new(NoCrash),
    }
}

/// The transparency log of a record.
pub(crate) fn log(
    settings: &Settings,
    data_dir: &Path,
    store: &Arc<dyn Store>,
    keys: Arc<LogKeys>,
) -> anyhow::Result<Arc<Log>> {
    let transparency = &settings.transparency;
    // A name of its own, whatever else is not known of this gateway.
    let usual = || format!("execgate/{}", keys.now().newest().key_id()).parse::<KeyName>();
    let origin = transparency.origin.clone().map_or_else(usual, Ok).context("the log has no name")?;
    let mut witnesses: Vec<Arc<dyn WitnessLine>> = Vec::new();
    for WitnessPlace { url, key } in &settings.witnesses {
        let client = WitnessClient::new(url.clone(), key.clone());
        let client = client.with_context(|| format!("the witness {} cannot be asked", key.name()))?;
        witnesses.push(Arc::new(client));
    }
    let outside = OutsideFiles::new(data_dir, transparency.checkpoint_file.clone(), Arc::clone(&keys));
    Ok(Arc::new(Log::new(LogParts {
        store: Arc::clone(store),
        keys,
        origin,
        outside: Arc::new(outside),
        clock: Arc::new(SystemClock::new()),
        gate: LogGate::default(),
        witnesses,
        required: transparency.witnesses_required,
    })))
}

/// How the witnesses stand.
fn witness_readings(witnesses: &Witnesses) -> Vec<Reading> {
    let UnixMs(now_ms) = SystemClock::new().now();
    let gauge = |name, help| Reading::new(name, help, ReadingKind::Gauge);
    let mut size = gauge("log_cosigned_entries", "Entries of the last checkpoint that a witness cosigned");
    let mut age = gauge("log_cosigned_age_seconds", "How long ago a witness last cosigned");
    let mut failures = gauge("log_witness_failures", "Times in a row that a witness did not cosign");
    for standing in witnesses.standing() {
        let named = || [("witness", standing.name.clone())];
        if let Some((entries, unix_s)) = standing.cosigned {
            size = size.with(named(), entries);
            age = age.with(named(), (now_ms / 1_000).saturating_sub(unix_s));
        }
        failures = failures.with(named(), u64::from(standing.failures));
    }
    vec![size, age, failures]
}

/// The gateway's own keys, whose secrets lie in a folder.
pub(crate) fn keyring(folder: Arc<KeyFolder>, store: Arc<dyn Store>) -> Keyring {
    Keyring { store, safe: folder, clock: Arc::new(SystemClock::new()), entropy: Arc::new(SystemEntropy) }
}

/// What signs here, as far as it is at hand.
pub(crate) struct OwnKeys {
    pub(crate) witness: Option<Witness>,
    pub(crate) log: Option<Arc<Log>>,
    pub(crate) keyring: Keyring,
}

/// The administration of a record. `gate` is there where a gateway runs.
pub(crate) fn office(
    settings: &Settings,
    data_dir: &Path,
    store: &Arc<dyn Store>,
    grants: Arc<Grants>,
    keys: OwnKeys,
    gate: Option<&Gate>,
) -> Office {
    Office::new(OfficeParts {
        published: keys::published(data_dir),
        version: VERSION,
        store: Arc::clone(store),
        record: sha256(settings.database_url(data_dir).as_bytes()),
        grants,
        metrics: gate.map(|gate| Arc::clone(&gate.metrics)),
        tenant: settings.tenant.clone(),
        operator_uid: geteuid().as_raw(),
        hosts: settings.hosts.clone(),
        witness: keys.witness,
        log: keys.log,
        keyring: Some(keys.keyring),
        rules: gate.map(|gate| Arc::clone(&gate.rules) as Arc<dyn RuleDesk>),
        clock: Arc::new(SystemClock::new()),
        entropy: Arc::new(SystemEntropy),
    })
}

/// A gateway, and the room that mends what dead processes left.
pub(crate) struct Gate {
    pub(crate) house: Arc<House>,
    pub(crate) recover: Recover,
    pub(crate) rules: Arc<RuleBook>,
    pub(crate) trail: Trail,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) connections: OpenConnections,
    /// Whose keys are to be read anew; none where no token is taken.
    pub(crate) tokens: Option<Arc<TokenIssuers>>,
    /// Who tells the operator's service of runs that wait for people.
    pub(crate) bell: Option<Arc<HttpBell>>,
}

impl Gate {
    /// Has the metrics tell of the witnesses.
    pub(crate) fn tell_of_witnesses(&self, witnesses: &Arc<Witnesses>) {
        if !witnesses.is_empty() {
            let witnesses = Arc::clone(witnesses);
            self.metrics.probe(move || witness_readings(&witnesses));
        }
    }

    /// Has the metrics tell of the log.
    pub(crate) fn tell_of(&self, log: &LogQueue) {
        let log = log.clone();
        let name = "log_lines_dropped";
        self.metrics.probe(move || {
            vec![
                Reading::new(name, "Lines of the log that were lost", ReadingKind::Counter)
                    .with([], log.lost()),
            ]
        });
    }
}

/// Who is asked beside the rules.
fn iam(settings: &Settings, clock: Arc<SystemClock>) -> anyhow::Result<Arc<dyn Iam>> {
    Ok(match &settings.guard {
        None => Arc::new(NoIam),
        Some(guard) => {
            let (url, unreached) = (guard.url.clone(), guard.unreached);
            Arc::new(Guard::new(GuardParts { url, unreached, clock })?)
        }
    })
}

/// The rules, which may name the profiles that there are.
fn rule_book(settings: &Settings, profiles: Option<&Profiles>) -> anyhow::Result<RuleBook> {
    let languages = |sandbox: &Sandbox| sandbox.languages().map(str::to_owned).collect();
    let profiles = profiles.into_iter().flat_map(Profiles::iter);
    let profiles = profiles.map(|(name, sandbox)| (name.to_owned(), languages(sandbox))).collect();
    let server = settings.policy.as_ref().and_then(|file| file.server.clone());
    let ground = Ground { profiles, approvers: settings.approvals.names(), server };
    RuleBook::open(settings.allowed_actions.clone(), settings.policy.as_ref(), ground)
}

/// Whose tokens are taken.
fn tokens(settings: &Settings, clock: Arc<SystemClock>) -> anyhow::Result<Option<Arc<TokenIssuers>>> {
    if settings.issuers.is_empty() {
        return Ok(None);
    }
    let issuers = TokenIssuers::open(settings.issuers.clone(), clock).context("no tokens can be taken")?;
    Ok(Some(Arc::new(issuers)))
}

/// How tokens come in.
fn token_door(settings: &Settings, tokens: Arc<TokenIssuers>) -> TokenDoor {
    let rules = settings.issuers.iter().filter_map(|issuer| issuer.roles.as_ref());
    // A claim of another name holds no scopes (RFC 8693, 4.2).
    let scopes = || rules.clone().filter(|rule| rule.claim == "scope").flat_map(|rule| &rule.words);
    let scopes_supported: BTreeSet<String> = scopes().map(|(word, _)| word.clone()).collect();
    let caller_scope = scopes().find(|(_, role)| **role == Role::Caller).map(|(word, _)| word.clone());
    let resource = settings.public_url.as_ref().map(|url| Resource {
        resource: url.clone(),
        caller_scope: caller_scope.clone(),
        authorization_servers: settings.issuers.iter().map(|issuer| issuer.issuer.clone()).collect(),
        scopes_supported: scopes_supported.into_iter().collect(),
    });
    TokenDoor { tokens, resource }
}

/// The room that asks who may do what.
fn authorise(
    settings: &Settings,
    store: &Arc<dyn Store>,
    clock: &Arc<SystemClock>,
    rules: &RuleBook,
) -> anyhow::Result<Authorise> {
    Ok(Authorise {
        rules: rules.rules(),
        grants: Arc::new(Grants::new(Arc::clone(store), clock.clone())),
        iam: iam(settings, clock.clone())?,
        simulations: Arc::new(SimulationRate::new(settings.rates, clock.clone())),
    })
}

/// The room that asks for approvals.
fn approve(settings: &Settings, clock: &Arc<SystemClock>) -> Approve {
    let set = settings.approvals.clone();
    Approve {
        mode: set.mode,
        shield: set.shield,
        people: Arc::new(set.people),
        clock: clock.clone(),
        lasts_at_most_ms: set.lasts_at_most_ms,
    }
}

fn doors(settings: &Settings) -> DoorRules {
    DoorRules {
        hosts: settings.hosts.clone(),
        // Behind a proxy nobody can be told from this machine's own; with keys nobody needs to be.
        free: !settings.require_grant && settings.payment.is_none(),
        // Who pays is known by the payment, on this machine as elsewhere.
        local_free: settings.is_local() && settings.payment.is_none(),
        require_grant: settings.require_grant,
    }
}

fn info(settings: &Settings, profiles: Option<&Profiles>) -> ServiceInfo {
    let allowed = settings.allowed_actions.as_ref();
    let default = profiles.and_then(|profiles| profiles.find(None));
    ServiceInfo {
        version: VERSION,
        mode: match settings.approvals.mode {
            ApprovalMode::Demo => ExecMode::Demo,
            ApprovalMode::Strict => ExecMode::Clawshield,
        },
        verifies: settings.approvals.can_verify(),
        allow_list: allowed.map(|list| list.iter().map(ToString::to_string).collect()),
        sandbox: default.map_or_else(|| "off".to_owned(), |sandbox| sandbox.enforced().tier.to_string()),
    }
}

/// What a gateway works beside.
pub(crate) struct Around<'a> {
    /// The transparency log of the record.
    pub(crate) log: &'a Arc<Log>,
    /// How full the disk is.
    pub(crate) space: &'a Arc<DiskWatch>,
    /// What was read with the rights of the start.
    pub(crate) loaded: Loaded,
    /// Servers of others, whose tools are beside its own.
    pub(crate) upstreams: Upstreams,
    /// Where its files are.
    pub(crate) data_dir: &'a Path,
}

/// What can be run: its own, and the tools of servers of others.
fn registry(
    settings: &Settings,
    around: &Around<'_>,
    profiles: Option<&Profiles>,
    actions: &[Action],
) -> anyhow::Result<Registry> {
    let own = tools(settings, around.data_dir, around.loaded.database.as_ref(), profiles, actions)?;
    Ok(Registry::new(own)?.with_toolbox(Arc::new(around.upstreams.clone())))
}

/// Puts a gateway together.
pub(crate) async fn gate(
    settings: &Settings,
    store: Arc<dyn Store>,
    key: Arc<InForce<SigningKey>>,
    around: Around<'_>,
    profiles: Option<Profiles>,
    actions: &[Action],
) -> anyhow::Result<Gate> {
    let clock = Arc::new(SystemClock::new());
    let entropy = Arc::new(SystemEntropy);
    let crash = Arc::new(NoCrash);
    let rails = till::rails(settings, around.data_dir, &clock, Mute::Refused).await?;
    let names = till::tool_names(actions);
    let registry = registry(settings, &around, profiles.as_ref(), actions)?;
    let prices = till::prices(settings, &registry, &names)?;
    let tokens = tokens(settings, clock.clone())?;
    let rules = Arc::new(rule_book(settings, profiles.as_ref())?);
    let witness = witness(key, Arc::clone(&store));
    let settle = till::settle(&rails, &store, &clock, &crash);
    let (trail, metrics) =
        (Trail::new(Arc::clone(&store), clock.clone(), entropy.clone()), Arc::new(Metrics::new()));
    let takers: [Arc<dyn Notice>; 2] = [metrics.clone(), Arc::new(trail.clone())];
    let notice: Arc<dyn Notice> = Arc::new(Several::new(takers));
    let connections = OpenConnections::default();
    let execute = Execute {
        store: Arc::clone(&store),
        clock: clock.clone(),
        entropy: entropy.clone(),
        crash,
        space: around.space.clone(),
        alias: settings.alias.as_deref().map(Into::into),
    };
    let rooms = Rooms {
        propose: Propose { registry, tools: names, prices, entropy: entropy.clone() },
        pay: Pay { rails },
        authorise: authorise(settings, &store, &clock, &rules)?,
        approve: approve(settings, &clock),
        execute,
        witness: witness.clone(),
        settle: settle.clone(),
        log: around.log.gate(),
    };
    let pool = profiles.clone();
    let (sandbox_pulse, image_pulse) = (pool.clone().map(sandbox_pulse), pool.clone().map(image_pulse));
    let bell =
        around.loaded.webhook.map(|hook| Arc::new(HttpBell::new(hook, clock.clone(), Arc::clone(&store))));
    let house = House::new(HouseParts {
        corridor: Corridor::new(rooms, Arc::clone(&notice)).telling(HttpBell::or_none(bell.as_ref())),
        store: Arc::clone(&store),
        log: Some(Arc::clone(around.log)),
        doors: doors(settings),
        info: info(settings, profiles.as_ref()),
        sandbox_pulse,
        image_pulse,
        policy_pulse: Some(policy_pulse(&rules)),
        space: around.space.clone(),
        catalogue: profiles.map(|profiles| Arc::new(Catalogue::new(profiles)) as Arc<dyn Languages>),
        workspaces: workspaces(around.data_dir),
        tools: match settings.tools {
            Switch::On => ToolSurface::On,
            Switch::Off => ToolSurface::Off,
        },
        tokens: tokens.as_ref().map(|tokens| token_door(settings, Arc::clone(tokens))),
        public_url: settings.public_url.clone(),
        upstreams: around.upstreams.clone(),
        tenant: settings.tenant.clone(),
        metrics: Arc::clone(&metrics),
        trail: trail.clone(),
        connections: connections.clone(),
        clock,
        entropy,
    });
    let recover = Recover { store, witness, settle, render: Arc::new(OwnWords), notice };
    let house = Arc::new(house);
    watch(settings, &metrics, &house, pool);
    Ok(Gate { house, recover, rules, trail, metrics, connections, tokens, bell })
}

/// Has the metrics ask this gateway how it stands. Weakly: the gateway holds the metrics.
fn watch(settings: &Settings, metrics: &Metrics, house: &Arc<House>, pool: Option<Profiles>) {
    till::tell_of_gas(settings, metrics);
    if let Some(pool) = &pool {
        metrics.probe_looking(Arc::new(IdleGauge::new(pool.clone())));
    }
    let house = Arc::downgrade(house);
    metrics.probe(move || house.upgrade().map(|house| house.readings()).unwrap_or_default());
    metrics.probe(move || pool.as_ref().map(pool_readings).unwrap_or_default());
}

/// The places for runs, by profile.
fn pool_readings(profiles: &Profiles) -> Vec<Reading> {
    let mut slots = Reading::new("sandbox_slots", "Runs that a sandbox can hold at once", ReadingKind::Gauge);
    let mut taken = Reading::new("sandbox_slots_taken", "Runs that a sandbox holds", ReadingKind::Gauge);
    let lost = "Helpers of a sandbox that have died; what was under way is lost with each";
    let mut lost = Reading::new("sandbox_helpers_lost", lost, ReadingKind::Counter);
    for (name, sandbox) in profiles.iter() {
        let (depth, profile) = (sandbox.depth(), || [("profile", name.to_owned())]);
        slots = slots.with(profile(), depth.usable);
        taken = taken.with(profile(), depth.taken);
        lost = lost.with(profile(), sandbox.helpers_lost());
    }
    vec![slots, taken, lost]
}

/// Whether every sandbox answers, and runs what it is asked to.
fn sandbox_pulse(profiles: Profiles) -> Pulse {
    Arc::new(move || {
        profiles.iter().all(|(_, sandbox)| sandbox.is_alive() && sandbox.image_change().is_none())
    })
}

/// Whether every sandbox has the image that it was started with.
fn image_pulse(profiles: Profiles) -> Pulse {
    Arc::new(move || profiles.iter().all(|(_, sandbox)| sandbox.image_change().is_none()))
}

/// Whether the rules in force are those of the file.
fn policy_pulse(rules: &Arc<RuleBook>) -> Pulse {
    let rules = Arc::clone(rules);
    Arc::new(move || rules.is_sound())
}
