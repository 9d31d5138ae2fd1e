//! An MCP server of others behind rules: what passes, what is refused, what is left behind.

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::mcp_listening::Listening;
use super::server::{Data, Server, execgate, run};

/// The server of these tests.
const PLAIN: &str = include_str!("../upstreams/plain.py");

/// One that means no good.
const HOSTILE: &str = include_str!("../upstreams/hostile.py");

const POLICY: &str = r#"{
    "version": "1", "default": "allow",
    "tools": {
        "delete_note": {"action": "deny", "reason": "notes stay"},
        "read_note": {"deny_if": [{"path": "args.id", "op": "eq", "value": 13, "on_deny": "not this one"}]}
    }
}"#;

/// A place for the files of one test, and a proxy's data.
pub(super) struct Place(pub(super) Data);

impl Place {
    pub(super) fn new(policy: &str) -> Self {
        let place = Self(Data::new());
        place.put("policy.json", policy);
        place.put("plain.py", PLAIN);
        place
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.0.path().with_file_name(name)
    }

    pub(super) fn put(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).unwrap();
        // The proxy has dropped root by the time that it looks.
        fs::set_permissions(self.file(name), Permissions::from_mode(0o644)).unwrap();
    }

    pub(super) fn text(&self, name: &str) -> String {
        self.file(name).display().to_string()
    }

    pub(super) fn data(&self) -> String {
        self.0.path().display().to_string()
    }

    /// A client behind a proxy of the server, which was greeted.
    fn client(&self, more: &[&str], environment: &[(&str, &str)]) -> Client {
        let (policy, data, script, mark) =
            (self.text("policy.json"), self.data(), self.text("plain.py"), self.text("mark"));
        let mut args = vec!["--policy", &policy, "--data-dir", &data, "--name", "notes"];
        args.extend(more);
        args.extend(["--", "/usr/bin/python3", &script, &mark]);
        Client::start(&args, environment)
    }
}

/// A client of a proxy, or of a server.
pub(super) struct Client {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    last: u64,
}

impl Client {
    pub(super) fn start(args: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::of(execgate().arg("proxy").args(args).envs(environment.iter().copied()))
    }

    /// A client of whatever a command starts.
    pub(super) fn of(command: &mut Command) -> Self {
        Self::taking(command, json!({}))
    }

