//! Kills at random moments: two gateways over one record, clients that ask both under few nonces, and `kill -9` of one or
//! the other, again and again. Some of what they ask waits for an approver, who says yes or no at either gateway, more than
//! once. What happened is judged from outside: by a service that counts how often it was called, by the files that were
//! written, by what clients heard, and by `execgate fsck`.
//!
//! A few kills are part of every test run; `cargo xtask soak kills` is the same with as many as it is told.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::id;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use execgate_model::UnixMs;
use execgate_receipt::approval::{APPROVAL_TYPE, ApprovalStatement, Decision};
use execgate_receipt::{SigningKey, Timestamp, canonical, sha256};
use serde_json::{Value, json};

use super::server::{Data, Server, post_bytes, run};

/// Kills where nobody says how many.
const KILLS: usize = 40;

/// Gateways on one data directory.
const GATEWAYS: usize = 2;

/// Clients at once.
const CLIENTS: usize = 6;

/// New nonces that come between two kills, at the most: what is asked beyond that is asked again.
const NEW_NONCES: usize = 24;

/// The newest nonces, which are asked for again and again.
const WINDOW: usize = 12;

/// Kills between two checks of the record while it is served.
const CHECKED_EVERY: usize = 100;

/// What may happen before a kill, at the most.
const EVENTS_MAX: u64 = 24;

/// The longest wait for one of these, in microseconds: a commit on this machine, and some to spare.
const MOMENT_US: u64 = 6_000;

/// The longest answer: a duplicate waits for a run of a process that is recovered first.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a nonce is asked for at the end, where one that waits is approved, started, and waited for.
const LAST_TRIES: usize = 50;

/// Nonces of which some write a file: as many files as a workspace holds.
const FILED: usize = 12_000;

/// A file, in bytes: it takes some writing.
const FILE_BYTES: usize = 12_000;

/// The seed of the approver's key.
const APPROVER_SEED: [u8; 32] = [7; 32];

/// How long a statement lasts, in milliseconds.
const LASTS_MS: u64 = 3_600_000;

/// What becomes of a nonce, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It runs as it comes.
    Free,
    /// It waits, and is approved.
    Approved,
    /// It waits, and is denied.
    Denied,
}

fn number_of(nonce: &str) -> usize {
    nonce[1..].parse().unwrap()
}

fn fate(nonce: &str) -> Fate {
    match number_of(nonce) % 6 {
        0 | 3 => Fate::Approved,
        5 => Fate::Denied,
        _ => Fate::Free,
    }
}

/// What a nonce asks for, and with what.
fn call(nonce: &str) -> (&'static str, Value) {
    let number = number_of(nonce);
    match fate(nonce) {
        Fate::Free => ("notify", json!({"whom": nonce})),
        Fate::Approved if number % 12 > 6 && number < FILED => {
            ("file_write", json!({"path": nonce, "content": content(nonce)}))
        }
        Fate::Approved | Fate::Denied => ("vouch", json!({"whom": nonce})),
    }
}

/// The call, as it is sent. What is blocked brings its approval along: the same one, whoever asks.
fn asked(nonce: &str) -> Value {
    let (action, payload) = call(nonce);
    let mut body = json!({"action": action, "payload": payload, "nonce": nonce});
    if action == "file_write" {
        let about = json!({"action": action, "dryRun": false, "options": {}, "payload": payload});
        let id = format!("00000000-0000-4000-8000-{:012}", number_of(nonce));
        let digest = format!("sha256:{}", sha256(&canonical(&about).unwrap()).to_hex());
        body["approval_artifact"] = statement(&id, action, &digest, Decision::Approve);
    }
    body
}

/// What the file of a nonce holds.
fn content(nonce: &str) -> String {
    let mut content = nonce.repeat(FILE_BYTES / nonce.len());
    content.push('.');
    content
}

/// What the approver signs of a run.
fn statement(id: &str, action: &str, digest: &str, decision: Decision) -> Value {
    #[expect(clippy::disallowed_methods, reason = "the gateways go by the clock of this machine")]
    let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    let said = ApprovalStatement {
        statement_type: APPROVAL_TYPE.to_owned(),
        approval_id: id.parse().unwrap(),
        decision,
        tenant: "default".parse().unwrap(),
        scope: None,
        action: action.parse().unwrap(),
        action_digest: digest.parse().unwrap(),
        policy_digest: None,
        max_price: None,
        reason: None,
        issued_at: Timestamp::new(UnixMs(now)).unwrap(),
        expires_at: Timestamp::new(UnixMs(now + LASTS_MS)).unwrap(),
        approver: "anna".parse().unwrap(),
    };
    json!(said.sign(&SigningKey::from_seed(&APPROVER_SEED)).unwrap())
}

