//! A gateway and its witness, two real processes: what is cosigned, what a fork meets, and what a kill leaves.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};

use serde_json::json;

use super::server::{Data, Server, exchange, execgate, reply, run, until};

const NAME: &str = "witness.example/w1";

/// A witness.
struct Witness {
    child: Child,
    address: SocketAddr,
    vkey: String,
    _stdout: BufReader<ChildStdout>,
}

impl Witness {
    fn start(folder: &Path, listen: &str, log: &str) -> Self {
        let mut child = execgate()
            .args(["witness", "--name", NAME, "--listen", listen, "--log", log, "--dir"])
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut lines = (&mut stdout).lines().map(Result::unwrap);
        let first = lines.next().unwrap();
        let address = first.rsplit_once("http://").unwrap().1.parse().unwrap();
        let vkey = lines.next().unwrap().trim().strip_prefix("witness").unwrap().trim().to_owned();
        Self { child, address, vkey, _stdout: stdout }
    }

    /// `kill -9`, and wait until it is gone.
    fn kill(mut self) -> SocketAddr {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.address
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A gateway without code, with a witness or none.
fn gateway(data: &Path, witness: Option<(&SocketAddr, &str)>) -> Server {
    gateway_with(data, witness, "")
}

/// The same with more to say of the log.
fn gateway_with(data: &Path, witness: Option<(&SocketAddr, &str)>, more: &str) -> Server {
    let path = data.with_extension("toml");
    let mut text = format!("[surfaces]\ncode = \"off\"\n[transparency]\n{more}\n");
    if let Some((address, vkey)) = witness {
        text.push_str(&format!("[[witness]]\nurl = \"http://{address}\"\nvkey = \"{vkey}\"\n"));
    }
    fs::write(&path, text).unwrap();
    Server::start_with(data, &["--config", path.to_str().unwrap()], &[])
}

/// The verifier key of the log.
fn log_key(server: &Server) -> String {
    let ring = server.get("/.well-known/execgate-keys.json").json();
    let keys = ring["keys"].as_array().unwrap();
    keys.iter().find_map(|key| key["verifier_key"].as_str()).unwrap().to_owned()
}

fn size_of(checkpoint: &str) -> u64 {
    checkpoint.lines().nth(1).unwrap().parse().unwrap()
}

/// The newest checkpoint, once the witness has cosigned it with so many entries at the least.
fn cosigned(server: &Server, least: u64) -> String {
    until("a cosignature", || {
        let reply = server.get("/log/checkpoint?cosigned=true");
        let text = String::from_utf8(reply.body).unwrap();
        (reply.status == 200 && size_of(&text) >= least).then_some(text)
    })
}

fn entries(server: &Server) -> u64 {
    size_of(&String::from_utf8(server.get("/log/checkpoint").body).unwrap())
}

fn runs(server: &Server, nonce: &str) -> u16 {
    server.execute("echo", json!({}), nonce).status
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            copy(&entry.path(), &target);
        } else if kind.is_file() {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A folder of a test, a gateway's, and its witness's.
fn folders() -> (Data, PathBuf, PathBuf) {
    let data = Data::new();
    let (gate, witness) = (data.path(), data.path().with_extension("witness"));
    (data, gate, witness)
}

/// A log with one run in it, the key that verifies it, and its witness.
fn watched(gate: &Path, folder: &Path) -> (String, Witness) {
    let server = gateway(gate, None);
    assert_eq!(runs(&server, "first"), 200);
    let log = log_key(&server);
    server.terminate();
    assert_eq!(server.ended(), Some(0));
    let witness = Witness::start(folder, "127.0.0.1:0", &log);
    (log, witness)
}

#[test]
fn a_checkpoint_is_cosigned_and_whoever_knows_both_keys_verifies_it_offline() {
    let (_data, gate, folder) = folders();
    let (log, witness) = watched(&gate, &folder);
    let server = gateway(&gate, Some((&witness.address, &witness.vkey)));
    assert_eq!(runs(&server, "second"), 200);
    // Two keys, and two leaves of each run.
    let note = cosigned(&server, 6);
    assert!(note.contains(&format!("\u{2014} {NAME} ")), "{note}");
    let newest = String::from_utf8(server.get("/log/checkpoint").body).unwrap();
    assert_eq!(newest, note, "nothing has happened since");
    let path = gate.with_extension("checkpoint");
    fs::write(&path, &note).unwrap();
    let verify = |text: &str, witness: &str| {
        fs::write(&path, text).unwrap();
        let file = path.to_str().unwrap();
        let args = ["verify", "--checkpoint", file, "--log-key", &log, "--cosigned-by", witness];
        let output = run(&args, "");
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, told) = verify(&note, &witness.vkey);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("witness.example/w1 saw it at 20"), "{told}");
    let line = note.lines().find(|line| line.contains(NAME)).unwrap();
    assert_eq!(verify(&note.replace(&format!("{line}\n"), ""), &witness.vkey).0, Some(1));
    let stranger = "witness.example/w+21121a56+BEUIoHqpQXB/PrLblMiJeoCywRl0drbeITrCc999hsT/";
    assert_eq!(verify(&note, stranger).0, Some(1));
}

#[test]
fn a_witness_that_is_killed_goes_on_where_it_was_and_stops_no_run() {
    let (_data, gate, folder) = folders();
    let (log, witness) = watched(&gate, &folder);
    let vkey = witness.vkey.clone();
    let server = gateway(&gate, Some((&witness.address, &vkey)));
    let before = size_of(&cosigned(&server, 1));
    let address = witness.kill();
    assert_eq!(runs(&server, "alone"), 200, "runs wait for no witness");
    let after = until("a checkpoint", || Some(entries(&server)).filter(|entries| *entries > before));
    let again = Witness::start(&folder, &address.to_string(), &log);
    assert_eq!(again.vkey, vkey);
    assert!(size_of(&cosigned(&server, after)) >= after);
    server.kill();
    let server = gateway(&gate, Some((&address, &vkey)));
    assert_eq!(runs(&server, "later"), 200);
    cosigned(&server, after + 2);
}

#[test]
fn a_record_that_was_forked_is_refused_by_the_witness_and_runs_nothing_more() {
    let (_data, gate, folder) = folders();
    let (_log, witness) = watched(&gate, &folder);
    let fork = gate.with_extension("fork");
    copy(&gate, &fork);
    let vkey = witness.vkey.clone();
    let ours = gateway(&gate, Some((&witness.address, &vkey)));
    for nonce in ["a", "b", "c"] {
        assert_eq!(runs(&ours, nonce), 200);
    }
    // Two keys, and two leaves of each run.
    let seen = size_of(&cosigned(&ours, 10));
    // The copy has appended as many, and others.
    let theirs = gateway(&fork, None);
    for nonce in ["x", "y", "z", "and more"] {
        assert_eq!(runs(&theirs, nonce), 200);
    }
    until("a checkpoint", || (entries(&theirs) > seen).then_some(()));
    theirs.terminate();
    assert_eq!(theirs.ended(), Some(0));
    let theirs = gateway(&fork, Some((&witness.address, &vkey)));
    let refused = theirs.execute("echo", json!({}), "after");
    assert_eq!((refused.status, &refused.json()["rule"]), (503, &json!("log")), "live runs are refused");
    let told = run(&["log", "tail", "--data-dir", fork.to_str().unwrap()], "");
    let told = String::from_utf8([told.stdout, told.stderr].concat()).unwrap();
    assert!(told.contains(NAME), "it says whose word it is: {told}");
    assert_eq!(runs(&ours, "d"), 200, "the log that the witness has followed goes on");
}

#[test]
fn a_record_that_is_behind_its_witness_runs_nothing_though_the_checkpoint_beside_it_is_as_old() {
    let (_data, gate, folder) = folders();
    let (_log, witness) = watched(&gate, &folder);
    let backup = gate.with_extension("backup");
    copy(&gate, &backup);
    let server = gateway(&gate, Some((&witness.address, &witness.vkey)));
    for nonce in ["a", "b"] {
        assert_eq!(runs(&server, nonce), 200);
    }
    // Two keys, and two leaves of each run.
    cosigned(&server, 8);
    server.kill();
    fs::remove_dir_all(&gate).unwrap();
    copy(&backup, &gate);
    let server = gateway(&gate, Some((&witness.address, &witness.vkey)));
    let refused = server.execute("echo", json!({}), "a");
    assert_eq!((refused.status, &refused.json()["rule"]), (503, &json!("log")));
    server.kill();
    let alone = gateway(&gate, None);
    assert_eq!(runs(&alone, "a"), 200, "nobody else would have noticed");
}

#[test]
fn a_witness_is_asked_by_its_protocol_and_no_page_of_a_browser_gets_in() {
    let (_data, gate, folder) = folders();
    let (_log, witness) = watched(&gate, &folder);
    let get = |path: &str, header: &str| {
        let request = format!(
            "{path} HTTP/1.1\r\nHost: localhost\r\n{header}\r\nContent-Length: 3\r\nConnection: close\r\n\r\nold"
        );
        reply(&exchange(witness.address, request.as_bytes()))
    };
    assert_eq!(get("GET /", "Accept: */*").body, format!("{}\n", witness.vkey).into_bytes());
    let bad = get("POST /add-checkpoint", "Accept: */*");
    assert_eq!((bad.status, &bad.json()["code"]), (400, &json!("bad-submission")));
    let foreign = get("POST /add-checkpoint", "Origin: https://evil.example");
    assert_eq!((foreign.status, &foreign.json()["code"]), (403, &json!("foreign-origin")));
}

#[test]
fn a_receipt_comes_with_the_word_of_the_witness_once_it_has_cosigned() {
    let (_data, gate, folder) = folders();
    let (log, witness) = watched(&gate, &folder);
    let server = gateway(&gate, Some((&witness.address, &witness.vkey)));
    let ran = server.execute("echo", json!({}), "second").json();
    let path = gate.with_extension("receipt");
    cosigned(&server, 6);
    fs::write(&path, server.get(&format!("/receipts/{}", ran["id"].as_str().unwrap())).body).unwrap();
    // What comes later takes nothing from what is cosigned.
    assert_eq!(runs(&server, "third"), 200);
    let verify = |witness: &str| {
        let args = ["verify", path.to_str().unwrap(), "--log-key", &log, "--cosigned-by", witness];
        let output = run(&[&args[..], &["--data-dir", gate.to_str().unwrap()]].concat(), "");
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, told) = verify(&witness.vkey);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains(", cosigned"), "{told}");
    let stranger = "witness.example/w+21121a56+BEUIoHqpQXB/PrLblMiJeoCywRl0drbeITrCc999hsT/";
    let (code, told) = verify(stranger);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("has not cosigned the checkpoint of the proof"), "{told}");
}

#[test]
fn a_gateway_that_requires_its_witness_runs_nothing_for_real_before_it_has_agreed() {
    let (_data, gate, folder) = folders();
    let (log, witness) = watched(&gate, &folder);
    let vkey = witness.vkey.clone();
    let address = witness.kill();
    let server = gateway_with(&gate, Some((&address, &vkey)), "witnesses_required = 1");
    let refused = server.execute("echo", json!({}), "alone");
    assert_eq!((refused.status, &refused.json()["rule"]), (503, &json!("witness")));
    assert_eq!(server.get("/ready").json()["reason"], json!("witness"));
    assert_eq!(runs(&server, "first"), 200, "its answer is kept, and nothing runs");
    let _witness = Witness::start(&folder, &address.to_string(), &log);
    until("the word of the witness", || (server.get("/ready").status == 200).then_some(()));
    let ran = server.execute("echo", json!({}), "alone");
    assert_eq!(ran.status, 200);
    let proof = until("a proof with the word of the witness", || {
        let receipt = server.get(&format!("/receipts/{}", ran.json()["id"].as_str().unwrap())).json();
        receipt["log_proof"].as_str().map(str::to_owned)
    });
    assert!(proof.contains(&format!("\u{2014} {NAME} ")), "{proof}");
}
