//! MCP servers of others that mean to stay: what is left of one when its keeper or its gateway is killed, who finds what
//! another has left in one, and what is had of one beside its tools.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::proxy::{Client, Place, accept, enforced, is_running, text};
use super::server::{Reply, Server, reply, run};

/// The server of these tests.
const CLINGER: &str = include_str!("../upstreams/clinger.py");

const OPEN: &str = r#"{"version": "1", "default": "allow"}"#;

fn place(policy: &str) -> Place {
    let place = Place::new(policy);
    place.put("clinger.py", CLINGER);
    place
}

/// A proxy of the server, outside the jail.
fn off(place: &Place) -> Client {
    let (policy, data, script) = (place.text("policy.json"), place.data(), place.text("clinger.py"));
    let args = ["--policy", &policy, "--data-dir", &data, "--name", "notes", "--sandbox", "off"];
    Client::start(&[&args[..], &["--", "/usr/bin/python3", &script]].concat(), &[])
}

/// The processes with these words among their arguments, the oldest first.
fn processes(words: &[&str]) -> Vec<i32> {
    let has = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line: Vec<_> = line.split(|byte| *byte == 0).collect();
        words.iter().all(|word| line.contains(&word.as_bytes()))
    };
    let names =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut all: Vec<i32> = names.filter_map(|name| name.parse().ok()).filter(has).collect();
    all.sort_unstable();
    all
}

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

/// Waits for what must come by itself.
fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        std::thread::yield_now();
    }
}

#[test]
fn nothing_of_a_server_outlives_its_keeper_or_its_gateway() {
    let place = place(OPEN);
    let (script, first, second) = (place.text("clinger.py"), place.text("first"), place.text("second"));
    let mut client = off(&place);
    let count = |client: &mut Client| loop {
        let told = client.call("count", json!({}));
        // While it is connected again calls are refused, and nothing is claimed.
        if told["structuredContent"]["status"] != "refused" {
            break (text(&told).to_owned(), told["_meta"]["dev.execgate/run"].as_str().unwrap().to_owned());
        }
    };
    let (_, counted) = count(&mut client);
    assert_eq!(text(&client.call("cling", json!({"of": first}))), "clung");
    until(|| is_running(&first));
    // It can name nobody who keeps it.
    client.call("kill", json!({}));
    assert_eq!(count(&mut client).0, "2");

    kill(processes(&["__keeper", &script])[0]);
    until(|| !is_running(&first));
    assert_eq!(count(&mut client).0, "1", "it was started anew");

    client.call("cling", json!({"of": second}));
    until(|| is_running(&second));
    client.kill();
    until(|| !is_running(&second) && !is_running(&script));
    let held = enforced(&place.data(), &counted);
    assert_eq!((&held["sandbox"], &held["kept_by"]), (&json!(false), &json!("pid-namespace")));
    assert_eq!(held["process"], "shared");
}

#[test]
fn without_namespaces_two_keepers_look_after_each_other() {
    let place = place(OPEN);
    let script = place.text("clinger.py");
    for killed in [0, 1] {
        let mark = place.text(&format!("mark-{killed}"));
        #[expect(clippy::disallowed_methods, reason = "a host that lets nobody make namespaces")]
        let mut command = Command::new("/usr/bin/unshare");
        let without = "echo 0 > /proc/sys/user/max_user_namespaces; exec \"$@\"";
        command.args(["-Ur", "sh", "-c", without, "sh", env!("CARGO_BIN_EXE_execgate"), "__keeper"]);
        command.args(["/usr/bin/python3", &script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut keeper = command.spawn().unwrap();
        let (mut stdin, mut stdout) =
            (keeper.stdin.take().unwrap(), BufReader::new(keeper.stdout.take().unwrap()));
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert_eq!(line, "execgate-keeper beside\n");
        let call = json!({"name": "cling", "arguments": {"of": mark}});
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call});
        writeln!(stdin, "{call}").unwrap();
        line.clear();
        stdout.read_line(&mut line).unwrap();
        assert!(line.contains("clung"), "{line}");
        until(|| is_running(&mark));
        kill(processes(&["__keeper", &script])[killed]);
        until(|| !is_running(&mark) && !is_running(&script));
        keeper.wait().unwrap();
    }
}

