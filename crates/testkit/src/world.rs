//! A whole gateway in process, over a real SQLite record in a folder of its own, and everything around it.

use core::fmt;
use core::ops::Deref;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::{fs, thread};

use execgate_flow::administer::{KeySafe, Keyring};
use execgate_flow::approve::{ApprovalMode, People, Person};
use execgate_flow::authorise::{Iam, IamAnswer, Question, Rates};
use execgate_flow::notice::Seen;
use execgate_flow::propose::{Prices, ToolPrices};
use execgate_flow::recover::Recovered;
use execgate_model::{ActionName, Amount, BoxFuture, InstanceId, Space, UnixMs};
use execgate_payment::Rail;
use execgate_policy::{Policy, PolicySet};
use execgate_receipt::approval::ClawShield;
use execgate_receipt::{SigningKey, VerifyingKey, digest_json};
use execgate_store::{OpenOptions, open};
use execgate_tool::Action;
use execgate_web::ToolSurface;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Builder;

use crate::gate::KEY_SEED;
use crate::{Bank, Bench, Gate, Journal, ManualClock, Onlooker, SeededEntropy, Shelf};

/// The file of every record.
const RECORD: &str = "record.db";

/// Memory that looks like a disk: a simulated death loses no page of either, and tests do not wait for flushes.
const MEMORY_DISK: &str = "/dev/shm";

/// How a gateway is set up. A change counts from the next start on.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub(crate) prices: Vec<(String, String)>,
    pub(crate) allow_list: Option<Vec<String>>,
    pub(crate) policy: Option<Value>,
    pub(crate) hosts: Vec<String>,
    pub(crate) local_free: bool,
    pub(crate) require_grant: bool,
    pub(crate) takes_turns: bool,
    pub(crate) tools: ToolSurface,
    pub(crate) tool_prices: Option<ToolPrices>,
    pub(crate) keeps_trail: bool,
    pub(crate) actions: Vec<Action>,
    pub(crate) issuer_keys: Option<Value>,
    pub(crate) alias: Option<String>,
    pub(crate) rates: Rates,
    pub(crate) approval_mode: ApprovalMode,
    pub(crate) shield: ClawShield,
    pub(crate) people: People,
    pub(crate) rails: OtherRails,
}

/// Rails beside the scripted one.
#[derive(Clone, Default)]
pub(crate) struct OtherRails(pub(crate) Vec<Arc<dyn Rail>>);

impl fmt::Debug for OtherRails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|rail| rail.name())).finish()
    }
}

impl Settings {
    pub(crate) fn prices(&self) -> Prices {
        let price = |(action, price): &(String, String)| -> (ActionName, Amount) {
            (action.parse().expect("a name of an action"), price.parse().expect("a price"))
        };
        if self.prices.is_empty() && self.tool_prices.is_none() {
            return Prices::free();
        }
        let prices = Prices::new(self.prices.iter().map(price).collect::<BTreeMap<_, _>>());
        let names = Bench::actions().map(|name| name.parse().expect("a name of an action"));
        match self.tool_prices {
            Some(tools) => prices.with_tools(names, tools),
            None => prices,
        }
    }

    pub(crate) fn rules(&self) -> PolicySet {
        let name = |action: &String| action.parse::<ActionName>().expect("a name of an action");
        let list = self.allow_list.as_ref().map(|list| list.iter().map(name).collect::<BTreeSet<_>>());
        let digest = digest_json(&json!({"allowed_actions": list, "policy": self.policy}));
        let rules = PolicySet::new(list, digest.expect("rules have a digest"));
        let read = |file: &Value| Policy::read(file.to_string().as_bytes()).expect("the policy is one");
        match &self.policy {
            Some(file) => rules.with_policy(read(file)),
            None => rules,
        }
    }
}

/// An identity service that says what a test wants.
#[derive(Debug)]
pub struct ScriptedIam {
    answer: Mutex<IamAnswer>,
    asked: AtomicUsize,
}

