//! The server with the tools that the conformance suite calls, which no gateway has: that the protocol in front of a desk is
//! right, whatever the desk.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::routing::post;
use execgate_model::{BodyPlace, BoxFuture, Caller, Digest, Identity, Progress, TenantId};
use execgate_tool::Cancel;
use http_body_util::Full;
use rmcp::ErrorData;
use rmcp::model::{CallToolResponse, CallToolResult, ContentBlock, ResourceContents, Tool};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::desk::{Asker, Call, Desk};
use super::door::serve;
use super::entries::object;
use super::server::{Server, unknown_tool};
use crate::house::House;

/// Where `cargo xtask setup` puts the suite.
const CLIENTS: &str = "tools/mcp-clients-1";

/// The scenarios that call a tool, by the revision in which they are run.
const SCENARIOS: [&str; 8] = [
    "tools-call-simple-text",
    "tools-call-image",
    "tools-call-audio",
    "tools-call-embedded-resource",
    "tools-call-mixed-content",
    "tools-call-error",
    "tools-call-with-progress",
    "json-schema-2020-12",
];

/// One grey point.
const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==";

/// A head without a sample.
const WAV: &str = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=";

struct Fixtures;

fn resource(uri: &str, kind: &str, text: &str) -> ContentBlock {
    let contents = json!({"uri": uri, "mimeType": kind, "text": text});
    ContentBlock::resource(serde_json::from_value::<ResourceContents>(contents).unwrap())
}

fn schema_of_all_words() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {"address": {
            "$anchor": "addressDef", "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}}
        }},
        "properties": {
            "name": {"type": "string"}, "address": {"$ref": "#/$defs/address"},
            "contactMethod": {"type": "string", "enum": ["phone", "email"]},
            "phone": {"type": "string"}, "email": {"type": "string"}
        },
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
        "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
        "then": {"required": ["phone"]},
        "else": {"required": ["email"]},
        "additionalProperties": false
    })
}

impl Desk for Fixtures {
    fn instructions(&self) -> String {
        "Tools for tests.".to_owned()
    }

    fn tools<'a>(&'a self, _asker: &'a Asker) -> BoxFuture<'a, Result<Vec<Tool>, ErrorData>> {
        let names = [
            "test_simple_text",
            "test_image_content",
            "test_audio_content",
            "test_embedded_resource",
            "test_multiple_content_types",
            "test_error_handling",
            "test_tool_with_progress",
        ];
        let plain = names.map(|name| Tool::new(name, "A tool for tests.", object(json!({"type": "object"}))));
        let words = Tool::new("json_schema_2020_12_tool", "A schema.", object(schema_of_all_words()));
        Box::pin(async move { Ok(plain.into_iter().chain([words]).collect()) })
    }

    fn edition<'a>(&'a self, _asker: &'a Asker) -> BoxFuture<'a, Result<Digest, ErrorData>> {
        Box::pin(async { Ok(Digest::from_bytes([0; 32])) })
    }

    fn house(&self) -> Option<&House> {
        None
    }

    fn call<'a>(
        &'a self,
        _asker: &'a Asker,
        call: Call,
    ) -> BoxFuture<'a, Result<CallToolResponse, ErrorData>> {
        Box::pin(async move {
            let mixed = resource("test://mixed-content-resource", "application/json", r#"{"test":"data"}"#);
            let content = match call.name.as_str() {
                "test_simple_text" => vec![ContentBlock::text("This is a simple text response for testing.")],
                "test_image_content" => vec![ContentBlock::image(PNG, "image/png")],
                "test_audio_content" => vec![ContentBlock::audio(WAV, "audio/wav")],
                "test_embedded_resource" => {
                    vec![resource("test://embedded-resource", "text/plain", "This is an embedded resource.")]
                }
                "test_multiple_content_types" => {
                    vec![ContentBlock::text("Multiple:"), ContentBlock::image(PNG, "image/png"), mixed]
                }
                "test_error_handling" => {
                    let text = "This tool intentionally returns an error for testing";
                    return Ok(CallToolResult::error(vec![ContentBlock::text(text)]).into());
                }
                "test_tool_with_progress" => {
                    let watcher = call.line.map(|line| line.watcher());
                    for part in [b"one", b"two", b"end"] {
                        watcher.iter().for_each(|watcher| watcher.see(Progress::Stdout(part)));
                        // What is told is told every so often.
                        tokio::time::sleep(Duration::from_millis(400)).await;
                    }
                    vec![ContentBlock::text("done")]
                }
                other => return Err(unknown_tool(other)),
            };
            Ok(CallToolResult::success(content).into())
        })
    }
}

/// One message, as the door hands it on.
async fn answer(request: Request) -> axum::response::Response {
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    let caller = Caller { tenant: TenantId::new("default").unwrap(), identity: Identity::Local };
    let server = Server {
        desk: Arc::new(Fixtures),
        asker: Asker { caller, peer: None, origin: None },
        version: "0",
        cancel: Cancel::default(),
        open: None,
        place: BodyPlace::default(),
        seen: None,
        is_at_a_pipe: false,
        asks: None,
    };
    serve(server, Request::from_parts(parts, Full::new(bytes))).await.map(Body::new)
}

fn clients() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let found = test.ancestors().map(|folder| folder.join(CLIENTS)).find(|folder| folder.is_dir());
    found.expect("the clients are not there; run `cargo xtask setup`")
}

/// What the suite says of one scenario.
fn scenario(url: &str, name: &str, revision: &str) -> (bool, String) {
    let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    #[expect(clippy::disallowed_methods, reason = "the suite is a program")]
    let mut suite = Command::new(clients().join(format!("node_modules/node-linux-{machine}/bin/node")));
    suite.env_clear().current_dir(clients()).stdin(Stdio::null());
    suite.args(["node_modules/@modelcontextprotocol/conformance/dist/index.js", "server", "--url", url]);
    let output = suite.args(["--scenario", name, "--spec-version", revision]).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scenarios_of_the_suite_that_call_tools_pass_in_both_eras() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let app = Router::new().route("/mcp", post(answer));
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });
    for revision in ["2025-11-25", "2026-07-28"] {
        for name in SCENARIOS {
            let url = url.clone();
            let run = tokio::task::spawn_blocking(move || scenario(&url, name, revision));
            let (passed, told) = run.await.unwrap();
            assert!(passed, "{revision} {name}: {told}");
        }
    }
    serving.abort();
}
