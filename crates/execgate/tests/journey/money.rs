//! Money, and kills at random moments: two gateways over one record and the settler that moves what they take, clients that
//! pay by every rail and show the same payment many times at once, and `kill -9` of one or the other, or a node that stands
//! still for a while, again and again. What happened is judged from outside: by the chain's balances and transfers, by a
//! service that counts how often it was called, by what clients heard, and by `execgate fsck`.
//!
//! A few kills are part of every test run; `cargo xtask soak money` is the same with as many as it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::mem::forget;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::id;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use execgate_payment::evm::Authorization;
use execgate_testkit::chain::{Chain, SELLER};
use execgate_testkit::wallet::Wallet;
use serde_json::{Value, json};

use super::books::Books;
use super::cashier::{Desk, Settler};
use super::kills::{Dice, number, service};
use super::purse::{Asked, Heard, post};
use super::server::{Data, Server, run};

/// Kills where nobody says how many.
const KILLS: usize = 12;

/// Gateways on one data directory.
const GATEWAYS: usize = 2;

/// Clients at once.
const CLIENTS: usize = 8;

/// New purchases that come between two kills, at the most.
const NEW_PURCHASES: usize = 4;

/// The newest purchases, which are asked for again and again.
const WINDOW: usize = 6;

/// Purchases of one wallet.
const OF_ONE_WALLET: usize = 4;

/// What a wallet has, in units: more than it buys.
const FUNDS: u64 = 1_000_000;

/// Kills between two checks of the record while it is served.
const CHECKED_EVERY: usize = 50;

/// What may happen before a kill, at the most.
const EVENTS_MAX: u64 = 24;

/// The longest wait for one of these, in microseconds.
const MOMENT_US: u64 = 12_000;

/// How long a node stands still, at the most, in microseconds.
const STANDSTILL_US: u64 = 400_000;

/// How long a purchase is asked for at the end: what is pending is looked for every ten seconds.
const LAST_WAIT: Duration = Duration::from_secs(90);

/// How soon it is asked for again.
const AGAIN: Duration = Duration::from_millis(100);

/// What is bought, by its number: the work that is paid after it and the work that is paid before it take turns.
fn action(purchase: usize) -> &'static str {
    if purchase.is_multiple_of(2) { "notify" } else { "pledge" }
}

/// What all threads share.
struct Shared {
    addresses: Mutex<Vec<SocketAddr>>,
    chain: Chain,
    purchases: AtomicUsize,
    allowed: AtomicUsize,
    over: AtomicBool,
    /// What was signed for each purchase, and the forms of the newest.
    signed: Mutex<BTreeMap<usize, Vec<Signed>>>,
    heard: Mutex<BTreeMap<usize, (u16, Vec<u8>)>>,
    answers: AtomicUsize,
    withheld: AtomicUsize,
    faults: Mutex<Vec<String>>,
    hits: Arc<Mutex<BTreeMap<String, usize>>>,
}

/// A payment, and how it may be shown.
#[derive(Clone)]
struct Signed {
    paid: Authorization,
    forms: Vec<String>,
    is_upfront: bool,
}

/// Whether a purchase has come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Over,
    Later,
    /// Its payment buys nothing any more: another has to be signed.
    Anew,
}

impl Shared {
    fn fault(&self, what: String) {
        self.faults.lock().unwrap().push(what);
    }

    /// A purchase: one of the newest, or a new one.
    fn pick(&self, dice: &mut Dice) -> usize {
        let newest = self.purchases.load(Ordering::SeqCst);
        if newest < self.allowed.load(Ordering::SeqCst) && dice.below(3) == 0 {
            return self.purchases.fetch_add(1, Ordering::SeqCst);
        }
        newest.saturating_sub(1 + dice.place(WINDOW))
    }

    fn body(purchase: usize) -> Value {
        let whom = format!("p{purchase}");
        json!({"action": action(purchase), "payload": {"whom": whom}, "nonce": whom})
    }

    /// The payment of a purchase; signed where there is none, and none where nobody says what is asked for.
    fn payment(&self, address: SocketAddr, purchase: usize) -> Option<Signed> {
        if let Some(signed) = self.signed.lock().unwrap().get(&purchase).and_then(|all| all.last()) {
            return Some(signed.clone());
        }
        let heard = post(address, "/execute", &Self::body(purchase), "")?;
        if heard.status == 503 {
            return None;
        }
        let Some(asked) = Asked::read(&heard) else {
            self.fault(format!("p{purchase} was asked for, and answered {}", heard.status));
            return None;
        };
        let paid = asked.signed(&wallet(purchase));
        let forms = asked.forms(&paid);
        let signed = Signed { paid, forms, is_upfront: asked.is_upfront() };
        // Whoever was faster has signed it.
        let mut all = self.signed.lock().unwrap();
        let of_purchase = all.entry(purchase).or_default();
        if of_purchase.is_empty() {
            of_purchase.push(signed);
        }
        of_purchase.last().cloned()
    }

