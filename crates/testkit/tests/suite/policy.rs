//! The policy file, on the way through the rooms: what refuses, what is counted, what a receipt says of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use execgate_flow::Refusal;
use execgate_receipt::{ReceiptFile, verify};
use execgate_store::Grant;
use execgate_testkit::{World, ask, execute, get, holder, post, with};
use execgate_web::ExecuteWords;
use insta::assert_snapshot;
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// A file that allows what it does not name.
fn open_but(tools: &Value) -> Value {
    json!({"version": "1", "default": "allow", "tools": tools})
}

/// At most so many calls of `gives` in a minute.
fn at_most(max: u64) -> Value {
    open_but(&json!({"gives": {"rate_limit": {"max": max, "window": "minute"}}}))
}

/// What a receipt says of the rules: the digest and the rule.
async fn said(world: &World, body: &Value) -> (String, String) {
    let reply = world.http(execute(body)).await;
    let id = reply.header("execgate-run").unwrap().to_owned();
    let file = ReceiptFile::from_json(&world.http(get(&format!("/receipts/{id}"))).await.body).unwrap();
    let verified = verify(&file, &[world.key()]).unwrap();
    let policy = serde_json::to_value(&verified.statement().predicate).unwrap()["policy"].clone();
    (policy["digest"].to_string(), policy["rule"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_denial_is_403_names_its_rule_and_leaves_nothing() {
    let file = open_but(&json!({"echo": {
        "deny_if": [{"path": "args.to", "op": "regex", "value": "@rival\\.example$", "on_deny": "not to rivals"}]
    }}));
    let world = World::builder().policy(file).open();
    let call = |to: &str| json!({"action": "echo", "payload": {"to": to}, "nonce": "n"});
    let reply = world.http(execute(&call("bob@rival.example"))).await;
    assert_snapshot!(reply.show(), @r#"
    403 application/problem+json
    {"type":"https://execgate.dev/problems#denied","title":"Forbidden","status":403,"detail":"not to rivals","code":"denied","room":"authorise","rule":"/tools/echo/deny_if/0"}
    "#);
    assert_eq!(world.runs().await, []);
    assert_eq!(world.http(execute(&call("bob@friend.example"))).await.status, 200);
}

#[tokio::test]
async fn the_labels_of_a_grant_are_what_conditions_see() {
    let file = open_but(&json!({
        "gives": {"deny_if": [{"path": "labels.env", "op": "eq", "value": "ci", "on_deny": "not from there"}]},
        "echo": {"require": [{"path": "labels.env", "op": "eq", "value": "ci"}]},
    }));
    let world = World::builder().policy(file).open();
    let labels = BTreeMap::from([("env".to_owned(), "ci".to_owned())]);
    let labelled = world.give(Grant { labels, ..holder("ci") }).await;
    let plain = world.give(holder("plain")).await;
    for (key, gives, echo) in [(&labelled, 403, 200), (&plain, 200, 403)] {
        for (action, status) in [("gives", gives), ("echo", echo)] {
            let call = execute(&json!({"action": action, "nonce": action}));
            let reply = world.http(with(call, "authorization", &format!("Bearer {key}"))).await;
            assert_eq!(reply.status, status, "{action}: {}", reply.show());
        }
    }
}

#[tokio::test]
async fn what_is_off_the_allow_list_or_against_the_file_is_refused_by_either() {
    let file = json!({"version": "1", "default": "deny", "tools": {"gives": {}, "raises": {}}});
    let world = World::builder().allow(["gives", "echo"]).policy(file).open();
    assert_eq!(world.walk(ask("raises")).await.rule(), "allow-list");
    assert_eq!(world.walk(ask("echo")).await.rule(), "/default");
    assert_eq!(world.walk(ask("gives")).await.passage().answer.status, 200);
}

#[tokio::test]
async fn health_says_restricted_where_a_file_denies_what_it_does_not_list() {
    let restriction = async |file: Value| {
        let world = World::builder().policy(file).open();
        world.http(get("/health")).await.json()["restriction"].as_str().unwrap().to_owned()
    };
    assert_eq!(restriction(json!({"version": "1", "default": "deny"})).await, "restricted");
    assert_eq!(restriction(open_but(&json!({}))).await, "open");
    assert_eq!(restriction(json!({"version": "1", "default": "deny", "mode": "shadow"})).await, "open");
}

#[tokio::test]
async fn a_rule_that_wants_an_approval_is_not_satisfied_by_the_mode() {
    let when = json!([{"path": "args.mark", "op": "eq", "value": "risky"}]);
    let world =
        World::builder().policy(open_but(&json!({"gives": {"require_approval": {"when": when}}}))).open();
    assert_eq!(world.walk(ask("gives").mark("risky")).await.rule(), "/tools/gives/require_approval");
    assert_eq!(world.walk(ask("gives").mark("tame")).await.passage().answer.status, 200);
    assert_eq!(world.journal().starts(), 1);
}

#[tokio::test]
async fn receipts_name_the_rule_and_the_rules_that_were_in_force() {
    let file = open_but(&json!({"raises": {"mode": "shadow", "action": "deny"}, "echo": {}}));
    let world = World::builder().policy(file).open();
    let call = |action: &str, nonce: &str| json!({"action": action, "nonce": nonce});
    let (digest, rule) = said(&world, &call("echo", "a")).await;
    assert_eq!(rule, "/tools/echo");
    assert_eq!(said(&world, &call("gives", "b")).await, (digest.clone(), "/default".to_owned()));
    assert_eq!(
        said(&world, &call("raises", "c")).await,
        (digest.clone(), "shadow:/tools/raises/action".to_owned())
    );

    world.obey(open_but(&json!({"echo": {"risk": "read"}})));
    let (later, rule) = said(&world, &call("echo", "d")).await;
    assert!(later != digest && rule == "/tools/echo");
}

#[tokio::test]
async fn rules_that_are_replaced_hold_from_the_next_call_on() {
    let world = World::builder().policy(open_but(&json!({}))).open();
    assert_eq!(world.walk(ask("gives").nonce("a")).await.passage().answer.status, 200);
    world.obey(open_but(&json!({"gives": {"action": "deny", "reason": "closed today"}})));
    let refused = world.http(execute(&json!({"action": "gives", "nonce": "b"}))).await;
    assert_eq!((refused.status, &refused.json()["detail"]), (403, &json!("closed today")));
    world.obey(open_but(&json!({})));
    assert_eq!(world.walk(ask("gives").nonce("b")).await.passage().answer.status, 200);
}

#[tokio::test]
async fn a_reached_limit_is_429_until_the_window_ends() {
    let world = World::builder().policy(at_most(1)).open();
    let call = |nonce: &str| execute(&json!({"action": "gives", "nonce": nonce}));
    let first = world.http(call("a")).await;
    let refused = world.http(call("b")).await;
    assert_snapshot!(refused.show(), @r#"
    429 application/problem+json
    {"type":"https://execgate.dev/problems#limit-reached","title":"Too Many Requests","status":429,"detail":"a limit is reached; it has room again in 60 s","code":"limit-reached","room":"authorise","rule":"/tools/gives/rate_limit"}
    "#);
    let wait_s: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait_s), "{wait_s}");

    // A replay is answered from the record, and no other action has anything to do with it.
    assert_eq!(world.http(call("a")).await.body, first.body);
    assert_eq!(world.walk(ask("raises")).await.passage().answer.status, 200);

    world.clock().advance_ms(wait_s * 1_000);
    assert_eq!(world.http(call("b")).await.status, 200);
    assert_eq!(world.journal().starts(), 3);
}

#[tokio::test]
async fn the_code_surfaces_tell_of_a_limit_in_their_own_shape() {
    let world = World::builder()
        .policy(
            json!({"version": "1", "default": "allow", "all_tools": {"rate_limit": {"max": 0, "window": 5}}}),
        )
        .open();
    let request = post("/api/code-run", json!({"code": "1", "language": "python"}).to_string());
    let reply = world.http(with(request, "idempotency-key", "k")).await;
    assert_eq!((reply.status, &reply.json()["rule"]), (403, &json!("/all_tools/rate_limit")));
}

#[tokio::test]
async fn however_many_call_at_once_no_more_than_the_limit_start() {
    let world = World::builder().policy(at_most(7)).open();
    let gates = [world.gate(), world.another_gate()];
    let mut walks = JoinSet::new();
    for number in 0..60 {
        let gate = gates[number % 2].clone();
        walks.spawn(async move {
            loop {
                match gate.corridor().walk(ask("gives").into(), Arc::new(ExecuteWords)).await {
                    // The other process commits.
                    Err(Refusal::Store(_)) => {}
                    walked => break walked.is_ok(),
                }
            }
        });
    }
    let passed = walks.join_all().await.into_iter().filter(|passed| *passed).count();
    assert_eq!((passed, world.journal().starts()), (7, 7));
}

#[tokio::test]
async fn a_run_that_never_started_gives_its_place_back() {
    let file = json!({"version": "1", "default": "allow",
        "all_tools": {"limits": [{"counter": "calls", "window": "hour", "max": 1, "scope": "global"}]}});
    let world = World::builder().policy(file).open();
    assert_eq!(world.walk(ask("unstartable")).await.rule(), "not-started");
    assert_eq!(world.walk(ask("full")).await.rule(), "full");
    assert_eq!(world.walk(ask("gives")).await.passage().answer.status, 200);
    assert_eq!(world.walk(ask("gives")).await.rule(), "/all_tools/limits/0");
}

#[tokio::test]
async fn each_caller_has_a_limit_of_its_own_and_it_outlives_the_process() {
    let mut world = World::builder().policy(at_most(1)).open();
    let calls = || {
        [ask("gives"), ask("gives").by_wallet("a"), ask("gives").by_wallet("b"), ask("gives").anonymously()]
    };
    for call in calls() {
        assert_eq!(world.walk(call).await.passage().answer.status, 200);
    }
    world.restart().await;
    for call in calls() {
        assert_eq!(world.walk(call).await.rule(), "/tools/gives/rate_limit");
    }
}
