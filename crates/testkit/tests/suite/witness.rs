//! Witness: receipts that anybody can verify, and none for what never ran.

use execgate_flow::propose::{NonceKey, fingerprint};
use execgate_model::{Nonce, Proposal, RunId};
use execgate_receipt::{Check, Content, Finding, ReceiptFile, Verified, VerifyError, digest_json, verify};
use execgate_testkit::{Reply, World, ask, execute, get, post};
use serde_json::{Value, json};

/// Runs an action over HTTP and fetches its receipt file.
async fn run_and_fetch(world: &World, body: &Value) -> (Reply, ReceiptFile) {
    let reply = world.http(execute(body)).await;
    let id = reply.header("execgate-run").unwrap();
    let file = world.http(get(&format!("/receipts/{id}"))).await;
    assert_eq!(file.status, 200);
    (reply, ReceiptFile::from_json(&file.body).unwrap())
}

fn check(world: &World, file: &ReceiptFile) -> Result<Verified, VerifyError> {
    verify(file, &[world.key()])
}

#[tokio::test]
async fn a_receipt_verifies_offline_with_everything_that_the_owner_knows() {
    let world = World::free();
    let args = json!({"a": 2, "b": 3});
    let body = json!({"action": "add", "payload": args, "nonce": "n"});
    let (reply, mut file) = run_and_fetch(&world, &body).await;
    assert_eq!(reply.json()["receipt"], json!(file.receipt));

    let alone = check(&world, &file).unwrap();
    assert_eq!(alone.finding(Check::Args), Some(Finding::NotSupplied));
    assert!(!alone.is_complete());

    file.args = Some(args);
    file.result = Some(reply.json()["result"].clone());
    assert_eq!(file.nonce.as_deref(), Some("n"));
    let verified = check(&world, &file).unwrap();
    assert!(verified.is_complete(), "{verified}");
    let said = &verified.statement().predicate;
    assert_eq!((said.outcome.as_str(), said.action.as_str(), &said.charged), ("value", "add", &None));

    for wrong in [
        ReceiptFile { args: Some(json!({"a": 2, "b": 4})), ..file.clone() },
        ReceiptFile { result: Some(json!({"sum": 6})), ..file.clone() },
        ReceiptFile { nonce: Some("m".to_owned()), ..file.clone() },
        ReceiptFile { salt: [0; 32], ..file.clone() },
        ReceiptFile { exec_id: RunId::from_entropy([1; 16]), ..file.clone() },
    ] {
        assert!(check(&world, &wrong).is_err());
    }
    assert!(verify(&file, &[]).is_err(), "no key is trusted");
}

#[tokio::test]
async fn a_receipt_with_any_byte_flipped_does_not_verify() {
    let world = World::free();
    let (reply, file) = run_and_fetch(&world, &json!({"action": "gives", "nonce": "n"})).await;
    let file = ReceiptFile { args: Some(json!({})), result: Some(reply.json()["result"].clone()), ..file };
    let bytes = file.to_json().unwrap().into_bytes();
    assert!(check(&world, &file).unwrap().is_complete());
    for at in 0..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        let survived = ReceiptFile::from_json(&bytes).is_ok_and(|file| check(&world, &file).is_ok());
        assert!(!survived, "byte {at} of {:?}", String::from_utf8_lossy(&bytes));
    }
}

#[tokio::test]
async fn a_refused_request_has_no_receipt() {
    let world = World::builder().allow(["gives"]).open();
    for action in ["nowhere", "raises"] {
        let proposal = Proposal::from(ask(action).nonce("n"));
        let scope = proposal.caller.scope().unwrap();
        let run = NonceKey::run(&scope, &Nonce::new("n").unwrap(), fingerprint(&proposal).unwrap());
        assert_eq!(world.http(execute(&json!({"action": action, "nonce": "n"}))).await.status, 403);
        assert_eq!(world.http(get(&format!("/receipts/{run}"))).await.status, 404);
        assert_eq!(world.http(get(&format!("/runs/{run}"))).await.status, 404);
    }
}

#[tokio::test]
async fn the_receipt_of_a_paid_run_says_what_was_charged() {
    let world = World::priced().open();
    for (action, nonce, charged) in [("gives", "a", true), ("raises", "b", true), ("panics", "c", false)] {
        let run = world.walk(ask(action).nonce(nonce).pays(nonce)).await.passage().run;
        let file = ReceiptFile::from_json(&world.record(run).await.receipt.unwrap()).unwrap();
        let verified = check(&world, &file).unwrap();
        let said = serde_json::to_value(&verified.statement().predicate.charged).unwrap();
        let price = json!({"amount": "0.05", "currency": "USD", "rail": "scripted"});
        assert_eq!(said, if charged { price } else { Value::Null }, "{action}");
        assert!(verified.statement().predicate.payment_claim.is_some(), "{action}");
    }
}

