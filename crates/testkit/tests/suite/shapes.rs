//! Bad input on every surface: a clear 4xx of the surface's own shape, nothing told of what is inside, nothing run,
//! and the next request is fine. `any_call` asks the same of calls that nobody thought of.

use core::time::Duration;
use std::io;

use axum::body::{Body, Bytes};
use axum::http::{Method, Request};
use execgate_receipt::digest_json;
use execgate_testkit::{
    CODE_ROUTES, Reply, TOOL_ROUTES, World, execute, get, piecewise, post, until_idle, with,
};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

/// What the inside of the gateway is called, and must not be called to strangers.
const INNER_WORDS: [&str; 16] = [
    "panic",
    ".rs",
    "src/",
    "crates",
    "backtrace",
    "/home",
    "/root",
    "/tmp",
    "/dev/",
    "0.0.0-test",
    "serde",
    "tokio",
    "axum",
    "hyper",
    "sqlite",
    "record.db",
];

/// Every path that takes a body.
const ROUTES: [&str; 8] = [
    "/execute",
    CODE_ROUTES[0],
    CODE_ROUTES[1],
    CODE_ROUTES[2],
    "/receipts/verify",
    TOOL_ROUTES[0],
    TOOL_ROUTES[1],
    TOOL_ROUTES[2],
];

/// A refusal has the shape of its surface, and tells nothing that is inside.
pub(super) fn assert_refused(reply: &Reply, route: &str, status: u16, case: &str) {
    assert_eq!(reply.status, status, "{case} on {route}: {}", reply.show());
    let text = String::from_utf8(reply.body.clone()).unwrap().to_lowercase();
    for word in INNER_WORDS {
        assert!(!text.contains(word), "{case} on {route} tells `{word}`: {text}");
    }
    let body = reply.json();
    if route.starts_with("/exec/") {
        return assert_refused_in_exec(reply, status, case);
    }
    let plain = route.starts_with("/api/") && !matches!(status, 401 | 403 | 421);
    let kind = if plain { "application/json" } else { "application/problem+json" };
    assert_eq!(reply.header("content-type"), Some(kind), "{case} on {route}");
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{case} on {route}");
    if plain {
        assert_eq!(body.as_object().map(Map::len), Some(1), "{case} on {route}: {body}");
        assert!(body["error"].as_str().is_some_and(|error| !error.is_empty()), "{case} on {route}: {body}");
    } else {
        assert_eq!(body["status"], status, "{case} on {route}: {body}");
        assert!(body["type"].as_str().unwrap().ends_with(body["code"].as_str().unwrap()), "{case}: {body}");
        assert!(body["detail"].is_string(), "{case} on {route}: {body}");
        assert_eq!(body["error"].is_string(), route.starts_with("/api/"), "{case} on {route}: {body}");
    }
}

/// The shape of `/exec/*`: the envelope without a result, and a digest of it.
fn assert_refused_in_exec(reply: &Reply, status: u16, case: &str) {
    let mut body = reply.json();
    assert_eq!(reply.header("content-type"), Some("application/json"), "{case}");
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{case}");
    let told = (&body["status"], &body["result"], &body["error"]["status"], &body["schemaVersion"]);
    assert_eq!(told, (&json!("refused"), &Value::Null, &json!(status), &json!("v1")), "{case}: {body}");
    assert!(body["error"]["detail"].is_string(), "{case}: {body}");
    let proof = body.as_object_mut().unwrap().remove("proofHash").unwrap();
    assert_eq!((proof, &body["durable"]), (json!(proof_of(&body)), &json!(false)), "{case}");
}

/// The `proofHash` of an answer that no receipt stands for.
pub(super) fn proof_of(body: &Value) -> String {
    format!("0x{}", digest_json(body).unwrap())
}

