//! Money, and kills at random moments: two gateways over one record and the settler that moves what they take, clients that
//! pay by every rail, and by Permit2, and show the same payment many times at once, and `kill -9` of one or the other, or a node that stands
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
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use execgate_payment::evm::Authorization;
use execgate_testkit::chain::{Chain, SELLER};
use execgate_testkit::wallet::Wallet;
use serde_json::{Value, json};

use super::books::Books;
use super::cashier::{Desk, Settler};
use super::purse::{Asked, post};
use super::server::Data;
use super::shop::{USDC_BY_PERMIT2, upto};
use super::siege::{Clients, Crowd, Dice, GATEWAYS, Gateways, Told, notifier, number, service};

/// Kills where nobody says how many.
const KILLS: usize = 12;

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

/// The longest wait for one of these, in microseconds.
const MOMENT_US: u64 = 12_000;

/// How long a node stands still, at the most, in microseconds.
const STANDSTILL_US: u64 = 400_000;

/// How long a purchase is asked for at the end: what is pending is looked for every ten seconds.
const LAST_WAIT: Duration = Duration::from_secs(90);

/// How soon it is asked for again.
const AGAIN: Duration = Duration::from_millis(100);

/// Every so many purchases one is paid by Permit2.
const PERMITTED_EVERY: usize = 5;

/// What is bought, by its number: the work that is paid after it, the work that is paid before it, and the work that is paid by
/// its usage take turns.
fn action(purchase: usize) -> &'static str {
    ["notify", "pledge", "gauge"][purchase % 3]
}

/// What is metered is paid by Permit2 alone, and of the others one now and then.
fn is_permitted(purchase: usize) -> bool {
    action(purchase) == "gauge" || purchase.is_multiple_of(PERMITTED_EVERY)
}

/// What a purchase is called by.
fn name(purchase: usize) -> String {
    format!("p{purchase}")
}

/// What all threads share.
struct Shared {
    crowd: Crowd,
    chain: Chain,
    /// What was signed for each purchase, and the forms of the newest.
    signed: Mutex<BTreeMap<usize, Vec<Signed>>>,
    withheld: AtomicUsize,
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
    fn body(purchase: usize) -> Value {
        let whom = name(purchase);
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
            self.crowd.fault(format!("p{purchase} was asked for, and answered {}", heard.status));
            return None;
        };
        let signed = self.sign(&asked, purchase, 0);
        // Whoever was faster has signed it.
        let mut all = self.signed.lock().unwrap();
        let of_purchase = all.entry(purchase).or_default();
        if of_purchase.is_empty() {
            of_purchase.push(signed);
        }
        of_purchase.last().cloned()
    }

    /// A payment of a purchase: its number of them, from zero.
    fn sign(&self, asked: &Asked, purchase: usize, number: usize) -> Signed {
        let (wallet, is_upfront) = (wallet(purchase), asked.is_upfront());
        if is_permitted(purchase) {
            let drawn = u64::try_from(purchase * 1_000 + number).unwrap();
            let paid = asked.permitted(&wallet, drawn, self.chain.now_s());
            return Signed { forms: vec![asked.show_permit(&paid)], paid, is_upfront };
        }
        let paid = asked.signed(&wallet);
        Signed { forms: asked.forms(&paid), paid, is_upfront }
    }

    /// Shows the payment of a purchase in one of its forms.
    fn ask(&self, address: SocketAddr, purchase: usize, dice: &mut Dice) -> Word {
        let Some(signed) = self.payment(address, purchase) else { return Word::Later };
        let form = &signed.forms[dice.place(signed.forms.len())];
        let Some(heard) = post(address, "/execute", &Self::body(purchase), form) else { return Word::Later };
        match (heard.status, heard.code().as_str()) {
            (200, _) | (409, "run-outcome-unknown") => {
                self.crowd.hear(&name(purchase), Told { status: heard.status, body: heard.body });
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
            // A wallet is given its money, and lets Permit2 move it, while it is asked already.
            (402 | 412, "payment-refused") => Word::Anew,
            (status, _) => {
                let told = String::from_utf8_lossy(&heard.body).into_owned();
                self.crowd.fault(format!("p{purchase} was answered {status}: {told}"));
                Word::Over
            }
        }
    }
}

/// Who buys it.
fn wallet(purchase: usize) -> Wallet {
    Wallet::number(u64::try_from(purchase / OF_ONE_WALLET).unwrap())
}

fn config(folder: &Path, port: u16, socket: &Path) -> String {
    let path = folder.join("config.toml");
    let text = format!(
        "[surfaces]\ncode = \"off\"\n[log]\nlevel = \"error\"\n[payment]\nnetworks = [\"eip155:84532\"]\nsettler = {socket:?}\n\
         upfront = [\"pledge\"]\nauthorization = [\"notify\"]\n[payment.prices]\nnotify = \"0.02\"\npledge = \"0.03\"\ngauge = \"0.04\"\n\
         {}{}{}{USDC_BY_PERMIT2}{}",
        notifier("notify", port),
        notifier("pledge", port),
        notifier("gauge", port),
        upto("gauge")
    );
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Whoever is killed, and who starts them again.
struct Siege {
    data: PathBuf,
    gateways: Gateways,
    desk: Desk,
    settler: Option<Settler>,
    dice: Dice,
    of_settler: usize,
    stood: usize,
}

impl Siege {
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
            self.gateways.kill(at);
            if stands {
                shared.chain.go_on();
            }
            self.gateways.start(at, &shared.crowd);
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
            self.dice.moment(events, MOMENT_US);
        }
        self.settler = Some(self.desk.start(&self.data));
    }

    fn kill_again_and_again(&mut self, kills: usize, shared: &Shared, events: &Receiver<()>) {
        for kill in 1..=kills {
            self.dice.moment(events, MOMENT_US);
            self.strike(shared, events);
            fund(&shared.chain, shared.crowd.allow(NEW_PURCHASES));
            if kill % CHECKED_EVERY == 0 {
                let told = self.gateways.check(&shared.crowd, "while it is served");
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
            let who = wallet(purchase).address().to_string();
            chain.fund(&who, FUNDS);
            chain.lets(&who, FUNDS);
        }
    }
}