    /// Shows the payment of a purchase in one of its forms.
    fn ask(&self, address: SocketAddr, purchase: usize, dice: &mut Dice) -> Word {
        let Some(signed) = self.payment(address, purchase) else { return Word::Later };
        let form = &signed.forms[dice.place(signed.forms.len())];
        let Some(heard) = post(address, "/execute", &Self::body(purchase), form) else { return Word::Later };
        match (heard.status, heard.code().as_str()) {
            (200, _) | (409, "run-outcome-unknown") => {
                self.hear(purchase, &heard);
                Word::Over
            }
            (402, "settlement-pending") => {
                self.withheld.fetch_add(1, Ordering::SeqCst);
                Word::Later
            }
            // Turned away, and nothing claimed.
            (503, _) => Word::Later,
            // Taken up in the form in which it was left, and in no other.
            (409, "payment-reused") => Word::Later,
            (402, "payment-refused") => Word::Anew,
            (status, _) => {
                let told = String::from_utf8_lossy(&heard.body).into_owned();
                self.fault(format!("p{purchase} was answered {status}: {told}"));
                Word::Over
            }
        }
    }

    /// Takes note of an answer. The same payment, the same answer, for ever.
    fn hear(&self, purchase: usize, heard: &Heard) {
        self.answers.fetch_add(1, Ordering::SeqCst);
        let told = (heard.status, heard.body.clone());
        if let Some(first) = self.heard.lock().unwrap().insert(purchase, told.clone())
            && first != told
        {
            self.fault(format!("p{purchase} was answered {first:?} and then {told:?}"));
        }
    }
}

/// Who buys it.
fn wallet(purchase: usize) -> Wallet {
    Wallet::number(u64::try_from(purchase / OF_ONE_WALLET).unwrap())
}

fn config(folder: &Path, port: u16, socket: &Path) -> PathBuf {
    let path = folder.join("config.toml");
    let action = |name: &str| {
        format!(
            "[[action]]\nname = \"{name}\"\ndescription = \"Notifies.\"\n\
             kind = \"http\"\neffect = \"write\"\nmethod = \"POST\"\nurl = \"http://127.0.0.1:{port}/to/{{whom}}\"\n\
             allow_private = true\nbody = \"payload\"\nschema = {{ type = \"object\", required = [\"whom\"], \
             additionalProperties = false, properties = {{ whom = {{ type = \"string\" }} }} }}\n"
        )
    };
    let text = format!(
        "[surfaces]\ncode = \"off\"\n[log]\nlevel = \"error\"\n[payment]\nnetworks = [\"eip155:84532\"]\nsettler = {socket:?}\n\
         upfront = [\"pledge\"]\nauthorization = [\"notify\"]\n[payment.prices]\nnotify = \"0.02\"\npledge = \"0.03\"\n{}{}",
        action("notify"),
        action("pledge")
    );
    fs::write(&path, text).unwrap();
    path
}

/// Whoever is killed, and who starts them again.
struct Siege {
    data: PathBuf,
    config: PathBuf,
    desk: Desk,
    servers: Vec<Option<Server>>,
    settler: Option<Settler>,
    dice: Dice,
    of_settler: usize,
    stood: usize,
}

impl Siege {
    fn start(&mut self, at: usize, shared: &Shared) {
        let config = ["--config", self.config.to_str().unwrap()];
        let server = Server::start_with(&self.data, &config, &[("PAYMENT_WALLET", SELLER.address)]);
        shared.addresses.lock().unwrap()[at] = server.address();
        self.servers[at] = Some(server);
    }

    fn kill(&mut self, at: usize) {
        if let Some(server) = self.servers[at].take() {
            server.kill();
        }
    }

    /// Waits for a moment that nobody chose.
    fn moment(&mut self, events: &Receiver<()>) {
        events.try_iter().for_each(drop);
        for _ in 0..self.dice.below(EVENTS_MAX) {
            events.recv_timeout(Duration::from_micros(self.dice.below(MOMENT_US))).ok();
        }
    }

