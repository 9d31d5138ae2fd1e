//! `execgate serve`: the gateway.
//!
//! The order is the security of it: the image and the helper while we may be root, then the listener, then root
//! is dropped, and only then keys, record and threads.

use std::error::Error;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use execgate_flow::administer::{By, Keyring};
use execgate_flow::log::{Log, LogFault, Witnesses};
use execgate_iam::TokenIssuers;
use execgate_store::Store;
use execgate_tool::upstream::{Upstream, Upstreams};
use execgate_tool::{Action, Profiles};
use execgate_web::{Office, ServerLimits, router, serve, serve_pipe, serve_upstream_pipe};
use rustix::process::geteuid;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::cli::{Common, DataDir, Jail};
use crate::administration::Administration;
use crate::announcement::announce;
use crate::config::{AnswersKept, AuditKept, DEFAULT, Declared, Environment, Payment, Settings, Switch};
use crate::disk::DiskWatch;
use crate::keys::KeyFolder;
use crate::log_queue::LogQueue;
use crate::maintenance::{self, Maintenance};
use crate::policy::RuleBook;
use crate::ports::SystemEntropy;
use crate::privileges::Account;
use crate::socket::AdminSocket;
use crate::toolbox::Loaded;
use crate::wire::{Around, OwnKeys};
use crate::{log, stdio, terminal, upstreams, wire};

/// How often the policy file is looked at: an operator who saves it need not wait for long, and it is small.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How often it is looked which of the gateway's own keys sign: well within what a key that was replaced is kept for.
const KEYS_EVERY: Duration = Duration::from_secs(1);

/// How often it is looked whether keys of issuers of tokens are due.
const TEND_EVERY: Duration = Duration::from_secs(5);

/// How long the last lines of the audit trail may take: the record is idle by then.
const TRAIL_TIME: Duration = Duration::from_secs(5);

/// The gateway.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Where to listen; port 0 takes a free one and prints it [default: 127.0.0.1:5091; also PORT]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// The system user to run as when started as root [default: execgate, else a free uid]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Serve others than this machine free of charge
    #[arg(long)]
    free: bool,
    /// Print the commented default configuration, and stop
    #[arg(long)]
    print_config: bool,
    #[command(flatten)]
    data: DataDir,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    jail: Jail,
}

/// Where a gateway listens.
pub(crate) struct Listeners {
    pub(crate) public: TcpListener,
    pub(crate) address: SocketAddr,
    /// The socket of the administration.
    pub(crate) socket: (AdminSocket, UnixListener),
    /// That of the administration, where there is one beside its socket.
    pub(crate) admin: Option<(TcpListener, SocketAddr)>,
}

/// A gateway that is ready to be served: root is dropped, and nothing runs yet.
pub(crate) struct Ready {
    pub(crate) listeners: Listeners,
    /// Servers of others.
    pub(crate) upstreams: Vec<Declared>,
    pub(crate) profiles: Option<Profiles>,
    pub(crate) actions: Vec<Action>,
    pub(crate) loaded: Loaded,
}

/// What a gateway is made of that it has from before root was dropped.
#[derive(Default)]
pub(crate) struct Fitted {
    pub(crate) upstreams: Vec<Declared>,
    pub(crate) profiles: Option<Profiles>,
    pub(crate) actions: Vec<Action>,
    pub(crate) loaded: Loaded,
}

impl Serve {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        if self.print_config {
            terminal::raw(false, DEFAULT.as_bytes());
            return Ok(ExitCode::SUCCESS);
        }
        let root = geteuid().is_root();
        let flags = self.common.flags(Some(&self.jail), self.listen, self.free);
        let mut settings = Settings::resolve(&flags, &Environment::read(), root)?;
        settings.payment.as_ref().map_or(Ok(()), Payment::is_proven)?;
        settings.payment.as_mut().map_or(Ok(()), Payment::read_keys)?;
        let account = Account::choose(self.user.as_deref())?;
        let data_dir = &self.data.data_dir;
        let ready = prepare(&settings, data_dir, account)?;
        let log = log::start(&settings)?;
        announce(&settings, &ready, account);
        let runtime = wire::runtime()?;
        let ended = runtime.block_on(live(&settings, data_dir, ready, &log));
        log.flush();
        ended
    }
}