/// Nothing has run, and whoever comes next is served.
async fn assert_unharmed(world: &World) {
    assert_eq!((world.runs().await.len(), world.journal().events()), (0, vec![]));
    let next = execute(&json!({"action": "gives", "nonce": "next"}));
    assert_eq!(world.http(next).await.status, 200);
    for route in CODE_ROUTES {
        assert_eq!(world.http(post(route, r#"{"code": "gives"}"#)).await.status, 200);
    }
}

fn nested(open: &str, close: &str, levels: usize) -> Vec<u8> {
    format!("{{\"code\": {}1{}}}", open.repeat(levels), close.repeat(levels)).into_bytes()
}

/// Bodies that are no JSON object, each with its name.
fn no_objects() -> Vec<(&'static str, Vec<u8>)> {
    let texts = [
        ("nothing", ""),
        ("white space", " \r\n\t "),
        ("an open brace", "{"),
        ("a brace too many", "{}}"),
        ("two values", "{} {}"),
        ("a bare word", "nul"),
        ("null", "null"),
        ("true", "true"),
        ("a number", "5"),
        ("a string", "\"{}\""),
        ("a list", "[{\"code\": \"gives\"}]"),
        ("no value", "{\"code\": }"),
        ("single quotes", "{'code': 'gives'}"),
        ("a comma at the end", "{\"code\": \"gives\",}"),
        ("a comment", "{\"code\": \"gives\" /* so */}"),
        ("NaN", "{\"timeout\": NaN}"),
        ("a number beyond doubles", "{\"code\": \"gives\", \"timeout\": 1e999}"),
        ("2^63", "{\"code\": \"gives\", \"timeout\": 9223372036854775808}"),
        ("-2^63", "{\"code\": \"gives\", \"timeout\": -9223372036854775808}"),
        ("2^64", "{\"code\": \"gives\", \"timeout\": 18446744073709551616}"),
        ("a leading zero", "{\"timeout\": 007}"),
        ("half a surrogate pair", "{\"code\": \"\\ud800\"}"),
        ("the other half", "{\"code\": \"\\udc00\"}"),
        ("half a pair as a name", "{\"\\ud800\": 1}"),
        ("a pair the wrong way round", "{\"code\": \"\\udc00\\ud800\"}"),
        ("a name twice", "{\"code\": \"gives\", \"code\": \"raises\"}"),
        ("a name twice, spelt otherwise", "{\"code\": \"gives\", \"\\u0063ode\": \"raises\"}"),
        ("a name twice, within", "{\"payload\": {\"a\": 1, \"a\": 2}}"),
        ("a raw line break in a string", "{\"code\": \"a\nb\"}"),
        ("a raw NUL in a string", "{\"code\": \"a\0b\"}"),
        ("a NUL at the end", "{\"code\": \"gives\"}\0"),
        ("a byte order mark", "\u{feff}{\"code\": \"gives\"}"),
        ("a form", "code=gives"),
        ("a page", "<html></html>"),
    ];
    let utf16 = "{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let bytes = [
        ("UTF-16", utf16),
        ("no UTF-8", b"{\"code\": \"\xff\xfe\"}".to_vec()),
        ("an overlong slash", b"{\"code\": \"\xc0\xaf\"}".to_vec()),
        ("a surrogate as bytes", b"{\"code\": \"\xed\xa0\x80\"}".to_vec()),
        ("compressed", b"\x1f\x8b\x08\x00\x00\x00\x00\x00".to_vec()),
        ("65 levels", nested("[", "]", 64)),
        ("10,000 levels of lists", nested("[", "]", 10_000)),
        ("10,000 levels of objects", nested("{\"a\":", "}", 10_000)),
        ("a million open brackets", b"[".repeat(1_000_000)),
    ];
    texts.map(|(case, text)| (case, text.as_bytes().to_vec())).into_iter().chain(bytes).collect()
}

#[tokio::test]
async fn a_body_that_is_no_object_is_400_on_every_surface() {
    let world = World::free();
    for (case, body) in no_objects() {
        for route in ROUTES {
            let reply = world.http(post(route, body.clone())).await;
            assert_refused(&reply, route, 400, case);
        }
    }
    assert_unharmed(&world).await;
}

/// Values of every type.
fn of_every_type() -> [Value; 9] {
    [
        json!(null),
        json!(true),
        json!(-0.0),
        json!(7),
        json!(1e300),
        json!("a text"),
        json!([]),
        json!(["a"]),
        json!({"a": 1}),
    ]
}

/// Routes, a good call of them, one of its fields, and what that may be.
type Rule<'a> = (&'a [&'a str], &'a Value, &'a str, &'a dyn Fn(&Value) -> bool);

#[tokio::test]
async fn a_field_of_the_wrong_type_is_400_on_every_surface() {
    let execute = json!({"action": "gives", "nonce": "n"});
    let code = json!({"code": "gives"});
    let verify = json!({"exec_id": "x", "receipt": "y", "result": 1});
    let is_text = |value: &Value| value.as_str().is_some_and(|text| !text.contains(' '));
    let is_object = |value: &Value| value.is_object() || value.is_null();
    let is_switch = |value: &Value| value.is_boolean() || value.is_null();
    let fields: [Rule<'_>; 9] = [
        (&ROUTES[..1], &execute, "action", &is_text),
        (&ROUTES[..1], &execute, "nonce", &Value::is_string),
        (&ROUTES[..1], &execute, "payload", &is_object),
        (&CODE_ROUTES, &code, "code", &is_text),
        (&CODE_ROUTES, &code, "language", &Value::is_null),
        (&CODE_ROUTES, &code, "receipt", &is_switch),
        (&CODE_ROUTES, &code, "mark", &Value::is_string),
        (&ROUTES[4..5], &verify, "exec_id", &Value::is_string),
        (&ROUTES[4..5], &verify, "receipt", &Value::is_string),
    ];
    let world = World::free();
    let mut refused = 0;
    for (routes, good, field, is_right) in fields {
        for value in of_every_type().into_iter().filter(|value| !is_right(value)) {
            for route in routes {
                let mut body = good.clone();
                body[field] = value.clone();
                let reply = world.http(post(route, body.to_string())).await;
                assert_refused(&reply, route, 400, &format!("`{field}`: {value}"));
                refused += 1;
            }
        }
    }
    assert!(refused > 100, "{refused}");
    assert_unharmed(&world).await;
}

#[tokio::test]
async fn a_field_that_is_missing_or_unknown_is_400_and_named() {
    let world = World::free();
    let long = "x".repeat(1000);
    let cases = [
        ("/execute", json!({}), "action"),
        ("/execute", json!({"action": "gives"}), "nonce"),
        ("/execute", json!({"nonce": "n"}), "action"),
        ("/execute", json!({"action": "gives", "nonce": "n", "code": "1"}), "unknown field `code`"),
        ("/execute", json!({"action": "gives", "nonce": "n", (&long): 1}), "unknown field `xxx"),
        ("/receipts/verify", json!({"exec_id": "x"}), "receipt"),
        ("/receipts/verify", json!({"exec_id": "x", "receipt": "y", "z": 1}), "unknown field `z`"),
    ];
    for (route, body, named) in cases {
        let reply = world.http(post(route, body.to_string())).await;
        assert_refused(&reply, route, 400, named);
        assert!(reply.json()["detail"].as_str().unwrap().contains(named), "{}", reply.show());
        assert!(reply.body.len() < 1000, "a long name is not told in full");
    }
    for route in CODE_ROUTES {
        assert_refused(&world.http(post(route, "{}")).await, route, 400, "no code");
    }
    assert_unharmed(&world).await;
}

/// A change of a request that makes it one that must not come in, and the status that says so.
type Spoilt = (&'static str, u16, fn(&mut Request<Body>));

const SPOILT: [Spoilt; 16] = [
    ("no type", 415, |request| drop(request.headers_mut().remove("content-type"))),
    ("another type", 415, |request| set(request, "content-type", "text/plain")),
    ("a form", 415, |request| set(request, "content-type", "application/x-www-form-urlencoded")),
    ("a longer type", 415, |request| set(request, "content-type", "application/jsonx")),
    ("a list of types", 415, |request| set(request, "content-type", "text/plain, application/json")),
    ("an empty type", 415, |request| set(request, "content-type", "")),
    ("no host", 400, |request| drop(request.headers_mut().remove("host"))),
    ("two hosts", 400, |request| {
        request.headers_mut().append("host", "localhost".parse().unwrap());
    }),
    ("an empty host", 421, |request| set(request, "host", "")),
    ("a foreign host", 421, |request| set(request, "host", "evil.example")),
    ("a host within a host", 421, |request| set(request, "host", "localhost.evil.example")),
    ("a foreign page", 403, |request| set(request, "origin", "https://evil.example")),
    ("a page of a file", 403, |request| set(request, "origin", "null")),
    ("a proxy", 403, |request| set(request, "x-forwarded-for", "10.0.0.1")),
    ("a credential", 401, |request| set(request, "authorization", "Bearer sk-1")),
    ("a key", 401, |request| set(request, "x-api-key", "sk-1")),
];

fn set(request: &mut Request<Body>, name: &'static str, value: &'static str) {
    request.headers_mut().insert(name, value.parse().unwrap());
}

#[tokio::test]
async fn who_must_not_come_in_is_told_in_the_shape_of_the_surface() {
    let world = World::free();
    for (case, status, spoil) in SPOILT {
        for route in ROUTES {
            // Receipts can be checked by anybody.
            if status == 401 && route == "/receipts/verify" {
                continue;
            }
            let mut request = post(route, json!({"code": "gives"}).to_string());
            spoil(&mut request);
            assert_refused(&world.http(request).await, route, status, case);
        }
    }
    let no_text = post("/api/code-run", "{}");
    let (mut head, body) = no_text.into_parts();
    head.headers.insert("content-type", vec![0xff].try_into().unwrap());
    let reply = world.http(Request::from_parts(head, body)).await;
    assert_refused(&reply, "/api/code-run", 415, "a type that is no text");
    assert_unharmed(&world).await;
}

#[tokio::test]
async fn json_may_be_declared_in_more_words() {
    let world = World::free();
    for kind in ["application/json; charset=utf-8", "Application/JSON", " application/json ;x=y"] {
        let request = with(post("/api/code-run", r#"{"code": "gives"}"#), "content-type", kind);
        assert_eq!(world.http(request).await.status, 200, "{kind}");
    }
}

#[tokio::test]
async fn strange_paths_and_methods_are_404_or_405() {
    let world = World::free();
    let paths = [
        "/api/code-run//",
        "//api/code-run",
        "/api/code-run/../../execute",
        "/api/code-run%00",
        "/%ff",
        "/api/*",
        "/receipts/",
        "/receipts/a/b",
        "/runs/../health",
        "*",
    ];
    for path in paths {
        let route = if path.starts_with("/api/") { path } else { "/elsewhere" };
        assert_refused(&world.http(get(path)).await, route, 404, path);
    }
    // What names no path at all: `CONNECT` of a proxy, and the method that nobody has heard of.
    for (method, target) in [("CONNECT", "localhost:80"), ("BREW", "/execute"), ("TRACE", "/api/code-run")] {
        let mut request = get(target);
        *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
        let status = if method == "CONNECT" { 404 } else { 405 };
        assert_refused(&world.http(request).await, target, status, method);
    }
    assert_unharmed(&world).await;
}

#[tokio::test]
async fn ids_of_any_form_are_404() {
    let world = World::free();
    let long = format!("/runs/{}", "a".repeat(60_000));
    for path in
        ["/runs/x", "/runs/%00", "/runs/%ff%fe", "/runs/%F0%9F%98%80", "/receipts/..%2f..%2fetc", &long]
    {
        let reply = world.http(get(path)).await;
        let status = if path.contains("%ff") { 400 } else { 404 };
        assert_refused(&reply, "/runs", status, path);
        assert!(reply.body.len() < 500, "{path:.40}");
    }
    assert_unharmed(&world).await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_413_however_it_comes() {
    let world = World::free();
    for route in ROUTES {
        let reply = world.http(post(route, vec![b' '; 10 << 20])).await;
        assert_refused(&reply, route, 413, "with a length");
        let (mut sender, body) = piecewise();
        let sends = tokio::spawn(async move {
            let piece = Bytes::from(vec![b' '; 1 << 20]);
            let mut sent = 0;
            while sent < 10 && sender.send_data(piece.clone()).await.is_ok() {
                sent += 1;
            }
            sent
        });
        assert_refused(&world.http(post(route, body)).await, route, 413, "in pieces");
        assert!(sends.await.unwrap() <= 10);
    }
    assert_unharmed(&world).await;
}

#[tokio::test]
async fn a_body_of_the_largest_size_is_read() {
    let world = World::free();
    let call = json!({"code": "gives"}).to_string();
    let body = format!("{call}{}", " ".repeat((8 << 20) - call.len()));
    assert_eq!(world.http(post("/api/code-run", body.clone())).await.status, 200);
    assert_refused(&world.http(post("/api/code-run", body + " ")).await, "/api/code-run", 413, "one more");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_408_after_half_a_minute() {
    let world = World::free();
    for route in ROUTES {
        let (mut sender, body) = piecewise();
        sender.send_data(Bytes::from_static(b"{\"code\":")).await.unwrap();
        let asked = Instant::now();
        assert_refused(&world.http(post(route, body)).await, route, 408, "a slow body");
        assert_eq!(asked.elapsed(), Duration::from_secs(30), "{route}");
        drop(sender);
    }
    assert_unharmed(&world).await;
}

#[tokio::test]
async fn a_body_that_comes_byte_by_byte_is_read() {
    let world = World::free();
    let (mut sender, body) = piecewise();
    tokio::spawn(async move {
        for byte in br#"{"code": "gives", "mark": "\ud83d\ude00"}"# {
            sender.send_data(Bytes::copy_from_slice(&[*byte])).await.unwrap();
        }
    });
    let reply = world.http(post("/api/code-run", body)).await;
    assert_eq!((reply.status, &reply.json()["gave"]["mark"]), (200, &json!("\u{1f600}")));
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_breaks_off_runs_nothing() {
    let world = World::free();
    for route in ROUTES {
        let (mut sender, body) = piecewise();
        sender.send_data(Bytes::from_static(br#"{"code": "gives"}"#)).await.unwrap();
        sender.abort(io::Error::from(io::ErrorKind::ConnectionReset));
        assert_refused(&world.http(post(route, body)).await, route, 400, "a broken body");

        let (mut sender, body) = piecewise();
        sender.send_data(Bytes::from_static(br#"{"code": "gives"}"#)).await.unwrap();
        let (gate, request) = (world.gate(), post(route, body));
        let caller = tokio::spawn(async move { gate.http(request).await });
        until_idle().await;
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled(), "{route}: it waits for the rest");
        until_idle().await;
    }
    assert_unharmed(&world).await;
}
