//! One process of a world: a store handle, the rooms, the doors. It can die.

use core::future::Future;
use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use execgate_flow::approve::{ApprovalMode, Approve, LASTS_AT_MOST_MS};
use execgate_flow::authorise::{Authorise, Grants, Rules, SimulationRate};
use execgate_flow::examine::{Examination, Finding, Report, Told};
use execgate_flow::execute::Execute;
use execgate_flow::log::{Log, LogGate, LogKeys, LogParts, LogSigners};
use execgate_flow::notice::{Notice, Several, Trail};
use execgate_flow::pay::Pay;
use execgate_flow::propose::Propose;
use execgate_flow::recover::{Recover, Recovered};
use execgate_flow::settle::{ByHand, ByHandError, EndedByHand, Reconciled, Round, Settle, Walking};
use execgate_flow::witness::{InForce, Render, Witness};
use execgate_flow::{Corridor, Rooms};
use execgate_model::{Clock as _, Digest, Entropy as _, InstanceId, Proposal, RunId};
use execgate_payment::{Rails, Unpaid};
use execgate_receipt::{Gateway, SigningKey};
use execgate_sandbox::Network;
use execgate_store::{
    AUDIT_PAGE_MAX, AuditLine, AuditOrder, AuditQuery, OpenOptions, Page, Record, Store, open,
};
use execgate_tool::upstream::Upstreams;
use execgate_tool::{ActionParts, Registry, ToolNames, Workers, Workspaces, builtin};
use execgate_web::{
    DoorRules, ExecMode, ExecuteWords, House, HouseParts, Metrics, Office, OfficeParts, OpenConnections,
    OwnWords, Peer, RuleDesk, RuleStanding, ServiceInfo, admin_router, router,
};
use serde_json::Value;
use tokio::sync::mpsc;
use tower::ServiceExt as _;

use crate::languages::ScriptedLanguages;
use crate::mortal::MortalStore;
use crate::rail::ScriptedRail;
use crate::tokens::token_door;
use crate::walked::Walked;
use crate::{Bench, Death, Life, Reply, Settings, Shared, StoreFault, Turns};

/// The seed of the receipt key of every world.
pub(crate) const KEY_SEED: [u8; 32] = [7; 32];

/// The seed of the log key of every world.
const LOG_KEY_SEED: [u8; 32] = [8; 32];

/// The name of its log.
pub const LOG_ORIGIN: &str = "log.example/world";

/// More runs than one world has.
const RUNS_MAX: u32 = 1_000;

/// Whose process every gate is.
pub const OPERATOR_UID: u32 = 1_000;

/// The rules of a gate, which are those of their file.
struct StandingRules(Arc<Rules>);

impl RuleDesk for StandingRules {
    fn standing(&self) -> RuleStanding {
        RuleStanding { digest: self.0.now().digest(), file: None, fault: None }
    }

    fn look(&self) {}
}

/// One process. It is cheap to clone: a clone is the same process.
#[derive(Clone)]
pub struct Gate {
    pub(crate) life: Arc<Life>,
    pub(crate) turns: Option<Arc<Turns>>,
    store: Arc<MortalStore>,
    corridor: Arc<Corridor>,
    recover: Recover,
    log: Arc<Log>,
    rules: Arc<Rules>,
    trail: Trail,
    metrics: Arc<Metrics>,
    router: Router,
    admin: Router,
    lock: Arc<Path>,
}