/// Does what may need root, then drops it.
pub(crate) fn prepare(
    settings: &Settings,
    data_dir: &Path,
    account: Option<Account>,
) -> anyhow::Result<Ready> {
    let listen = || anyhow::Ok((bind(settings.listen)?, settings.admin.map(bind).transpose()?));
    let (((public, address), admin), fitted) = fit_out(settings, data_dir, account, listen)?;
    let socket = AdminSocket::bind(data_dir)?;
    let Fitted { upstreams, profiles, actions, loaded } = fitted;
    let listeners = Listeners { public, address, socket, admin };
    Ok(Ready { listeners, upstreams, profiles, actions, loaded })
}

/// The same, where `listen` is what is done last before root is dropped.
pub(crate) fn fit_out<T>(
    settings: &Settings,
    data_dir: &Path,
    account: Option<Account>,
    listen: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<(T, Fitted)> {
    wire::make_data_dir(data_dir)?;
    let actions = settings.actions.load()?;
    let upstreams = settings.load_upstreams()?;
    let loaded = Loaded::of(settings)?;
    let jails = match settings.code {
        Switch::Off => Vec::new(),
        Switch::On => wire::jails(settings, &actions)?,
    };
    let listening = listen()?;
    if let Some(account) = account {
        account.own(data_dir)?;
        account.become_now()?;
    }
    // One person on their own machine may take what it has; strangers who pay get every layer.
    let is_own = settings.is_local() && settings.payment.is_none();
    let tier = wire::tier(settings.tier, is_own);
    let profiles = wire::profiles(jails, tier).context(
        "code cannot be run here; `execgate doctor` says why, and `surfaces.code = \"off\"` serves the rest",
    )?;
    Ok((listening, Fitted { upstreams, profiles, actions, loaded }))
}

fn bind(address: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).with_context(|| format!("failed to listen on {address}"))?;
    listener.set_nonblocking(true).context("failed to make a listener non-blocking")?;
    let address = listener.local_addr().context("failed to read the address of a listener")?;
    Ok((listener, address))
}

async fn live(
    settings: &Settings,
    data_dir: &Path,
    ready: Ready,
    log: &LogQueue,
) -> anyhow::Result<ExitCode> {
    let stop = stop_signal()?;
    let Ready { listeners, upstreams, profiles, actions, loaded } = ready;
    let beside = upstreams::looked_after(&upstreams, profiles.as_ref(), data_dir)?;
    let fitted = Fitted { profiles, actions, loaded, ..Fitted::default() };
    let gateway = Gateway::open_beside(settings, data_dir, fitted, beside).await?;
    gateway.gate.tell_of(log);
    let served = gateway.serve(listeners, settings.connections, stop).await;
    gateway.close().await;
    served?;
    tracing::info!("drained and closed");
    Ok(ExitCode::SUCCESS)
}

/// A gateway at work.
pub(crate) struct Gateway {
    store: Arc<dyn Store>,
    pub(crate) gate: wire::Gate,
    log: Arc<Log>,
    witnesses: Arc<Witnesses>,
    keyring: Keyring,
    office: Arc<Office>,
    space: Arc<DiskWatch>,
    upstreams: Upstreams,
    kept: AnswersKept,
    audit: AuditKept,
}

impl Gateway {
    /// Opens record and keys, and puts the rooms together.
    pub(crate) async fn open(
        settings: &Settings,
        data_dir: &Path,
        profiles: Option<Profiles>,
        actions: &[Action],
        loaded: Loaded,
    ) -> anyhow::Result<Self> {
        let fitted = Fitted { profiles, actions: actions.to_vec(), loaded, ..Fitted::default() };
        Self::open_beside(settings, data_dir, fitted, Upstreams::default()).await
    }