#[tokio::test]
async fn a_content_receipt_is_the_same_wherever_and_whenever_the_same_thing_happens() {
    let body = json!({"action": "gives", "payload": {"mark": "m"}, "nonce": "n"});
    let here = World::builder().seed(1).open();
    let there = World::builder().seed(2).open();
    there.clock().advance_ms(3_600_000);
    let (reply, file) = run_and_fetch(&here, &body).await;
    let (_, elsewhere) = run_and_fetch(&there, &body).await;
    assert_eq!((file.receipt, file.exec_id), (elsewhere.receipt, elsewhere.exec_id));
    assert_ne!(file.salt, elsewhere.salt);
    assert_ne!(file.envelope, elsewhere.envelope);

    let by_hand = Content {
        exec_id: file.exec_id,
        action: "gives",
        args_digest: digest_json(&body["payload"]).unwrap(),
        nonce: Some("n"),
        outcome: "value",
        result_digest: Some(digest_json(&reply.json()["result"]).unwrap()),
    };
    assert_eq!(by_hand.receipt(), file.receipt);
}

async fn judged(world: &World, exec_id: &Value, result: Option<&Value>, receipt: &Value) -> Value {
    let mut body = json!({"exec_id": exec_id, "receipt": receipt});
    if let Some(result) = result {
        body["result"] = result.clone();
    }
    let reply = world.http(post("/receipts/verify", body.to_string())).await;
    assert_eq!(reply.status, 200);
    reply.json()["valid"].clone()
}

#[tokio::test]
async fn a_receipt_is_valid_for_its_run_and_result_and_for_nothing_else() {
    let world = World::free();
    let run = world.http(execute(&json!({"action": "add", "payload": {"a": 2, "b": 3}, "nonce": "n"}))).await;
    let run = run.json();
    let other = world.http(execute(&json!({"action": "echo", "nonce": "m"}))).await.json();
    let (id, receipt, result) = (&run["id"], &run["receipt"], &run["result"]);
    let stranger = json!(RunId::from_entropy([9; 16]));

    for result in [result, &json!("{\"sum\":5}"), &json!("{ \"sum\": 5.0 }")] {
        assert_eq!(judged(&world, id, Some(result), receipt).await, true, "{result}");
    }
    for (id, result, receipt) in [
        (id, Some(&json!({"sum": 6})), receipt),
        (id, Some(&json!("{\"sum\":6}")), receipt),
        (id, Some(&json!("5")), receipt),
        (id, Some(&Value::Null), receipt),
        (id, None, receipt),
        (id, Some(result), &other["receipt"]),
        (&other["id"], Some(result), receipt),
        (&stranger, Some(result), receipt),
        (&json!("no id"), Some(result), receipt),
        (id, Some(result), &json!("no receipt")),
    ] {
        assert_eq!(judged(&world, id, result, receipt).await, false, "{id} {result:?} {receipt}");
    }
}

#[tokio::test]
async fn the_receipt_of_an_unknown_run_is_valid_without_a_result_only() {
    let world = World::free();
    let problem = world.http(execute(&json!({"action": "panics", "nonce": "n"}))).await.json();
    let (id, receipt) = (&problem["exec_id"], &problem["receipt"]);
    assert_eq!(judged(&world, id, None, receipt).await, true);
    assert_eq!(judged(&world, id, Some(&json!({"gave": {}})), receipt).await, false);
}

#[tokio::test]
async fn a_run_shows_its_stages_to_its_owner() {
    let world = World::free();
    let id = world.http(execute(&json!({"action": "echo", "nonce": "n"}))).await.json()["id"].clone();
    let run = world.http(get(&format!("/runs/{}", id.as_str().unwrap()))).await.json();
    assert_eq!(
        run,
        json!({
            "id": id,
            "action": "echo",
            "effect": "live",
            "stage": "settled",
            "outcome": "value",
            "receipt": run["receipt"],
            "settlement": "free",
            "price": "0.00",
            "resolution": null,
            "created_at": "2026-11-20T10:00:00.000Z",
            "finished_at": "2026-11-20T10:00:00.000Z",
        })
    );
}