    /// The same, that can be asked something.
    pub(super) fn taking(command: &mut Command, capabilities: Value) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        let mut client = Self { child, stdin, stdout, last: 0 };
        let us = json!({"name": "t", "version": "1"});
        let greeting =
            json!({"protocolVersion": "2025-06-18", "capabilities": capabilities, "clientInfo": us});
        let greeted = client.ask("initialize", greeting);
        assert_eq!(greeted["result"]["protocolVersion"], "2025-06-18", "{greeted}");
        client.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        client
    }

    /// Asks for a call, and waits until its server says that it goes on. What it is called by.
    pub(super) fn begin(&mut self, tool: &str, arguments: Value) -> u64 {
        self.last += 1;
        let meta = json!({"progressToken": "p"});
        let params = json!({"name": tool, "arguments": arguments, "_meta": meta});
        self.send(&json!({"jsonrpc": "2.0", "id": self.last, "method": "tools/call", "params": params}));
        while self.heard()["method"] != "notifications/progress" {}
        self.last
    }

    /// Calls, and answers what is asked meanwhile: the answer, and what was asked.
    pub(super) fn answering(
        &mut self,
        tool: &str,
        arguments: Value,
        answers: impl Fn(&str, &Value) -> Value,
    ) -> (Value, Vec<(String, Value)>) {
        self.last += 1;
        let id = self.last;
        let params = json!({"name": tool, "arguments": arguments});
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}));
        let mut asked = Vec::new();
        loop {
            let heard = self.heard();
            match (heard["method"].as_str(), heard.get("id")) {
                (Some(method), Some(name)) => {
                    asked.push((method.to_owned(), heard["params"].clone()));
                    let answer = answers(method, &heard["params"]);
                    self.send(&json!({"jsonrpc": "2.0", "id": name, "result": answer}));
                }
                (None, Some(of)) if *of == id => return (heard, asked),
                _ => {}
            }
        }
    }

    /// The next message.
    pub(super) fn heard(&mut self) -> Value {
        let mut line = String::new();
        assert_ne!(self.stdout.read_line(&mut line).unwrap(), 0, "the proxy has ended");
        serde_json::from_str(&line).unwrap()
    }

    /// Waits until it is told something that it has not asked for.
    pub(super) fn is_told(&mut self, method: &str) {
        while self.heard()["method"] != method {}
    }

    /// The answer to what was asked under this name.
    pub(super) fn answer(&mut self, id: u64) -> Value {
        loop {
            let heard = self.heard();
            if heard["id"] == id {
                return heard;
            }
        }
    }

    pub(super) fn send(&mut self, message: &Value) {
        let stdin = self.stdin.as_mut().unwrap();
        writeln!(stdin, "{message}").unwrap();
        stdin.flush().unwrap();
    }

    pub(super) fn ask(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let id = self.last;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        self.answer(id)
    }

    pub(super) fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.ask("tools/call", json!({"name": tool, "arguments": arguments}))["result"].clone()
    }

    pub(super) fn tools(&mut self) -> Vec<String> {
        let listed = self.ask("tools/list", json!({}));
        let tools = listed["result"]["tools"].as_array().unwrap().iter();
        tools.map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Kills the proxy, which can do nothing about it.
    pub(super) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Hangs up, and waits until the proxy is gone.
    pub(super) fn close(mut self) {
        drop(self.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

pub(super) fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap_or_default()
}

fn runs(data: &str) -> Value {
    let told = run(&["runs", "list", "--json", "--data-dir", data], "");
    serde_json::from_slice(&told.stdout).unwrap_or_else(|_| panic!("{told:?}"))
}

/// What held a run, by its signed receipt.
pub(super) fn enforced(data: &str, id: &str) -> Value {
    let file = run(&["runs", "show", id, "--receipt", "--data-dir", data], "");
    let file: Value = serde_json::from_slice(&file.stdout).unwrap_or_else(|_| panic!("{file:?}"));
    let payload = STANDARD.decode(file["envelope"]["payload"].as_str().unwrap()).unwrap();
    let statement: Value = serde_json::from_slice(&payload).unwrap();
    statement["predicate"]["enforced"]["upstream"].clone()
}

/// Whether a process has this among its arguments.
pub(super) fn is_running(argument: &str) -> bool {
    fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == argument.as_bytes())
    })
}

/// Accepts what a server was seen to offer, by the digest that it was shown with. Whether there was anything.
pub(super) fn accept(data: &str, server: &[&str]) -> bool {
    let accept =
        |more: &[&str]| run(&[&["upstream", "accept", "--data-dir", data][..], server, more].concat(), "");
    let shown = accept(&[]);
    assert!(!shown.status.success(), "accepted without being asked: {shown:?}");
    let shown = String::from_utf8(shown.stdout).unwrap();
    let digest = shown.lines().find_map(|line| line.strip_prefix("digest: "));
    digest.is_some_and(|digest| accept(&["--digest", digest]).status.success())
}

fn off(place: &Place) -> Client {
    place.client(&["--sandbox", "off"], &[])
}