impl Gate {
    /// Starts a process over the record in a folder.
    pub(crate) fn open(folder: &Path, shared: &Shared, settings: &Settings) -> Self {
        let turns = settings.takes_turns.then(|| Arc::new(Turns::default()));
        let life = Arc::new(Life::begin(turns.clone()));
        let instance = InstanceId::from_entropy(shared.entropy.sixteen());
        let options = OpenOptions {
            url: format!("sqlite://{}", folder.join("record.db").display()),
            data_dir: folder.to_owned(),
            instance,
            at: shared.clock.now(),
        };
        let store = Arc::new(MortalStore::new(Arc::clone(&life), open(&options).expect("the record opens")));
        let rooms = rooms(shared, settings, &life, &store);
        let rules = Arc::clone(&rooms.authorise.rules);
        let trail = Trail::new(store.clone(), shared.clock.clone(), shared.entropy.clone());
        let metrics = Arc::new(Metrics::new());
        let mut takers: Vec<Arc<dyn Notice>> = vec![shared.onlooker.clone(), metrics.clone()];
        if settings.keeps_trail {
            takers.push(Arc::new(trail.clone()));
        }
        let notice: Arc<dyn Notice> = Arc::new(Several::new(takers));
        let recover = Recover {
            store: store.clone(),
            witness: rooms.witness.clone(),
            settle: rooms.settle.clone(),
            render: Arc::new(OwnWords),
            notice: Arc::clone(&notice),
        };
        let log = log(shared, &store, rooms.log.clone());
        let house = Arc::new(House::new(HouseParts {
            public_url: None,
            upstreams: Upstreams::default(),
            log: Some(Arc::clone(&log)),
            corridor: Corridor::new(rooms.clone(), Arc::clone(&notice)),
            store: store.clone(),
            doors: doors(settings),
            info: info(settings),
            sandbox_pulse: None,
            image_pulse: None,
            policy_pulse: None,
            space: shared.space.clone(),
            catalogue: Some(Arc::new(ScriptedLanguages)),
            workspaces: Workspaces::at(folder.join("workspaces")),
            tools: settings.tools,
            tokens: settings.issuer_keys.as_ref().map(|keys| token_door(folder, keys, shared.clock.clone())),
            tenant: crate::ask::tenant(),
            metrics: Arc::clone(&metrics),
            trail: trail.clone(),
            connections: OpenConnections::default(),
            clock: shared.clock.clone(),
            entropy: shared.entropy.clone(),
        }));
        let office = office(shared, settings, &house.grants(), &metrics, &recover.witness, &rules, &log)
            .settling(recover.settle.clone());
        let looked_at = Arc::downgrade(&house);
        metrics.probe(move || looked_at.upgrade().map(|house| house.readings()).unwrap_or_default());
        Self {
            life,
            turns,
            store,
            corridor: Arc::new(Corridor::new(rooms, notice)),
            recover,
            log,
            rules,
            trail,
            metrics,
            router: router(house),
            admin: admin_router(Arc::new(office)),
            lock: folder.join("instances").join(format!("{instance}.lock")).into(),
        }
    }

    /// The record, as this process sees it.
    #[must_use]
    pub fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    /// The transparency log. Nothing sequences it but a test, once it has opened it.
    #[must_use]
    pub fn log(&self) -> Arc<Log> {
        Arc::clone(&self.log)
    }

    /// The record of a run.
    ///
    /// # Panics
    /// If it cannot be read, or there is none.
    pub async fn record(&self, run: RunId) -> Record {
        self.store.run(run).await.expect("the record can be read").expect("the run is recorded")
    }

    /// The record of the only run.
    ///
    /// # Panics
    /// If there is another number of runs.
    pub async fn only_run(&self) -> Record {
        let runs = self.runs().await;
        assert_eq!(runs.len(), 1, "one run is recorded");
        runs[0].clone()
    }

    /// The records of all runs, newest first.
    ///
    /// # Panics
    /// If they cannot be read.
    pub async fn runs(&self) -> Vec<Record> {
        let page = Page { before: None, limit: RUNS_MAX, stage: None };
        let mut runs = Vec::new();
        for brief in self.store.list(page).await.expect("the record can be read") {
            runs.push(self.record(brief.run).await);
        }
        runs
    }

    /// The metrics as they are read.
    #[must_use]
    pub fn metrics(&self) -> String {
        self.metrics.text()
    }

    /// The audit trail, where the world keeps one.
    #[must_use]
    pub fn trail(&self) -> Trail {
        self.trail.clone()
    }

    /// Every line of the audit trail, in the order of their writing, once all that was seen is written.
    ///
    /// # Panics
    /// If it cannot be read, or is longer than one page.
    pub async fn audited(&self) -> Vec<AuditLine> {
        self.trail.written().await;
        let query = AuditQuery { order: AuditOrder::Written, limit: AUDIT_PAGE_MAX, ..AuditQuery::default() };
        let entries = self.store.audit(query).await.expect("the trail can be read");
        assert!(entries.len() < usize::try_from(AUDIT_PAGE_MAX).unwrap_or(usize::MAX), "one page is enough");
        entries.into_iter().map(|entry| entry.line).collect()
    }

