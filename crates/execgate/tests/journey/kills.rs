//! Kills at random moments: two gateways over one record, clients that ask both under few nonces, and `kill -9` of one or
//! the other, again and again. Some of what they ask waits for an approver, who says yes or no at either gateway, more than
//! once. What happened is judged from outside: by a service that counts how often it was called, by the files that were
//! written, by what clients heard, and by `execgate fsck`.
//!
//! A few kills are part of every test run; `cargo xtask soak kills` is the same with as many as it is told.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::id;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use execgate_model::UnixMs;
use execgate_receipt::approval::{APPROVAL_TYPE, ApprovalStatement, Decision};
use execgate_receipt::{SigningKey, Timestamp, canonical, sha256};
use serde_json::{Value, json};

use super::server::{Data, post_bytes};
use super::siege::{Clients, Crowd, Dice, GATEWAYS, Gateways, Told, notifier, number, service};

/// Kills where nobody says how many.
const KILLS: usize = 40;

/// Clients at once.
const CLIENTS: usize = 6;

/// New nonces that come between two kills, at the most: what is asked beyond that is asked again.
const NEW_NONCES: usize = 24;

/// The newest nonces, which are asked for again and again.
const WINDOW: usize = 12;

/// Kills between two checks of the record while it is served.
const CHECKED_EVERY: usize = 100;

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

/// What a thing is called by, by its number.
fn nonce(number: usize) -> String {
    format!("n{number}")
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

/// Who asks under nonces, and has some of them approved.
struct Client<'c>(&'c Crowd);

