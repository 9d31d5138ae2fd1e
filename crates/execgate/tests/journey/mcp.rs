//! The Model Context Protocol on the real binary: unmodified clients in two languages over HTTP and a pipe, the suite that its
//! makers test servers with, and what no client of theirs shows: keys, rules, approvals, money.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Barrier;
use std::thread;

use execgate_payment::evm::{Authorization, U256, to_hex};
use execgate_testkit::chain::{PAYER, SELLER};
use execgate_testkit::wallet::Wallet;
use serde_json::{Value, json};

use super::payments::Till;
use super::server::{Data, Reply, Server, execgate, reply, run};

/// Where `cargo xtask setup` puts the clients.
const CLIENTS: &str = "tools/mcp-clients-1";

/// The programs of this test. They are handed over as texts, so that they find the packages of the folder they run in.
const PYTHON: &str = include_str!("../mcp/client.py");
const NODE: &str = include_str!("../mcp/client.mjs");

/// What a server of this kind does not offer, by revision.
const EXPECTED: [(&str, &str); 2] = [
    ("2026-07-28", include_str!("../mcp/expected-2026-07-28.yaml")),
    ("2025-11-25", include_str!("../mcp/expected-2025-11-25.yaml")),
];

const TOOLS: [&str; 13] = [
    "data_filter",
    "execute_code",
    "hash_generate",
    "http_get",
    "json_parse",
    "list_languages",
    "math_compute",
    "mock_api_call",
    "regex_match",
    "schema_validate",
    "string_transform",
    "timestamp_parse",
    "verify_receipt",
];

/// What a live call of a tool costs, in units of USDC.
pub(super) const LIVE_UNITS: u64 = 50_000;

/// The folder of the clients, above the folder of whichever test this is.
pub(super) fn clients() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let found = test.ancestors().map(|folder| folder.join(CLIENTS)).find(|folder| folder.is_dir());
    found.expect("the clients are not there; run `cargo xtask setup`")
}

pub(super) fn program(path: &Path) -> Command {
    #[expect(clippy::disallowed_methods, reason = "clients are programs")]
    let mut command = Command::new(path);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", std::env::temp_dir()).current_dir(clients());
    command.stdin(Stdio::null());
    command
}

/// A Node that is new enough for the suite, for the machine that this is.
pub(super) fn node() -> Command {
    let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    program(&clients().join(format!("node_modules/node-linux-{machine}/bin/node")))
}