    /// Kills a gateway or the settler; now and then the node stands still meanwhile.
    fn strike(&mut self, shared: &Shared, events: &Receiver<()>) {
        let stands = self.dice.below(8) == 0;
        if stands {
            shared.chain.hang();
            self.stood += 1;
            events.recv_timeout(Duration::from_micros(self.dice.below(STANDSTILL_US))).ok();
        }
        let at = self.dice.place(GATEWAYS + 1);
        if at < GATEWAYS {
            self.kill(at);
            if stands {
                shared.chain.go_on();
            }
            self.start(at, shared);
            return;
        }
        self.of_settler += 1;
        if let Some(settler) = self.settler.take() {
            settler.kill();
        }
        if stands {
            shared.chain.go_on();
        }
        // It may be away for a while.
        if self.dice.below(2) == 0 {
            self.moment(events);
        }
        self.settler = Some(self.desk.start(&self.data));
    }

    /// What `execgate fsck` says.
    fn check(&self, shared: &Shared, when: &str) -> Value {
        let output = run(&["fsck", "--json", "--data-dir", self.data.to_str().unwrap()], "");
        let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        if output.status.code() != Some(0) {
            shared.fault(format!("{when}: {told} {}", String::from_utf8_lossy(&output.stderr)));
        }
        told
    }

    fn kill_again_and_again(&mut self, kills: usize, shared: &Shared, events: &Receiver<()>) {
        for kill in 1..=kills {
            self.moment(events);
            self.strike(shared, events);
            let allowed = shared.allowed.fetch_add(NEW_PURCHASES, Ordering::SeqCst) + NEW_PURCHASES;
            fund(&shared.chain, allowed);
            if kill % CHECKED_EVERY == 0 {
                let told = self.check(shared, "while it is served");
                println!(
                    "{kill} kills, {} runs, {} unknown, {} payments, {} captured",
                    told["runs"], told["unknown"], told["payments"], told["captured"]
                );
            }
        }
    }
}

/// Gives money to whoever may buy, up to that purchase.
fn fund(chain: &Chain, allowed: usize) {
    for purchase in allowed - NEW_PURCHASES..allowed {
        if purchase.is_multiple_of(OF_ONE_WALLET) {
            chain.fund(&wallet(purchase).address().to_string(), FUNDS);
        }
    }
}

/// Asks for a purchase until it has come to its end, signing anew where a payment was over before it had bought anything.
fn last_word(siege: &mut Siege, shared: &Shared, purchase: usize, events: &Receiver<()>) {
    let address = shared.addresses.lock().unwrap()[0];
    let until = Instant::now() + LAST_WAIT;
    while Instant::now() < until {
        match shared.ask(address, purchase, &mut siege.dice) {
            Word::Over => return,
            Word::Later => drop(events.recv_timeout(AGAIN)),
            Word::Anew => {
                let heard = post(address, "/execute", &Shared::body(purchase), "");
                let Some(asked) = heard.as_ref().and_then(Asked::read) else { continue };
                let paid = asked.signed(&wallet(purchase));
                let forms = asked.forms(&paid);
                let signed = Signed { paid, forms, is_upfront: asked.is_upfront() };
                shared.signed.lock().unwrap().entry(purchase).or_default().push(signed);
            }
        }
    }
    shared.fault(format!("p{purchase} has no answer"));
}

/// What every purchase has come to, once nothing is killed any more.
fn judge(siege: &mut Siege, shared: &Shared, events: &Receiver<()>) -> String {
    for at in 0..GATEWAYS {
        siege.kill(at);
    }
    siege.start(0, shared);
    let purchases = shared.purchases.load(Ordering::SeqCst);
    for purchase in 0..purchases {
        last_word(siege, shared, purchase, events);
    }
    siege.check(shared, "at the end");
    siege.kill(0);
    let told = siege.check(shared, "when nobody serves it");
    let heard = shared.heard.lock().unwrap().clone();
    let unknown = heard.values().filter(|(status, _)| *status == 409).count();
    for (name, expected) in [("runs", heard.len()), ("open", 0), ("unknown", unknown), ("held", 0)] {
        if told[name] != json!(expected) {
            shared.fault(format!("the record has {} {name}, and {expected} were heard of", told[name]));
        }
    }
    let books = Books::read(&siege.data);
    let signed = shared.signed.lock().unwrap().clone();
    account(shared, &books, &signed, &heard);
    let funded = u64::try_from(shared.allowed.load(Ordering::SeqCst).div_ceil(OF_ONE_WALLET)).unwrap();
    let all = || signed.values().flatten().map(|signed| &signed.paid);
    for fault in books.faults(&shared.chain, all(), (0..funded).map(|at| (Wallet::number(at), FUNDS))) {
        shared.fault(fault);
    }
    let upfront = signed.values().flatten().filter(|signed| signed.is_upfront).count();
    let started: usize = shared.hits.lock().unwrap().values().sum();
    let (answers, withheld) = (&shared.answers, &shared.withheld);
    format!(
        "{purchases} purchases ({upfront} payments signed upfront, {} after), {started} started, {unknown} unknown, \
         {} transfers, {} units taken, of these {} credited, {answers:?} answers heard, {withheld:?} withheld for a while",
        all().count() - upfront,
        shared.chain.transfers().len(),
        books.taken(),
        books.credited()
    )
}

