//! Calls that nobody thought of, on every surface: whatever comes, there is an answer, and it is JSON.

use execgate_testkit::{Bench, CODE_ROUTES, Reply, TOOL_ROUTES, World, post};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tokio::runtime::Builder;

use super::shapes::assert_refused;

/// Calls of a property, each on every route: a world answers thousands in a second.
const CASES: u32 = 400;

/// What must hold of an answer of a route.
type Check = fn(&Reply, &str);

/// A world and a runtime for many calls, none of which may block or end its process.
fn holds_of_answers(routes: &[&str], calls: &impl Strategy<Value = Vec<u8>>, check: Check) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let world = World::free();
    world.bench().let_go();
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let held = TestRunner::new(config).run(calls, |body| {
        for route in routes {
            let reply = runtime.block_on(world.http(post(route, body.clone())));
            assert!(serde_json::from_slice::<Value>(&reply.body).is_ok(), "{route}: {}", reply.show());
            check(&reply, route);
        }
        Ok(())
    });
    assert!(held.is_ok(), "{}", held.unwrap_err());
}

/// A surface that sells code says what is wrong in its own shape.
fn code_answers(reply: &Reply, route: &str) {
    let known = matches!(reply.status, 200..300 | 400..500 | 503);
    // Two scripted tools end as a sandbox that cannot be made, and as code that does not end.
    let scripted = matches!(reply.status, 502 | 504);
    assert!(known || scripted, "{route}: {}", reply.show());
    if reply.status == 400 {
        assert_refused(reply, route, 400, "a call");
    }
}

/// SecureExec never answers 500, and always with a proof.
fn tool_answers(reply: &Reply, route: &str) {
    assert!(matches!(reply.status, 200 | 400..500 | 503), "{route}: {}", reply.show());
    let body = reply.json();
    let proof = body["proofHash"].as_str().and_then(|proof| proof.strip_prefix("0x"));
    let is_digest = |proof: &str| proof.len() == 64 && proof.bytes().all(|b| b.is_ascii_hexdigit());
    assert!(proof.is_some_and(is_digest), "{route}: {}", reply.show());
}

/// Any JSON value of a few levels. Some of its texts mean something to some field.
fn any_json() -> impl Strategy<Value = Value> {
    let words = ["gives", "raises", "python", "js", "ts", "bash", "{}", "e30="];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::String),
        select(words.to_vec()).prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::Array),
            vec((any::<String>(), inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// The name of a scripted tool that runs, more often than not.
fn any_name() -> impl Strategy<Value = Value> {
    let tools: Vec<_> = Bench::actions().filter(|tool| *tool != "dies").collect();
    prop_oneof![3 => select(tools).prop_map(Value::from), 1 => any_json()]
}

/// Fields of the right names with any values.
fn any_fields(
    names: &'static [&'static str],
    most: usize,
) -> impl Strategy<Value = Vec<(&'static str, Value)>> {
    vec((select(names), any_json()), 0..=most)
}

/// Code whose fields have the right names and any values.
fn near_a_code_call() -> impl Strategy<Value = Value> {
    let fields = &[
        "language",
        "receipt",
        "approval_artifact",
        "mark",
        "timeout",
        "stdin",
        "args",
        "files",
        "collect",
        "rich",
        "profile",
        "tier",
        "dialect",
        "nonce",
    ];
    (any_name(), any_fields(fields, 3)).prop_map(|(code, fields)| {
        let mut call = json!({ "code": code });
        for (name, value) in fields {
            call[name] = value;
        }
        call
    })
}

/// A tool's call, or a batch of one, whose fields have the right names and any values.
fn near_a_tool_call() -> impl Strategy<Value = Value> {
    let outer =
        any_fields(&["agentId", "dryRun", "context", "approval_artifact", "stopOnError", "calls", "tool"], 2);
    let inner = any_fields(&["args", "timeout_s", "name", "extra"], 1);
    (any_name(), outer, inner, any::<bool>()).prop_map(|(name, outer, inner, batched)| {
        let mut call = json!({"tool": {"name": name}});
        for (field, value) in inner {
            call["tool"][field] = value;
        }
        if batched {
            call = json!({"calls": [call]});
        }
        for (field, value) in outer {
            call[field] = value;
        }
        call
    })
}

/// The bytes of any JSON, or of what is nearly a call.
fn json_bytes(near: impl Strategy<Value = Value>) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![1 => any_json(), 3 => near].prop_map(|call| call.to_string().into_bytes())
}

/// Any bytes, or those of a good call with some of them spoilt.
fn spoilt_bytes(good: &Value) -> impl Strategy<Value = Vec<u8>> {
    let good = good.to_string().into_bytes();
    let spoilt = vec((any::<Index>(), any::<u8>()), 0..4).prop_map(move |changes| {
        changes.into_iter().fold(good.clone(), |mut bytes, (at, byte)| {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes
        })
    });
    prop_oneof![1 => vec(any::<u8>(), 0..200), 3 => spoilt]
}

#[test]
fn whatever_json_a_call_of_code_is_it_has_an_answer() {
    holds_of_answers(&CODE_ROUTES, &json_bytes(near_a_code_call()), code_answers);
}

#[test]
fn whatever_bytes_a_call_of_code_is_it_has_an_answer() {
    let good = json!({"code": "gives", "language": "js", "receipt": true});
    holds_of_answers(&CODE_ROUTES, &spoilt_bytes(&good), code_answers);
}

#[test]
fn whatever_json_a_call_of_a_tool_is_it_has_an_answer() {
    holds_of_answers(&TOOL_ROUTES, &json_bytes(near_a_tool_call()), tool_answers);
}

#[test]
fn whatever_bytes_a_call_of_a_tool_is_it_has_an_answer() {
    let good = json!({"tool": {"name": "gives", "args": "{}"}, "dryRun": false});
    holds_of_answers(&TOOL_ROUTES, &spoilt_bytes(&good), tool_answers);
}
