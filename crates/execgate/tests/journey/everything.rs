//! The reference server of MCP behind a proxy and a gateway, by each of its transports: the same answers with and without.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

use serde_json::{Value, json};

use super::proxy::{Client, Place, enforced};
use super::server::{Server, execgate};

/// Where `cargo xtask setup` has installed it.
fn program() -> String {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/server-everything-2026.8.31");
    let path: PathBuf = tools.join("node_modules/@modelcontextprotocol/server-everything/dist/index.js");
    path.canonicalize().expect("`cargo xtask setup` installs the reference server").display().to_string()
}

/// The same with whole numbers as such: `1.0` and `1` are one number in JSON.
fn whole(value: Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(float) => json!(float),
            None => Value::Number(number),
        },
        Value::Array(items) => items.into_iter().map(whole).collect(),
        Value::Object(members) => members.into_iter().map(|(name, member)| (name, whole(member))).collect(),
        Value::Null | Value::Bool(_) | Value::String(_) => value,
    }
}

/// Without what the proxy says of the run.
fn bare(mut answer: Value) -> Value {
    if let Some(meta) = answer.pointer_mut("/result/_meta").and_then(Value::as_object_mut) {
        meta.retain(|name, _| !name.starts_with("dev.execgate/"));
        if meta.is_empty() {
            answer["result"].as_object_mut().unwrap().remove("_meta");
        }
    }
    answer
}

/// The same of what there is beside tools.
fn resources_and_prompts(direct: &mut Client, proxied: &mut Client) {
    let mut asked = vec![
        ("prompts/get", json!({"name": "simple-prompt"})),
        ("prompts/get", json!({"name": "args-prompt", "arguments": {"city": "Oslo"}})),
        ("prompts/get", json!({"name": "no-such-prompt"})),
        ("resources/read", json!({"uri": "demo://no/such"})),
    ];
    for (method, list) in [
        ("resources/list", "resources"),
        ("resources/templates/list", "resourceTemplates"),
        ("prompts/list", "prompts"),
    ] {
        let (told, through) = (direct.ask(method, json!({})), proxied.ask(method, json!({})));
        assert!(told["result"][list].as_array().is_some_and(|items| !items.is_empty()), "{told}");
        assert_eq!(through["result"][list], told["result"][list], "{method}");
        let uris = told["result"][list].as_array().unwrap().iter().filter_map(|item| item["uri"].as_str());
        asked.extend(uris.take(3).map(|uri| ("resources/read", json!({"uri": uri}))));
    }
    for (method, params) in asked {
        let told = direct.ask(method, params.clone());
        let mut through = bare(proxied.ask(method, params.clone()));
        through["id"] = told["id"].clone();
        assert_eq!(whole(through), whole(told), "{method} {params}");
    }
}

/// The server itself, to compare with.
fn direct() -> Client {
    Client::of(node().args([&program(), "stdio"]).stderr(Stdio::null()))
}

fn node() -> Command {
    #[expect(clippy::disallowed_methods, reason = "the server itself")]
    let mut command = Command::new("/usr/bin/node");
    command.env_clear().env("PATH", "/usr/bin:/bin");
    command
}

/// The server at a URL of this host; ended with this.
struct Remote {
    child: Child,
    port: u16,
    mode: &'static str,
    _stderr: BufReader<ChildStderr>,
}