    /// The same, beside servers of others whose tools are its own.
    pub(crate) async fn open_beside(
        settings: &Settings,
        data_dir: &Path,
        fitted: Fitted,
        upstreams: Upstreams,
    ) -> anyhow::Result<Self> {
        let Fitted { profiles, actions, loaded, .. } = fitted;
        let store = wire::record(data_dir, settings.database_url(data_dir))?;
        let keys = Arc::new(KeyFolder::new(data_dir.to_owned(), Arc::new(SystemEntropy)));
        let keyring = wire::keyring(Arc::clone(&keys), Arc::clone(&store));
        let by = By::Operator { uid: geteuid().as_raw() };
        keyring.open(&by).await.context("the gateway's own keys could not be taken up")?;
        let log = wire::log(settings, data_dir, &store, keys.log()?)?;
        let witnesses = Arc::new(Witnesses::new(Arc::clone(&log)));
        let space = Arc::new(DiskWatch::new(data_dir, settings.min_free));
        let around = Around { log: &log, space: &space, loaded, upstreams: upstreams.clone(), data_dir };
        let gate =
            wire::gate(settings, Arc::clone(&store), keys.receipt()?, around, profiles, &actions).await?;
        gate.tell_of_witnesses(&witnesses);
        warn_of_unknown_grants(settings, store.as_ref()).await?;
        let keys = OwnKeys {
            witness: Some(gate.recover.witness.clone()),
            log: Some(Arc::clone(&log)),
            keyring: keyring.clone(),
        };
        let office = wire::office(settings, data_dir, &store, gate.house.grants(), keys, Some(&gate))
            .settling(gate.recover.settle.clone());
        Ok(Self {
            store,
            gate,
            log,
            witnesses,
            keyring,
            office: Arc::new(office),
            space,
            upstreams,
            kept: settings.answers,
            audit: settings.audit,
        })
    }

    /// Serves until `stop`; then takes no new run, and waits until the running ones are durable.
    pub(crate) async fn serve(
        &self,
        listeners: Listeners,
        connections: usize,
        stop: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        let listener =
            tokio::net::TcpListener::from_std(listeners.public).context("failed to take the listener")?;
        let office = Arc::clone(&self.office);
        let administration =
            Administration::open(listeners.socket, listeners.admin.map(|(listener, _)| listener), office)?;
        let open = self.gate.connections.clone();
        let limits = ServerLimits { connections, open, ..ServerLimits::default() };
        let stop = async {
            stop.await;
            self.gate.house.close();
        };
        let house = Arc::clone(&self.gate.house);
        self.attended(async {
            let served = serve(listener, router(Arc::clone(&house)), limits, stop).await;
            // Those whose callers have hung up still walk.
            house.drained().await;
            // To the end, so that the operator can look at what it waits for.
            administration.close().await;
            served
        })
        .await?
        .map_err(Into::into)
    }

    /// Serves the one client at standard input and output, until it closes its end or `stop`.
    pub(crate) async fn serve_pipe(&self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        let house = Arc::clone(&self.gate.house);
        self.attended(async {
            let (input, output) = stdio::pipe();
            let served = tokio::select! {
                served = serve_pipe(Arc::clone(&house), input, output) => served,
                () = stop => Ok(()),
            };
            house.close();
            house.drained().await;
            served
        })
        .await?
        .map_err(Into::into)
    }

    /// The same for the tools of a server of others, which is connected before anything is served.
    pub(crate) async fn serve_upstream(
        &self,
        upstream: Arc<Upstream>,
        stop: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        let house = Arc::clone(&self.gate.house);
        let connected = upstream.connect().await;
        connected.with_context(|| format!("the server `{}` cannot be connected", upstream.name()))?;
        self.attended(async {
            let (input, output) = stdio::pipe();
            let served = tokio::select! {
                served = serve_upstream_pipe(Arc::clone(&house), Arc::clone(&upstream), input, output) => served,
                () = stop => Ok(()),
            };
            house.close();
            house.drained().await;
            served
        })
        .await?
        .map_err(Into::into)
    }

