//! The transparency log of a real gateway: its commands, its files, and what happens to a restored copy of the record.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;

use serde_json::{Value, json};

use super::server::{Data, Server, run};

/// A gateway without a sandbox: it starts at once.
pub(super) fn quiet_server(data: &Data) -> Server {
    let config = data.path().with_file_name("quiet.toml");
    fs::write(&config, "[surfaces]\ncode = \"off\"\n").unwrap();
    Server::start_with(&data.path(), &["--config", config.to_str().unwrap()], &[])
}

/// The checkpoint of a log that has so many entries, once it is there.
pub(super) fn settled(server: &Server, size: u64) -> String {
    loop {
        let note = String::from_utf8(server.get("/log/checkpoint").body).unwrap();
        if note.lines().nth(1) == Some(&size.to_string()) {
            return note;
        }
        thread::yield_now();
    }
}

/// Runs a command on the data directory.
fn command(data: &Data, args: &[&str]) -> (Option<i32>, String, String) {
    let folder = data.path();
    let output = run(&[args, &["--data-dir", folder.to_str().unwrap()]].concat(), "");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn runs(server: &Server, from: u64, to: u64) {
    for number in from..to {
        assert_eq!(server.execute("add", json!({"a": number, "b": 1}), &format!("n{number}")).status, 200);
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[test]
fn a_receipt_is_verified_with_its_place_in_the_log_and_checkpoints_with_each_other() {
    let data = Data::new();
    let server = quiet_server(&data);
    let answer = server.execute("add", json!({"a": 2, "b": 3}), "first").json();
    // The first two leaves are those of the gateway's keys.
    let older = settled(&server, 4);
    runs(&server, 0, 150);
    settled(&server, 304);
    let receipt = server.get(&format!("/receipts/{}", answer["id"].as_str().unwrap()));
    let consistency = server.get("/log/consistency/4");
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("receipt.json"), &receipt.body).unwrap();
    fs::write(path("older"), &older).unwrap();
    fs::write(path("consistency"), &consistency.body).unwrap();

    let (code, told, _) = command(&data, &["verify", &path("receipt.json")]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("place in the log    holds: entry 3 of 304 in execgate/"), "{told}");
    let mut bare = receipt.json();
    for field in ["log_proof", "log_key"] {
        bare.as_object_mut().unwrap().remove(field);
    }
    bare["v"] = json!(1);
    fs::write(path("bare.json"), bare.to_string()).unwrap();
    assert_eq!(command(&data, &["verify", &path("bare.json")]).0, Some(0));
    let key = data.path().join("keys/log.vkey");
    let must = ["verify", &path("bare.json"), "--log-key", key.to_str().unwrap(), "--json"];
    let (code, told, _) = command(&data, &must);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (code, &told["reason"]),
        (Some(1), &json!("the receipt comes without a proof that it is in a log"))
    );
    let mut moved = receipt.json();
    let proof = moved["log_proof"].as_str().unwrap().replace("index 3\n", "index 5\n");
    moved["log_proof"] = json!(proof);
    fs::write(path("moved.json"), moved.to_string()).unwrap();
    let (code, told, _) = command(&data, &["verify", &path("moved.json")]);
    assert_eq!(code, Some(1));
    assert!(told.contains("the entry is not in this log at this place"), "{told}");

    let copy = data.path().with_file_name("copy");
    fs::create_dir(&copy).unwrap();
    fs::set_permissions(&copy, Permissions::from_mode(0o777)).unwrap();
    let copy = copy.to_str().unwrap();
    assert_eq!(command(&data, &["log", "export", copy]).0, Some(0));
    let pair =
        |newer: [&str; 2]| command(&data, &["verify", "--checkpoint", &path("older"), newer[0], newer[1]]);
    for newer in [["--consistency", &path("consistency")], ["--log-copy", copy]] {
        let (code, told, _) = pair(newer);
        assert_eq!(code, Some(0), "{told}");
        assert!(told.contains("the 4 entries of the older checkpoint are the first of the 304"), "{told}");
    }
    fs::write(path("forked"), older.replace("\n4\n", "\n5\n")).unwrap();
    let forked = ["verify", "--checkpoint", &path("forked"), "--log-copy", copy];
    let (code, told, _) = command(&data, &forked);
    assert_eq!(code, Some(1));
    assert!(told.contains("does not match the note"), "{told}");
    // A tile that was changed leads nowhere.
    let tile = Path::new(copy).join("tile/0/001.p/48");
    let mut bytes = fs::read(&tile).unwrap();
    bytes[0] ^= 1;
    fs::write(&tile, bytes).unwrap();
    let (code, told, _) = pair(["--log-copy", copy]);
    assert_eq!(code, Some(1));
    assert!(told.contains("the path does not lead to the newer root"), "{told}");
    assert_eq!(command(&data, &["verify", "--checkpoint", &path("older")]).0, Some(2));
}

#[test]
fn a_restored_copy_of_the_record_runs_nothing_until_the_operator_names_its_log_anew() {
    let data = Data::new();
    let server = quiet_server(&data);
    runs(&server, 0, 3);
    server.terminate();
    assert_eq!(server.ended(), Some(0));
    let backup = data.path().with_file_name("backup");
    copy_folder(&data.path(), &backup);
    let server = quiet_server(&data);
    runs(&server, 3, 6);
    server.terminate();
    assert_eq!(server.ended(), Some(0));
    fs::copy(backup.join("execgate.db"), data.path().join("execgate.db")).unwrap();

    let server = quiet_server(&data);
    let refused = server.execute("add", json!({"a": 4, "b": 1}), "n4");
    assert_eq!((refused.status, &refused.json()["rule"]), (503, &json!("log")), "it has run once");
    assert_eq!(server.execute("add", json!({"a": 1, "b": 1}), "n9").status, 503);
    let kept = server.execute("add", json!({"a": 1, "b": 1}), "n1");
    assert_eq!((kept.status, &kept.json()["result"]["sum"]), (200, &json!(2)), "what is kept starts nothing");
    assert_eq!(server.get("/ready").json()["reason"], json!("log"));
    let (code, told, _) = command(&data, &["log", "tail"]);
    assert_eq!(code, Some(0));
    assert!(told.contains("a checkpoint of 14 entries was seen"), "{told}");
    let (code, told, _) = command(&data, &["log", "new-origin"]);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(server.execute("add", json!({"a": 1, "b": 1}), "n9").status, 200);
    assert_eq!(server.get("/ready").status, 200);
    settled(&server, 11);
    assert_eq!(server.get("/log/names/1/checkpoint").status, 404, "that log is over");
    assert_eq!(server.get("/log/names/2/checkpoint").body, server.get("/log/checkpoint").body);
    let head = |path: &str| server.get(path).head.to_ascii_lowercase();
    assert!(head("/log/names/2/tile/0/000.p/11").contains("immutable"));
    assert!(head("/log/tile/0/000.p/11").contains("cache-control: no-cache"), "it may have been another one");
    let keys = fs::read_to_string(data.path().join("keys/log.vkey")).unwrap();
    assert_eq!(keys.lines().count(), 2, "{keys}");
    drop(server);
    // Without a gateway the commands keep the log themselves.
    let (code, told, _) = command(&data, &["log", "tail", "--json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((code, &told["fault"], &told["size"]), (Some(0), &json!(null), &json!(11)));
}

/// A configuration, and the file outside of the data directory that it has the checkpoint kept in.
fn keeps_outside(data: &Data, more: &str) -> (PathBuf, PathBuf) {
    let config = data.path().with_file_name("kept.toml");
    let kept = data.path().with_file_name("kept");
    fs::create_dir(&kept).unwrap();
    fs::set_permissions(&kept, Permissions::from_mode(0o777)).unwrap();
    let file = kept.join("checkpoint");
    let text = format!(
        "[surfaces]\ncode = \"off\"\n[transparency]\n{more}\ncheckpoint_file = {:?}\n",
        file.display()
    );
    fs::write(&config, text).unwrap();
    (config, file)
}

#[test]
fn the_checkpoint_is_kept_where_the_operator_says_and_missed_where_it_is_not() {
    let data = Data::new();
    let (config, file) = keeps_outside(&data, "origin = \"log.example\"");
    let start = || Server::start_with(&data.path(), &["--config", config.to_str().unwrap()], &[]);
    let server = start();
    runs(&server, 0, 2);
    server.terminate();
    assert_eq!(server.ended(), Some(0));
    let own = data.path().join("log-checkpoint");
    assert_eq!(fs::read(&file).unwrap(), fs::read(&own).unwrap());
    assert!(fs::read_to_string(&file).unwrap().starts_with("log.example\n6\n"));
    fs::remove_file(&own).unwrap();
    let server = start();
    assert_eq!(server.get("/ready").json()["reason"], json!("log"));
}

#[test]
fn a_checkpoint_file_that_is_gone_is_missed_and_one_that_is_named_later_is_made_at_the_start() {
    let data = Data::new();
    let (config, file) = keeps_outside(&data, "");
    let start = || Server::start_with(&data.path(), &["--config", config.to_str().unwrap()], &[]);
    let server = quiet_server(&data);
    runs(&server, 0, 2);
    server.terminate();
    assert_eq!(server.ended(), Some(0));
    let server = start();
    assert_eq!(server.get("/ready").status, 200);
    assert!(file.exists(), "it is there before anything runs");
    server.kill();

    fs::remove_file(&file).unwrap();
    let server = start();
    assert_eq!(server.get("/ready").json()["reason"], json!("log"));
    assert_eq!(server.execute("add", json!({"a": 1, "b": 1}), "n9").status, 503);
    let (_, told, _) = command(&data, &["log", "tail"]);
    assert!(told.contains("is gone from") && told.contains("kept/checkpoint"), "{told}");
    assert_eq!(command(&data, &["log", "new-origin"]).0, Some(0));
    assert!(file.exists());
    assert_eq!(server.execute("add", json!({"a": 1, "b": 1}), "n9").status, 200);
}

#[test]
fn a_name_that_somebody_has_seen_is_not_given_again_and_copies_of_two_logs_are_kept_apart() {
    let data = Data::new();
    let server = quiet_server(&data);
    runs(&server, 0, 2);
    server.terminate();
    assert_eq!(server.ended(), Some(0));
    let copy = data.path().with_file_name("copy");
    fs::create_dir(&copy).unwrap();
    fs::set_permissions(&copy, Permissions::from_mode(0o777)).unwrap();
    let copy = copy.to_str().unwrap();
    assert_eq!(command(&data, &["log", "export", copy]).0, Some(0));
    let backup = data.path().with_file_name("backup");
    copy_folder(&data.path(), &backup);
    let rename = |name| command(&data, &["log", "new-origin", "--origin", name]);
    assert_eq!(rename("second.example").0, Some(0));
    assert_eq!(rename("third.example").0, Some(0));
    // The record has forgotten both names. One lies in the checkpoint, the other among the keys.
    fs::copy(backup.join("execgate.db"), data.path().join("execgate.db")).unwrap();
    for (name, place) in [("third.example", "log-checkpoint"), ("second.example", "log.vkey")] {
        let (code, _, told) = rename(name);
        assert_eq!(code, Some(2), "{told}");
        assert!(told.contains("was used before") && told.contains(place), "{told}");
    }
    assert_eq!(rename("fourth.example").0, Some(0));
    let (code, _, told) = command(&data, &["log", "export", copy]);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("holds a copy of the log `execgate/"), "{told}");
}