#[test]
fn rules_stand_before_every_call_and_each_that_passes_has_a_receipt() {
    let place = Place::new(POLICY);
    let mut client = off(&place);
    assert_eq!(client.tools(), ["read_note", "tell", "fork", "die"]);
    let told = client.call("read_note", json!({"id": 7}));
    assert_eq!((text(&told), &told["structuredContent"]), ("note 7", &json!({"id": 7})));
    let run_id = told["_meta"]["dev.execgate/run"].as_str().unwrap().to_owned();
    let denied = client.call("delete_note", json!({"id": 7}));
    assert_eq!(denied["isError"], true);
    assert_eq!(denied["structuredContent"]["rule"], "/tools/delete_note/action");
    assert!(text(&denied).contains("notes stay"), "{denied}");
    let denied = client.call("read_note", json!({"id": 13}));
    // What is no answer of a tool that has promised a form is not told in the place of one.
    let beside = |told: &Value| {
        assert_eq!((&told["isError"], told.get("structuredContent")), (&json!(true), None), "{told}");
        told["_meta"]["dev.execgate/answer"].clone()
    };
    assert_eq!(beside(&denied)["rule"], "/tools/read_note/deny_if/0");
    let dry = json!({"name": "read_note", "arguments": {"id": 7}, "_meta": {"dev.execgate/dry-run": true}});
    let dry = client.ask("tools/call", dry)["result"].clone();
    let would = json!({"simulated": true, "server": "notes", "arguments": {"id": 7}});
    assert_eq!(beside(&dry)["output"], would);
    assert!(text(&dry).starts_with("Simulated: nothing was called"), "{dry}");
    let unknown = client.ask("tools/call", json!({"name": "no_such", "arguments": {}}));
    assert_eq!(unknown["error"]["code"], -32_602);
    client.close();

    let data = place.data();
    let shown = run(&["runs", "show", &run_id, "--json", "--data-dir", &data], "");
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("notes.read_note"), "{shown}");
    assert_eq!(enforced(&data, &run_id)["sandbox"], false);
    let listed = runs(&data).to_string();
    assert!(listed.contains(&run_id) && !listed.contains("delete_note"), "{listed}");
    let audit = run(&["audit", "--json", "--data-dir", &data], "");
    let audit = String::from_utf8(audit.stdout).unwrap();
    assert!(audit.contains("/tools/delete_note/action") && audit.contains("notes.delete_note"), "{audit}");
    assert!(run(&["fsck", "--data-dir", &data], "").status.success());
}

#[test]
fn a_server_has_what_was_declared_and_nothing_else_and_its_secret_stays_here() {
    let place = Place::new(POLICY);
    let environment = [("API_TOKEN", "s3cr3t-of-the-server"), ("OTHER", "x")];
    let mut client =
        place.client(&["--sandbox", "off", "--env", "API_TOKEN", "--env", "MODE=test"], &environment);
    let told = client.call("tell", json!({}));
    let seen: Value = serde_json::from_str(text(&told)).unwrap();
    let names: Vec<_> = seen["env"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    // Python sets the last one itself.
    let names: Vec<_> = names.into_iter().filter(|name| *name != "LC_CTYPE").collect();
    assert_eq!(names, ["API_TOKEN", "HOME", "LANG", "MODE", "PATH"]);
    // The fourth is the folder that lists them.
    assert_eq!(seen["fds"], json!(["0", "1", "2", "3"]));
    assert_eq!(seen["secret"], "[secret API_TOKEN]");
    client.close();
}

#[test]
fn nothing_of_a_server_is_left_when_its_client_has_gone() {
    let place = Place::new(POLICY);
    let script = place.text("plain.py");
    let mut client = off(&place);
    assert_eq!(text(&client.call("fork", json!({}))), "forked");
    assert!(is_running(&script) && is_running("4242"));
    client.close();
    // It goes on for as long as its grace, and no longer: this would never end.
    while is_running(&script) || is_running("4242") {
        std::thread::yield_now();
    }
}

#[test]
fn a_server_that_dies_within_a_call_leaves_it_unknown_and_is_started_again() {
    let place = Place::new(POLICY);
    let mut client = off(&place);
    let told = client.call("die", json!({}));
    assert_eq!(told["isError"], true);
    assert!(told.to_string().contains("unknown"), "{told}");
    let again = loop {
        let again = client.call("read_note", json!({"id": 1}));
        // Not connected yet: nothing was claimed.
        if again["isError"] != true {
            break again;
        }
    };
    assert_eq!(text(&again), "note 1");
    client.close();
    assert!(runs(&place.data()).to_string().contains("unknown"));
}

#[test]
fn what_has_changed_is_hidden_until_it_is_accepted() {
    let place = Place::new(POLICY);
    off(&place).close();
    place.put("mark", "");
    let mut client = off(&place);
    assert_eq!(client.tools(), ["tell", "fork", "die"]);
    let changed = client.call("read_note", json!({"id": 1}));
    assert_eq!(changed["_meta"]["dev.execgate/answer"]["rule"], "upstream/not-accepted");
    let data = place.data();
    let listed = run(&["upstream", "list", "notes", "--data-dir", &data], "");
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("changed") && listed.contains("new"), "{listed}");
    assert!(accept(&data, &["notes", "read_note"]));
    while !client.tools().contains(&"read_note".to_owned()) {}
    assert_eq!(text(&client.call("read_note", json!({"id": 1}))), "note 1");
    assert!(!client.tools().contains(&"late".to_owned()));
    client.close();
}