/// Asks for a purchase until it has come to its end, signing anew where a payment was over before it had bought anything.
fn last_word(dice: &mut Dice, shared: &Shared, address: SocketAddr, purchase: usize, events: &Receiver<()>) {
    let until = Instant::now() + LAST_WAIT;
    while Instant::now() < until {
        match shared.ask(address, purchase, dice) {
            Word::Over => return,
            Word::Later => drop(events.recv_timeout(AGAIN)),
            Word::Anew => {
                let heard = post(address, "/execute", &Shared::body(purchase), "");
                let Some(asked) = heard.as_ref().and_then(Asked::read) else { continue };
                let number = shared.signed.lock().unwrap().get(&purchase).map_or(0, Vec::len);
                let signed = shared.sign(&asked, purchase, number);
                shared.signed.lock().unwrap().entry(purchase).or_default().push(signed);
            }
        }
    }
    shared.crowd.fault(format!("p{purchase} has no answer"));
}

/// What every purchase has come to, once nothing is killed any more.
fn judge(siege: &mut Siege, shared: &Shared, events: &Receiver<()>) -> String {
    let (crowd, purchases) = (&shared.crowd, shared.crowd.begun());
    let address = siege.gateways.leave_one(crowd);
    for purchase in 0..purchases {
        last_word(&mut siege.dice, shared, address, purchase, events);
    }
    siege.gateways.check(crowd, "at the end");
    siege.gateways.kill(0);
    let told = siege.gateways.check(crowd, "when nobody serves it");
    let heard = crowd.heard.lock().unwrap().clone();
    let unknown = crowd.heard_as(409);
    crowd.expect(&told, &[("runs", heard.len()), ("open", 0), ("unknown", unknown), ("held", 0)]);
    let books = Books::read(&siege.data);
    let signed = shared.signed.lock().unwrap().clone();
    account(shared, &books, &signed, &heard);
    let funded = u64::try_from(crowd.allowed().div_ceil(OF_ONE_WALLET)).unwrap();
    let all = || signed.values().flatten().map(|signed| &signed.paid);
    for fault in books.faults(&shared.chain, all(), (0..funded).map(|at| (Wallet::number(at), FUNDS))) {
        shared.crowd.fault(fault);
    }
    let upfront = signed.values().flatten().filter(|signed| signed.is_upfront).count();
    let started: usize = crowd.hits().values().sum();
    let (answers, withheld) = (&crowd.answers, &shared.withheld);
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
    heard: &BTreeMap<String, Told>,
) {
    let hits = shared.crowd.hits();
    for (purchase, payments) in signed {
        let starts = hits.get(&name(*purchase)).copied().unwrap_or_default();
        let paid = payments.iter().filter(|signed| books.has_paid(&signed.paid)).count();
        let status = heard.get(&name(*purchase)).map(|told| told.status);
        let fits = match status {
            Some(200) => starts == 1 && paid == 1,
            Some(_) => starts <= 1 && paid == 0,
            None => starts == 0 && paid == 0,
        };
        if !fits {
            shared.crowd.fault(format!(
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
    let (folder, begun, chain) = (Data::new(), Instant::now(), Chain::with_permit2());
    let data = folder.path();
    let (sender, events) = channel();
    let hits = Arc::default();
    let port = service(Arc::clone(&hits), sender.clone());
    let mut desk = Desk::new(&data, &chain);
    let config = config(data.parent().unwrap(), port, &desk.socket());
    fund(&chain, NEW_PURCHASES);
    let (crowd, withheld) = (Crowd::new(NEW_PURCHASES, hits), AtomicUsize::new(0));
    let shared = Shared { crowd, chain, signed: Mutex::default(), withheld };
    let wallet = [("PAYMENT_WALLET", SELLER.address)];
    let gateways = Gateways::start_all(data.clone(), config, &wallet, &shared.crowd);
    let settler = Some(desk.start(&data));
    let mut siege = Siege { data, gateways, desk, settler, dice: Dice(seed), of_settler: 0, stood: 0 };
    let ask = |address, what, dice: &mut Dice| {
        shared.ask(address, what, dice);
    };
    let clients = Clients { count: CLIENTS, window: WINDOW, seed, events: &sender };
    shared.crowd.ask_during(clients, ask, || siege.kill_again_and_again(kills, &shared, &events));
    let told = judge(&mut siege, &shared, &events);
    let (of_settler, stood) = (siege.of_settler, siege.stood);
    println!(
        "{kills} kills in {} s, {of_settler} of them of the settler, {stood} with a node that stood still: {told}",
        begun.elapsed().as_secs()
    );
    if !shared.crowd.faults.lock().unwrap().is_empty() {
        println!("what is left of it: {}", siege.data.parent().unwrap().display());
        forget(folder);
    }
    assert_eq!(*shared.crowd.faults.lock().unwrap(), Vec::<String>::new());
    let signed = shared.signed.lock().unwrap();
    let flows: BTreeSet<bool> = signed.values().flatten().map(|signed| signed.is_upfront).collect();
    assert_eq!(flows, BTreeSet::from([false, true]), "both flows were paid by");
    let means: BTreeSet<bool> = signed.values().flatten().map(|signed| signed.paid.by.is_token()).collect();
    assert_eq!(means, BTreeSet::from([false, true]), "and so were the token and Permit2");
}
