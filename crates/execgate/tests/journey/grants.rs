//! Grants on a real gateway: made, used, rotated and revoked while it runs, and never told again.

use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::server::{Data, Reply, Server, reply, run};

/// A change is seen within 0.1 s; a busy machine may take longer to ask.
const SEEN_WITHIN: Duration = Duration::from_secs(20);

fn grant(data: &Path, args: &[&str]) -> Output {
    let mut all = vec!["grant"];
    all.extend(args);
    all.extend(["--data-dir", data.to_str().unwrap()]);
    run(&all, "")
}

fn told(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn execute(server: &Server, key: Option<&str>, nonce: &str) -> Reply {
    let body = json!({"action": "echo", "payload": {"msg": "hi"}, "nonce": nonce}).to_string();
    let key = key.map(|key| format!("Authorization: Bearer {key}\r\n")).unwrap_or_default();
    reply(
        &server.raw(
            format!(
                "POST /execute HTTP/1.1\r\nHost: localhost\r\n{key}Content-Type: application/json\r\n\
                 Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            )
            .as_bytes(),
        ),
    )
}

/// Asks until the answer has this status, as it must soon.
fn until(server: &Server, key: &str, nonce: &str, status: u16) {
    let start = Instant::now();
    while execute(server, Some(key), nonce).status != status {
        assert!(start.elapsed() < SEEN_WITHIN, "a change of a grant was not seen");
    }
}

fn configured(data: &Data, text: &str) -> String {
    let path = data.path().with_extension("toml");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_running_gateway_sees_a_grant_made_rotated_and_revoked() {
    let data = Data::new();
    let log = data.path().with_extension("log");
    fs::write(&log, "").unwrap();
    fs::set_permissions(&log, Permissions::from_mode(0o666)).unwrap();
    let config = configured(
        &data,
        "[surfaces]\ncode = \"off\"\n[identity]\nrequire_grant = true\n[log]\nlevel = \"trace\"\n",
    );
    let server =
        Server::start_with(&data.path(), &["--config", &config], &[("LOG_FILE", log.to_str().unwrap())]);
    let made = told(&grant(&data.path(), &["create", "--name", "ci", "--label", "team=red", "--json"]));
    let (id, key) = (made["grant"]["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    assert_eq!((&made["grant"]["roles"], &made["grant"]["state"]), (&json!(["caller"]), &json!("active")));
    assert_eq!(execute(&server, None, "n").status, 401);
    until(&server, key, "n", 200);
    assert!(execute(&server, Some(key), "n").head.contains("execgate-replayed: true"));

    let rotated = told(&grant(&data.path(), &["rotate", id, "--overlap", "1h", "--json"]));
    let newer = rotated["key"].as_str().unwrap();
    until(&server, newer, "n", 200);
    assert_eq!(execute(&server, Some(key), "n").status, 200, "in the overlap");
    let last = grant(&data.path(), &["rotate", id, "--overlap", "0s"]);
    let last = String::from_utf8(last.stdout).unwrap();
    until(&server, last.trim(), "n", 200);
    assert_eq!(execute(&server, Some(newer), "n").json()["rule"], "replaced-key");
    assert_eq!(execute(&server, Some(key), "n").json()["rule"], "unknown-key");

    assert!(grant(&data.path(), &["revoke", id]).status.success());
    until(&server, last.trim(), "n", 401);
    let shown = told(&grant(&data.path(), &["show", id, "--json"]));
    assert_eq!((&shown["state"], &shown["labels"]), (&json!("revoked"), &json!({"team": "red"})));
    assert!(shown["last_used_at"].is_string(), "{shown}");
    let all = grant(&data.path(), &["list", "--all", "--json"]);
    assert_eq!(told(&grant(&data.path(), &["list", "--json"])), json!([]));
    server.terminate();
    assert_eq!(server.ended(), Some(0));
    let log = fs::read_to_string(&log).unwrap();
    assert!(log.contains("drained"), "{log}");
    for key in [key, newer, last.trim()] {
        let secret = key.rsplit_once('_').unwrap().1;
        let record = fs::read(data.path().join("execgate.db")).unwrap();
        assert!(!log.contains(secret) && !String::from_utf8_lossy(&all.stdout).contains(secret));
        assert!(!record.windows(secret.len()).any(|window| window == secret.as_bytes()));
    }
}

#[test]
fn a_grant_has_rules_of_its_own_while_the_gateway_runs() {
    let data = Data::new();
    let config = configured(&data, "[surfaces]\ncode = \"off\"\n");
    let server = Server::start_with(&data.path(), &["--config", &config], &[]);
    let made =
        told(&grant(&data.path(), &["create", "--name", "ci", "--limit", "calls:day:2:tool", "--json"]));
    let (id, key) = (made["grant"]["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    until(&server, key, "a", 200);
    assert_eq!(execute(&server, Some(key), "b").status, 200);
    let refused = execute(&server, Some(key), "c");
    assert_eq!((refused.status, &refused.json()["rule"]), (429, &json!("grant:/all_tools/limits/0")));
    assert_eq!(execute(&server, None, "c").status, 200, "others have no part in it");

    let policy = data.path().with_extension("json");
    let text = "{\"version\": \"1\",\n \"default\": \"deny\"}";
    fs::write(&policy, text).unwrap();
    let file = policy.to_str().unwrap();
    let set = told(&grant(&data.path(), &["set-policy", id, file, "--json"]));
    assert_eq!(set["policy"]["text"], text, "kept as it was given");
    until(&server, key, "d", 403);
    assert_eq!(execute(&server, Some(key), "d").json()["rule"], "grant:/default");

    fs::write(&policy, "{\"version\": \"1\",\n \"defalt\": \"deny\"}").unwrap();
    let wrong = grant(&data.path(), &["set-policy", id, file]);
    let said = String::from_utf8(wrong.stderr).unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(said.contains("the field `default` is missing, at line 1 column 1"), "{said}");
    assert!(grant(&data.path(), &["set-policy", id, "--none"]).status.success());
    until(&server, key, "d", 200);
    assert_eq!(told(&grant(&data.path(), &["show", id, "--json"]))["policy"], Value::Null);
}

#[test]
fn what_cannot_be_is_told_and_ends_with_two() {
    let data = Data::new();
    let made = Server::start_with(
        &data.path(),
        &["--config", &configured(&data, "[surfaces]\ncode = \"off\"\n")],
        &[],
    );
    for (args, words) in [
        (&["show", "g0"][..], "there is no grant g0"),
        (&["revoke", "g0"], "there is no grant g0"),
        (&["rotate", "g0"], "there is no grant g0"),
        (&["show", "g/0"], "a grant must hold only"),
        (&["create"], "--name"),
        (&["create", "--name", " "], "1 to 128 bytes"),
        (&["create", "--name", "x", "--role", "king"], "a role is one of"),
        (&["create", "--name", "x", "--expires", "soon"], "is no end"),
        (&["create", "--name", "x", "--expires", "2020-01-01T00:00:00Z"], "not in the future"),
        (&["create", "--name", "x", "--wallet", "0xab"], "a wallet is"),
        (&["create", "--name", "x", "--limit", "rate:week:1"], "this must be one of: second"),
        (&["create", "--name", "x", "--policy", "/nowhere"], "failed to read the policy"),
        (&["set-policy", "g0", "--none"], "there is no grant g0"),
        (&["rotate", "g0", "--overlap", "1y"], "no length of time"),
    ] {
        let output = grant(&data.path(), args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(said.contains(words), "{args:?}: {said}");
    }
    drop(made);
}

/// A service on loopback that says the same to everybody, for as long as the test runs.
fn service(says: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4_096];
            // The whole question is one small packet.
            assert_ne!(stream.read(&mut request).unwrap(), 0);
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{says}", says.len());
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    address
}

#[test]
fn the_identity_service_is_asked_and_its_no_holds() {
    for (says, status, rule) in [
        (r#"{"valid":true}"#, 200, None),
        (r#"{"valid":false,"violations":["over the limit"]}"#, 403, Some("iam")),
        ("what?", 503, Some("iam-unreachable")),
    ] {
        let data = Data::new();
        let url = format!("http://{}/ep/validate", service(says));
        let config = configured(&data, "[surfaces]\ncode = \"off\"\n");
        let server = Server::start_with(&data.path(), &["--config", &config], &[("EP_GUARD_URL", &url)]);
        let answer = execute(&server, None, "n");
        assert_eq!((answer.status, answer.json()["rule"].as_str()), (status, rule), "{says}");
    }
    let data = Data::new();
    let config = configured(&data, "[surfaces]\ncode = \"off\"\n[identity]\nguard_unreachable = \"open\"\n");
    // What it is asked may be why a service says nothing that can be read; that nobody is there is no caller's doing.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (address, status) in [(service("what?"), 503), (nobody, 200)] {
        let url = format!("http://{address}/");
        let server = Server::start_with(&data.path(), &["--config", &config], &[("EP_GUARD_URL", &url)]);
        assert_eq!(execute(&server, None, "n").status, status, "{address}");
    }
}
