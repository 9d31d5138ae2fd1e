//! Propose: what is refused before anything happens, in which order, and that nothing stays of it.

use execgate_flow::authorise::IamAnswer;
use execgate_testkit::{Ask, Look, World, ask, change, execute};
use serde_json::{Value, json};

#[tokio::test]
async fn an_unknown_action_is_refused() {
    let world = World::free();
    assert_eq!(world.walk(ask("nowhere")).await.rule(), "unknown-action");
}

#[tokio::test]
async fn a_bad_payload_names_the_place_in_it() {
    let world = World::free();
    for (action, payload, pointer) in [
        ("add", json!({"a": 1, "b": "2"}), "/payload/b"),
        ("add", json!({"a": 1}), "/payload"),
        ("gives", json!({"mark": 7}), "/payload/mark"),
    ] {
        let body = json!({"action": action, "payload": payload, "nonce": "n"});
        let reply = world.http(execute(&body)).await;
        let problem = reply.json();
        assert_eq!((reply.status, &problem["code"]), (400, &json!("bad-payload")), "{problem}");
        assert_eq!(problem["pointer"], pointer);
    }
}

#[tokio::test]
async fn a_number_without_an_exact_digest_is_refused() {
    let world = World::free();
    let inexact = ask("echo").payload(json!({"number": u64::MAX}));
    assert_eq!(world.walk(inexact).await.rule(), "inexact-number");
    let text = r#"{"action": "echo", "payload": {"number": 9007199254740993}, "nonce": "n"}"#;
    assert_eq!(world.http(execgate_testkit::post("/execute", text)).await.status, 400);
    let as_text = json!({"action": "echo", "payload": r#"{"number": 9007199254740993}"#, "nonce": "n"});
    assert_eq!(world.http(execute(&as_text)).await.status, 400);
    assert_eq!(world.runs().await, []);
}

#[tokio::test]
async fn a_priced_action_without_a_credential_is_402_whatever_the_body() {
    let world = World::priced().price("nowhere", "1.00").open();
    for (action, payload) in [
        ("gives", json!({})),
        ("gives", json!({"mark": 7})),
        ("gives", json!({"number": u64::MAX})),
        ("nowhere", json!({})),
    ] {
        let walked = world.walk(ask(action).payload(payload.clone()).nonce("n")).await;
        assert_eq!(walked.rule(), "payment-required", "{action} {payload}");
    }
    let probe = world.http(execute(&json!({"action": "gives", "nonce": "n"}))).await;
    assert_eq!((probe.status, &probe.json()["code"]), (402, &json!("payment-required")));
}

#[tokio::test]
async fn with_a_credential_a_bad_payload_is_told_first_and_the_payment_stays_unused() {
    let world = World::priced().open();
    let bad = ask("gives").payload(json!({"mark": 7})).nonce("n").pays("p");
    assert_eq!(world.walk(bad).await.rule(), "bad-payload");
    assert_eq!(world.journal().events(), []);
    world.walk(ask("gives").nonce("n").pays("p")).await.passage();
    assert!(world.journal().is_captured("p"));
}

#[tokio::test]
async fn what_the_rules_deny_is_said_before_the_price() {
    let world = World::priced().allow(["add"]).open();
    assert_eq!(world.walk(ask("gives")).await.rule(), "allow-list");
    assert_eq!(world.walk(ask("gives").pays("p")).await.rule(), "allow-list");
    assert_eq!(world.journal().events(), []);
}

/// Refusals that come without a change of the world's rules: who asks, and what it hears.
fn refusals() -> Vec<(Ask, &'static str)> {
    vec![
        (ask("nowhere"), "unknown-action"),
        (ask("gives").payload(json!({"mark": [1]})).pays("p"), "bad-payload"),
        (ask("gives").payload(json!({"number": u64::MAX})).pays("p"), "inexact-number"),
        (ask("gives"), "payment-required"),
        (ask("gives").pays_by("barter", "p"), "payment-refused"),
        (ask("gives").pays("refused"), "payment-refused"),
        (ask("gives").pays("unavailable"), "rail-unavailable"),
        (ask("full").pays("p"), "full"),
        (ask("unavailable").pays("p"), "unavailable"),
        (ask("unready").pays("p"), "unavailable"),
        (ask("unstartable").pays("p"), "not-started"),
    ]
}

#[tokio::test]
async fn a_refusal_stores_nothing_and_the_same_nonce_and_payment_work_afterwards() {
    let world = World::priced().open();
    world.bank().next_look("refused", Look::Refused);
    world.bank().next_look("unavailable", Look::Unavailable);
    for (asked, rule) in refusals() {
        assert_eq!(world.walk(asked.nonce("n")).await.rule(), rule);
        assert_eq!(world.runs().await, [], "after {rule}");
        assert_eq!((world.journal().starts(), world.journal().captures()), (0, 0), "after {rule}");
    }
    world.iam().says(IamAnswer::Refused("not you".to_owned()));
    assert_eq!(world.walk(ask("gives").nonce("n").pays("p")).await.rule(), "iam");
    world.iam().says(IamAnswer::Unreachable);
    assert_eq!(world.walk(ask("gives").nonce("n").pays("p")).await.rule(), "iam-unreachable");
    world.iam().says(IamAnswer::Approved);
    world.store().set_paused(true, change()).await.unwrap();
    assert_eq!(world.walk(ask("gives").nonce("n").pays("p")).await.rule(), "paused");
    world.store().set_paused(false, change()).await.unwrap();
    assert_eq!(world.runs().await, []);

    let passage = world.walk(ask("gives").nonce("n").pays("p")).await.passage();
    assert_eq!((passage.answer.status, passage.replayed), (200, false));
    assert_eq!((world.journal().starts(), world.journal().captures()), (1, 1));
}

#[tokio::test]
async fn where_nothing_can_happen_an_unreachable_identity_service_does_not_refuse() {
    let world = World::free();
    world.iam().says(IamAnswer::Unreachable);
    assert_eq!(world.walk(ask("gives")).await.rule(), "iam-unreachable");
    let passage = world.walk(ask("gives").dry_run()).await.passage();
    let intent: Value = serde_json::from_slice(&world.record(passage.run).await.intent).unwrap();
    assert_eq!((&intent["iam"], &intent["effect"]), (&json!("unreachable-open"), &json!("dry-run")));
}
