//! The gateway's own keys, replaced while it serves: what it signed before still verifies, and so does what comes after.

use std::fs;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use execgate_receipt::{Envelope, PAYLOAD_TYPE, ReceiptFile, SigningKey};
use rusqlite::Connection;
use serde_json::{Value, json};

use super::admin::quick;
use super::server::{Data, Server, run, until};

fn command(data: &Data, args: &[&str]) -> Output {
    let path = data.path();
    let mut all = args.to_vec();
    all.extend(["--data-dir", path.to_str().unwrap()]);
    run(&all, "")
}

fn told(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A receipt file, as soon as its place in the log is proved.
fn proved(server: &Server, id: &str) -> Vec<u8> {
    until("a proof of the receipt's place in the log", || {
        let receipt = server.get(&format!("/receipts/{id}"));
        receipt.json()["log_proof"].is_string().then_some(receipt.body)
    })
}

/// Runs something, and keeps its receipt file.
fn receipt(data: &Data, server: &Server, nonce: &str) -> PathBuf {
    let ran = server.execute("echo", json!({"a": nonce}), nonce).json();
    let path = data.path().with_extension(format!("{nonce}.receipt"));
    fs::write(&path, proved(server, ran["id"].as_str().unwrap())).unwrap();
    path
}

fn states(ring: &Value) -> Vec<(&str, &str)> {
    let of = |key: &'_ Value, field: &str| key[field].as_str().unwrap().to_owned();
    let keys = ring["keys"].as_array().unwrap();
    keys.iter()
        .map(|key| {
            assert_eq!(of(key, "key_id").len(), 16);
            (key["purpose"].as_str().unwrap(), key["state"].as_str().unwrap())
        })
        .collect()
}

#[test]
fn a_receipt_key_is_replaced_while_the_gateway_serves_and_receipts_of_both_verify() {
    let data = Data::new();
    let server = quick(&data);
    let before = receipt(&data, &server, "before");
    let first = fs::read_to_string(data.path().join("keys/receipt.pub")).unwrap();
    let rotated = told(&command(&data, &["keys", "rotate", "receipt", "--json"]));
    assert_eq!(states(&rotated), [("receipt", "accepted"), ("log", "active"), ("receipt", "active")]);
    let after = receipt(&data, &server, "after");
    let published = server.get("/.well-known/execgate-keys.json");
    assert_eq!((published.status, &published.json()["keys"][2]), (200, &rotated["keys"][2]));
    assert_ne!(fs::read_to_string(data.path().join("keys/receipt.pub")).unwrap(), first);

    let ring = data.path().with_extension("ring.json");
    fs::write(&ring, &published.body).unwrap();
    let old = data.path().with_extension("old.pub");
    fs::write(&old, &first).unwrap();
    let verify = |receipt: &PathBuf, args: &[&str]| {
        let mut all = vec!["verify", receipt.to_str().unwrap()];
        all.extend(args);
        run(&all, "").status.code()
    };
    let by_ring = ["--key", ring.to_str().unwrap()];
    let by_old = ["--key", old.to_str().unwrap()];
    assert_eq!((verify(&before, &by_ring), verify(&after, &by_ring)), (Some(0), Some(0)));
    assert_eq!((verify(&before, &by_old), verify(&after, &by_old)), (Some(0), Some(1)));
    let folder = data.path();
    let by_folder = ["--data-dir", folder.to_str().unwrap()];
    assert_eq!((verify(&before, &by_folder), verify(&after, &by_folder)), (Some(0), Some(0)));

    server.terminate();
    assert_eq!(server.ended(), Some(0));
    let again = quick(&data);
    let later = receipt(&data, &again, "later");
    assert_eq!(verify(&later, &by_ring), Some(0), "the newest key signs after a restart too");
    assert_eq!(states(&told(&command(&data, &["keys", "list", "--json"]))), states(&rotated));
}

#[test]
fn a_key_that_signs_or_did_just_now_is_not_retired() {
    let data = Data::new();
    let server = quick(&data);
    let ring = server.get("/.well-known/execgate-keys.json").json();
    let id = ring["keys"][0]["key_id"].as_str().unwrap();
    let refused = |id: &str| {
        let output = command(&data, &["keys", "retire", id]);
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refused(id).contains("execgate keys rotate receipt"));
    assert!(refused("0000000000000000").contains("there is no key"));
    told(&command(&data, &["keys", "rotate", "receipt", "--json"]));
    let text = refused(id);
    assert!(text.contains("may still sign with the key"), "{text}");
}

#[test]
fn a_gateway_whose_receipt_key_is_lost_says_so_and_starts_again_with_another() {
    let data = Data::new();
    let server = quick(&data);
    assert_eq!(server.get("/health").status, 200);
    server.kill();
    let secret = data.path().join("keys/receipt.key");
    fs::remove_file(&secret).unwrap();
    let path = data.path();
    let started = run(&["serve", "--listen", "127.0.0.1:0", "--data-dir", path.to_str().unwrap()], "");
    let said = String::from_utf8(started.stderr).unwrap();
    assert_eq!(started.status.code(), Some(2), "{said}");
    assert!(said.contains("execgate keys rotate receipt"), "{said}");
    assert!(!secret.exists(), "it makes none in silence");
    told(&command(&data, &["keys", "rotate", "receipt", "--json"]));
    let server = quick(&data);
    assert_eq!(server.execute("echo", json!({}), "n").status, 200);
}

/// Makes as if a key had been replaced long ago, so that the one before may be retired at once.
fn age_keys(data: &Data) {
    let record = Connection::open(data.path().join("execgate.db")).unwrap();
    record.busy_timeout(Duration::from_secs(10)).unwrap();
    record.execute("UPDATE own_key SET added = added - 20000", []).unwrap();
}

/// Replaces the key of a purpose, and retires the one before. Returns the one before.
fn replace(data: &Data, purpose: &str) -> String {
    let ring = told(&command(data, &["keys", "rotate", purpose, "--json"]));
    let keys = ring["keys"].as_array().unwrap();
    let old = keys.iter().find(|key| key["purpose"] == json!(purpose) && key["state"] == json!("accepted"));
    let old = old.unwrap()["key_id"].as_str().unwrap().to_owned();
    age_keys(data);
    told(&command(data, &["keys", "retire", &old, "--json"]));
    old
}

#[test]
fn a_receipt_under_a_retired_key_counts_by_its_place_in_the_log_and_none_behind_the_end_of_the_key() {
    let data = Data::new();
    let server = quick(&data);
    let verify = |receipt: &PathBuf| {
        let output = command(&data, &["verify", receipt.to_str().unwrap()]);
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let before = receipt(&data, &server, "before");
    let secret = fs::read_to_string(data.path().join("keys/receipt.key")).unwrap();
    replace(&data, "receipt");
    let after = receipt(&data, &server, "after");
    let (code, said) = verify(&before);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("place in the log    holds: entry 3 of "), "{said}");
    assert_eq!(verify(&after).0, Some(0));

    // Whoever has found the retired secret signs what stands behind its end: the leaf is the same.
    let mut forged = ReceiptFile::from_json(&fs::read(&after).unwrap()).unwrap();
    let payload = STANDARD.decode(&forged.envelope.payload).unwrap();
    forged.envelope = Envelope::sign(&SigningKey::from_pkcs8_pem(&secret).unwrap(), PAYLOAD_TYPE, &payload);
    let path = data.path().with_extension("forged");
    fs::write(&path, forged.to_json().unwrap()).unwrap();
    let (code, said) = verify(&path);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("it does not count"), "{said}");
    forged.log_proof = None;
    fs::write(&path, forged.to_json().unwrap()).unwrap();
    let (code, said) = verify(&path);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("counts with an inclusion proof only"), "{said}");
}