    /// The corridor.
    #[must_use]
    pub fn corridor(&self) -> Arc<Corridor> {
        Arc::clone(&self.corridor)
    }

    /// Puts a policy file in force, as a reload would.
    pub fn obey(&self, file: Value) {
        let settings = Settings { policy: Some(file), ..Settings::default() };
        self.rules.replace(settings.rules());
    }

    /// The router. It has a corridor of its own over the same record, as a second process would.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// Walks a proposal, until its end or the death of the process.
    pub async fn walk(&self, proposal: impl Into<Proposal>) -> Walked {
        let walk = self.corridor.walk(proposal.into(), Arc::new(ExecuteWords));
        match self.while_alive(walk).await {
            Some(Ok(passage)) => Walked::Passed(passage),
            Some(Err(refusal)) => Walked::Refused(refusal),
            None => Walked::Died,
        }
    }

    /// Sends a request through the doors.
    ///
    /// # Panics
    /// If the process dies meanwhile.
    pub async fn http(&self, request: Request<Body>) -> Reply {
        let answer = self.while_alive(self.router.clone().oneshot(request)).await;
        match answer.expect("the process lives") {
            Ok(response) => Reply::read(response).await,
            Err(never) => match never {},
        }
    }

    /// Sends a request through the router, and reads nothing of the answer's body.
    ///
    /// # Panics
    /// If the process dies meanwhile.
    pub async fn answering(&self, request: Request<Body>) -> Response<Body> {
        let answer = self.while_alive(self.router.clone().oneshot(request)).await;
        match answer.expect("the process lives") {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    /// Sends a request through the door of the administration.
    ///
    /// # Panics
    /// If the process dies meanwhile.
    pub async fn admin(&self, peer: Peer, mut request: Request<Body>) -> Reply {
        request.extensions_mut().insert(peer);
        let answer = self.while_alive(self.admin.clone().oneshot(request)).await;
        match answer.expect("the process lives") {
            Ok(response) => Reply::read(response).await,
            Err(never) => match never {},
        }
    }

    /// Mends what dead processes left; `None` if this one dies of it.
    ///
    /// # Panics
    /// If the record cannot be read.
    pub async fn sweep(&self) -> Option<Recovered> {
        let recover = self.recover.clone();
        let sweep = tokio::spawn(async move { recover.sweep().await });
        let found = self.while_alive(sweep).await?;
        // A sweep that came to an armed point unwound.
        let found = found.ok().filter(|_| !self.life.is_over())?;
        Some(found.expect("the record can be read"))
    }

    /// Looks for money whose capture nobody has heard the end of; `None` if this one dies of it.
    ///
    /// # Panics
    /// If the record cannot be read.
    pub async fn reconcile(&self) -> Option<Reconciled> {
        let settle = self.recover.settle.clone();
        let found = self.while_alive(tokio::spawn(async move { settle.reconcile(None).await })).await?;
        let found = found.ok().filter(|_| !self.life.is_over())?;
        Some(found.expect("the record can be read"))
    }

    /// Ends a pending payment as an operator says.
    ///
    /// # Errors
    /// As [`Settle::end_by_hand`].
    pub async fn end_by_hand(
        &self,
        run: RunId,
        payment: Option<Digest>,
        end: ByHand,
    ) -> Result<EndedByHand, ByHandError> {
        self.recover.settle.end_by_hand(run, payment, end).await
    }

    /// Signs what became of an unknown run, and records it.
    ///
    /// # Panics
    /// If either fails.
    pub async fn resolve(&self, run: RunId, note: &str) -> bool {
        let record = self.record(run).await;
        let resolution = self.recover.witness.resolve(&record, note).expect("a resolution can be signed");
        self.store.resolve(resolution, crate::grants::change()).await.expect("a resolution can be recorded")
    }

    /// The receipt key that this process signs with, to be replaced as another process replaces it.
    #[must_use]
    pub fn receipt_key(&self) -> Arc<InForce<SigningKey>> {
        Arc::clone(&self.recover.witness.key)
    }

    /// What `execgate fsck` finds.
    ///
    /// # Panics
    /// If the record cannot be read.
    pub async fn fsck(&self) -> (Vec<Finding>, Report) {
        let (told, mut lines) = mpsc::channel(1);
        let (store, keys) = (self.store(), [self.recover.witness.key.now().verifying_key()].into());
        let check = async move { Examination::run(store.as_ref(), keys, told).await };
        let listen = async {
            let mut findings = Vec::new();
            while let Some(told) = lines.recv().await {
                match told {
                    Told::Found(finding) => findings.push(finding),
                    Told::At { .. } => {}
                }
            }
            findings
        };
        let (report, findings) = tokio::join!(check, listen);
        (findings, report.expect("the record can be read"))
    }

    /// Lets this process die the next time that it comes to the point.
    pub fn die_at(&self, point: &'static str, death: Death) {
        self.life.arm(point, death);
    }

    /// Lets the record of this process fail so at its next step of this name.
    pub fn fail_at(&self, step: &'static str, fault: StoreFault) {
        self.life.fail_at(step, fault);
    }

    /// Resolves once a step of its record is held that was to be ([`StoreFault::Held`]).
    pub async fn holds(&self) {
        self.life.holds().await;
    }

    /// Lets that step go on.
    pub fn let_go(&self) {
        self.life.let_go();
    }

    /// The crash points that this process has come to.
    #[must_use]
    pub fn points(&self) -> Vec<&'static str> {
        self.life.points()
    }

    /// The steps of this process that wait for their turn, if it takes turns.
    #[must_use]
    pub fn turns(&self) -> Option<Arc<Turns>> {
        self.turns.clone()
    }

    /// Whether this process has died.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.life.is_over()
    }

