//! Calls of code that nobody thought of: whatever comes, there is an answer, and it is JSON.

use execgate_testkit::{Bench, CODE_ROUTES, World, post};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tokio::runtime::Builder;

use super::shapes::assert_refused;

/// Calls of a property, each on every route: a world answers thousands in a second.
const CASES: u32 = 400;

/// A world and a runtime for many calls, none of which may block or end its process.
fn holds_of_answers<T: core::fmt::Debug>(calls: &impl Strategy<Value = T>, body: impl Fn(&T) -> Vec<u8>) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let world = World::free();
    world.bench().let_go();
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let held = TestRunner::new(config).run(calls, |call| {
        let body = body(&call);
        for route in CODE_ROUTES {
            let reply = runtime.block_on(world.http(post(route, body.clone())));
            let known = matches!(reply.status, 200..300 | 400..500 | 503);
            // Two scripted tools end as a sandbox that cannot be made, and as code that does not end.
            let scripted = matches!(reply.status, 502 | 504);
            assert!(known || scripted, "{route}: {}", reply.show());
            assert!(serde_json::from_slice::<Value>(&reply.body).is_ok(), "{route}: {}", reply.show());
            if reply.status == 400 {
                assert_refused(&reply, route, 400, "a call");
            }
        }
        Ok(())
    });
    assert!(held.is_ok(), "{}", held.unwrap_err());
}

/// Any JSON value of a few levels.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::String),
        select(vec!["gives", "raises", "python", "js", "ts", "e30="]).prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::Array),
            vec((any::<String>(), inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// A call whose fields have the right names and any values; one that runs, more often than not.
fn near_a_call() -> impl Strategy<Value = Value> {
    let fields = [
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
    let tools: Vec<_> = Bench::actions().filter(|tool| *tool != "dies").collect();
    let code = prop_oneof![3 => select(tools).prop_map(Value::from), 1 => any_json()];
    (code, vec((select(fields.to_vec()), any_json()), 0..4)).prop_map(|(code, fields)| {
        let mut call = json!({ "code": code });
        for (name, value) in fields {
            call[name] = value;
        }
        call
    })
}

#[test]
fn whatever_json_a_call_is_it_has_an_answer() {
    let calls = prop_oneof![1 => any_json(), 3 => near_a_call()];
    holds_of_answers(&calls, |call| call.to_string().into_bytes());
}

#[test]
fn whatever_bytes_a_call_is_it_has_an_answer() {
    let good = json!({"code": "gives", "language": "js", "receipt": true}).to_string().into_bytes();
    let spoilt = vec((any::<Index>(), any::<u8>()), 0..4).prop_map(move |changes| {
        changes.into_iter().fold(good.clone(), |mut bytes, (at, byte)| {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes
        })
    });
    let bytes = prop_oneof![1 => vec(any::<u8>(), 0..200), 3 => spoilt];
    holds_of_answers(&bytes, Clone::clone);
}