impl ScriptedIam {
    /// Says this from now on.
    pub fn says(&self, answer: IamAnswer) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }

    /// How often it was asked.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Iam for ScriptedIam {
    fn check<'a>(&'a self, _question: &'a Question<'a>) -> BoxFuture<'a, IamAnswer> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(async { answer })
    }
}

/// What outlives every process.
pub(crate) struct Shared {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) entropy: Arc<SeededEntropy>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) bank: Arc<Bank>,
    pub(crate) bench: Arc<Bench>,
    pub(crate) iam: Arc<ScriptedIam>,
    pub(crate) onlooker: Arc<Onlooker>,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) space: Arc<ScriptedSpace>,
}

/// A disk that is as full as a test wants.
#[derive(Debug, Default)]
pub struct ScriptedSpace(AtomicBool);

impl ScriptedSpace {
    /// There is too little from now on, or enough.
    pub fn is(&self, low: bool) {
        self.0.store(low, Ordering::Relaxed);
    }
}

impl Space for ScriptedSpace {
    fn is_low(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A world to be.
#[derive(Debug, Clone)]
pub struct WorldBuilder {
    settings: Settings,
    seed: u64,
    folder: Option<PathBuf>,
}

impl WorldBuilder {
    /// A price, such as `0.05`. What has none is free.
    #[must_use]
    pub fn price(mut self, action: &str, price: &str) -> Self {
        self.settings.prices.push((action.to_owned(), price.to_owned()));
        self
    }

    /// Prices for several actions.
    #[must_use]
    pub fn prices<'a>(self, actions: impl IntoIterator<Item = &'a str>, price: &str) -> Self {
        actions.into_iter().fold(self, |builder, action| builder.price(action, price))
    }

    /// With another rail beside the scripted one.
    #[must_use]
    pub fn rail(mut self, rail: Arc<dyn Rail>) -> Self {
        self.settings.rails.0.push(rail);
        self
    }

    /// The scripted tools at the list prices of tools.
    #[must_use]
    pub fn tools_at_list_prices(mut self) -> Self {
        self.settings.tool_prices = Some(ToolPrices::LISTED);
        self
    }

    /// Without `/exec/*`.
    #[must_use]
    pub fn without_tools(mut self) -> Self {
        self.settings.tools = ToolSurface::Off;
        self
    }

    /// With an action of the operator's.
    #[must_use]
    pub fn action(mut self, action: Action) -> Self {
        self.settings.actions.push(action);
        self
    }

    /// Only these actions.
    #[must_use]
    pub fn allow<const N: usize>(mut self, actions: [&str; N]) -> Self {
        self.settings.allow_list = Some(actions.map(str::to_owned).to_vec());
        self
    }

    /// Under this policy file.
    #[must_use]
    pub fn policy(mut self, file: Value) -> Self {
        self.settings.policy = Some(file);
        self
    }

    /// Off loopback: callers are not local, and are known by their session.
    #[must_use]
    pub fn public(mut self) -> Self {
        self.settings.local_free = false;
        self.settings.hosts = vec!["gate.example".to_owned()];
        self
    }

    /// Only callers with the key of a grant are served.
    #[must_use]
    pub fn require_grant(mut self) -> Self {
        self.settings.require_grant = true;
        self
    }

    /// With an audit trail in its record.
    #[must_use]
    pub fn with_trail(mut self) -> Self {
        self.settings.keeps_trail = true;
        self
    }

    /// Tokens of an issuer that publishes these keys are taken.
    #[must_use]
    pub fn issued_by(mut self, published: Value) -> Self {
        self.settings.issuer_keys = Some(published);
        self
    }

    /// Internal grants may go by this name.
    #[must_use]
    pub fn alias(mut self, alias: &str) -> Self {
        self.settings.alias = Some(alias.to_owned());
        self
    }

    /// Free dry-runs at these rates.
    #[must_use]
    pub fn rates(mut self, rates: Rates) -> Self {
        self.settings.rates = rates;
        self
    }

    /// Every run needs an approval artifact.
    #[must_use]
    pub fn strict(mut self) -> Self {
        self.settings.approval_mode = ApprovalMode::Strict;
        self
    }

    /// These artifacts of `ClawShield` count.
    #[must_use]
    pub fn shield(mut self, shield: ClawShield) -> Self {
        self.settings.shield = shield;
        self
    }

    /// These people may approve.
    ///
    /// # Panics
    /// If they are no list of approvers.
    #[must_use]
    pub fn approvers(mut self, people: impl IntoIterator<Item = Person>) -> Self {
        self.settings.people = People::new(people).expect("approvers");
        self
    }

    /// Every step to the outside waits until the test lets it go.
    #[must_use]
    pub fn in_turns(mut self) -> Self {
        self.settings.takes_turns = true;
        self
    }

    /// The seed of everything random.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// In a folder that outlives this process, together with the journal.
    #[must_use]
    pub fn in_folder(mut self, folder: &Path) -> Self {
        self.folder = Some(folder.to_owned());
        self
    }

    /// Opens the world.
    ///
    /// # Panics
    /// If no folder can be made, or the record does not open.
    #[must_use]
    pub fn open(self) -> World {
        let (folder, journal, temporary) = match self.folder {
            Some(folder) => {
                let journal = Journal::on_file(&folder.join("journal"));
                (folder, journal, None)
            }
            None => {
                let temporary = temporary_folder();
                fs::write(temporary.path().join(RECORD), empty_record()).expect("a record can be made");
                (temporary.path().to_owned(), Journal::default(), Some(temporary))
            }
        };
        let journal = Arc::new(journal);
        let shared = Shared {
            clock: Arc::default(),
            entropy: Arc::new(SeededEntropy::of(self.seed)),
            bank: Arc::new(Bank::new(Arc::clone(&journal))),
            bench: Arc::new(Bench::new(Arc::clone(&journal))),
            iam: Arc::new(ScriptedIam {
                answer: Mutex::new(IamAnswer::NotConfigured),
                asked: AtomicUsize::new(0),
            }),
            onlooker: Arc::default(),
            shelf: Arc::default(),
            space: Arc::default(),
            journal,
        };
        let gate = Gate::open(&folder, &shared, &self.settings);
        World { settings: self.settings, shared, folder, gate, _temporary: temporary }
    }
}

/// The bytes of a record in which nothing has happened: its schema takes longer to make than to copy, and thousands of worlds
/// begin with it.
fn empty_record() -> &'static [u8] {
    static EMPTY: OnceLock<Vec<u8>> = OnceLock::new();
    EMPTY.get_or_init(|| {
        let folder = temporary_folder();
        let path = folder.path().join(RECORD);
        let options = OpenOptions {
            url: format!("sqlite://{}", path.display()),
            data_dir: folder.path().to_owned(),
            instance: InstanceId::from_entropy([0; 16]),
            at: UnixMs(0),
        };
        let store = open(&options).expect("the record opens");
        // On a thread of its own: whoever asks may be within a runtime already.
        let closed = thread::spawn(move || {
            let runtime = Builder::new_current_thread().build().expect("a runtime can be made");
            runtime.block_on(store.close());
        });
        closed.join().expect("the record closes");
        fs::read(path).expect("the record can be read")
    })
}