impl Client<'_> {
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
                self.0.hear(nonce, Told { status, body: answer });
                true
            }
            (200, _) if fate == Fate::Denied => {
                self.0.fault(format!("{nonce} was denied, and has run"));
                true
            }
            // Each has a path of its own: only who writes twice finds a file there.
            (200, _) if problem["result"]["replaced"] == json!(true) => {
                self.0.fault(format!("{nonce} was written twice"));
                true
            }
            (200, _) | (409, Some("run-outcome-unknown")) => {
                self.0.hear(nonce, Told { status, body: answer });
                true
            }
            // Turned away, and nothing claimed: later.
            (503, _) => false,
            _ => {
                self.0.fault(format!("{nonce} was answered {status}: {problem}"));
                true
            }
        }
    }

    /// Says yes or no at whichever gateway is there. Whoever else was faster has said the same.
    fn decide(&self, nonce: &str, fate: Fate, told: &Value) {
        let decision = if fate == Fate::Denied { Decision::Deny } else { Decision::Approve };
        let (id, digest) = (told["id"].as_str().unwrap(), told["action_digest"].as_str().unwrap());
        let artifact = statement(id, call(nonce).0, digest, decision);
        let bytes = post_bytes(&format!("/approvals/{id}"), &json!({ "artifact": artifact }));
        let addresses = self.0.addresses.lock().unwrap().clone();
        for address in addresses {
            let Some((status, answer)) = exchange(address, &bytes) else { continue };
            let problem: Value = serde_json::from_slice(&answer).unwrap_or_default();
            match (status, problem["code"].as_str()) {
                (200 | 503, _)
                | (409, Some("approval-settled" | "approval-starting" | "approval-repeated")) => {}
                _ => self.0.fault(format!("a word on {nonce} was answered {status}: {problem}")),
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

fn config(folder: &Path, port: u16) -> String {
    let path = folder.join("config.toml");
    let policy = folder.join("policy.json");
    let asks = json!({"vouch": {"require_approval": {"approvers": ["anna"], "ttl_s": 86_400}}});
    fs::write(&policy, json!({"version": "1", "default": "allow", "tools": asks}).to_string()).unwrap();
    let key = STANDARD.encode(SigningKey::from_seed(&APPROVER_SEED).verifying_key().as_bytes());
    let text = format!(
        "[policy]\nfile = \"{}\"\n[surfaces]\ncode = \"off\"\n[log]\nlevel = \"error\"\n\
         [[approver]]\nname = \"anna\"\nkeys = [\"{key}\"]\n{}{}",
        policy.display(),
        notifier("notify", port),
        notifier("vouch", port)
    );
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Kills one gateway or the other, again and again.
fn besiege(gateways: &mut Gateways, dice: &mut Dice, kills: usize, crowd: &Crowd, events: &Receiver<()>) {
    for kill in 1..=kills {
        dice.moment(events, MOMENT_US);
        let at = dice.place(GATEWAYS);
        gateways.kill(at);
        gateways.start(at, crowd);
        crowd.allow(NEW_NONCES);
        if kill % CHECKED_EVERY == 0 {
            let told = gateways.check(crowd, "while it is served");
            println!("{kill} kills, {} runs, {} unknown", told["runs"], told["unknown"]);
        }
    }
}

/// Whose files are there. Each of them is whole.
fn files(data: &Path, crowd: &Crowd) -> Vec<String> {
    let owners = fs::read_dir(data.join("workspaces")).into_iter().flatten();
    let found = owners.flat_map(|owner| fs::read_dir(owner.unwrap().path().join("files")).unwrap());
    let nonces = found.map(|file| {
        let path = file.unwrap().path();
        let nonce = path.file_name().unwrap().to_str().unwrap().to_owned();
        if fs::read_to_string(&path).unwrap() != content(&nonce) {
            crowd.fault(format!("the file of {nonce} is not what was asked for"));
        }
        nonce
    });
    nonces.collect()
}

/// What every nonce has come to, once nothing is killed any more.
fn judge(gateways: &mut Gateways, crowd: &Crowd) -> String {
    let address = gateways.leave_one(crowd);
    let client = Client(crowd);
    let nonces: Vec<String> = (0..crowd.begun()).map(nonce).collect();
    let mut left: Vec<&String> = nonces.iter().collect();
    for _ in 0..LAST_TRIES {
        // All of them in turn: one that finds every place taken waits for what the others are told.
        left.retain(|nonce| !client.ask(address, nonce));
    }
    for nonce in left {
        crowd.fault(format!("{nonce} has no answer"));
    }
    let (heard, mut hits) = (crowd.heard.lock().unwrap().clone(), crowd.hits());
    hits.extend(files(&gateways.data, crowd).into_iter().map(|nonce| (nonce, 1)));
    for (nonce, told) in &heard {
        let hits = hits.get(nonce).copied().unwrap_or_default();
        let fits = match told.status {
            200 => hits == 1,
            403 => hits == 0,
            _ => hits <= 1,
        };
        if !fits {
            crowd.fault(format!("{nonce} was answered {} and has started {hits} times", told.status));
        }
    }
    gateways.check(crowd, "at the end");
    gateways.kill(0);
    let told = gateways.check(crowd, "when nobody serves it");
    let unknown = crowd.heard_as(409);
    crowd.expect(&told, &[("runs", nonces.len()), ("open", 0), ("unknown", unknown)]);
    let started: usize = hits.values().sum();
    let answers = crowd.answers.load(Ordering::SeqCst);
    let denied = crowd.heard_as(403);
    let vouched = heard.iter().filter(|(nonce, told)| told.status == 200 && fate(nonce) == Fate::Approved);
    let (approved, all) = (vouched.count(), nonces.len());
    format!(
        "{all} nonces, {started} started, {unknown} unknown, {approved} approved, {denied} denied, {answers} answers heard"
    )
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
    let crowd = Crowd::new(NEW_NONCES, hits);
    let (mut gateways, mut dice) = (Gateways::start_all(data.path(), config, &[], &crowd), Dice(seed));
    let ask = |address, what, _: &mut Dice| {
        Client(&crowd).ask(address, &nonce(what));
    };
    let clients = Clients { count: CLIENTS, window: WINDOW, seed, events: &sender };
    crowd.ask_during(clients, ask, || besiege(&mut gateways, &mut dice, kills, &crowd, &events));
    let told = judge(&mut gateways, &crowd);
    let (took, starts) = (begun.elapsed().as_secs(), gateways.starts.as_millis());
    let each = starts / u128::try_from(kills + GATEWAYS + 1).unwrap();
    println!("{kills} kills in {took} s, {each} ms for a start: {told}");
    assert_eq!(*crowd.faults.lock().unwrap(), Vec::<String>::new());
}
