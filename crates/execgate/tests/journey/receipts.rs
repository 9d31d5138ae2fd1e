//! Receipts of a real gateway, verified offline by the command line.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use super::server::{Data, Server, run};

#[test]
fn a_receipt_verifies_offline_and_a_flipped_byte_fails() {
    let data = Data::new();
    let server = Server::start(&data.path());
    let answer = server.execute("python", json!({"code": "6 * 7"}), "n").json();
    let receipt = server.get(&format!("/receipts/{}", answer["id"].as_str().unwrap()));
    assert_eq!(receipt.status, 200);
    drop(server);

    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("receipt.json"), &receipt.body).unwrap();
    fs::write(path("result.json"), answer["result"].to_string()).unwrap();
    fs::write(path("args.json"), json!({"code": "6 * 7"}).to_string()).unwrap();
    let key = data.path().join("keys/receipt.pub");
    let key = key.to_str().unwrap();
    let verify = |receipt: &str, result: &str| {
        let args =
            ["verify", receipt, "--key", key, "--result", result, "--args", &path("args.json"), "--json"];
        let output = run(&args, "");
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, told) = verify(&path("receipt.json"), &path("result.json"));
    assert_eq!(code, Some(0), "{told}");

    fs::write(path("other.json"), answer["result"].to_string().replace("42", "43")).unwrap();
    assert_eq!(verify(&path("receipt.json"), &path("other.json")).0, Some(1));

    let text = String::from_utf8(receipt.body).unwrap();
    let at = text.find("\"payload\": \"").unwrap() + 40;
    let mut flipped = text.into_bytes();
    flipped[at] = if flipped[at] == b'A' { b'B' } else { b'A' };
    fs::write(path("flipped.json"), flipped).unwrap();
    let (code, told) = verify(&path("flipped.json"), &path("result.json"));
    assert_eq!(code, Some(1), "{told}");
}

#[test]
fn a_receipt_says_what_confined_the_run() {
    let data = Data::new();
    let server = Server::start(&data.path());
    let answer = server.execute("bash", json!({"code": "true"}), "n").json();
    let id = answer["id"].as_str().unwrap();
    let folder = data.path();
    let shown = run(&["runs", "show", id, "--receipt", "--data-dir", folder.to_str().unwrap()], "");
    let file = execgate_receipt::ReceiptFile::from_json(&shown.stdout).unwrap();
    let key = fs::read_to_string(folder.join("keys/receipt.pub")).unwrap();
    let key = execgate_receipt::VerifyingKey::from_spki_pem(&key).unwrap();
    let verified = execgate_receipt::verify(&file, &[key]).unwrap();
    let enforced = &verified.statement().predicate.enforced;
    assert_eq!(enforced["tier"], "jail");
    assert_eq!(enforced["own_uid_per_slot"], true);
    assert_eq!(enforced["network"], "none");
    let mode = fs::metadata(folder.join("keys/receipt.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
