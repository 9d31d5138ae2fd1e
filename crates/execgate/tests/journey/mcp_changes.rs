//! A server of others whose resources and prompts change: who is told of it, in both eras, and of what nobody is told.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use super::mcp::post_at;
use super::mcp_listening::Listening;
use super::proxy::{Client, Place};
use super::server::{Server, reply};

const CHANGING: &str = include_str!("../upstreams/changing.py");

const POLICY: &str = r#"{
    "version": "1", "default": "allow",
    "resources": {"deny_if": [{"path": "args.uri", "op": "eq", "value": "note://secret", "on_deny": "not this one"}]}
}"#;

const DOOR: &str = "/mcp/changing";

/// A gateway in front of it, once it is connected.
fn gateway() -> (Place, Server) {
    let place = Place::new(POLICY);
    place.put("changing.py", CHANGING);
    let (script, policy) = (place.text("changing.py"), place.text("policy.json"));
    let config = format!(
        "[surfaces]\ncode = \"off\"\n[policy]\nfile = \"{policy}\"\n[[upstream]]\nname = \"changing\"\n\
         command = [\"/usr/bin/python3\", \"{script}\"]\nsandbox = false\nshareable = true\nfirst = \"accept\"\n"
    );
    place.put("execgate.toml", &config);
    let server = Server::start_with(&place.0.path(), &["--config", &place.text("execgate.toml")], &[]);
    while listed(&server, "tools").is_empty() {}
    (place, server)
}

/// What is listed there.
fn listed(server: &Server, what: &str) -> Vec<Value> {
    let told = post_at(server, DOOR, &format!("{what}/list"), &json!({}));
    told["result"][what].as_array().cloned().unwrap_or_default()
}

/// Has the server change a list of its own.
fn add(server: &Server, kind: &str, name: &str) {
    let arguments = json!({"kind": kind, "name": name});
    let told = post_at(server, DOOR, "tools/call", &json!({"name": "add", "arguments": arguments}));
    assert_eq!(told["result"]["content"][0]["text"], name, "{told}");
}

/// The stream of a session, as clients of a revision that has those open it.
struct Stream(BufReader<TcpStream>);

impl Stream {
    fn open(server: &Server, session: &str, after: Option<&str>) -> Self {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        let after = after.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        let head = format!(
            "GET {DOOR} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nMcp-Session-Id: {session}\r\n\
             MCP-Protocol-Version: 2025-11-25\r\n{after}\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        Self(BufReader::new(stream))
    }

    /// What follows this at the beginning of the next line that begins with it.
    fn next(&mut self, begins: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "the stream has ended before {begins}");
            if let Some(rest) = line.strip_prefix(begins) {
                return rest.trim().to_owned();
            }
        }
    }

    /// The name of the next event that has one, and what it tells.
    fn event(&mut self) -> (String, String) {
        let id = self.next("id: ");
        let told: Value = serde_json::from_str(&self.next("data: ")).unwrap_or_default();
        (id, told["method"].as_str().unwrap_or_default().to_owned())
    }
}

#[test]
fn who_subscribes_is_told_of_other_resources_and_prompts_and_not_of_what_the_rules_hide() {
    let (_place, server) = gateway();
    let wanted = json!({"resourcesListChanged": true, "promptsListChanged": true});
    let mut listening = Listening::open_for(&server, DOOR, &wanted);
    // Whatever had been told of the first has been by the time that it is told of the second.
    add(&server, "resources", "note://secret");
    add(&server, "prompts", "second");
    assert_eq!(listening.next(), "notifications/prompts/list_changed");
    add(&server, "resources", "note://b");
    assert_eq!(listening.next(), "notifications/resources/list_changed");
    let uris: Vec<_> = listed(&server, "resources").iter().map(|one| one["uri"].clone()).collect();
    assert_eq!(uris, [json!("note://a"), json!("note://b")]);
}

#[test]
fn a_stream_that_is_opened_again_tells_what_has_changed_meanwhile() {
    let (_place, server) = gateway();
    let client = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": client}).to_string();
    let head = format!(
        "POST {DOOR} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let greeted = reply(&server.raw(format!("{head}{body}").as_bytes()));
    let offered = &greeted.json()["result"]["capabilities"];
    for kind in ["tools", "resources", "prompts"] {
        assert_eq!(offered[kind]["listChanged"], true, "{offered}");
    }
    let session = greeted.head.lines().find_map(|line| line.strip_prefix("mcp-session-id: ")).unwrap().trim();

    let mut stream = Stream::open(&server, session, None);
    let (first, told) = stream.event();
    assert_eq!(told, "");
    drop(stream);
    add(&server, "prompts", "second");
    let mut stream = Stream::open(&server, session, Some(&first));
    let (second, told) = stream.event();
    assert_eq!(told, "notifications/prompts/list_changed");
    drop(stream);
    // It is not told again.
    let mut stream = Stream::open(&server, session, Some(&second));
    add(&server, "resources", "note://b");
    assert_eq!(stream.event().1, "notifications/resources/list_changed");
}

#[test]
fn a_client_at_a_pipe_is_told_unasked() {
    let place = Place::new(POLICY);
    place.put("changing.py", CHANGING);
    let (policy, data, script) = (place.text("policy.json"), place.data(), place.text("changing.py"));
    let mut client = Client::start(
        &[
            "--policy",
            &policy,
            "--data-dir",
            &data,
            "--name",
            "changing",
            "--sandbox",
            "off",
            "--",
            "/usr/bin/python3",
            &script,
        ],
        &[],
    );
    for (kind, name) in [("prompts", "second"), ("resources", "note://b")] {
        client.call("add", json!({"kind": kind, "name": name}));
        client.is_told(&format!("notifications/{kind}/list_changed"));
    }
    // How far the server says that it is comes before its answer, in its own numbers.
    let params = json!({
        "name": "add", "arguments": {"kind": "prompts", "name": "third"}, "_meta": {"progressToken": "p"}
    });
    client.send(&json!({"jsonrpc": "2.0", "id": "call", "method": "tools/call", "params": params}));
    let mut told = Vec::new();
    loop {
        let heard = client.heard();
        if heard["id"] == "call" {
            break;
        }
        if heard["method"] == "notifications/progress" {
            told.push((heard["params"]["progress"].as_f64(), heard["params"]["total"].as_f64()));
        }
    }
    assert!(told.contains(&(Some(2.0), Some(2.0))), "{told:?}");
    client.close();
}
