//! `execgate fsck`, on a gateway that runs and on what a killed one has left.

use std::fs;

use rusqlite::Connection;
use serde_json::{Value, json};

use super::log::quiet_server;
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

#[test]
fn a_record_that_nobody_serves_is_checked_without_a_byte_of_it_changed_and_one_of_another_release_is_left_alone()
 {
    let data = Data::new();
    let server = quiet_server(&data);
    assert_eq!(server.execute("echo", json!({"a": 1}), "n").status, 200);
    server.terminate();
    assert_eq!(server.ended(), Some(0));
    let (folder, record) = (data.path(), data.path().join("execgate.db"));
    let locks = || fs::read_dir(folder.join("instances")).unwrap().count();
    let (before, no_more) = (fs::read(&record).unwrap(), locks());
    let fsck = || run(&["fsck", "--data-dir", folder.to_str().unwrap()], "");
    let output = fsck();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::read(&record).unwrap(), before);
    assert_eq!(locks(), no_more, "whoever looks is no instance");

    for version in [12, 99] {
        let raw = Connection::open(&record).unwrap();
        raw.pragma_update(None, "user_version", version).unwrap();
        drop(raw);
        let output = fsck();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains(&format!("the record has schema version {version}")), "{said}");
        let raw = Connection::open(&record).unwrap();
        let kept: i64 = raw.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!(kept, version);
    }
}
