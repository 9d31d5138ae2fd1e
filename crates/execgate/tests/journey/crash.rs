//! `kill -9` in the middle of a run, and what the next process says of it.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::server::{Data, Server, post_bytes, run};

/// How long to look for something that must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// The runs of a record, as the operator's command lists them.
fn runs(data: &Path) -> Vec<Value> {
    let listed = run(&["runs", "list", "--json", "--data-dir", data.to_str().unwrap()], "");
    let list: Value = serde_json::from_slice(&listed.stdout).unwrap_or_default();
    list.as_array().cloned().unwrap_or_default()
}

/// Waits until a run stands in `execute`.
pub(super) fn until_claimed(data: &Path) {
    let start = Instant::now();
    while !runs(data).iter().any(|run| run["stage"] == "execute") {
        assert!(start.elapsed() < PATIENCE, "no run was claimed");
    }
}

fn alive(marker: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap();
    processes.flatten().any(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(marker)
    })
}

#[test]
fn a_run_whose_server_is_killed_is_unknown_and_never_started_again() {
    let data = Data::new();
    let marker = "8675309.25";
    let server = Server::start(&data.path());
    let body = json!({"action": "bash", "payload": {"code": format!("sleep {marker}")}, "nonce": "n"});
    let bytes = post_bytes("/execute", &body);
    let cut_off = server.background(bytes);
    until_claimed(&data.path());
    let start = Instant::now();
    while !alive(marker) {
        assert!(start.elapsed() < PATIENCE, "the guest never started");
    }
    server.kill();
    assert!(cut_off.join().is_err(), "a killed server has answered");
    let start = Instant::now();
    while alive(marker) {
        assert!(start.elapsed() < PATIENCE, "the guest survived its server");
    }

    let server = Server::start(&data.path());
    let replay = server.post("/execute", &body);
    let problem = replay.json();
    assert_eq!((replay.status, problem["code"].as_str()), (409, Some("run-outcome-unknown")), "{problem}");
    assert_eq!(server.post("/execute", &body).body, replay.body);
    assert!(!alive(marker), "the run was started again");

    let id = problem["exec_id"].as_str().unwrap().to_owned();
    let question = json!({"exec_id": id, "result": null, "receipt": problem["receipt"]});
    assert_eq!(server.post("/receipts/verify", &question).json(), json!({"valid": true}));
    let folder = data.path();
    let folder = folder.to_str().unwrap();
    let resolve = |note: &str| run(&["runs", "resolve", &id, "--note", note, "--data-dir", folder], "");
    assert!(resolve("looked at the logs: it had done nothing").status.success());
    assert!(!resolve("twice").status.success());
    assert_eq!(runs(&data.path())[0]["resolution"], "looked at the logs: it had done nothing");
    assert_eq!(server.post("/execute", &body).status, 409, "a resolution is no run");
}

#[test]
fn two_processes_on_one_data_directory_leave_each_others_runs_alone() {
    let data = Data::new();
    let first = Server::start(&data.path());
    let body =
        json!({"action": "python", "payload": {"code": "import time; time.sleep(3); 'done'"}, "nonce": "n"});
    let bytes = post_bytes("/execute", &body);
    let running = first.background(bytes);
    until_claimed(&data.path());
    let second = Server::start(&data.path());
    // The second process neither recovers the run nor starts it again: it waits for its end.
    let elsewhere = second.post("/execute", &body);
    let here = running.join().unwrap();
    assert_eq!(here.json()["result"]["result"], "'done'");
    assert_eq!(elsewhere.body, here.body);
    assert_eq!(runs(&data.path()).len(), 1);
}
