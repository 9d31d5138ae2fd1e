//! The reference server of MCP behind a proxy: the same answers with and without.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::proxy::{Client, Place};

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

#[test]
fn the_reference_server_answers_the_same_with_and_without() {
    let place = Place::new(r#"{"version": "1", "default": "allow"}"#);
    let (policy, data, program) = (place.text("policy.json"), place.data(), program());
    let args = [
        "--policy",
        &policy,
        "--data-dir",
        &data,
        "--sandbox",
        "off",
        "--",
        "/usr/bin/node",
        &program,
        "stdio",
    ];
    let mut proxied = Client::start(&args, &[]);
    #[expect(clippy::disallowed_methods, reason = "the server itself, to compare with")]
    let mut command = Command::new("/usr/bin/node");
    command.args([&program, "stdio"]).env_clear().env("PATH", "/usr/bin:/bin").stderr(Stdio::null());
    let mut direct = Client::of(&mut command);

    let listed = |client: &mut Client| client.ask("tools/list", json!({}))["result"]["tools"].clone();
    let (mut tools, through) = (listed(&mut direct), listed(&mut proxied));
    for tool in tools.as_array_mut().unwrap() {
        // How it can be a task: there are none through a proxy.
        tool.as_object_mut().unwrap().remove("execution");
    }
    assert!(tools.as_array().unwrap().len() > 5, "{tools}");
    assert_eq!(through, tools);

    for (tool, arguments) in [
        ("echo", json!({"message": "hello é"})),
        ("get-sum", json!({"a": 2, "b": 40})),
        ("get-sum", json!({"a": "two"})),
        ("get-tiny-image", json!({})),
        ("get-annotated-message", json!({"messageType": "error", "includeImage": true})),
        ("get-structured-content", json!({"location": "Chicago"})),
        ("get-resource-links", json!({"count": 3})),
        ("no-such-tool", json!({})),
    ] {
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
    resources_and_prompts(&mut direct, &mut proxied);
    direct.close();
    proxied.close();
}