#[test]
fn a_proof_of_an_older_key_or_name_of_the_log_holds_and_one_of_a_retired_key_is_not_believed_alone() {
    let data = Data::new();
    let server = quick(&data);
    let first = receipt(&data, &server, "first");
    let ring = data.path().with_extension("published");
    let verify = |args: &[&str]| {
        fs::write(&ring, server.get("/.well-known/execgate-keys.json").body).unwrap();
        let all = [&["verify", first.to_str().unwrap(), "--key", ring.to_str().unwrap()], args].concat();
        let output = run(&all, "");
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    // Whatever lies in the folder in which this is asked: the ring comes first.
    let other = Data::new();
    let stranger = quick(&other);
    assert_eq!(stranger.execute("echo", json!({}), "n").status, 200);
    let folder = other.path();
    let elsewhere = ["--data-dir", folder.to_str().unwrap()];
    let holds = |(code, said): (Option<i32>, String)| {
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("place in the log    holds: entry 3 of 4 in "), "{said}");
    };
    holds(verify(&elsewhere));
    told(&command(&data, &["keys", "rotate", "log", "--json"]));
    holds(verify(&elsewhere));
    assert!(command(&data, &["log", "new-origin", "--origin", "another.example"]).status.success());
    holds(verify(&elsewhere));

    // Nobody vouches for this log here.
    let public = data.path().join("keys/receipt.pub");
    let args = ["verify", first.to_str().unwrap(), "--key", public.to_str().unwrap()];
    let output = run(&[&args[..], &elsewhere].concat(), "");
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("place in the log    not checked: no key of the log `execgate/"), "{said}");
    // Nor for the receipt's log where another is named.
    let key = fs::read_to_string(other.path().join("keys/log.vkey")).unwrap();
    let (code, said) = verify(&["--log-key", key.lines().next().unwrap()]);
    assert_eq!(code, Some(1), "{said}");

    let states = told(&command(&data, &["keys", "list", "--json"]));
    let old =
        states["keys"].as_array().unwrap().iter().find(|key| key["state"] == json!("accepted")).unwrap();
    age_keys(&data);
    told(&command(&data, &["keys", "retire", old["key_id"].as_str().unwrap(), "--json"]));
    let (code, said) = verify(&elsewhere);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("not checked: the log key ") && said.contains("was retired at size"), "{said}");
    let again = data.path().with_extension("again");
    let id = ReceiptFile::from_json(&fs::read(&first).unwrap()).unwrap().exec_id;
    fs::write(&again, proved(&server, &id.to_string())).unwrap();
    let output = run(&["verify", again.to_str().unwrap(), "--key", ring.to_str().unwrap()], "");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.contains(" in another.example"), "{said}");
}