    /// Opens the log, and does beside `serving` what a record needs to be done beside it.
    async fn attended<T>(&self, serving: impl Future<Output = T>) -> anyhow::Result<T> {
        // Before anything runs: a record that was restored must not repeat what it has forgotten.
        self.log.open().await.context("the log cannot be opened")?;
        // The ring of keys names the log, which may have got its first name just now.
        self.keyring.publish().await.context("the key ring cannot be written")?;
        self.witnesses.compare().await.context("the log cannot be compared with its witnesses")?;
        if let Some(fault) = self.log.fault() {
            tell_fault(&fault);
        } else if self.log.is_unwitnessed() {
            terminal::note(
                "LIVE RUNS ARE REFUSED until enough witnesses agree with the log (`transparency.witnesses_required`)",
            );
        }
        if !self.log.is_closed() {
            maintenance::recover(&self.gate.recover).await;
        }
        let log = Arc::clone(&self.log);
        let keeping = tokio::spawn(async move { log.work().await });
        let mut cosigning = JoinSet::new();
        cosigning.spawn(Arc::clone(&self.witnesses).tend());
        let upkeep = Maintenance {
            log: Arc::clone(&self.log),
            recover: self.gate.recover.clone(),
            store: Arc::clone(&self.store),
            trail: self.gate.trail.clone(),
            house: Arc::clone(&self.gate.house),
            kept: self.kept,
            audit: self.audit,
        };
        let sweeper = tokio::spawn(upkeep.forever());
        let reconciler =
            tokio::spawn(maintenance::reconcile(Arc::clone(&self.log), self.gate.recover.settle.clone()));
        let space = tokio::spawn(maintenance::watch_space(Arc::clone(&self.space)));
        if let Some(tokens) = &self.gate.tokens {
            // An issuer that cannot be asked is a warning here: its tokens are refused until it can.
            tokens.tend().await;
        }
        let tending = tokio::spawn(tend_forever(self.gate.tokens.clone()));
        let ringing = self.gate.bell.clone().map(|bell| tokio::spawn(bell.ring_forever()));
        let key_watcher = tokio::spawn(watch_keys(self.keyring.clone()));
        let watcher = tokio::spawn(watch_policy(Arc::clone(&self.gate.rules)));
        let mut looking_after = JoinSet::new();
        for upstream in self.upstreams.iter().map(Arc::clone) {
            looking_after.spawn(async move { upstream.tend().await });
        }
        let served = serving.await;
        looking_after.abort_all();
        sweeper.abort();
        reconciler.abort();
        space.abort();
        watcher.abort();
        key_watcher.abort();
        tending.abort();
        ringing.inspect(|ringing| ringing.abort());
        keeping.abort();
        cosigning.abort_all();
        Ok(served)
    }

    /// Closes the record, once the lines of its audit trail are in it.
    pub(crate) async fn close(&self) {
        if tokio::time::timeout(TRAIL_TIME, self.gate.trail.written()).await.is_err() {
            tracing::error!("the last lines of the audit trail could not be written");
        }
        let kept = async {
            self.log.sequence().await?;
            self.log.keep().await
        };
        if let Err(error) = kept.await {
            tracing::error!(error = &error as &dyn Error, "the last checkpoint of the log was not kept");
        }
        self.store.close().await;
    }
}

/// Grants by which an approver is said to ask for runs, and which are nobody's: whoever has mistyped one approves their own.
async fn warn_of_unknown_grants(settings: &Settings, store: &dyn Store) -> anyhow::Result<()> {
    let mut named = settings.approvals.people.grants().peekable();
    if named.peek().is_none() {
        return Ok(());
    }
    let standing = store.standing_grants().await.context("the grants cannot be read")?;
    for id in named.filter(|id| !standing.grants.iter().any(|grant| grant.id == **id)) {
        tracing::warn!(grant = %id, "an approver is said to ask by a grant that does not stand");
    }
    Ok(())
}

/// Says on the terminal why nothing runs for real.
fn tell_fault(fault: &LogFault) {
    terminal::note(format_args!("LIVE RUNS ARE REFUSED: {fault}"));
    terminal::note(if fault.is_of_the_outside() {
        "  once you know why, `execgate log new-origin` goes on from the record as it is"
    } else {
        "  the record contradicts itself: put a sound copy in its place"
    });
}

/// Looks at the policy file again and again, on a thread that may wait for a disk.
async fn watch_policy(rules: Arc<RuleBook>) {
    if !rules.has_file() {
        return;
    }
    let mut every = interval(LOOK_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let rules = Arc::clone(&rules);
        if let Err(error) = tokio::task::spawn_blocking(move || rules.look()).await {
            tracing::error!(%error, "the policy could not be looked at");
        }
    }
}

/// Takes up what another process of this record has changed about the gateway's own keys.
async fn watch_keys(keyring: Keyring) {
    let mut every = interval(KEYS_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        if let Err(error) = keyring.look().await {
            tracing::error!(%error, "the gateway's own keys could not be looked at");
        }
    }
}

/// Reads the keys of issuers of tokens anew, again and again.
async fn tend_forever(tokens: Option<Arc<TokenIssuers>>) {
    let Some(tokens) = tokens else { return };
    let mut every = interval(TEND_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        tokens.tend().await;
    }
}

pub(crate) fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to listen for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("shutting down: no new runs; running ones finish");
    })
}
