//! The Model Context Protocol at the door of a gateway: who is the same caller again, and which call is the same.

use axum::body::Body;
use axum::http::{Method, Request, Response};
use execgate_model::Stage;
use execgate_receipt::approval::Decision;
use execgate_testkit::{Reply, World, get, post, with};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::parking::{hand_in, people, says, wants};

const SECRET: &str = "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";

/// A message of revision 2026-07-28.
fn message(method: &str, more: Value) -> Request<Body> {
    let mut params = json!({"_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"url": {}}},
    }});
    let Value::Object(more) = more else { unreachable!("an object") };
    for (name, value) in more {
        params[name] = value;
    }
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let request = with(post("/mcp", message.to_string()), "mcp-method", method);
    let request = match params["name"].as_str() {
        Some(name) => with(request, "mcp-name", name),
        None => request,
    };
    [("accept", "application/json, text/event-stream"), ("mcp-protocol-version", "2026-07-28")]
        .into_iter()
        .fold(request, |request, (name, value)| with(request, name, value))
}

/// A call of the tool `gives`, with what stands beside its name and arguments.
async fn call(world: &World, headers: &[(&'static str, &str)], more: Value) -> Value {
    let mut params = json!({"name": "gives", "arguments": {"mark": "n"}});
    let Value::Object(more) = more else { unreachable!("an object") };
    for (name, value) in more {
        params[name] = value;
    }
    let request = message("tools/call", params);
    let request = headers.iter().fold(request, |request, (name, value)| with(request, name, value));
    let reply: Reply = world.http(request).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()["result"].take()
}

/// What a call that waits is told: its run, and the name under which it waits.
fn page(told: &Value) -> (String, String) {
    assert_eq!(told["resultType"], "input_required", "{told}");
    let run = told["inputRequests"]["approval"]["params"]["elicitationId"].as_str().unwrap();
    (run.to_owned(), told["requestState"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_caller_that_shows_nothing_is_told_what_would_identify_it_before_anything_waits() {
    let world = World::builder().public().policy(wants(&[], 1)).approvers(people()).open();
    for more in [json!({}), json!({"_meta": meta_with_a_key()})] {
        let told = call(&world, &[], more).await;
        let facts = &told["structuredContent"];
        assert_eq!((&told["isError"], &facts["code"]), (&json!(true), &json!("approval-missing")), "{told}");
        let text = told["content"][0]["text"].as_str().unwrap();
        for way in ["key of a grant", "token", "Execgate-Session"] {
            assert!(text.contains(way), "{text}");
        }
    }
    assert_eq!(world.runs().await, [], "nothing waits");
    // With the secret of a session it is the same caller again.
    let session = [("execgate-session", SECRET)];
    let (run, _) = page(&call(&world, &session, json!({})).await);
    assert_eq!(page(&call(&world, &session, json!({})).await).0, run);
    assert_eq!(world.runs().await.len(), 1);
    // What needs no approval needs no name.
    let free = World::builder().public().open();
    assert_eq!(call(&free, &[], json!({})).await["isError"], false);
}

fn meta_with_a_key() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {}, "dev.execgate/idempotency-key": "k"
    })
}

#[tokio::test]
async fn a_retry_with_the_name_that_it_was_told_is_the_same_run_whatever_the_rules_ask_by_then() {
    let world = World::builder().policy(wants(&[], 1)).approvers(people()).open();
    let (run, state) = page(&call(&world, &[], json!({})).await);
    let again = json!({"requestState": state, "inputResponses": {"approval": {"action": "decline"}}});
    // The rule asks no more: what was parked is not asked for a second time, and does not run beside itself.
    world.obey(json!({"version": "1", "default": "allow"}));
    let told = call(&world, &[], again.clone()).await;
    assert_eq!(told["structuredContent"]["approval_id"], json!(run), "{told}");
    assert_eq!((world.runs().await.len(), world.journal().starts()), (1, 0));
    // It asks again, and somebody has said yes: the same run, once, and its end as often as it is asked for.
    world.obey(wants(&[], 1));
    let run = run.parse().unwrap();
    let said = says(&world, run, "anna", Decision::Approve);
    assert_eq!(hand_in(&world, run, &said).await.status, 200);
    while world.record(run).await.stage != Stage::Settled {
        tokio::task::yield_now().await;
    }
    world.obey(json!({"version": "1", "default": "allow"}));
    for _ in 0..2 {
        let told = call(&world, &[], again.clone()).await;
        assert_eq!(told["structuredContent"]["run"], json!(run.to_string()), "{told}");
    }
    assert_eq!((world.runs().await.len(), world.journal().starts()), (1, 1));
}

/// A stream of events, as a client reads it.
struct Events {
    body: Body,
    text: String,
}

impl Events {
    fn of(response: Response<Body>) -> Self {
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: response.into_body(), text: String::new() }
    }

    /// The next message; none where the stream has ended.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let data = event.lines().find_map(|line| line.strip_prefix("data:")).unwrap_or_default();
                let message = serde_json::from_str(data).ok();
                self.text = rest.to_owned();
                match message {
                    Some(message) => return Some(message),
                    None => continue,
                }
            }
            let frame = self.body.frame().await?.unwrap();
            self.text.push_str(core::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        }
    }
}

#[tokio::test]
async fn whoever_listens_is_told_in_both_eras_that_its_list_is_another_one() {
    let world = World::builder().policy(wants(&[], 1)).approvers(people()).open();
    let wanted = json!({"notifications": {"toolsListChanged": true, "promptsListChanged": true}});
    let listen = message("subscriptions/listen", wanted);
    let mut modern = Events::of(world.gate().answering(listen).await);
    let told = modern.next().await.unwrap();
    assert_eq!(told["method"], "notifications/subscriptions/acknowledged", "{told}");
    assert_eq!(
        told["params"]["notifications"],
        json!({"toolsListChanged": true}),
        "what is not offered is not told"
    );
    let client = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": client});
    let greeted = with(post("/mcp", hello.to_string()), "accept", "application/json, text/event-stream");
    let greeted = world.http(greeted).await;
    assert_eq!(greeted.json()["result"]["capabilities"]["tools"], json!({"listChanged": true}));
    let session = greeted.header("mcp-session-id").unwrap().to_owned();
    let stream = || with(get("/mcp"), "mcp-session-id", &session);
    let mut earlier = Events::of(world.gate().answering(stream()).await);
    assert_eq!(world.http(get("/mcp")).await.status, 405, "there is one for a session alone");
    world.obey(json!({"version": "1", "default": "allow", "hide": ["raises"]}));
    for events in [&mut modern, &mut earlier] {
        let told = events.next().await.unwrap();
        assert_eq!(told["method"], "notifications/tools/list_changed", "{told}");
    }
    // A session that its client has ended hears nothing more of it.
    let mut ended = stream();
    *ended.method_mut() = Method::DELETE;
    assert_eq!(world.http(ended).await.status, 204);
    assert_eq!(world.http(stream()).await.status, 404);
}