impl Remote {
    /// On any port, or on the one where it was before.
    fn start(mode: &'static str, port: Option<u16>) -> Self {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let port = port.unwrap_or_else(free);
        let mut command = node();
        command.args([&program(), mode]).env("PORT", port.to_string());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains(" on port ") {
            line.clear();
            assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "the server does not start");
        }
        Self { child, port, mode, _stderr: stderr }
    }

    fn url(&self) -> String {
        let path = if self.mode == "sse" { "sse" } else { "mcp" };
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    /// A client behind a proxy in front of it.
    fn proxied(&self, place: &Place) -> Client {
        let (policy, data, url) = (place.text("policy.json"), place.data(), self.url());
        let mut args = vec!["--policy", &policy, "--data-dir", &data, "--name", "everything", "--url", &url];
        args.push("--allow-private");
        args.extend((self.mode == "sse").then_some("--sse"));
        Client::start(&args, &[])
    }

    /// `kill -9`. Where it was.
    fn kill(mut self) -> u16 {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.port
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // It may be gone already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn place() -> Place {
    Place::new(r#"{"version": "1", "default": "allow"}"#)
}

/// What is asked of it with and without.
fn calls() -> Vec<(&'static str, Value)> {
    vec![
        ("echo", json!({"message": "hello é"})),
        ("get-sum", json!({"a": 2, "b": 40})),
        ("get-sum", json!({"a": "two"})),
        ("get-tiny-image", json!({})),
        ("get-annotated-message", json!({"messageType": "error", "includeImage": true})),
        ("get-structured-content", json!({"location": "Chicago"})),
        ("get-resource-links", json!({"count": 3})),
        ("no-such-tool", json!({})),
    ]
}

/// Its tools, as they are through us: how one can be a task is left out, since there are none.
fn tools(listed: &Value) -> Value {
    let mut tools = listed["result"]["tools"].clone();
    for tool in tools.as_array_mut().unwrap() {
        tool.as_object_mut().unwrap().remove("execution");
    }
    assert!(tools.as_array().unwrap().len() > 5, "{tools}");
    tools
}

fn compare(proxied: &mut Client) {
    let mut direct = direct();
    let through = tools(&proxied.ask("tools/list", json!({})));
    assert_eq!(through, tools(&direct.ask("tools/list", json!({}))));
    for (tool, arguments) in calls() {
        let params = json!({"name": tool, "arguments": arguments});
        let told = direct.ask("tools/call", params.clone());
        let mut through = bare(proxied.ask("tools/call", params));
        through["id"] = told["id"].clone();
        if tool == "no-such-tool" {
            // It never hears of what it does not offer.
            assert_eq!(through["error"]["code"], -32_602);
            continue;
        }
        assert_eq!(whole(through), whole(told), "{tool}");
    }
    resources_and_prompts(&mut direct, proxied);
    direct.close();
}

#[test]
fn the_reference_server_answers_the_same_with_and_without() {
    let place = place();
    let (policy, data, program) = (place.text("policy.json"), place.data(), program());
    let server = ["--sandbox", "off", "--", "/usr/bin/node", &program, "stdio"];
    let args = [&["--policy", &policy, "--data-dir", &data][..], &server].concat();
    let mut proxied = Client::start(&args, &[]);
    compare(&mut proxied);
    proxied.close();
}

/// What a client answers that is asked by it.
fn answers(method: &str, params: &Value) -> Value {
    match method {
        "sampling/createMessage" => {
            let text = format!("{} tokens", params["maxTokens"]);
            json!({"role": "assistant", "model": "m", "content": {"type": "text", "text": text}})
        }
        "elicitation/create" => json!({"action": "accept", "content": {"name": "é", "check": true}}),
        "roots/list" => json!({"roots": [{"uri": "file:///work", "name": "work"}]}),
        "ping" => json!({}),
        other => panic!("asked {other}"),
    }
}

#[test]
fn what_it_asks_of_a_client_is_answered_the_same_with_and_without() {
    let place = place();
    let (policy, data, program) = (place.text("policy.json"), place.data(), program());
    let takes = json!({"sampling": {}, "elicitation": {}, "roots": {}});
    let mut direct = Client::taking(node().args([&program, "stdio"]).stderr(Stdio::null()), takes.clone());
    let proxied = |allow: &[&str], takes: &Value| {
        let mut command = execgate();
        command.args([
            "proxy",
            "--policy",
            &policy,
            "--data-dir",
            &data,
            "--sandbox",
            "off",
            "--first",
            "accept",
        ]);
        command.args(allow.iter().flat_map(|what| ["--allow", what]));
        command.args(["--", "/usr/bin/node", &program, "stdio"]);
        Client::taking(&mut command, takes.clone())
    };
    let mut through = proxied(&["sampling", "elicitation", "roots"], &takes);
    for (tool, arguments) in [
        ("trigger-sampling-request", json!({"prompt": "hello", "maxTokens": 7})),
        ("trigger-elicitation-request", json!({})),
        ("get-roots-list", json!({})),
    ] {
        let (told, asked) = direct.answering(tool, arguments.clone(), answers);
        let (answer, handed_on) = through.answering(tool, arguments, answers);
        let run = answer["result"]["_meta"]["dev.execgate/run"].as_str().unwrap().to_owned();
        let mut answer = bare(answer);
        answer["id"] = told["id"].clone();
        assert_eq!(whole(answer), whole(told), "{tool}");
        // Roots it may ask for by itself as soon as it is greeted, which is not within a call.
        let forms = |asked: Vec<(String, Value)>| -> Vec<_> {
            let asked = asked.into_iter().filter(|(method, _)| method != "roots/list");
            asked.map(|(method, params)| (method, whole(params))).collect()
        };
        assert_eq!(forms(handed_on), forms(asked), "{tool}");
        let held = enforced(&data, &run);
        assert_eq!(held["asked"]["answered"].as_array().unwrap().len(), 1, "{tool}: {held}");
        assert!(!held.to_string().contains("hello") && !held.to_string().contains("file:///work"), "{held}");
    }
    // An answer to nothing is nobody's.
    through.send(&json!({"jsonrpc": "2.0", "id": "execgate-ask-0", "result": {}}));
    assert!(through.call("echo", json!({"message": "still"})).to_string().contains("still"));
    through.close();
    direct.close();

    // One whose client has said nothing of it is told so, and its call has an end.
    let mut through = proxied(&["sampling", "elicitation", "roots"], &json!({"roots": {}}));
    let (told, asked) =
        through.answering("trigger-sampling-request", json!({"prompt": "a", "maxTokens": 7}), answers);
    assert!(told["result"]["isError"] == true && told.to_string().contains("takes sampling"), "{told}");
    assert!(asked.is_empty());
    through.close();

    // Where the rules deny it they are named.
    place.put(
        "policy.json",
        r#"{"version": "1", "default": "allow", "sampling": {"deny_if": [
        {"path": "args.maxTokens", "op": "gt", "value": 10}]}}"#,
    );
    let mut through = proxied(&["sampling", "elicitation", "roots"], &takes);
    let call = |tokens: u64| json!({"prompt": "a", "maxTokens": tokens});
    let (told, asked) = through.answering("trigger-sampling-request", call(11), answers);
    assert!(told["result"]["isError"] == true && told.to_string().contains("/sampling/deny_if/0"), "{told}");
    assert!(asked.is_empty());
    let (told, _) = through.answering("trigger-sampling-request", call(10), answers);
    assert!(told.to_string().contains("10 tokens"), "{told}");
    through.close();
}

