//! The policy file, as its operator meets it: the commands, the start, and a change while the gateway serves.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::server::{Data, Server, run};

/// What a command answers: its exit code, and its JSON.
fn told(args: &[&str]) -> (Option<i32>, Value) {
    let output = run(args, "");
    let json = serde_json::from_slice(&output.stdout);
    (output.status.code(), json.unwrap_or_else(|error| panic!("{args:?}: {error} {output:?}")))
}

fn exit(args: &[&str]) -> (Option<i32>, String) {
    let output = run(args, "");
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), text)
}

#[test]
fn init_writes_a_policy_that_the_other_commands_take() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.json");
    let file = path.to_str().unwrap();
    assert_eq!(exit(&["policy", "init", file]).0, Some(0));
    let (code, text) = exit(&["policy", "init", file]);
    assert!(code == Some(2) && text.contains("is there already"), "{text}");

    let (code, checked) = told(&["policy", "check", file, "--json"]);
    assert_eq!((code, &checked["valid"]), (Some(0), &json!(true)));
    assert_eq!(
        checked["tools"][0],
        json!({"tool": "echo", "risk": "read", "severity": "low", "standing": "allow, within limits"})
    );
    let (code, tested) = told(&["policy", "test", file, "--json"]);
    assert_eq!((code, tested["examples"].as_array().unwrap().len()), (Some(0), 6));
    assert!(exit(&["policy", "check", file]).1.contains("the policy is good"));
    assert!(exit(&["policy", "test", file]).1.contains("6 examples hold"));
}

#[test]
fn check_warns_and_strictly_refuses_what_is_hardly_meant() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.json");
    let file = path.to_str().unwrap();
    let rule = json!({"path": "labels.env", "op": "eq", "value": "ci"});
    let policy = json!({"version": "1", "default": "deny", "tools": {"echo": {"deny_if": [rule]}}});
    fs::write(&path, policy.to_string()).unwrap();
    let (code, checked) = told(&["policy", "check", file, "--json"]);
    assert_eq!((code, &checked["warnings"][0]["rule"]), (Some(0), &json!("/tools/echo/deny_if/0")));
    let (code, text) = exit(&["policy", "check", file, "--strict"]);
    assert!(
        code == Some(1) && text.contains("warning: /tools/echo/deny_if/0: a caller without a key"),
        "{text}"
    );
}

#[test]
fn explain_asks_the_rules_of_a_grant_beside_the_gateways() {
    let folder = tempfile::tempdir().unwrap();
    let (gateway, own) = (folder.path().join("policy.json"), folder.path().join("own.json"));
    fs::write(&gateway, json!({"version": "1", "default": "allow"}).to_string()).unwrap();
    fs::write(&own, json!({"version": "1", "default": "deny", "tools": {"echo": {}}}).to_string()).unwrap();
    let (file, own) = (gateway.to_str().unwrap(), own.to_str().unwrap());
    let explain = |tool: &str| {
        told(&["policy", "explain", file, "--tool", tool, "--grant", "g1", "--grant-policy", own, "--json"])
    };
    let (code, allowed) = explain("echo");
    assert_eq!((code, &allowed["rule"]), (Some(0), &json!("grant:/tools/echo")));
    let (code, denied) = explain("add");
    assert_eq!((code, &denied["rule"]), (Some(1), &json!("grant:/default")));
}

#[test]
fn explain_says_what_is_decided_by_its_exit_code_and_why() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.json");
    let file = path.to_str().unwrap();
    exit(&["policy", "init", file]);
    let explain =
        |tool: &str, args: &str| told(&["policy", "explain", file, "--tool", tool, "--args", args, "--json"]);
    let (code, allowed) = explain("add", "{\"a\": 1, \"b\": 2}");
    assert_eq!(
        (code, &allowed["decision"], &allowed["rule"]),
        (Some(0), &json!("allow"), &json!("/tools/add"))
    );
    let (code, denied) = explain("http_get", "{\"url\": \"file:///etc/passwd\"}");
    assert_eq!((code, &denied["rule"]), (Some(1), &json!("/tools/http_get/require/0")));
    assert_eq!(denied["reason"], "http_get takes http and https addresses");
    assert!(!denied.to_string().contains("passwd"), "{denied}");
    assert_eq!(explain("sql_write", "{}").0, Some(3));
    let (code, text) = exit(&["policy", "explain", file, "--tool", "add", "--args", "[1]"]);
    assert!(code == Some(2) && text.contains("--args is no JSON object"), "{text}");
}