/// A folder that is gone when it is dropped.
///
/// # Panics
/// If none can be made.
#[must_use]
pub fn temporary_folder() -> TempDir {
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix("execgate-test-");
    let made = builder.tempdir_in(MEMORY_DISK).or_else(|_| builder.tempdir());
    made.expect("a temporary folder can be made")
}

/// A gateway and everything around it. What a [`Gate`] can do, its world can.
pub struct World {
    settings: Settings,
    shared: Shared,
    folder: PathBuf,
    gate: Gate,
    _temporary: Option<TempDir>,
}

impl World {
    /// A world that is free, open to every action, and serves this machine only.
    #[must_use]
    pub fn builder() -> WorldBuilder {
        let settings = Settings { local_free: true, ..Settings::default() };
        WorldBuilder { settings, seed: 1, folder: None }
    }

    /// That world, opened.
    #[must_use]
    pub fn free() -> Self {
        Self::builder().open()
    }

    /// A world in which every scripted action costs five cents.
    #[must_use]
    pub fn priced() -> WorldBuilder {
        Self::builder().prices(Bench::actions(), "0.05")
    }

    /// What happened outside.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.shared.journal
    }

    /// The same, for whoever outlives this borrow.
    #[must_use]
    pub fn shared_journal(&self) -> Arc<Journal> {
        Arc::clone(&self.shared.journal)
    }

    /// The bank behind the scripted rail.
    #[must_use]
    pub fn bank(&self) -> &Bank {
        &self.shared.bank
    }

    /// The time, for whoever outlives this borrow.
    #[must_use]
    pub fn shared_clock(&self) -> Arc<ManualClock> {
        Arc::clone(&self.shared.clock)
    }

    /// The same, for whoever outlives this borrow.
    #[must_use]
    pub fn shared_bank(&self) -> Arc<Bank> {
        Arc::clone(&self.shared.bank)
    }

    /// Where handlers work.
    #[must_use]
    pub fn bench(&self) -> &Bench {
        &self.shared.bench
    }

    /// The identity service.
    #[must_use]
    pub fn iam(&self) -> &ScriptedIam {
        &self.shared.iam
    }

    /// The disk.
    #[must_use]
    pub fn space(&self) -> &ScriptedSpace {
        &self.shared.space
    }

    /// Every decision that was told of since this was last asked.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.onlooker.take()
    }

    /// Where checkpoints are kept outside of the record.
    #[must_use]
    pub fn shelf(&self) -> &Shelf {
        &self.shared.shelf
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &ManualClock {
        &self.shared.clock
    }

    pub(crate) fn entropy(&self) -> &SeededEntropy {
        &self.shared.entropy
    }

    /// The process that the world's own calls go to.
    #[must_use]
    pub fn gate(&self) -> Gate {
        self.gate.clone()
    }

    /// The file of the record, for a hand that changes it behind the gateway's back.
    #[must_use]
    pub fn record_file(&self) -> PathBuf {
        self.folder.join(RECORD)
    }

    /// The keys of the record, with secrets that are kept elsewhere.
    #[must_use]
    pub fn keyring(&self, safe: Arc<dyn KeySafe>) -> Keyring {
        let Shared { clock, entropy, .. } = &self.shared;
        Keyring { store: self.store(), safe, clock: clock.clone(), entropy: entropy.clone() }
    }

    /// The public half of the receipt key.
    #[must_use]
    pub fn key(&self) -> VerifyingKey {
        SigningKey::from_seed(&KEY_SEED).verifying_key()
    }

    /// Another process over the same record.
    #[must_use]
    pub fn another_gate(&self) -> Gate {
        Gate::open(&self.folder, &self.shared, &self.settings)
    }

    /// Kills the process if it lives, starts a new one, and lets it mend what it finds.
    ///
    /// # Panics
    /// If the new one dies of it.
    pub async fn restart(&mut self) -> Recovered {
        self.reopen().await;
        self.gate.sweep().await.expect("recovery comes to its end")
    }

    /// Kills the process if it lives and starts a new one, which mends nothing yet.
    pub async fn reopen(&mut self) {
        self.gate.kill().await;
        self.gate = self.another_gate();
    }

    /// Restarts with steps that wait for nobody.
    pub async fn restart_without_turns(&mut self) -> Recovered {
        self.settings.takes_turns = false;
        self.restart().await
    }

    /// A sweep when so much time has gone by.
    ///
    /// # Panics
    /// If the record cannot be read.
    pub async fn sweep_after(&self, ms: u64) -> Option<Recovered> {
        self.shared.clock.advance_ms(ms);
        self.gate.sweep().await
    }

    /// Restarts with another allow-list.
    pub async fn restart_allowing(&mut self, actions: Option<&[&str]>) -> Recovered {
        self.settings.allow_list =
            actions.map(|actions| actions.iter().map(|action| (*action).to_owned()).collect());
        self.restart().await
    }
}

impl Deref for World {
    type Target = Gate;

    fn deref(&self) -> &Gate {
        &self.gate
    }
}
