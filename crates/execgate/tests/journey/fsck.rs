//! `execgate fsck`, on a gateway that runs and on what a killed one has left.

use std::fs;

use serde_json::{Value, json};

use super::server::{Data, Server, run};

#[test]
fn a_record_is_checked_while_it_is_served_and_after_a_kill() {
    let data = Data::new();
    let folder = data.path();
    let fsck = |more: &[&str]| {
        let args = [&["fsck", "--data-dir", folder.to_str().unwrap()], more].concat();
        let output = run(&args, "");
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(fsck(&[]).0, Some(2), "there is nothing to check");

    let server = Server::start(&folder);
    for nonce in ["a", "b", "c"] {
        assert_eq!(server.execute("echo", json!({"text": nonce}), nonce).status, 200);
    }
    let (code, text) = fsck(&["--json"]);
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(
        (&told["runs"], &told["receipts"], &told["leaves"], &told["list"]),
        (&json!(3), &json!(3), &json!(8), &json!([]))
    );
    server.kill();
    let (code, text) = fsck(&[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.ends_with("the record is sound\n"), "{text}");

    // Under a key that others publish, no receipt is good.
    let other = Data::new();
    // It has its key once it answers.
    assert_eq!(Server::start(&other.path()).get("/health").status, 200);
    fs::copy(other.path().join("keys/ring.json"), folder.join("keys/ring.json")).unwrap();
    let (code, text) = fsck(&[]);
    assert_eq!(code, Some(1), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("receipt-invalid  run ")).count(), 3, "{text}");
    assert!(text.ends_with("the record is NOT sound: 3 findings\n"), "{text}");
}