/// Holds what clients heard and what started against the books: a run that was answered started once and was paid once, and
/// what was taken for any other is a credit.
fn account(
    shared: &Shared,
    books: &Books,
    signed: &BTreeMap<usize, Vec<Signed>>,
    heard: &BTreeMap<usize, (u16, Vec<u8>)>,
) {
    let hits = shared.hits.lock().unwrap().clone();
    for (purchase, payments) in signed {
        let starts = hits.get(&format!("p{purchase}")).copied().unwrap_or_default();
        let paid = payments.iter().filter(|signed| books.has_paid(&signed.paid)).count();
        let status = heard.get(purchase).map(|(status, _)| *status);
        let fits = match status {
            Some(200) => starts == 1 && paid == 1,
            Some(_) => starts <= 1 && paid == 0,
            None => starts == 0 && paid == 0,
        };
        if !fits {
            shared.fault(format!(
                "p{purchase} ({}) was answered {status:?}, has started {starts} times and was paid {paid} times",
                action(*purchase)
            ));
        }
    }
}

#[test]
fn every_unit_is_accounted_for_whoever_is_killed() {
    let kills = usize::try_from(number("EXECGATE_KILLS", u64::try_from(KILLS).unwrap())).unwrap();
    let seed = number("EXECGATE_SEED", u64::from(id()));
    println!("seed {seed}");
    let (folder, begun, chain) = (Data::new(), Instant::now(), Chain::start());
    let data = folder.path();
    let (sender, events) = channel();
    let hits = Arc::default();
    let port = service(Arc::clone(&hits), sender.clone());
    let desk = Desk::new(&data, &chain);
    let config = config(data.parent().unwrap(), port, &desk.socket());
    fund(&chain, NEW_PURCHASES);
    let shared = Shared {
        addresses: Mutex::new(vec![SocketAddr::from(([127, 0, 0, 1], 1)); GATEWAYS]),
        chain,
        purchases: AtomicUsize::new(1),
        allowed: AtomicUsize::new(NEW_PURCHASES),
        over: AtomicBool::new(false),
        signed: Mutex::default(),
        heard: Mutex::default(),
        answers: AtomicUsize::new(0),
        withheld: AtomicUsize::new(0),
        faults: Mutex::default(),
        hits,
    };
    let servers = (0..GATEWAYS).map(|_| None).collect();
    let dice = Dice(seed);
    let mut siege = Siege { data, config, desk, servers, settler: None, dice, of_settler: 0, stood: 0 };
    for at in 0..GATEWAYS {
        siege.start(at, &shared);
    }
    siege.settler = Some(siege.desk.start(&siege.data));
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (shared, events) = (&shared, sender.clone());
            let mut dice = Dice(seed ^ u64::try_from(client + 1).unwrap());
            scope.spawn(move || {
                while !shared.over.load(Ordering::SeqCst) {
                    let purchase = shared.pick(&mut dice);
                    let address = shared.addresses.lock().unwrap()[dice.place(GATEWAYS)];
                    events.send(()).ok();
                    shared.ask(address, purchase, &mut dice);
                    events.send(()).ok();
                }
            });
        }
        siege.kill_again_and_again(kills, &shared, &events);
        shared.over.store(true, Ordering::SeqCst);
    });
    let told = judge(&mut siege, &shared, &events);
    let (of_settler, stood) = (siege.of_settler, siege.stood);
    println!(
        "{kills} kills in {} s, {of_settler} of them of the settler, {stood} with a node that stood still: {told}",
        begun.elapsed().as_secs()
    );
    if !shared.faults.lock().unwrap().is_empty() {
        println!("what is left of it: {}", siege.data.parent().unwrap().display());
        forget(folder);
    }
    assert_eq!(*shared.faults.lock().unwrap(), Vec::<String>::new());
    let signed = shared.signed.lock().unwrap();
    let flows: BTreeSet<bool> = signed.values().flatten().map(|signed| signed.is_upfront).collect();
    assert_eq!(flows, BTreeSet::from([false, true]), "both flows were paid by");
}
