//! Servers at a URL that begin anew, break off, lead elsewhere or mean no good, and what becomes of the calls.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use execgate_model::{Digest, Effect, Product, RunOptions, Verdict};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::yield_now;
use tokio::time::timeout;

use super::super::connect::Connect as _;
use super::super::double::{Asked, Reply, serve};
use super::super::link::{Inbound, Outbound};
use super::super::message::FRAME_BYTES_MAX;
use super::super::tests::{Memory, call_in, context, entry, lost, name, upstream_of};
use super::super::{FirstContact, Sharing, Upstream, Upstreams};
use super::streamable::GREETED;
use super::{HttpUpstream, HttpUpstreamSpec};
use crate::registry::Toolbox as _;
use crate::{Call, NotStarted, RunFault};

fn told(asked: &Asked, result: Value) -> Vec<u8> {
    json!({"jsonrpc": "2.0", "id": asked.message()["id"], "result": result}).to_string().into_bytes()
}

fn whole(asked: &Asked, result: Value) -> Reply {
    Reply::Whole(200, String::new(), told(asked, result))
}

fn event(id: &str, data: &[u8]) -> Vec<u8> {
    let id = if id.is_empty() { String::new() } else { format!("id: {id}\n") };
    [id.as_bytes(), b"retry: 100\ndata: ", data, b"\n\n"].concat()
}

/// What every sane server says in a session; none for calls, and what else there is.
fn sane(asked: &Asked, session: &str) -> Option<Reply> {
    let message = asked.message();
    let result = match message["method"].as_str()? {
        "initialize" => {
            let result =
                json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {"listChanged": true}}});
            return Some(Reply::Whole(200, format!("Mcp-Session-Id: {session}\r\n"), told(asked, result)));
        }
        "tools/list" => json!({"tools": [entry("add", "Adds.")]}),
        "ping" => json!({}),
        "tools/call" => return None,
        // As servers of before do.
        "server/discover" => return Some(Reply::Whole(400, String::new(), Vec::new())),
        _ => return Some(Reply::Whole(202, String::new(), Vec::new())),
    };
    Some(whole(asked, result))
}

fn at(url: String, is_legacy: bool) -> Arc<Upstream> {
    at_for(url, is_legacy, Sharing::Shared)
}

fn at_for(url: String, is_legacy: bool, sharing: Sharing) -> Arc<Upstream> {
    let connect = Arc::new(http(url, is_legacy));
    upstream_of(connect, Arc::new(Memory::default()), FirstContact::Accept, sharing)
}

fn http(url: String, is_legacy: bool) -> HttpUpstream {
    let spec = HttpUpstreamSpec {
        server: name(),
        url,
        is_legacy,
        headers: BTreeMap::new(),
        oauth: None,
        allow_private: true,
    };
    HttpUpstream::new(spec, None).unwrap()
}

/// A server whose calls and streams are answered by a script.
async fn connected(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Arc<Upstream> {
    let origin = serve(move |asked| sane(asked, "s1").unwrap_or_else(|| script(asked))).await;
    let upstream = at(format!("{origin}/mcp"), false);
    upstream.connect().await.unwrap();
    upstream
}

fn text(called: Result<Product, RunFault>) -> Value {
    called.unwrap().result["content"][0]["text"].clone()
}

fn content(text: &str) -> Value {
    json!({"content": [{"type": "text", "text": text}]})
}

/// Calls until a call reaches the server: while it is connected again nothing is claimed.
async fn call_again(upstream: &Arc<Upstream>) -> Result<Product, RunFault> {
    loop {
        let called = call_in(upstream, context()).await;
        if !matches!(called, Err(RunFault::NotStarted(_))) {
            return called;
        }
        yield_now().await;
    }
}

#[tokio::test]
async fn a_server_that_has_forgotten_its_session_is_greeted_anew_and_nothing_was_claimed() {
    // One says so as it should (404), one as many do (400).
    for status in [404, 400] {
        let sessions = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&sessions);
        let script = move |asked: &Asked| {
            let now = format!("s{}", counted.load(Ordering::SeqCst));
            if asked.message()["method"] == "initialize" {
                let next = counted.fetch_add(1, Ordering::SeqCst) + 1;
                return sane(asked, &format!("s{next}")).unwrap();
            }
            if asked.line().0 == "GET" {
                return Reply::Whole(405, String::new(), Vec::new());
            }
            if asked.message()["method"] != "server/discover" && asked.header("mcp-session-id") != now {
                let error = json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32_000, "message": "no session"}});
                return Reply::Whole(status, String::new(), error.to_string().into_bytes());
            }
            sane(asked, &now).unwrap_or_else(|| whole(asked, content(&now)))
        };
        let upstream = at(format!("{}/mcp", serve(script).await), false);
        upstream.connect().await.unwrap();
        let tended = Arc::clone(&upstream);
        let tending = tokio::spawn(async move { tended.tend().await });
        assert_eq!(text(call_in(&upstream, context()).await), "s1");
        // The server begins anew.
        sessions.fetch_add(1, Ordering::SeqCst);
        let refused = call_in(&upstream, context()).await;
        assert!(matches!(refused, Err(RunFault::NotStarted(NotStarted::Unavailable(_)))), "{refused:?}");
        assert_eq!(text(call_again(&upstream).await), "s3");
        tending.abort();
    }
}