/// A stream of numbers (splitmix64).
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    pub(super) fn place(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(u64::try_from(bound).unwrap())).unwrap()
    }
}

/// What a client is told once and for all.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    status: u16,
    body: Vec<u8>,
}

/// What all threads share.
struct Shared {
    addresses: Mutex<Vec<SocketAddr>>,
    nonces: AtomicUsize,
    allowed: AtomicUsize,
    over: AtomicBool,
    heard: Mutex<BTreeMap<String, Told>>,
    answers: AtomicUsize,
    faults: Mutex<Vec<String>>,
    hits: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Shared {
    fn fault(&self, what: String) {
        self.faults.lock().unwrap().push(what);
    }

    /// A nonce: one of the newest, or a new one.
    fn pick(&self, dice: &mut Dice) -> String {
        let newest = self.nonces.load(Ordering::SeqCst);
        if newest < self.allowed.load(Ordering::SeqCst) && dice.below(3) == 0 {
            return format!("n{}", self.nonces.fetch_add(1, Ordering::SeqCst));
        }
        format!("n{}", newest.saturating_sub(1 + dice.place(WINDOW)))
    }

    /// Takes note of an answer. The same name, the same answer, for ever.
    fn hear(&self, nonce: &str, told: Told) {
        self.answers.fetch_add(1, Ordering::SeqCst);
        if let Some(first) = self.heard.lock().unwrap().insert(nonce.to_owned(), told.clone())
            && first != told
        {
            self.fault(format!("{nonce} was answered {first:?} and then {told:?}"));
        }
    }

    fn ask(&self, address: SocketAddr, nonce: &str) -> bool {
        let fate = fate(nonce);
        let bytes = post_bytes("/execute", &asked(nonce));
        let Some((status, answer)) = exchange(address, &bytes) else { return false };
        let problem: Value = serde_json::from_slice(&answer).unwrap_or_default();
        match (status, problem["code"].as_str()) {
            // It waits: for now there is no answer.
            (202, _) if fate != Fate::Free => {
                self.decide(nonce, fate, &problem);
                false
            }
            (403, Some("approval-denied")) if fate == Fate::Denied => {
                self.hear(nonce, Told { status, body: answer });
                true
            }
            (200, _) if fate == Fate::Denied => {
                self.fault(format!("{nonce} was denied, and has run"));
                true
            }
            // Each has a path of its own: only who writes twice finds a file there.
            (200, _) if problem["result"]["replaced"] == json!(true) => {
                self.fault(format!("{nonce} was written twice"));
                true
            }
            (200, _) | (409, Some("run-outcome-unknown")) => {
                self.hear(nonce, Told { status, body: answer });
                true
            }
            // Turned away, and nothing claimed: later.
            (503, _) => false,
            _ => {
                self.fault(format!("{nonce} was answered {status}: {problem}"));
                true
            }
        }
    }
}

impl Shared {
    /// Says yes or no at whichever gateway is there. Whoever else was faster has said the same.
    fn decide(&self, nonce: &str, fate: Fate, told: &Value) {
        let decision = if fate == Fate::Denied { Decision::Deny } else { Decision::Approve };
        let (id, digest) = (told["id"].as_str().unwrap(), told["action_digest"].as_str().unwrap());
        let artifact = statement(id, call(nonce).0, digest, decision);
        let bytes = post_bytes(&format!("/approvals/{id}"), &json!({ "artifact": artifact }));
        let addresses = self.addresses.lock().unwrap().clone();
        for address in addresses {
            let Some((status, answer)) = exchange(address, &bytes) else { continue };
            let problem: Value = serde_json::from_slice(&answer).unwrap_or_default();
            match (status, problem["code"].as_str()) {
                (200 | 503, _)
                | (409, Some("approval-settled" | "approval-starting" | "approval-repeated")) => {}
                _ => self.fault(format!("a word on {nonce} was answered {status}: {problem}")),
            }
        }
    }
}

/// The answer to a request, if all of it came.
fn exchange(address: SocketAddr, bytes: &[u8]) -> Option<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let length: usize = head.split_once("content-length: ")?.1.lines().next()?.trim().parse().ok()?;
    let body = answer[end + 4..].to_vec();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    (body.len() == length).then_some((status, body))
}