#[test]
fn a_wrong_file_is_told_with_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.json");
    fs::write(&path, "{\"version\": \"1\", \"default\": \"deny\",\n  \"tols\": {}}").unwrap();
    let file = path.to_str().unwrap();
    let (code, checked) = told(&["policy", "check", file, "--json"]);
    assert_eq!(
        (code, &checked["line"], &checked["column"], &checked["pointer"]),
        (Some(1), &json!(2), &json!(3), &json!("/tols"))
    );
    assert_eq!(exit(&["policy", "check", "/nowhere/policy.json"]).0, Some(2));
    assert_eq!(exit(&["policy", "test", file]).0, Some(1));
}

#[test]
fn diff_says_what_changes_for_which_tool() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old.json"), folder.path().join("new.json"));
    fs::write(&old, policy(&json!({"echo": {}}))).unwrap();
    fs::write(&new, policy(&json!({"echo": {"action": "deny"}}))).unwrap();
    let (old, new) = (old.to_str().unwrap(), new.to_str().unwrap());
    let (code, changes) = told(&["policy", "diff", old, new, "--json"]);
    let expected = json!([{"of": "echo", "before": "allow", "after": "deny", "fields": ["+action"]}]);
    assert_eq!((code, changes), (Some(1), expected));
    assert_eq!(exit(&["policy", "diff", old, old]), (Some(0), String::new()));
    assert!(exit(&["policy", "diff", old, new]).1.contains("allow -> deny"));
}

fn policy(tools: &Value) -> String {
    json!({"version": "1", "default": "deny", "tools": tools}).to_string()
}

/// A configuration that names a policy file, both in a folder that the server can read.
fn configured(folder: &Path, tools: &Value) -> (String, String) {
    let (config, file) = (folder.join("execgate.toml"), folder.join("policy.json"));
    fs::write(&file, policy(tools)).unwrap();
    let text = format!("[policy]\nfile = \"{}\"\n[surfaces]\ncode = \"off\"\n", file.display());
    fs::write(&config, text).unwrap();
    (config.to_str().unwrap().to_owned(), file.to_str().unwrap().to_owned())
}

#[test]
fn a_gateway_obeys_its_file_takes_a_new_one_and_is_not_ready_under_a_wrong_one() {
    let data = Data::new();
    let folder = data.path().parent().unwrap().to_owned();
    let (config, file) = configured(&folder, &json!({"echo": {"rate_limit": {"max": 2, "window": "day"}}}));
    let server = Server::start_with(&data.path(), &["--config", &config], &[]);
    assert_eq!(server.execute("add", json!({"a": 1, "b": 2}), "a").json()["rule"], "/default");
    let statuses = ["b", "c", "d"].map(|nonce| server.execute("echo", json!({}), nonce).status);
    assert_eq!(statuses, [200, 200, 429]);

    let until = |ready: u16| {
        let start = Instant::now();
        while server.get("/ready").status != ready {
            assert!(start.elapsed() < Duration::from_secs(20), "the file was not looked at");
        }
    };
    fs::write(&file, "{\"version\": \"1\"").unwrap();
    until(503);
    assert_eq!(server.get("/ready").json(), json!({"ready": false, "reason": "policy"}));
    assert_eq!(server.execute("echo", json!({}), "e").status, 429, "the old rules are in force");
    fs::write(&file, policy(&json!({"add": {}}))).unwrap();
    until(200);
    assert_eq!(server.execute("add", json!({"a": 1, "b": 2}), "f").status, 200);
    assert_eq!(server.execute("echo", json!({}), "g").json()["rule"], "/default");
}

#[test]
fn a_gateway_does_not_start_under_a_wrong_file() {
    let data = Data::new();
    let folder = data.path().parent().unwrap().to_owned();
    let told = |tools: &Value| {
        let (config, file) = configured(&folder, tools);
        let data = data.path();
        let args =
            ["serve", "--listen", "127.0.0.1:0", "--data-dir", data.to_str().unwrap(), "--config", &config];
        let (code, text) = exit(&args);
        assert_eq!(code, Some(2), "{text}");
        (file, text)
    };
    let (file, text) = told(&json!({"echo": {"schema": {"$ref": "https://example.org/s.json"}}}));
    assert!(text.contains(&format!("the policy {file} is wrong")), "{text}");
    assert!(
        text.contains("the field `$ref` of JSON Schema is not judged") && text.contains("line 1"),
        "{text}"
    );
    let (_, text) = told(&json!({"python": {"profile": "data"}}));
    assert!(text.contains("the policy names the profile `data` (/tools/python/profile)"), "{text}");
}