#[test]
fn it_asks_by_the_network_too() {
    for mode in ["streamableHttp", "sse"] {
        let (place, remote) = (place(), Remote::start(mode, None));
        let (policy, data, url) = (place.text("policy.json"), place.data(), remote.url());
        let mut command = execgate();
        command.args([
            "proxy",
            "--policy",
            &policy,
            "--data-dir",
            &data,
            "--name",
            "everything",
            "--url",
            &url,
        ]);
        command.args(["--allow-private", "--allow", "sampling"]).args((mode == "sse").then_some("--sse"));
        let mut through = Client::taking(&mut command, json!({"sampling": {}}));
        let call = json!({"prompt": "hello", "maxTokens": 9});
        let (told, asked) = through.answering("trigger-sampling-request", call, answers);
        assert!(told.to_string().contains("9 tokens"), "{mode}: {told}");
        assert_eq!(asked.len(), 1, "{mode}");
        through.close();
    }
}

#[test]
fn it_does_so_by_each_of_its_transports_also_when_it_was_started_anew() {
    for mode in ["streamableHttp", "sse"] {
        let (place, remote) = (place(), Remote::start(mode, None));
        let mut proxied = remote.proxied(&place);
        compare(&mut proxied);

        // It dies within a call, which may have acted, and is there again, without a memory of its session.
        let begun = proxied.begin("trigger-long-running-operation", json!({"duration": 60, "steps": 600}));
        let port = remote.kill();
        let lost = proxied.answer(begun)["result"].clone();
        assert!(lost["isError"] == true && lost.to_string().contains("unknown"), "{mode}: {lost}");
        let refused = proxied.call("get-sum", json!({"a": 1, "b": 1}));
        assert_eq!(refused["structuredContent"]["status"], "refused", "{mode}: {refused}");
        let _again = Remote::start(mode, Some(port));
        let told = loop {
            let told = proxied.call("get-sum", json!({"a": 1, "b": 1}));
            // While it is not connected nothing is claimed.
            if told["structuredContent"]["status"] != "refused" {
                break told;
            }
        };
        assert!(told["isError"] != true && told.to_string().contains("is 2"), "{mode}: {told}");
        proxied.close();
    }
}