/// A call by `/execute`.
pub(super) fn execute(server: &Server, key: Option<&str>, action: &str, nonce: &str) -> Reply {
    let body = json!({"action": action, "payload": {"code": "6 * 7"}, "nonce": nonce}).to_string();
    let key = key.map(|key| format!("Authorization: Bearer {key}\r\n")).unwrap_or_default();
    let head = format!(
        "POST /execute HTTP/1.1\r\nHost: localhost\r\n{key}Content-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    reply(&server.raw(format!("{head}{body}").as_bytes()))
}

#[test]
fn each_caller_has_a_process_of_its_own_in_slots_that_runs_do_not_need() {
    let place = place(OPEN);
    let policy = place.text("policy.json");
    place.put(
        "execgate.toml",
        &format!(
            "[policy]\nfile = \"{policy}\"\n[sandbox]\nslots = 1\n[[upstream]]\nname = \"notes\"\nprocesses = 2\n\
             command = [\"/usr/bin/python3\", \"-c\", '''{CLINGER}''']\n"
        ),
    );
    let data = place.data();
    let grant = |name: &str| {
        let made = run(&["grant", "create", "--name", name, "--json", "--data-dir", &data], "");
        let made: Value = serde_json::from_slice(&made.stdout).unwrap_or_else(|_| panic!("{made:?}"));
        made["key"].as_str().unwrap().to_owned()
    };
    let server =
        Server::start_with(place.0.path().as_path(), &["--config", &place.text("execgate.toml")], &[]);
    let (alice, bob) = (grant("alice"), grant("bob"));
    until(|| accept(&data, &["notes"]));
    let count = |key: &str, nonce: &str| loop {
        let told = execute(&server, Some(key), "notes.count", nonce);
        // A key, and what was accepted, are known a moment after they were given.
        if ![400, 401].contains(&told.status) {
            let run = told
                .head
                .lines()
                .find_map(|line| line.to_lowercase().strip_prefix("execgate-run: ").map(str::to_owned));
            break (
                told.json()["result"]["content"][0]["text"].clone(),
                run.unwrap_or_else(|| panic!("{}", told.head)),
            );
        }
    };
    assert_eq!(count(&alice, "a1").0, "1");
    let (counted, id) = count(&alice, "a2");
    assert_eq!(counted, "2");
    assert_eq!(count(&bob, "b1").0, "1", "what one caller has left, no other finds");
    assert_eq!(count(&alice, "a3").0, "3");
    // Three processes of the server hold slots, and the one slot of runs is free.
    let code = execute(&server, Some(&alice), "python", "code");
    assert_eq!(code.json()["result"]["result"], "42", "{}", code.json());
    let held = enforced(&data, &id);
    assert_eq!((&held["process"], &held["sandbox"]["network"]), (&json!("per-caller"), &json!("none")));
}

#[test]
fn what_a_server_in_the_jail_may_reach_is_declared_and_what_was_decided_is_in_the_receipt() {
    let place = place(OPEN);
    let script = place.text("clinger.py");
    let (policy, data) = (place.text("policy.json"), place.data());
    let args =
        ["--policy", &policy, "--data-dir", &data, "--allow-domain", "open.example", "--with", &script];
    let mut client = Client::start(&[&args[..], &["--", "python3", "clinger.py"]].concat(), &[]);
    let told = client.call("fetch", json!({"of": "http://closed.example/"}));
    assert!(text(&told).contains("403"), "{told}");
    let id = told["_meta"]["dev.execgate/run"].as_str().unwrap().to_owned();
    client.close();
    let held = enforced(&data, &id);
    assert_eq!(held["sandbox"]["network"], "egress");
    assert_eq!(held["sandbox"]["reaches"]["domains"], json!(["open.example"]));
    let decision = &held["egress"]["decisions"][0];
    assert_eq!((&decision["host"], &decision["outcome"]), (&json!("closed.example"), &json!("refused")));
}

#[test]
fn resources_and_prompts_are_had_by_rules_and_receipts_as_tools_are() {
    let place = place(
        r#"{
            "version": "1", "default": "allow",
            "resources": {"deny_if": [
                {"path": "args.uri", "op": "eq", "value": "note://secret", "on_deny": "not that one"}
            ]},
            "prompts": {"deny_if": [{"path": "args.name", "op": "eq", "value": "curse", "on_deny": "no curses"}]}
        }"#,
    );
    let mut client = off(&place);
    let names = |told: &Value, list: &str, key: &str| {
        let items = told["result"][list].as_array().unwrap_or_else(|| panic!("{told}")).iter();
        items.map(|item| item[key].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&client.ask("resources/list", json!({})), "resources", "uri"), ["note://open"]);
    let forms = client.ask("resources/templates/list", json!({}));
    assert_eq!(names(&forms, "resourceTemplates", "uriTemplate"), ["note://{name}"]);
    assert_eq!(names(&client.ask("prompts/list", json!({})), "prompts", "name"), ["greet"]);

    let read = client.ask("resources/read", json!({"uri": "note://open"}));
    assert_eq!(read["result"]["contents"][0]["text"], "of note://open");
    let id = read["result"]["_meta"]["dev.execgate/run"].as_str().unwrap().to_owned();
    let denied = client.ask("resources/read", json!({"uri": "note://secret"}));
    assert_eq!(denied["error"]["data"]["rule"], "/resources/deny_if/0", "{denied}");
    assert!(denied["error"]["message"].as_str().unwrap().contains("not that one"), "{denied}");
    let none = client.ask("resources/read", json!({"uri": "note://none"}));
    assert_eq!(none["error"]["code"], -32_002);

    let greeting = client.ask("prompts/get", json!({"name": "greet", "arguments": {"who": "Ada"}}));
    assert_eq!(greeting["result"]["messages"][0]["content"]["text"], "greet Ada");
    let cursed = client.ask("prompts/get", json!({"name": "curse"}));
    assert_eq!(cursed["error"]["data"]["rule"], "/prompts/deny_if/0", "{cursed}");
    let completed = client.ask(
        "completion/complete",
        json!({
            "ref": {"type": "ref/prompt", "name": "greet"}, "argument": {"name": "who", "value": "A"}
        }),
    );
    assert_eq!(completed["error"]["code"], -32_601, "{completed}");
    client.close();
    let held = enforced(&place.data(), &id);
    assert_eq!((&held["method"], &held["server"]), (&json!("resources/read"), &json!("notes")));
    let shown = run(&["runs", "show", &id, "--json", "--data-dir", &place.data()], "");
    assert!(String::from_utf8(shown.stdout).unwrap().contains("notes.resources:read"));
}
