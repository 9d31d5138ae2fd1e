//! `kill -9` in the middle of a run, and what the next process says of it.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::admin::{over, socket};
use super::server::{Data, Server, post_bytes, run, signal, until};

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

/// Waits until a program that was started with this argument is there, or is not.
fn until_alive(marker: &str, is_there: bool) {
    let start = Instant::now();
    while alive(marker) != is_there {
        assert!(start.elapsed() < PATIENCE, "{marker} is there: {}", !is_there);
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
    until_alive(marker, true);
    server.kill();
    assert!(cut_off.join().is_err(), "a killed server has answered");
    until_alive(marker, false);

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
fn a_run_whose_helper_dies_is_unknown_and_others_run_after_it_and_this_one_never_again() {
    let data = Data::new();
    let marker = "8675309.75";
    let server = Server::start(&data.path());
    let body = json!({"action": "bash", "payload": {"code": format!("sleep {marker}")}, "nonce": "n"});
    let under_way = server.background(post_bytes("/execute", &body));
    until_alive(marker, true);
    server.helpers().into_iter().for_each(|helper| signal(helper, Signal::KILL));
    let told = under_way.join().unwrap();
    let problem = told.json();
    assert_eq!((told.status, problem["code"].as_str()), (409, Some("run-outcome-unknown")), "{problem}");
    until_alive(marker, false);
    let question = json!({"exec_id": problem["exec_id"], "result": null, "receipt": problem["receipt"]});
    assert_eq!(server.post("/receipts/verify", &question).json(), json!({"valid": true}));
    assert_eq!(server.post("/execute", &body).body, told.body, "it is over, helper or not");
    let mut asked = 0;
    let next = until("the next helper", || {
        asked += 1;
        let next = server.execute("bash", json!({"code": "echo 1"}), &format!("next{asked}"));
        (next.status != 503).then_some(next)
    });
    assert_eq!(next.json()["result"]["stdout"], "1\n");
    assert_eq!(server.get("/ready").json(), json!({"ready": true}));
    let metrics = String::from_utf8(over(&socket(&data), "GET /metrics").body).unwrap();
    let lost = "execgate_sandbox_helpers_lost_total{profile=\"default\"} 1";
    assert!(metrics.lines().any(|line| line == lost), "{metrics}");
    assert_eq!(server.post("/execute", &body).body, told.body);
    server.kill();

    let server = Server::start(&data.path());
    assert_eq!(server.post("/execute", &body).body, told.body);
    assert!(!alive(marker), "the run was started again");
    let other = server.execute("bash", json!({"code": "echo 1"}), "m");
    assert_eq!(other.json()["result"]["stdout"], "1\n");
    assert_eq!(runs(&data.path()).iter().filter(|run| run["stage"] == "unknown").count(), 1);
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