/// A service that counts who was told to it.
pub(super) fn service(hits: Arc<Mutex<BTreeMap<String, usize>>>, events: Sender<()>) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let (hits, events) = (Arc::clone(&hits), events.clone());
            thread::spawn(move || {
                let mut asked = Vec::new();
                let mut part = [0; 4096];
                while !asked.ends_with(b"}") {
                    match stream.read(&mut part) {
                        // Its gateway was killed before it had said everything.
                        Ok(0) | Err(_) => return,
                        Ok(read) => asked.extend_from_slice(&part[..read]),
                    }
                }
                let asked = String::from_utf8(asked).unwrap();
                let whom = asked.split_once("/to/").and_then(|(_, rest)| rest.split_once(' ')).unwrap().0;
                *hits.lock().unwrap().entry(whom.to_owned()).or_default() += 1;
                events.send(()).ok();
                let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
                stream.write_all(answer.as_bytes()).ok();
            });
        }
    });
    port
}

fn config(folder: &Path, port: u16) -> String {
    let path = folder.join("config.toml");
    let policy = folder.join("policy.json");
    let asks = json!({"vouch": {"require_approval": {"approvers": ["anna"], "ttl_s": 86_400}}});
    fs::write(&policy, json!({"version": "1", "default": "allow", "tools": asks}).to_string()).unwrap();
    let key = STANDARD.encode(SigningKey::from_seed(&APPROVER_SEED).verifying_key().as_bytes());
    let action = |name: &str| {
        format!(
            "[[action]]\nname = \"{name}\"\ndescription = \"Notifies.\"\n\
             kind = \"http\"\neffect = \"write\"\nmethod = \"POST\"\nurl = \"http://127.0.0.1:{port}/to/{{whom}}\"\n\
             allow_private = true\nbody = \"payload\"\nschema = {{ type = \"object\", required = [\"whom\"], \
             additionalProperties = false, properties = {{ whom = {{ type = \"string\" }} }} }}\n"
        )
    };
    let text = format!(
        "[policy]\nfile = \"{}\"\n[surfaces]\ncode = \"off\"\n[log]\nlevel = \"error\"\n\
         [[approver]]\nname = \"anna\"\nkeys = [\"{key}\"]\n{}{}",
        policy.display(),
        action("notify"),
        action("vouch")
    );
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Two gateways, and who ends them.
struct Siege {
    data: PathBuf,
    config: String,
    servers: Vec<Option<Server>>,
    dice: Dice,
    starts: Duration,
}

impl Siege {
    fn start(&mut self, at: usize, shared: &Shared) {
        let begun = Instant::now();
        let server = Server::start_with(&self.data, &["--config", &self.config], &[]);
        shared.addresses.lock().unwrap()[at] = server.address();
        self.servers[at] = Some(server);
        self.starts += begun.elapsed();
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
            let at = self.dice.place(GATEWAYS);
            self.kill(at);
            self.start(at, shared);
            shared.allowed.fetch_add(NEW_NONCES, Ordering::SeqCst);
            if kill % CHECKED_EVERY == 0 {
                let told = self.check(shared, "while it is served");
                println!("{kill} kills, {} runs, {} unknown", told["runs"], told["unknown"]);
            }
        }
    }
}

/// Whose files are there. Each of them is whole.
fn files(data: &Path, shared: &Shared) -> Vec<String> {
    let owners = fs::read_dir(data.join("workspaces")).into_iter().flatten();
    let found = owners.flat_map(|owner| fs::read_dir(owner.unwrap().path().join("files")).unwrap());
    let nonces = found.map(|file| {
        let path = file.unwrap().path();
        let nonce = path.file_name().unwrap().to_str().unwrap().to_owned();
        if fs::read_to_string(&path).unwrap() != content(&nonce) {
            shared.fault(format!("the file of {nonce} is not what was asked for"));
        }
        nonce
    });
    nonces.collect()
}