/// Asks a gateway by the stateless revision.
fn ask(gateway: &Server, path: &str, method: &str, mut params: Value) -> Value {
    let name = params["name"].as_str().map(|name| format!("Mcp-Name: {name}\r\n")).unwrap_or_default();
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {}
    });
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
    let told = gateway.raw(
        format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\n\
             Mcp-Method: {method}\r\n{name}Content-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        )
        .as_bytes(),
    );
    let told = String::from_utf8(told).unwrap();
    let line = told.lines().map(|line| line.trim_start_matches("data: ")).find(|line| line.starts_with('{'));
    line.and_then(|line| serde_json::from_str(line).ok()).unwrap_or_else(|| panic!("{told}"))
}

#[test]
fn a_gateway_stands_in_front_of_it_by_both_transports_of_the_network() {
    let (streamable, sse) = (Remote::start("streamableHttp", None), Remote::start("sse", None));
    let place = place();
    let section = |name: &str, remote: &Remote, more: &str| {
        let url = remote.url();
        format!(
            "[[upstream]]\nname = \"{name}\"\nurl = \"{url}\"\nallow_private = true\nfirst = \"accept\"\n\
             shareable = true\n{more}"
        )
    };
    let config = [
        "[surfaces]\ncode = \"off\"\n".to_owned(),
        section("new", &streamable, ""),
        section("old", &sse, "transport = \"sse\"\n"),
    ];
    place.put("execgate.toml", &config.concat());
    let data = PathBuf::from(place.data());
    let gateway = Server::start_with(&data, &["--config", &place.text("execgate.toml")], &[]);
    let mut direct = direct();
    let mine = tools(&direct.ask("tools/list", json!({})));
    for path in ["/mcp/new", "/mcp/old"] {
        // It is connected beside the first requests.
        let listed = loop {
            let listed = ask(&gateway, path, "tools/list", json!({}));
            if listed["result"]["tools"].as_array().is_some_and(|tools| !tools.is_empty()) {
                break listed;
            }
        };
        assert_eq!(tools(&listed), mine, "{path}");
        for (tool, arguments) in calls().into_iter().filter(|(tool, _)| *tool != "no-such-tool") {
            let params = json!({"name": tool, "arguments": arguments});
            let told = direct.ask("tools/call", params.clone());
            let mut through = bare(ask(&gateway, path, "tools/call", params));
            // What the stateless revision says beside.
            for beside in ["resultType", "_meta"] {
                through["result"].as_object_mut().unwrap().remove(beside);
            }
            through["id"] = told["id"].clone();
            assert_eq!(whole(through), whole(told), "{path} {tool}");
        }
    }
    direct.close();
}
