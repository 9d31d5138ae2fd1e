//! The recipes of docs/LOG.md: receipts and the log of a real gateway, through tools that we did not write. A machine that
//! lacks one passes it over; `cargo xtask setup` installs all of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use execgate_receipt::{ReceiptFile, VerifyingKey, verify};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::log::{quiet_server, settled};
use super::server::Data;

/// Runs a tool; nothing where there is none.
#[expect(clippy::disallowed_methods, reason = "a cross check needs the other tool")]
fn tool(program: &Path, folder: &Path, args: &[&str]) -> Option<Output> {
    // Go caches what it builds below the folder of the test.
    Command::new(program).args(args).current_dir(folder).env("HOME", folder).output().ok()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

fn recipe(name: &str) -> String {
    format!("{}/../../docs/verify/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// The Python that has the verifiers of `cargo xtask setup`.
fn python() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("../tools/verifiers/bin/python")
}

/// A folder with what an owner and an onlooker keep of a gateway that has run something.
fn kept() -> TempDir {
    let data = Data::new();
    let server = quiet_server(&data);
    let answer = server.execute("add", json!({"a": 2, "b": 3}), "first").json();
    let older = settled(&server, 4);
    for number in 0..20 {
        server.execute("add", json!({"a": number, "b": 1}), &format!("n{number}"));
    }
    settled(&server, 44);
    let receipt = server.get(&format!("/receipts/{}", answer["id"].as_str().unwrap()));
    let consistency = server.get("/log/consistency/4");
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    let proof: Value = receipt.json();
    write("receipt.json", &receipt.body);
    write("receipt.tlog-proof", proof["log_proof"].as_str().unwrap().as_bytes());
    write("older", older.as_bytes());
    write("consistency", &consistency.body);
    for name in ["receipt.pub", "log.vkey"] {
        fs::copy(data.path().join("keys").join(name), folder.path().join(name)).unwrap();
    }
    folder
}

#[test]
fn securesystemslib_and_rfc8785_verify_a_receipt_and_no_other() {
    let folder = kept();
    let script = recipe("receipt.py");
    let run = |file: &str| tool(&python(), folder.path(), &[&script, file, "receipt.pub"]);
    let Some(good) = run("receipt.json") else { return };
    assert!(good.status.success(), "{}", text(&good.stderr));
    assert_eq!(text(&good.stdout).len(), 64);

    let receipt: Value =
        serde_json::from_slice(&fs::read(folder.path().join("receipt.json")).unwrap()).unwrap();
    let spoil = |change: &dyn Fn(&mut Value)| {
        let mut bad = receipt.clone();
        change(&mut bad);
        fs::write(folder.path().join("bad.json"), bad.to_string()).unwrap();
        run("bad.json").unwrap().status.success()
    };
    assert!(!spoil(&|bad| bad["salt"] = json!("00".repeat(32))));
    assert!(!spoil(&|bad| bad["exec_id"] = json!("00000000-0000-8000-8000-000000000000")));
    assert!(!spoil(&|bad| {
        let payload = STANDARD.decode(bad["envelope"]["payload"].as_str().unwrap()).unwrap();
        let other = text(&payload).replace("\"outcome\":\"value\"", "\"outcome\":\"other\"");
        bad["envelope"]["payload"] = json!(STANDARD.encode(other));
    }));
}

#[test]
fn openssl_verifies_the_signature_of_a_checkpoint() {
    let folder = kept();
    let note = fs::read_to_string(folder.path().join("older")).unwrap();
    let (text_of_it, signature) = note.split_once("\n\n").unwrap();
    let blob = STANDARD.decode(signature.trim().rsplit(' ').next().unwrap()).unwrap();
    // A key id of four bytes comes before the signature, and the algorithm before the key.
    fs::write(folder.path().join("sig"), &blob[4..]).unwrap();
    fs::write(folder.path().join("text"), format!("{text_of_it}\n")).unwrap();
    fs::write(folder.path().join("other"), format!("{}\n", text_of_it.replace("\n4\n", "\n5\n"))).unwrap();
    let key = fs::read_to_string(folder.path().join("log.vkey")).unwrap();
    let key = STANDARD.decode(key.trim().splitn(3, '+').nth(2).unwrap()).unwrap();
    // The head of an Ed25519 key as an SPKI file has it (RFC 8410).
    let head = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    fs::write(folder.path().join("key.der"), [&head[..], &key[1..]].concat()).unwrap();
    let verify = |file: &str| {
        let key = ["pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", "key.der", "-rawin"];
        tool(Path::new("openssl"), folder.path(), &[&key[..], &["-in", file, "-sigfile", "sig"]].concat())
    };
    let Some(good) = verify("text") else { return };
    assert!(good.status.success(), "{}", text(&good.stderr));
    assert!(!verify("other").unwrap().status.success());
}

#[test]
fn the_verifier_of_go_s_checksum_database_finds_a_receipt_in_the_log_and_one_story_in_its_checkpoints() {
    let folder = kept();
    let at = folder.path();
    let Some(version) = tool(Path::new("go"), at, &["version"]) else { return };
    assert!(version.status.success());
    let built = tool(Path::new("/bin/sh"), at, &[&recipe("log/build.sh"), "built"]).unwrap();
    assert!(built.status.success(), "{}", text(&built.stderr));
    let receipt = ReceiptFile::from_json(&fs::read(at.join("receipt.json")).unwrap()).unwrap();
    let public = fs::read_to_string(at.join("receipt.pub")).unwrap();
    let public = VerifyingKey::from_spki_pem(&public).unwrap();
    let leaf = verify(&receipt, &[public]).unwrap().leaf().to_hex();
    let key = fs::read_to_string(at.join("log.vkey")).unwrap();
    let key = key.trim();
    let run = |args: &[&str]| tool(&at.join("built/verify-log"), at, args).unwrap();

    let place = run(&["place", key, "receipt.tlog-proof", &leaf]);
    assert!(place.status.success(), "{}", text(&place.stderr));
    assert_eq!(text(&place.stdout), "entry 3 of 44");
    assert!(!run(&["place", key, "receipt.tlog-proof", &"00".repeat(32)]).status.success());
    let older = run(&["older", key, "older", "consistency"]);
    assert!(older.status.success(), "{}", text(&older.stderr));
    assert_eq!(text(&older.stdout), "4 are the first of 44");

    for (name, old, new) in
        [("receipt.tlog-proof", "index 3\n", "index 4\n"), ("receipt.tlog-proof", "\n44\n", "\n45\n")]
    {
        let spoiled = fs::read_to_string(at.join(name)).unwrap().replace(old, new);
        fs::write(at.join("spoiled"), spoiled).unwrap();
        assert!(!run(&["place", key, "spoiled", &leaf]).status.success(), "{new}");
    }
}