#[tokio::test]
async fn a_request_that_is_bad_ends_no_session() {
    let upstream = connected(|asked| match asked.line().0 {
        "GET" => Reply::Whole(405, String::new(), Vec::new()),
        _ => Reply::Whole(400, String::new(), Vec::new()),
    });
    let upstream = upstream.await;
    for _ in 0..3 {
        let product = call_in(&upstream, context()).await.unwrap();
        assert_eq!(product.result["rpcError"]["data"]["status"], 400);
    }
}

#[tokio::test]
async fn a_server_that_is_gone_within_a_call_leaves_it_unknown() {
    let upstream = connected(|asked| match asked.line().0 {
        "GET" => Reply::Whole(405, String::new(), Vec::new()),
        _ => Reply::Close,
    });
    lost(call_in(&upstream.await, context()).await);
    let upstream = connected(|asked| match asked.line().0 {
        "GET" => Reply::Whole(405, String::new(), Vec::new()),
        // It cannot be asked to go on: its events have no names.
        _ => Reply::Events(event(
            "",
            b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{}}",
        )),
    });
    lost(call_in(&upstream.await, context()).await);
}

#[tokio::test]
async fn a_stream_that_breaks_off_goes_on_where_it_was_and_the_call_is_sent_once() {
    let calls = Arc::new(Mutex::new(Vec::<Value>::new()));
    let seen = Arc::clone(&calls);
    let upstream = connected(move |asked| {
        let mut calls = seen.lock().unwrap();
        if asked.line().0 == "POST" {
            calls.push(asked.message()["id"].clone());
            return Reply::Events(event("e1", b""));
        }
        match asked.header("last-event-id").as_str() {
            // It breaks off once more, within an event.
            "e1" => Reply::Events([event("e2", b""), b"id: e3\ndata: {\"half".to_vec()].concat()),
            "e2" => {
                let answer = json!({"jsonrpc": "2.0", "id": calls[0], "result": content("late")});
                Reply::EventsOn(event("e4", answer.to_string().as_bytes()))
            }
            _ => Reply::Whole(405, String::new(), Vec::new()),
        }
    });
    let upstream = upstream.await;
    assert_eq!(text(call_in(&upstream, context()).await), "late");
    assert_eq!(calls.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_stream_that_cannot_go_on_has_lost_the_call() {
    let upstream = connected(|asked| match asked.line().0 {
        "POST" => Reply::Events(event("e1", b"")),
        _ => Reply::Whole(405, String::new(), Vec::new()),
    });
    lost(call_in(&upstream.await, context()).await);
}

#[tokio::test]
async fn no_redirect_is_followed() {
    let elsewhere = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&elsewhere);
    let other = serve(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Reply::Close
    });
    let other = other.await;
    for status in [301, 302, 303, 307, 308] {
        let location = format!("Location: {other}/mcp\r\n");
        let upstream = connected(move |_| Reply::Whole(status, location.clone(), Vec::new())).await;
        let product = call_in(&upstream, context()).await.unwrap();
        assert_eq!(
            (product.verdict, product.result["rpcError"]["data"]["status"].clone()),
            (Verdict::Exception, json!(status))
        );
    }
    assert_eq!(elsewhere.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn answers_that_make_no_sense_reach_nobody_and_harm_no_other_call() {
    let number = AtomicUsize::new(0);
    let upstream = connected(move |asked| {
        if asked.line().0 == "GET" {
            return Reply::Whole(405, String::new(), Vec::new());
        }
        let stray = json!({"jsonrpc": "2.0", "id": 4_000_000, "result": content("forged")}).to_string();
        let answer = told(asked, content("first"));
        match number.fetch_add(1, Ordering::SeqCst) {
            // Two answers under one name, and one to nothing.
            0 => Reply::EventsOn(
                [event("", stray.as_bytes()), event("", &answer), event("", &told(asked, content("second")))]
                    .concat(),
            ),
            // More than is read.
            1 => Reply::Whole(200, String::new(), vec![b' '; FRAME_BYTES_MAX + 1]),
            2 => Reply::Events(vec![b'x'; FRAME_BYTES_MAX + 1]),
            // No message at all, and of another kind.
            3 => Reply::Whole(200, "Content-Type: text/html\r\n".to_owned(), b"<html>".to_vec()),
            4 => Reply::Whole(200, "Content-Encoding: gzip\r\n".to_owned(), answer),
            _ => whole(asked, content("fine")),
        }
    });
    let upstream = upstream.await;
    assert_eq!(text(call_in(&upstream, context()).await), "first");
    for _ in 0..4 {
        lost(call_in(&upstream, context()).await);
    }
    assert_eq!(text(call_in(&upstream, context()).await), "fine");
}

#[tokio::test]
async fn a_message_that_cannot_be_read_ends_the_conversation() {
    let upstream = connected(|asked| match asked.line().0 {
        "GET" => Reply::Whole(405, String::new(), Vec::new()),
        _ => Reply::Whole(200, String::new(), b"{\"jsonrpc\":\"2.0\",".to_vec()),
    });
    let upstream = upstream.await;
    lost(call_in(&upstream, context()).await);
    let refused = call_in(&upstream, context()).await;
    assert!(matches!(refused, Err(RunFault::NotStarted(_))), "{refused:?}");
}

#[tokio::test]
async fn what_a_server_says_by_itself_is_heard_and_a_list_that_changed_is_read_again() {
    let lists = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&lists);
    let script = move |asked: &Asked| match (asked.line().0, asked.message()["method"].as_str()) {
        // Before they are listed nothing has changed.
        ("GET", _) if counted.load(Ordering::SeqCst) == 0 => Reply::Events(event("", b"")),
        ("GET", _) => {
            let changed = json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"});
            Reply::EventsOn(event("", changed.to_string().as_bytes()))
        }
        (_, Some("tools/list")) => {
            let number = counted.fetch_add(1, Ordering::SeqCst);
            whole(asked, json!({"tools": [entry(if number == 0 { "add" } else { "more" }, "")]}))
        }
        _ => sane(asked, "s1").unwrap(),
    };
    let upstream = at(format!("{}/mcp", serve(script).await), false);
    upstream.connect().await.unwrap();
    let mut changes = upstream.changes();
    let tended = Arc::clone(&upstream);
    let tending = tokio::spawn(async move { tended.tend().await });
    changes.wait_for(|changes| changes.tools > 1).await.unwrap();
    assert_eq!(upstream.tools()[0].entry.name, "more");
    tending.abort();
}

#[tokio::test]
async fn a_stream_that_is_there_again_says_that_something_may_be_missed() {
    let streams = AtomicUsize::new(0);
    let origin = serve(move |asked| match asked.line().0 {
        "GET" if streams.fetch_add(1, Ordering::SeqCst) == 0 => Reply::Events(event("", b"")),
        "GET" => Reply::EventsOn(Vec::new()),
        _ => sane(asked, "s1").unwrap(),
    });
    let connect = http(format!("{}/mcp", origin.await), false);
    let mut link = connect.open().await.unwrap().0;
    link.outbound.send(Outbound::new(None, GREETED, "{}".to_owned())).await.unwrap();
    assert!(matches!(link.inbound.recv().await, Some(Inbound::Missed)));
}

#[tokio::test]
async fn a_session_that_nobody_needs_any_more_is_ended() {
    let (says, mut hears): (UnboundedSender<String>, UnboundedReceiver<String>) = unbounded_channel();
    let script = move |asked: &Asked| match asked.line().0 {
        "DELETE" => {
            drop(says.send(asked.header("mcp-session-id")));
            Reply::Whole(200, String::new(), Vec::new())
        }
        "GET" => Reply::Whole(405, String::new(), Vec::new()),
        _ => sane(asked, "s1").unwrap(),
    };
    let upstream = at(format!("{}/mcp", serve(script).await), false);
    upstream.connect().await.unwrap();
    drop(upstream);
    assert_eq!(hears.recv().await.as_deref(), Some("s1"));
}

/// A server of the older transport, whose stream says this.
async fn older(told: impl Into<Vec<u8>>) -> Arc<Upstream> {
    let told = told.into();
    let script = move |asked: &Asked| match asked.line() {
        ("GET", "/sse") => Reply::EventsOn(told.clone()),
        _ => Reply::Whole(202, String::new(), Vec::new()),
    };
    at(format!("{}/sse", serve(script).await), true)
}

#[tokio::test]
async fn the_older_transport_posts_to_its_own_origin_and_nowhere_else() {
    let upstream = older(b"event: endpoint\ndata: http://127.0.0.2:9999/post\n\n").await;
    let error = upstream.connect().await.unwrap_err().to_string();
    assert!(error.contains("another origin"), "{error}");
    let upstream = older(b"event: endpoint\ndata: //127.0.0.2:9999/post\n\n").await;
    let error = upstream.connect().await.unwrap_err().to_string();
    assert!(error.contains("another origin"), "{error}");
    let moved =
        serve(|_| Reply::Whole(302, "Location: http://127.0.0.2:9999/sse\r\n".to_owned(), Vec::new())).await;
    let error = at(format!("{moved}/sse"), true).connect().await.unwrap_err().to_string();
    assert!(error.contains("status 302"), "{error}");
}

#[tokio::test]
async fn a_flood_on_a_stream_ends_the_conversation_and_not_the_gateway() {
    let noise = event("", b"noise").repeat(1_000);
    let upstream = older([b"event: endpoint\ndata: /post\n\n".to_vec(), noise].concat()).await;
    let error = upstream.connect().await.unwrap_err().to_string();
    assert!(error.contains("makes no sense"), "{error}");
}

#[tokio::test]
async fn a_stateless_server_is_told_the_method_the_tool_and_marked_arguments_in_the_head() {
    let heads = Arc::new(Mutex::new(Vec::<String>::new()));
    let seen = Arc::clone(&heads);
    let script = move |asked: &Asked| match asked.message()["method"].as_str().unwrap_or_default() {
        "server/discover" => whole(
            asked,
            json!({"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}),
        ),
        "tools/list" => {
            let marked = |kind: &str| json!({"type": "object", "properties": {"a": {"type": kind, "x-mcp-header": "A"}}});
            let tool = |name: &str, kind: &str| json!({"name": name, "inputSchema": marked(kind)});
            whole(
                asked,
                json!({"resultType": "complete", "tools": [tool("add", "integer"), tool("bad", "number")]}),
            )
        }
        "tools/call" => {
            seen.lock().unwrap().push(asked.head.to_ascii_lowercase());
            whole(asked, json!({"resultType": "input_required", "inputRequests": {}, "requestState": "x"}))
        }
        _ => Reply::Whole(404, String::new(), Vec::new()),
    };
    let upstream = at(format!("{}/mcp", serve(script).await), false);
    let offer = upstream.connect().await.unwrap();
    assert_eq!((offer.entries.len(), offer.unusable), (1, 1));
    // What it wants beside arguments nobody gives it, and the call is over.
    let product = call_in(&upstream, context()).await.unwrap();
    assert!(product.verdict == Verdict::Exception && product.result["isError"] == true);
    let head = heads.lock().unwrap()[0].clone();
    for line in
        ["mcp-protocol-version: 2026-07-28", "mcp-method: tools/call", "mcp-name: add", "mcp-param-a: 1"]
    {
        assert!(head.lines().any(|found| found == line), "{line}: {head}");
    }
    // Nothing of a session, and nothing of whoever asks us.
    assert!(!head.contains("mcp-session-id") && !head.contains("authorization"), "{head}");
}

/// How long what is not timed may take.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn what_comes_behind_the_greeting_is_sent_when_the_server_has_it_and_is_listened_to() {
    let (says, mut hears) = unbounded_channel();
    let script = move |asked: &Asked| {
        let method = asked.message()["method"].as_str().unwrap_or_default().to_owned();
        drop(says.send(format!("{} {method}", asked.line().0)));
        sane(asked, "s1").unwrap_or(Reply::Whole(405, String::new(), Vec::new()))
    };
    let upstream = at(format!("{}/mcp", serve(script).await), false);
    timeout(PATIENCE, upstream.connect()).await.unwrap().unwrap();
    let mut heard = Vec::new();
    while let Ok(line) = hears.try_recv() {
        heard.push(line);
    }
    let greeting = ["POST server/discover", "POST initialize", "POST notifications/initialized"];
    assert_eq!(heard, [&greeting[..], &["GET ", "POST tools/list"]].concat());
}

#[tokio::test]
async fn what_is_given_up_frees_its_place_at_once() {
    let (saw, mut seen) = unbounded_channel();
    let upstream = connected(move |asked| {
        if asked.message()["params"]["_meta"]["execgate/run"].is_null() {
            return Reply::Whole(202, String::new(), Vec::new());
        }
        saw.send(()).unwrap();
        // It says nothing more, for as long as it is asked.
        Reply::EventsOn(b": \n\n".to_vec())
    })
    .await;
    // More than there are places at a server.
    for _ in 0..300 {
        let context = context();
        let cancel = context.cancel.clone();
        let called = tokio::spawn({
            let upstream = Arc::clone(&upstream);
            async move { call_in(&upstream, context).await }
        });
        seen.recv().await.unwrap();
        cancel.cancel();
        assert!(lost(called.await.unwrap()).contains("the caller was gone"));
    }
}

#[tokio::test]
async fn each_caller_has_a_session_of_its_own() {
    let sessions = Arc::new(AtomicUsize::new(0));
    let origin = serve({
        let sessions = Arc::clone(&sessions);
        move |asked| {
            let number = if asked.message()["method"] == "initialize" {
                sessions.fetch_add(1, Ordering::SeqCst)
            } else {
                0
            };
            let told = content(&asked.header("mcp-session-id"));
            sane(asked, &format!("s{number}")).unwrap_or_else(|| whole(asked, told))
        }
    })
    .await;
    let per_caller = Sharing::PerCaller { processes_max: 4, idle: Duration::from_secs(60) };
    let upstream = at_for(format!("{origin}/mcp"), false, per_caller);
    upstream.connect().await.unwrap();
    let call = async |owner: Option<u8>| {
        let tool = Upstreams::new([Arc::clone(&upstream)]).find("srv.add").unwrap();
        let (payload, options) = (json!({}), RunOptions::default());
        let call = Call { payload: &payload, options: &options, effect: Effect::Live };
        let mut prepared = tool.prepare(&call).unwrap();
        prepared.belongs_to(owner.map(|owner| Digest::from_bytes([owner; 32])))?;
        prepared.reserve()?;
        prepared.run(context()).await
    };
    // The first session is asked for its list alone.
    let told = [call(Some(1)).await, call(Some(2)).await, call(Some(1)).await].map(text);
    assert_eq!(told, ["s1", "s2", "s1"]);
    assert!(matches!(call(None).await, Err(RunFault::NotStarted(NotStarted::Unavailable(_)))));
    assert_eq!(sessions.load(Ordering::SeqCst), 3);
}