/// What every nonce has come to, once nothing is killed any more.
fn judge(siege: &mut Siege, shared: &Shared) -> String {
    for at in 0..GATEWAYS {
        siege.kill(at);
    }
    siege.start(0, shared);
    let address = shared.addresses.lock().unwrap()[0];
    let nonces: Vec<String> = (0..shared.nonces.load(Ordering::SeqCst)).map(|at| format!("n{at}")).collect();
    let mut left: Vec<&String> = nonces.iter().collect();
    for _ in 0..LAST_TRIES {
        // All of them in turn: one that finds every place taken waits for what the others are told.
        left.retain(|nonce| !shared.ask(address, nonce));
    }
    for nonce in left {
        shared.fault(format!("{nonce} has no answer"));
    }
    let (heard, mut hits) = (shared.heard.lock().unwrap().clone(), shared.hits.lock().unwrap().clone());
    hits.extend(files(&siege.data, shared).into_iter().map(|nonce| (nonce, 1)));
    for (nonce, told) in &heard {
        let hits = hits.get(nonce).copied().unwrap_or_default();
        let fits = match told.status {
            200 => hits == 1,
            403 => hits == 0,
            _ => hits <= 1,
        };
        if !fits {
            shared.fault(format!("{nonce} was answered {} and has started {hits} times", told.status));
        }
    }
    siege.check(shared, "at the end");
    siege.kill(0);
    let told = siege.check(shared, "when nobody serves it");
    let unknown = heard.values().filter(|told| told.status == 409).count();
    for (name, expected) in [("runs", nonces.len()), ("open", 0), ("unknown", unknown)] {
        if told[name] != json!(expected) {
            shared.fault(format!("the record has {} {name}, and {expected} were heard of", told[name]));
        }
    }
    let started: usize = hits.values().sum();
    let answers = shared.answers.load(Ordering::SeqCst);
    let denied = heard.values().filter(|told| told.status == 403).count();
    let vouched = heard.iter().filter(|(nonce, told)| told.status == 200 && fate(nonce) == Fate::Approved);
    let (approved, all) = (vouched.count(), nonces.len());
    format!(
        "{all} nonces, {started} started, {unknown} unknown, {approved} approved, {denied} denied, {answers} answers heard"
    )
}

pub(super) fn number(name: &str, usual: u64) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a soak says how often, and a person which seed")]
    let said = env::var(name).ok();
    said.map_or(usual, |said| said.parse().unwrap())
}

#[test]
fn nothing_is_lost_and_nothing_happens_twice_whenever_a_gateway_is_killed() {
    let kills = usize::try_from(number("EXECGATE_KILLS", u64::try_from(KILLS).unwrap())).unwrap();
    let seed = number("EXECGATE_SEED", u64::from(id()));
    println!("seed {seed}");
    let (data, begun) = (Data::new(), Instant::now());
    let (sender, events) = channel();
    let hits = Arc::default();
    let port = service(Arc::clone(&hits), sender.clone());
    let config = config(data.path().parent().unwrap(), port);
    let shared = Shared {
        addresses: Mutex::new(vec![SocketAddr::from(([127, 0, 0, 1], 1)); GATEWAYS]),
        nonces: AtomicUsize::new(1),
        allowed: AtomicUsize::new(NEW_NONCES),
        over: AtomicBool::new(false),
        heard: Mutex::default(),
        answers: AtomicUsize::new(0),
        faults: Mutex::default(),
        hits,
    };
    let (data_dir, servers) = (data.path(), (0..GATEWAYS).map(|_| None).collect());
    let mut siege = Siege { data: data_dir, config, servers, dice: Dice(seed), starts: Duration::ZERO };
    for at in 0..GATEWAYS {
        siege.start(at, &shared);
    }
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (shared, events) = (&shared, sender.clone());
            let mut dice = Dice(seed ^ u64::try_from(client + 1).unwrap());
            scope.spawn(move || {
                while !shared.over.load(Ordering::SeqCst) {
                    let nonce = shared.pick(&mut dice);
                    let address = shared.addresses.lock().unwrap()[dice.place(GATEWAYS)];
                    events.send(()).ok();
                    shared.ask(address, &nonce);
                    events.send(()).ok();
                }
            });
        }
        siege.kill_again_and_again(kills, &shared, &events);
        shared.over.store(true, Ordering::SeqCst);
    });
    let told = judge(&mut siege, &shared);
    let (took, starts) = (begun.elapsed().as_secs(), siege.starts.as_millis());
    let each = starts / u128::try_from(kills + GATEWAYS + 1).unwrap();
    println!("{kills} kills in {took} s, {each} ms for a start: {told}");
    assert_eq!(*shared.faults.lock().unwrap(), Vec::<String>::new());
}