    /// Starts what is approved of what waits for people, ends what is over, and waits until that is done, or this process is.
    ///
    /// # Panics
    /// If the record cannot be read.
    pub async fn tend(&self) {
        let words: Arc<dyn Render> = Arc::new(OwnWords);
        let tended = self.while_alive(async {
            for started in self.corridor.tend(&words).await.expect("the record can be read") {
                // A walk that comes to an armed point unwinds.
                drop(started.await);
            }
        });
        tended.await.unwrap_or_default();
    }

    /// Resolves once this process has died.
    pub async fn died(&self) {
        self.life.ended().await;
    }

    /// Ends the life of this process, and leaves its lock to [`Self::kill`].
    pub fn end(&self) {
        self.life.end();
    }

    /// Kills this process, and waits until the kernel has given back its lock.
    ///
    /// # Panics
    /// If the lock cannot be waited for.
    pub async fn kill(&self) {
        self.life.end();
        if let Some(turns) = &self.turns {
            turns.forget();
        }
        self.store.drop_handle();
        let path = Arc::clone(&self.lock);
        let waited = tokio::task::spawn_blocking(move || match File::open(path) {
            Ok(lock) => lock.lock().expect("a lock can be waited for"),
            // Another process found it dead, and swept it out.
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
        });
        waited.await.expect("waiting for a lock does not panic");
    }

    pub(crate) async fn while_alive<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.life.ended() => None,
            done = work => Some(done).filter(|_| !self.life.is_over()),
        }
    }
}

fn doors(settings: &Settings) -> DoorRules {
    DoorRules {
        hosts: settings.hosts.clone(),
        free: settings.prices.is_empty() && settings.tool_prices.is_none() && !settings.require_grant,
        local_free: settings.local_free,
        require_grant: settings.require_grant,
    }
}

fn office(
    shared: &Shared,
    settings: &Settings,
    grants: &Arc<Grants>,
    metrics: &Arc<Metrics>,
    witness: &Witness,
    rules: &Arc<Rules>,
    log: &Arc<Log>,
) -> Office {
    Office::new(OfficeParts {
        version: "0.0.0-test",
        store: witness.store.clone(),
        record: Digest::from_bytes([0; 32]),
        grants: Arc::clone(grants),
        log: Some(Arc::clone(log)),
        metrics: Some(Arc::clone(metrics)),
        tenant: crate::ask::tenant(),
        operator_uid: OPERATOR_UID,
        hosts: settings.hosts.clone(),
        witness: Some(witness.clone()),
        published: {
            let keys = vec![witness.key.now().verifying_key()];
            Arc::new(move || keys.clone())
        },
        keyring: None,
        rules: Some(Arc::new(StandingRules(Arc::clone(rules)))),
        clock: shared.clock.clone(),
        entropy: shared.entropy.clone(),
    })
}