#[test]
fn what_was_shown_is_accepted_and_nothing_that_came_since() {
    let place = Place::new(POLICY);
    let data = place.data();
    off(&place).close();
    place.put("mark", "");
    off(&place).close();
    let told = run(&["upstream", "list", "notes", "--json", "--data-dir", &data], "");
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    let (digest, tool) = (told[0]["digest"].as_str().unwrap(), &told[0]["tools"][0]);
    // The whole entry is shown, with the digest of all of it, and nothing is accepted by that.
    let shown = run(&["upstream", "accept", "notes", "--data-dir", &data], "");
    let text = String::from_utf8(shown.stdout).unwrap();
    assert!(!shown.status.success() && text.contains(&format!("digest: {digest}")), "{text}");
    assert!(text.contains(tool["entry"]["description"].as_str().unwrap()), "{text}");
    // The server says something else meanwhile.
    fs::remove_file(place.file("mark")).unwrap();
    off(&place).close();
    let late = run(&["upstream", "accept", "notes", "--digest", digest, "--data-dir", &data], "");
    let text = String::from_utf8(late.stderr).unwrap();
    assert!(!late.status.success() && text.contains("another digest"), "{text}");
}

#[test]
fn in_the_jail_a_server_sees_no_host_and_its_receipt_says_what_held_it() {
    let place = Place::new(POLICY);
    let script = place.text("plain.py");
    let (policy, data) = (place.text("policy.json"), place.data());
    let args = ["--policy", &policy, "--data-dir", &data, "--with", &script, "--", "python3", "plain.py"];
    let mut client = Client::start(&args, &[("OTHER", "x")]);
    let told = client.call("read_note", json!({"id": 2}));
    assert_eq!(text(&told), "note 2");
    let seen: Value = serde_json::from_str(text(&client.call("tell", json!({})))).unwrap();
    assert!(!seen["env"].as_array().unwrap().contains(&json!("OTHER")), "{seen}");
    let id = told["_meta"]["dev.execgate/run"].as_str().unwrap().to_owned();
    client.close();
    let held = enforced(&data, &id);
    assert_eq!((&held["server"], &held["tool"]), (&json!("plain"), &json!("read_note")));
    assert_eq!(held["sandbox"]["network"], "none");
    assert!(held["sandbox"]["tier"].as_str().unwrap().starts_with("jail"), "{held}");
}

#[test]
fn a_program_that_the_image_lacks_is_refused_with_a_way_on() {
    let place = Place::new(POLICY);
    let (policy, data) = (place.text("policy.json"), place.data());
    let refused = run(&["proxy", "--policy", &policy, "--data-dir", &data, "--", "no-such-server"], "");
    let told = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(told.contains("--sandbox off"), "{told}");
}

#[test]
fn a_scan_names_classes_and_a_policy_of_it_is_one_that_holds() {
    let place = Place::new(POLICY);
    let script = place.text("plain.py");
    place.put("mark", "");
    let mark = place.text("mark");
    let scan = |json: bool| {
        let mut args = vec!["scan", "--sandbox", "off", "--name", "notes"];
        args.extend(json.then_some("--json"));
        args.extend(["--", "/usr/bin/python3", &script, &mark]);
        String::from_utf8(run(&args, "").stdout).unwrap()
    };
    let table = scan(false);
    assert!(table.contains("destructive") && table.contains("tool-poisoning"), "{table}");
    place.put("scan.json", &scan(true));
    let written = place.text("made.json");
    let made = run(&["policy", "init", &written, "--from", &place.text("scan.json")], "");
    assert!(made.status.success(), "{made:?}");
    let checked = run(&["policy", "check", &written], "");
    assert!(checked.status.success(), "{checked:?}");
    let policy: Value = serde_json::from_str(&fs::read_to_string(Path::new(&written)).unwrap()).unwrap();
    assert_eq!(policy["default"], "deny");
    assert_eq!(policy["tools"]["delete_note"]["action"], "require_approval");
    // It speaks to the model, whatever else it says.
    assert_eq!(policy["tools"]["read_note"]["action"], "deny");
}

