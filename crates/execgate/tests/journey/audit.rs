//! The audit trail, the figures and the log of a real gateway: what is in them, and what never is.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::admin::{over, over_with, socket};
use super::server::{Data, Reply, Server, post_bytes, reply, run, until};

/// Lines are written within 0.2 s; a busy machine may take longer.
const WRITTEN_WITHIN: Duration = Duration::from_secs(20);

const CANARY: &str = "canary-7f3a";

fn gateway(data: &Data, settings: &str) -> Server {
    let path = data.path().with_extension("toml");
    fs::write(&path, format!("{settings}\n[surfaces]\ncode = \"off\"\n")).unwrap();
    Server::start_with(&data.path(), &["--config", path.to_str().unwrap()], &[])
}

/// A file that the server may append to once it has dropped root.
fn log_file(data: &Data) -> String {
    let path = data.path().with_extension("log");
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn audit(data: &Path, args: &[&str]) -> Vec<Value> {
    let mut all = vec!["audit", "--data-dir", data.to_str().unwrap(), "--jsonl"];
    all.extend(args);
    let output = run(&all, "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Asks with a key and a header.
fn with_header(server: &Server, path: &str, body: &Value, header: &str) -> Reply {
    let bytes = post_bytes(path, body);
    let text = String::from_utf8(bytes).unwrap().replacen("\r\n", &format!("\r\n{header}\r\n"), 1);
    reply(&server.raw(text.as_bytes()))
}

#[test]
fn the_log_the_trail_and_the_figures_tell_of_every_walk_and_of_no_value() {
    for format in ["text", "json"] {
        let data = Data::new();
        let log = log_file(&data);
        let server = gateway(&data, &format!("[log]\nfile = {log:?}\nformat = {format:?}\n"));
        let value = json!({"msg": CANARY, "code": CANARY});
        for action in ["echo", "add", "shell_exec", "nobody"] {
            server.post("/execute", &json!({"action": action, "payload": value, "nonce": CANARY}));
            let tool = json!({"agentId": CANARY, "context": {"why": CANARY}, "tool": {"name": action, "args": value}});
            for path in ["/exec/tool", "/exec/simulate"] {
                with_header(&server, path, &tool, &format!("Idempotency-Key: {CANARY}"));
            }
            server.post("/exec/batch", &json!({"calls": [tool]}));
            server.post("/api/code-run", &json!({"code": CANARY}));
        }
        let stranger = format!("eg_{CANARY}_{}", "7".repeat(64));
        let refused =
            with_header(&server, "/execute", &json!({}), &format!("Authorization: Bearer {stranger}"));
        assert_eq!(refused.status, 401);
        let run =
            server.execute("echo", json!({"msg": "hi"}), "n-1").json()["id"].as_str().unwrap().to_owned();
        let metrics = over(&socket(&data), "GET /metrics");
        server.terminate();
        assert_eq!(server.ended(), Some(0));

        let log = fs::read_to_string(&log).unwrap();
        let trail: String = audit(&data.path(), &[]).iter().map(Value::to_string).collect();
        let metrics = String::from_utf8(metrics.body).unwrap();
        for (text, name) in [(&log, "log"), (&trail, "trail"), (&metrics, "metrics")] {
            assert!(!text.contains("canary") && !text.contains("7777777"), "{format} {name}: {text}");
            assert!(text.contains("blocked-tool") && text.contains("echo"), "{format} {name}: {text}");
        }
        let line = log.lines().find(|line| line.contains(&run)).unwrap();
        for word in ["decided", "authorise", "open", "value", "local"] {
            assert!(line.contains(word), "{line}");
        }
        if format == "json" {
            let line: Value = serde_json::from_str(line).unwrap();
            assert_eq!((&line["span"]["id"], &line["outcome"]), (&json!(run), &json!("value")), "{line}");
            assert!(log.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{log}");
        }
    }
}

#[test]
fn the_trail_is_read_by_command_and_by_the_administration_door() {
    let data = Data::new();
    let server = gateway(&data, "");
    for number in 0..5 {
        assert_eq!(server.execute("echo", json!({"n": number}), &format!("n-{number}")).status, 200);
    }
    assert_eq!(server.execute("shell_exec", json!({}), "m").status, 403);
    let path = socket(&data);
    let start = Instant::now();
    let page = loop {
        let page = over(&path, "GET /audit?order=oldest&limit=6").json();
        if page["entries"].as_array().unwrap().len() == 6 {
            break page;
        }
        assert!(start.elapsed() < WRITTEN_WITHIN, "{page}");
    };
    let entries = page["entries"].as_array().unwrap();
    assert_eq!((&entries[5]["decision"], &entries[5]["rule"]), (&json!("refused"), &json!("blocked-tool")));
    assert_eq!(entries[0]["argument_keys"], json!(["n"]));
    let place = page["next"].as_str().unwrap();
    let rest = over(&path, &format!("GET /audit?order=oldest&after={place}")).json();
    assert_eq!(rest, json!({"entries": [], "next": null}));
    let refused = over(&path, "GET /audit?decision=refused&rule=blocked%2Dtool").json();
    assert_eq!(refused["entries"], json!([entries[5]]));
    assert_eq!(over(&path, "GET /audit?rules=x").json()["code"], "bad-query");
    let export = over_with(&path, "GET /audit?order=oldest", "Accept: application/x-ndjson");
    assert!(export.head.contains("content-type: application/x-ndjson"), "{}", export.head);
    // In chunks, of which one holds it all.
    let export = String::from_utf8(export.body).unwrap();
    let lines: Vec<Value> =
        export.lines().filter_map(|line| serde_json::from_str(line).ok()).filter(Value::is_object).collect();
    assert_eq!(&lines, entries);

    let told = audit(&data.path(), &["--oldest"]);
    assert_eq!(&told, entries, "a gateway that runs does not stand in the way");
    assert_eq!(audit(&data.path(), &["--caller", "local", "--action", "echo", "--limit", "2"]).len(), 2);
    assert_eq!(audit(&data.path(), &["--until", "1h"]), Vec::<Value>::new());
    assert_eq!(
        audit(&data.path(), &["--oldest", "--after", entries[3]["place"].as_str().unwrap()]),
        entries[4..]
    );
    let folder = data.path();
    let folder = folder.to_str().unwrap();
    let shown = run(&["audit", "--decision", "refused", "--data-dir", folder], "");
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.lines().count() == 1 && shown.contains("blocked-tool"), "{shown}");
    for (args, words) in [
        (&["audit", "--since", "yesterday"][..], "is no moment"),
        (&["audit", "--decision", "maybe"], "a decision is one of"),
        (&["audit", "--json", "--limit", "1001"], "--jsonl"),
        (&["audit", "--data-dir", "/nonexistent-folder"], "there is no data directory"),
    ] {
        let mut all = args.to_vec();
        if !args.contains(&"--data-dir") {
            all.extend(["--data-dir", folder]);
        }
        let output = run(&all, "");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(said.contains(words), "{args:?}: {said}");
    }
    assert_eq!(server.get("/metrics").status, 404, "the public door has none of it");
    assert_eq!(server.get("/audit").status, 404);
}

#[test]
fn the_metrics_show_how_many_interpreters_wait_and_what_they_hold() {
    let data = Data::new();
    let server = Server::start(&data.path());
    // Left out while the helper has no time to say it.
    let read = |name: &str| {
        until(name, || {
            let metrics = String::from_utf8(over(&socket(&data), "GET /metrics").body).unwrap();
            let line = format!("execgate_sandbox_{name}{{profile=\"default\"}} ");
            let value = metrics.lines().find_map(|one| one.strip_prefix(&line))?;
            Some(value.parse::<u64>().unwrap())
        })
    };
    assert_eq!(["waiting", "forking", "idle_bytes"].map(read), [0; 3], "nobody has used a language yet");
    assert_eq!(server.execute("python", json!({"code": "1"}), "n").status, 200);
    until("an interpreter that waits", || (read("waiting") > 0 && read("forking") > 0).then_some(()));
    until("what it holds", || (read("idle_bytes") > 1 << 20).then_some(()));
}