fn info(settings: &Settings) -> ServiceInfo {
    ServiceInfo {
        version: "0.0.0-test",
        mode: match settings.approval_mode {
            ApprovalMode::Demo => ExecMode::Demo,
            ApprovalMode::Strict => ExecMode::Clawshield,
        },
        verifies: settings.shield.key.is_some() || !settings.people.approvers().is_empty(),
        allow_list: settings.allow_list.clone(),
        sandbox: "off".to_owned(),
    }
}

fn rooms(shared: &Shared, settings: &Settings, life: &Arc<Life>, store: &Arc<MortalStore>) -> Rooms {
    let rail = ScriptedRail { bank: Arc::clone(&shared.bank), life: Arc::clone(life) };
    let others = settings.rails.0.iter().cloned();
    let rails = Rails::new(Arc::new(Unpaid::FREE), others.chain([Arc::new(rail) as _]));
    let parts = builtin::Parts { workers: Workers::none(), client: builtin::HttpClient::new() };
    let own = ActionParts { client: parts.client.clone(), profiles: None, network: Network::None };
    let own = settings.actions.iter().map(|action| action.to_tool(&own).expect("the action can be served"));
    let tools = builtin::all(&parts).into_iter().chain(Bench::tools(&shared.bench, life)).chain(own);
    let own_tools = settings.actions.iter().filter(|action| action.is_tool());
    let own_tools = own_tools.map(|action| action.name().to_owned());
    let witness = Witness {
        key: Arc::new(InForce::new(SigningKey::from_seed(&KEY_SEED))),
        gateway: Gateway { name: "execgate".to_owned(), version: "0.0.0-test".to_owned() },
        store: store.clone(),
        clock: shared.clock.clone(),
        crash: life.clone(),
    };
    Rooms {
        propose: Propose {
            registry: Registry::new(tools).expect("no two tools have one name"),
            tools: ToolNames::default().and(Bench::actions()).and(own_tools),
            prices: settings.prices(),
            entropy: shared.entropy.clone(),
        },
        pay: Pay { rails: rails.clone() },
        authorise: Authorise {
            rules: Arc::new(Rules::new(settings.rules())),
            grants: Arc::new(Grants::new(store.clone(), shared.clock.clone())),
            iam: shared.iam.clone(),
            simulations: Arc::new(SimulationRate::new(settings.rates, shared.clock.clone())),
        },
        approve: Approve {
            mode: settings.approval_mode,
            shield: settings.shield.clone(),
            people: Arc::new(settings.people.clone()),
            clock: shared.clock.clone(),
            lasts_at_most_ms: LASTS_AT_MOST_MS,
        },
        execute: Execute {
            store: store.clone(),
            clock: shared.clock.clone(),
            entropy: shared.entropy.clone(),
            crash: life.clone(),
            space: shared.space.clone(),
            alias: settings.alias.as_deref().map(Into::into),
        },
        witness,
        settle: Settle {
            rails,
            store: store.clone(),
            clock: shared.clock.clone(),
            entropy: shared.entropy.clone(),
            crash: life.clone(),
            walking: Walking::default(),
            round: Round::default(),
        },
        log: LogGate::default(),
    }
}

fn log(shared: &Shared, store: &Arc<MortalStore>, gate: LogGate) -> Arc<Log> {
    let signers = LogSigners::new(Arc::new(SigningKey::from_seed(&LOG_KEY_SEED)), Vec::new());
    Arc::new(Log::new(LogParts {
        store: store.clone(),
        keys: Arc::new(LogKeys::new(signers)),
        origin: LOG_ORIGIN.parse().expect("a name of a log"),
        outside: shared.shelf.clone(),
        clock: shared.clock.clone(),
        gate,
        witnesses: Vec::new(),
        required: 0,
    }))
}
