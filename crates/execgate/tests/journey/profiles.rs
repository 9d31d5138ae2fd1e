//! Profiles: images that a call chooses by name, each a sandbox with a helper, slots and user ids of its own.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::server::{Data, Reply, Server, run};

fn ask(server: &Server, body: &Value) -> Reply {
    server.post("/api/code-run", body)
}

#[test]
fn a_profile_is_a_sandbox_of_its_own() {
    let data = Data::new();
    // So that there is an image of this host's packages.
    assert_eq!(run(&["run", "-e", "1"], "").status.code(), Some(0));
    let shown: Value = serde_json::from_slice(&run(&["image", "show", "--json"], "").stdout).unwrap();
    let digest = shown["summary"]["digest"].as_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.toml");
    fs::write(&config, format!("[profiles.data]\nimage = \"{digest}\"\nslots = 1\n")).unwrap();
    let server = Server::start_with(&data.path(), &["--config", config.to_str().unwrap()], &[]);
    assert_eq!(server.children().len(), 2, "a helper for each");

    let told = ask(&server, &json!({"code": "6 * 7", "profile": "data", "receipt": true})).json();
    assert_eq!(told["result"], "42");
    let other = ask(&server, &json!({"code": "6 * 7", "receipt": true})).json();
    assert_ne!(uid_map(&told), uid_map(&other), "no two guests of one machine share a user id");
    let unknown = ask(&server, &json!({"code": "1", "profile": "nothing"}));
    assert_eq!(unknown.status, 400);
    assert_eq!(unknown.json(), json!({"error": "unknown profile; the profiles are data, default"}));
    let listed = server.get("/api/languages").json();
    assert_eq!(listed["profiles"]["data"]["image"], digest);
}

/// How the ids of the run that a receipt is of were mapped.
fn uid_map(answer: &Value) -> String {
    let payload = answer["receipt"]["envelope"]["payload"].as_str().unwrap();
    let statement = STANDARD.decode(payload).unwrap();
    let statement: Value = serde_json::from_slice(&statement).unwrap();
    statement["predicate"]["enforced"]["uid_map"].as_str().unwrap().to_owned()
}

#[test]
fn a_profile_without_an_image_stops_the_start() {
    let data = Data::new();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.toml");
    fs::write(&config, format!("[profiles.data]\nimage = \"{}\"\n", "0".repeat(64))).unwrap();
    let place = data.path();
    let args = ["serve", "--listen", "127.0.0.1:0", "--data-dir", place.to_str().unwrap(), "--config"];
    let args: Vec<_> = args.into_iter().chain([config.to_str().unwrap()]).collect();
    let refused = run(&args, "");
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("profile `data`"));
}