#[test]
fn a_gateway_stands_in_front_of_the_servers_that_its_configuration_names() {
    let place = Place::new(POLICY);
    let script = place.text("plain.py");
    let policy = place.text("notes-policy.json");
    place.put(
        "notes-policy.json",
        r#"{"version": "1", "default": "allow", "tools": {"notes.delete_note": {"action": "deny"}}}"#,
    );
    let config = format!(
        "[surfaces]\ncode = \"off\"\n[policy]\nfile = \"{policy}\"\n[[upstream]]\nname = \"notes\"\n\
         command = [\"/usr/bin/python3\", \"{script}\"]\nsandbox = false\nshareable = true\n"
    );
    place.put("execgate.toml", &config);
    let server = Server::start_with(&place.0.path(), &["--config", &place.text("execgate.toml")], &[]);
    let execute = |tool: &str, nonce: &str| server.execute(tool, json!({"id": 3}), nonce);
    // It is connected beside the first requests, and nothing of it was accepted.
    let data = place.data();
    let mut listening = Listening::open(&server, "/mcp/notes");
    while !accept(&data, &["notes"]) {}
    listening.is_told();
    let told = loop {
        let told = execute("notes.read_note", "n1");
        if told.status != 400 {
            break told;
        }
    };
    assert_eq!((told.status, told.json()["result"]["content"][0]["text"].clone()), (200, json!("note 3")));
    assert_eq!(execute("notes.delete_note", "n2").status, 403);
    let replayed = execute("notes.read_note", "n1");
    assert!(replayed.head.to_ascii_lowercase().contains("execgate-replayed: true"), "{}", replayed.head);
    let message = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "read_note", "arguments": {"id": 4}, "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {}
        }}
    });
    let headers = "Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\n\
                   Mcp-Method: tools/call\r\nMcp-Name: read_note\r\n";
    let body = message.to_string();
    let post = |path: &str| {
        server.raw(
            format!(
                "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{headers}\
                 Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            )
            .as_bytes(),
        )
    };
    let told = String::from_utf8(post("/mcp/notes")).unwrap();
    assert!(told.starts_with("HTTP/1.1 200") && told.contains("note 4"), "{told}");
    let told = String::from_utf8(post("/mcp/other")).unwrap();
    assert!(told.starts_with("HTTP/1.1 404"), "{told}");
}

#[test]
fn a_server_that_means_no_good_harms_no_other_call() {
    let place = Place::new(r#"{"version": "1", "default": "allow"}"#);
    place.put("plain.py", HOSTILE);
    let mut client = place.client(&["--sandbox", "off", "--call-timeout", "2"], &[]);
    let fine = |client: &mut Client| loop {
        let told = client.call("fine", json!({}));
        // While it is connected again calls are refused, and nothing is claimed.
        if told["structuredContent"]["status"] != "refused" {
            break assert_eq!(text(&told), "fine");
        }
    };
    for tool in ["oversize", "deep", "flood", "torn"] {
        let told = client.call(tool, json!({}));
        assert!(told["isError"] == true && told.to_string().contains("unknown"), "{tool}: {told}");
        fine(&mut client);
    }
    let forged = client.call("forged", json!({}));
    let run_id = forged["_meta"]["dev.execgate/run"].as_str().unwrap().to_owned();
    assert_ne!(run_id, "forged");
    assert_ne!(forged["_meta"]["dev.execgate/receipt"], "forged");
    fine(&mut client);
    assert_eq!(text(&client.call("twice", json!({}))), "twice");
    fine(&mut client);
    let late = client.call("silent", json!({}));
    assert!(late["isError"] == true && late.to_string().contains("unknown"), "{late}");
    client.close();
    let shown = run(&["runs", "show", &run_id, "--json", "--data-dir", &place.data()], "");
    assert!(String::from_utf8(shown.stdout).unwrap().contains("notes.forged"));
}