/// What a program has told, as JSON.
pub(super) fn told(mut command: Command) -> Value {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn python(server: &[&str]) -> Value {
    let mut command = program(&clients().join("venv/bin/python"));
    command.args(["-c", PYTHON]).args(server);
    told(command)
}

fn typescript(mode: &str, server: &[&str]) -> Value {
    let mut command = node();
    command.args(["--input-type=module", "--eval", NODE, mode]).args(server);
    told(command)
}

fn heard_lines(progress: &Value, message: &str) {
    let heard = progress.as_array().unwrap();
    let numbers: Vec<f64> = heard
        .iter()
        .map(|one| one.get("progress").or_else(|| one.get(0)).unwrap().as_f64().unwrap())
        .collect();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{message}: {progress}");
    let text: String = heard
        .iter()
        .filter_map(|one| one.get("message").or_else(|| one.get(1)).and_then(Value::as_str))
        .collect();
    // The last line may come with the answer instead.
    assert!(text.starts_with("line 0\nline 1\n"), "{message}: {progress}");
}

fn check_python(answers: &Value) {
    assert_eq!(answers["tools"], json!(TOOLS));
    let code = &answers["code"];
    assert_eq!(
        (&code["stdout"], &code["value"], &code["error"], &code["language"]),
        (&json!("hi\n"), &json!("42"), &Value::Null, &json!("python"))
    );
    assert_eq!(answers["verified"], json!({"valid": true}));
    heard_lines(&answers["progress"], "python");
    assert_eq!(answers["raised"], json!([true, "ZeroDivisionError"]));
    assert_eq!(answers["bad"][0], true);
    assert!(answers["bad"][1].as_str().unwrap().contains("its arguments are expression, variables"));
    assert_eq!(answers["drawn"], json!(["text", "image"]));
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(answers["hash"]["hash"], digest);
    assert!(answers["unknown"].as_str().unwrap().contains("Unknown tool"));
}

fn check_typescript(answers: &Value) {
    assert_eq!(answers["tools"], json!(TOOLS));
    assert_eq!(answers["code"]["value"], "42");
    heard_lines(&answers["progress"], "typescript");
    assert_ne!(answers["cancelled"], "answered");
    assert_eq!(answers["bad"][0], true);
}

/// How the runs of a record have ended, the newest first.
pub(super) fn outcomes(data: &Path) -> Vec<String> {
    let listed = run(&["runs", "list", "--json", "--data-dir", data.to_str().unwrap()], "");
    let runs: Value = serde_json::from_slice(&listed.stdout).unwrap();
    runs.as_array().unwrap().iter().map(|run| run["outcome"].as_str().unwrap_or("none").to_owned()).collect()
}

#[test]
fn unmodified_clients_of_both_eras_are_served_by_http() {
    let data = Data::new();
    let server = Server::start(&data.path());
    let url = format!("http://{}/mcp", server.address());
    check_python(&python(&[&url]));
    for mode in ["legacy", "auto"] {
        check_typescript(&typescript(mode, &[&url]));
    }
    server.terminate();
    assert_eq!(server.ended(), Some(0));
    // What was cancelled was ended in the jail, long before its minute was over: by a message, and by hanging up.
    let killed = outcomes(&data.path()).iter().filter(|outcome| *outcome == "limit:Killed").count();
    assert_eq!(killed, 2);
}

#[test]
fn unmodified_clients_are_served_over_a_pipe() {
    let data = Data::new();
    let folder = data.path();
    let server = [env!("CARGO_BIN_EXE_execgate"), "mcp", "--data-dir", folder.to_str().unwrap()];
    check_python(&python(&server));
    check_typescript(&typescript("legacy", &server));
    assert!(outcomes(&folder).contains(&"limit:Killed".to_owned()));
}

#[test]
fn the_inspector_calls_a_tool() {
    let data = Data::new();
    let server = Server::start(&data.path());
    let url = format!("http://{}/mcp", server.address());
    let mut inspector = node();
    inspector.args([
        "node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js",
        "--cli",
        &url,
    ]);
    inspector.args(["--transport", "http", "--method", "tools/call", "--tool-name", "math_compute"]);
    inspector.args(["--tool-arg", "expression=6*7"]);
    assert_eq!(told(inspector)["structuredContent"]["output"]["value"], 42);
}

#[test]
fn the_conformance_suite_passes_but_for_what_is_not_offered() {
    let data = Data::new();
    let server = Server::start(&data.path());
    let url = format!("http://{}/mcp", server.address());
    let folder = tempfile::tempdir().unwrap();
    for (revision, expected) in EXPECTED {
        let baseline = folder.path().join(format!("{revision}.yaml"));
        fs::write(&baseline, expected).unwrap();
        let mut suite = node();
        suite.args(["node_modules/@modelcontextprotocol/conformance/dist/index.js", "server", "--url", &url]);
        match revision {
            "2026-07-28" => suite.args(["--requirements", revision]),
            _ => suite.args(["--suite", "all", "--spec-version", revision]),
        };
        suite.arg("--expected-failures").arg(&baseline).arg("-o").arg(folder.path().join("out"));
        let output = suite.output().unwrap();
        assert!(output.status.success(), "{revision}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

/// One message of the newest revision, and its answer.
pub(super) fn post(server: &Server, headers: &str, method: &str, params: &Value) -> Reply {
    reply(&server.raw(&message(server, "/mcp", headers, method, params)))
}

/// The same at another door.
pub(super) fn post_at(server: &Server, path: &str, method: &str, params: &Value) -> Value {
    reply(&server.raw(&message(server, path, "", method, params))).json()
}

/// One message of the newest revision, as it goes over the wire.
pub(super) fn message(server: &Server, path: &str, headers: &str, method: &str, params: &Value) -> Vec<u8> {
    let mut params = params.clone();
    let about = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {}
    });
    let Value::Object(about) = about else { unreachable!("an object") };
    if params.get("_meta").is_none() {
        params["_meta"] = json!({});
    }
    let meta = params["_meta"].as_object_mut().unwrap();
    for (name, value) in about {
        meta.entry(name).or_insert(value);
    }
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
    let name = params["name"]
        .as_str()
        .or(params["taskId"].as_str())
        .or(params["uri"].as_str())
        .map(|name| format!("Mcp-Name: {name}\r\n"))
        .unwrap_or_default();
    let bytes = format!(
        "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: {method}\r\n\
         {name}{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        server.address(),
        body.len()
    );
    bytes.into_bytes()
}

/// A call of a tool, and its result.
pub(super) fn call(server: &Server, headers: &str, params: &Value) -> Value {
    let answer = post(server, headers, "tools/call", params);
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    answer.json()["result"].take()
}

fn listed(server: &Server, headers: &str) -> Vec<String> {
    let answer = post(server, headers, "tools/list", &json!({})).json();
    assert_eq!(answer["result"]["cacheScope"], "private");
    let tools = answer["result"]["tools"].as_array().unwrap();
    tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_call_under_a_key_runs_once_and_one_with_other_arguments_is_refused() {
    let data = Data::new();
    let server = Server::start(&data.path());
    let random = |code: &str| {
        json!({
            "name": "execute_code", "arguments": {"code": code},
            "_meta": {"dev.execgate/idempotency-key": "k-1"}
        })
    };
    let first = call(&server, "", &random("import os; os.urandom(8).hex()"));
    let again = call(&server, "", &random("import os; os.urandom(8).hex()"));
    assert_eq!((&first, &first["isError"]), (&again, &json!(false)));
    let other = call(&server, "", &random("1"));
    assert_eq!(
        (&other["isError"], &other["structuredContent"]["rule"]),
        (&json!(true), &json!("nonce-reused"))
    );
    // Without one, the same call is another run.
    let bare = json!({"name": "execute_code", "arguments": {"code": "import os; os.urandom(8).hex()"}});
    assert_ne!(
        call(&server, "", &bare)["structuredContent"]["value"],
        call(&server, "", &bare)["structuredContent"]["value"]
    );
    assert_eq!(outcomes(&data.path()).len(), 3);
}

#[test]
fn who_asks_sees_what_its_rules_leave_and_is_denied_the_rest_by_name() {
    let data = Data::new();
    let folder = data.path();
    let config = folder.parent().unwrap().join("execgate.toml");
    let policy = folder.parent().unwrap().join("policy.json");
    let rules = json!({
        "version": "1", "default": "deny", "hide": ["hash_generate"],
        "tools": {
            "math_compute": {"deny_if": [{"path": "args.expression", "op": "contains", "value": "^"}]},
            "python": {}, "json_parse": {}
        }
    });
    fs::write(&policy, rules.to_string()).unwrap();
    fs::write(
        &config,
        format!("[policy]\nfile = \"{}\"\n[identity]\nrequire_grant = true\n", policy.display()),
    )
    .unwrap();
    let path = folder.to_str().unwrap();
    let own = folder.parent().unwrap().join("own.json");
    fs::write(&own, json!({"version": "1", "default": "allow", "hide": ["json_parse"]}).to_string()).unwrap();
    let server = Server::start_with(&folder, &["--config", config.to_str().unwrap()], &[]);
    let key = |more: &[&str]| {
        let made =
            run(&[&["grant", "create", "--name", "x", "--json", "--data-dir", path], more].concat(), "");
        let grant: Value = serde_json::from_slice(&made.stdout).unwrap_or_else(|_| {
            panic!("{}", String::from_utf8_lossy(&made.stderr));
        });
        format!("Authorization: Bearer {}\r\n", grant["key"].as_str().unwrap())
    };
    let (wide, narrow) = (key(&["--label", "who=wide"]), key(&["--policy", own.to_str().unwrap()]));
    let refused = post(&server, "", "tools/list", &json!({}));
    assert_eq!(refused.status, 401);
    assert!(refused.head.contains("www-authenticate: bearer"), "{}", refused.head);
    let told = ["execute_code", "json_parse", "list_languages", "math_compute", "verify_receipt"];
    assert_eq!(listed(&server, &wide), told);
    let told = ["execute_code", "list_languages", "math_compute", "verify_receipt"];
    assert_eq!(listed(&server, &narrow), told);
    for (headers, name, rule) in [
        (&wide, "hash_generate", "/hide/0"),
        (&wide, "regex_match", "/default"),
        (&narrow, "json_parse", "/hide/0"),
    ] {
        let denied = call(&server, headers, &json!({"name": name, "arguments": {"data": "1"}}));
        let told = &denied["structuredContent"];
        assert_eq!((&denied["isError"], &told["code"]), (&json!(true), &json!("denied")), "{name}");
        assert!(told["rule"].as_str().unwrap().ends_with(rule), "{name}: {told}");
        assert!(denied["content"][0]["text"].as_str().unwrap().contains(told["rule"].as_str().unwrap()));
    }
    let by_argument =
        call(&server, &wide, &json!({"name": "math_compute", "arguments": {"expression": "2^9"}}));
    let rule = by_argument["structuredContent"]["rule"].as_str().unwrap();
    assert!(rule.starts_with("/tools/math_compute/deny_if/"), "{rule}");
    let languages = call(
        &server,
        &wide,
        &json!({"name": "execute_code", "arguments": {"code": "1", "language": "bash"}}),
    );
    assert_eq!(languages["structuredContent"]["code"], "denied");
}

/// A session of the revisions that have them.
struct Session(String);

impl Session {
    fn open(server: &Server) -> Self {
        let client = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        let answer = Self::post(server, "", "initialize", &client);
        let id = answer.head.lines().find_map(|line| line.strip_prefix("mcp-session-id: "));
        Self(format!("Mcp-Session-Id: {}\r\n", id.unwrap().trim()))
    }

    fn call(&self, server: &Server, params: &Value) -> Value {
        Self::post(server, &self.0, "tools/call", params).json()["result"].take()
    }

    fn post(server: &Server, headers: &str, method: &str, params: &Value) -> Reply {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        let head = format!(
            "POST /mcp HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2025-11-25\r\n{headers}\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            server.address(),
            body.len()
        );
        reply(&server.raw(format!("{head}{body}").as_bytes()))
    }
}

#[test]
fn a_limit_is_exact_under_sixty_four_sessions_at_once() {
    let data = Data::new();
    let folder = data.path();
    let (policy, config) =
        (folder.parent().unwrap().join("policy.json"), folder.parent().unwrap().join("gate.toml"));
    let limits = json!([{"counter": "sums", "window": "day", "max": 20, "scope": "global"}]);
    let rules = json!({"version": "1", "default": "allow", "tools": {"math_compute": {"limits": limits}}});
    fs::write(&policy, rules.to_string()).unwrap();
    fs::write(&config, format!("[surfaces]\ncode = \"off\"\n[policy]\nfile = \"{}\"\n", policy.display()))
        .unwrap();
    let server = Server::start_with(&folder, &["--config", config.to_str().unwrap()], &[]);
    let ready = Barrier::new(64);
    let answers: Vec<Value> = thread::scope(|scope| {
        let sessions: Vec<_> = (0..64)
            .map(|number| {
                let (server, ready) = (&server, &ready);
                scope.spawn(move || {
                    // Half of them of the era of sessions, half of the one without.
                    let session = (number % 2 == 0).then(|| Session::open(server));
                    ready.wait();
                    let sum =
                        json!({"name": "math_compute", "arguments": {"expression": format!("{number} + 1")}});
                    match session {
                        Some(session) => [session.call(server, &sum), session.call(server, &sum)],
                        None => [call(server, "", &sum), call(server, "", &sum)],
                    }
                })
            })
            .collect();
        sessions.into_iter().flat_map(|session| session.join().unwrap()).collect()
    });
    let (ran, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer["isError"] == false);
    assert_eq!((ran.len(), refused.len()), (20, 108));
    for answer in refused {
        assert_eq!(answer["structuredContent"]["code"], "limit-reached", "{answer}");
        assert!(answer["structuredContent"]["retry_after_s"].as_u64().is_some_and(|seconds| seconds > 0));
    }
    assert_eq!(outcomes(&folder).len(), 20);
}

/// One end of a pipe to `execgate mcp`.
pub(super) struct Pipe {
    pub(super) child: Child,
    pub(super) input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Pipe {
    pub(super) fn open(data: &Path) -> Self {
        let mut command = execgate();
        command.arg("mcp").arg("--data-dir").arg(data);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output }
    }

    pub(super) fn say(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    pub(super) fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line:?}"))
    }
}

#[test]
fn a_pipe_carries_nothing_but_the_protocol_and_ends_with_its_client() {
    let data = Data::new();
    let mut pipe = Pipe::open(&data.path());
    let client = json!({"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    pipe.say(&json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": client}).to_string());
    assert_eq!(pipe.hear()["result"]["protocolVersion"], "2024-11-05");
    pipe.say(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    // Rubbish, a line that is too long, and an unknown method: each has an answer or none, and the next call is fine.
    pipe.say("rubbish");
    pipe.say(&"x".repeat(10 << 20));
    pipe.say(r#"{"jsonrpc":"2.0","id":1,"method":"nothing/of/that/name"}"#);
    let answer = loop {
        let answer = pipe.hear();
        if answer["id"] == 1 {
            break answer;
        }
        assert!(answer["error"].is_object(), "{answer}");
    };
    assert_eq!(answer["error"]["code"], -32601);
    let arguments = json!({"name": "execute_code", "arguments": {"code": "print('{\"jsonrpc\":\"2.0\"}')"}});
    pipe.say(&json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": arguments}).to_string());
    let answer = pipe.hear();
    assert_eq!(answer["result"]["structuredContent"]["stdout"], "{\"jsonrpc\":\"2.0\"}\n", "{answer}");
    assert!(answer["result"].get("resultType").is_none(), "an earlier revision does not know it");
    drop(pipe.input);
    assert_eq!(pipe.child.wait().unwrap().code(), Some(0));
}

/// A payment of what is asked for, as x402 has it: each number is another one.
pub(super) fn payment(till: &Till, required: &Value, number: u64) -> Value {
    let wanted = &required["accepts"][0];
    let (wallet, now_s) = (Wallet::of(PAYER), till.chain.now_s());
    let ends_s = now_s + wanted["maxTimeoutSeconds"].as_u64().unwrap();
    let to = wanted["payTo"].as_str().unwrap().parse().unwrap();
    let units = wanted["amount"].as_str().unwrap().parse().unwrap();
    let signed = wallet.pays(to, units, number, now_s);
    let signed = wallet.signs(Authorization { valid_before: U256::from(ends_s), ..signed });
    json!({
        "x402Version": 2, "resource": required["resource"], "accepted": wanted,
        "payload": {
            "signature": to_hex(signed.signature.as_bytes()),
            "authorization": {
                "from": signed.from, "to": signed.to, "value": signed.value, "validAfter": signed.valid_after,
                "validBefore": signed.valid_before, "nonce": to_hex(&signed.nonce),
            },
        },
    })
}

#[test]
fn a_call_that_is_paid_over_mcp_is_charged_once_and_says_so() {
    let till = Till::open("");
    let compute =
        |meta: Value| json!({"name": "math_compute", "arguments": {"expression": "6*7"}, "_meta": meta});
    let asked = call(&till.server, "", &compute(json!({})));
    let required = &asked["structuredContent"];
    assert_eq!((&asked["isError"], &required["x402Version"]), (&json!(true), &json!(2)), "{asked}");
    assert_eq!(required["resource"]["url"], "mcp://tool/math_compute");
    let text: Value = serde_json::from_str(asked["content"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!(&text, required);
    let wanted = &required["accepts"][0];
    assert_eq!(
        (&wanted["amount"], &wanted["payTo"]),
        (&json!(LIVE_UNITS.to_string()), &json!(SELLER.address))
    );

    let payment = payment(&till, required, 1);
    let paid = call(&till.server, "", &compute(json!({"x402/payment": payment})));
    assert_eq!(
        (&paid["isError"], &paid["structuredContent"]["output"]["value"]),
        (&json!(false), &json!(42)),
        "{paid}"
    );
    let response = &paid["_meta"]["x402/payment-response"];
    let moved = till.chain.transfers();
    assert_eq!(
        (&response["success"], &response["transaction"]),
        (&json!(true), &json!(moved.last().unwrap().transaction)),
        "{paid}"
    );
    assert_eq!(till.paid(), LIVE_UNITS);
    // The same again is the same answer for nothing; another call is not bought by it.
    let again = call(&till.server, "", &compute(json!({"x402/payment": payment})));
    assert_eq!(again["structuredContent"], paid["structuredContent"]);
    let other =
        json!({"name": "math_compute", "arguments": {"expression": "1"}, "_meta": {"x402/payment": payment}});
    assert_eq!(call(&till.server, "", &other)["isError"], true);
    assert_eq!(till.paid(), LIVE_UNITS);
}
