//! Batches of `/exec/batch`: all authorised before the first one starts, in their order, each with a receipt, and what a
//! crash leaves of them.

use axum::body::Body;
use axum::http::Request;
use execgate_flow::authorise::IamAnswer;
use execgate_model::Stage;
use execgate_receipt::{ReceiptFile, verify};
use execgate_testkit::{Death, Reply, World, keyed, post};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::shapes::proof_of;

fn calls(names: &[&str]) -> Value {
    let call = |(at, name): (usize, &&str)| json!({"tool": {"name": name, "args": {"mark": at.to_string()}}});
    json!({"dryRun": false, "calls": names.iter().enumerate().map(call).collect::<Vec<_>>()})
}

fn request(body: &Value) -> Request<Body> {
    keyed(post("/exec/batch", body.to_string()), "n")
}

async fn batch(world: &World, body: &Value) -> Reply {
    world.http(request(body)).await
}

fn words(body: &Value) -> Vec<&str> {
    body["results"].as_array().unwrap().iter().map(|item| item["status"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn calls_run_in_their_order_each_with_a_receipt() {
    let world = World::free();
    let reply = batch(&world, &calls(&["gives", "raises", "gives"])).await;
    let mut body = reply.json();
    assert_eq!((reply.status, words(&body)), (200, vec!["completed", "failed", "completed"]));
    assert_eq!((&body["status"], &body["notStarted"]), (&json!("failed"), &json!(0)));
    assert_eq!(world.journal().starts(), 3);
    for (at, item) in body["results"].as_array().unwrap().iter().enumerate() {
        let record = world.record(item["jobId"].as_str().unwrap().parse().unwrap()).await;
        let intent: Value = serde_json::from_slice(&record.intent).unwrap();
        assert_eq!(intent["nonce"], format!("n#{at}"));
        assert_eq!(item["proofHash"], format!("0x{}", record.content.unwrap()));
        let file = ReceiptFile::from_json(&record.receipt.unwrap()).unwrap();
        assert!(verify(&file, &[world.key()]).is_ok());
    }
    let proof = body.as_object_mut().unwrap().remove("proofHash").unwrap();
    assert_eq!((proof, &body["durable"]), (json!(proof_of(&body)), &json!(false)));
}

#[tokio::test]
async fn with_stop_on_error_what_comes_behind_a_failure_is_never_started() {
    let world = World::free();
    let mut body = calls(&["gives", "raises", "gives"]);
    body["stopOnError"] = json!(true);
    let first = batch(&world, &body).await;
    assert_eq!((words(&first.json()), &first.json()["notStarted"]), (vec!["completed", "failed"], &json!(1)));
    assert_eq!(batch(&world, &body).await.body, first.body);
    assert_eq!((world.journal().starts(), world.runs().await.len()), (2, 2));
}

#[tokio::test]
async fn a_batch_of_which_one_call_may_not_run_is_refused_whole_and_claims_nothing() {
    let mut world = World::free();
    world.restart_allowing(Some(&["gives", "bash"])).await;
    for (last, status, rule) in [("bash", 403, "blocked-tool"), ("raises", 403, "allow-list")] {
        let reply = batch(&world, &calls(&["gives", last])).await;
        let body = reply.json();
        assert_eq!((reply.status, &body["error"]["rule"]), (status, &json!(rule)), "{last}");
        assert_eq!(body["error"]["pointer"], "/calls/1/tool/args");
    }
    world.restart_allowing(None).await;
    for (last, status) in [("nowhere", 400), ("python", 400)] {
        assert_eq!(batch(&world, &calls(&["gives", last])).await.status, status, "{last}");
    }
    let mut bad = calls(&["gives", "gives"]);
    bad["calls"][1]["tool"]["args"]["mark"] = json!(7);
    let reply = batch(&world, &bad).await;
    assert_eq!((reply.status, &reply.json()["error"]["pointer"]), (400, &json!("/calls/1/tool/args/mark")));
    world.iam().says(IamAnswer::Unreachable);
    assert_eq!(batch(&world, &calls(&["gives", "gives"])).await.status, 503);
    world.iam().says(IamAnswer::Approved);
    assert_eq!((world.runs().await.len(), world.journal().events()), (0, vec![]));
    // The same key works afterwards.
    let reply = batch(&world, &calls(&["gives", "gives"])).await;
    assert_eq!((reply.status, &reply.json()["iamApproved"]), (200, &json!(true)));
}

#[tokio::test]
async fn a_batch_is_answered_again_in_the_same_bytes_and_another_one_under_its_key_is_409() {
    let world = World::free();
    let body = calls(&["gives", "raises"]);
    let first = batch(&world, &body).await;
    assert_eq!(batch(&world, &body).await.body, first.body);
    let mut stops = body.clone();
    stops["stopOnError"] = json!(true);
    let mut simulated = body.clone();
    simulated["calls"][1]["dryRun"] = json!(true);
    for other in [calls(&["gives"]), calls(&["gives", "raises", "gives"]), stops, simulated] {
        let reply = batch(&world, &other).await;
        assert_eq!((reply.status, &reply.json()["error"]["code"]), (409, &json!("nonce-reused")), "{other}");
    }
    assert_eq!(world.journal().starts(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_batch_many_times_at_once_runs_once() {
    let world = World::free();
    world.bench().let_go();
    let body = calls(&["gives", "blocks", "raises"]);
    let mut crowd = JoinSet::new();
    for _ in 0..16 {
        let (gate, request) = (world.gate(), request(&body));
        crowd.spawn(async move { gate.http(request).await });
    }
    let replies = crowd.join_all().await;
    assert!(replies.iter().all(|reply| reply.status == 200 && reply.body == replies[0].body));
    assert_eq!(world.journal().starts(), 3);
}

#[tokio::test]
async fn after_a_crash_what_is_done_is_kept_what_was_in_flight_is_unknown_and_the_rest_never_starts() {
    let mut world = World::free();
    let body = calls(&["gives", "dies", "gives"]);
    let (gate, sent) = (world.gate(), request(&body));
    let asked = tokio::spawn(async move { gate.http(sent).await });
    world.journal().until_started(2).await;
    assert!(asked.await.is_err(), "the process died");
    let found = world.restart().await;
    assert_eq!(found.unknown, 1);
    for _ in 0..2 {
        let reply = batch(&world, &body).await;
        let told = reply.json();
        assert_eq!((reply.status, words(&told)), (200, vec!["completed", "failed"]), "{told}");
        assert_eq!(told["results"][1]["error"]["code"], "run-outcome-unknown");
        assert_eq!((&told["notStarted"], &told["status"]), (&json!(1), &json!("failed")));
    }
    let stages: Vec<_> = world.runs().await.iter().map(|run| run.stage).collect();
    assert_eq!((world.journal().starts(), stages), (2, vec![Stage::Unknown, Stage::Settled]));
}

#[tokio::test]
async fn a_process_that_dies_between_two_calls_lets_a_repeated_batch_go_on() {
    let mut world = World::free();
    let body = calls(&["gives", "gives"]);
    world.gate().die_at("recorded", Death::Simulated);
    let (gate, sent) = (world.gate(), request(&body));
    assert!(tokio::spawn(async move { gate.http(sent).await }).await.is_err());
    world.restart().await;
    let told = batch(&world, &body).await.json();
    assert_eq!(words(&told), ["completed", "completed"]);
    assert_eq!(world.journal().starts(), 2);
}

#[tokio::test]
async fn what_the_rules_come_to_say_while_a_batch_runs_holds_for_the_calls_that_wait() {
    let rules = |gives: Value| json!({"version": "1", "default": "allow", "tools": {"gives": gives}});
    let cases = [
        (json!({"action": "deny"}), 403, "/tools/gives/action"),
        (json!({"action": "require_approval"}), 403, "/tools/gives/action"),
        (json!({"rate_limit": {"max": 1, "window": "day"}}), 429, "/tools/gives/rate_limit"),
    ];
    for (gives, status, rule) in cases {
        let world = World::builder().policy(rules(json!({}))).open();
        let (gate, sent) = (world.gate(), request(&calls(&["blocks", "gives", "gives"])));
        let asked = tokio::spawn(async move { gate.http(sent).await });
        world.journal().until_started(1).await;
        world.obey(rules(gives));
        world.bench().let_go();
        let last = asked.await.unwrap().json()["results"][2].clone();
        assert_eq!(
            (&last["error"]["status"], &last["error"]["rule"]),
            (&json!(status), &json!(rule)),
            "{last}"
        );
        let allowed = usize::from(status == 429);
        assert_eq!(world.journal().starts(), 1 + allowed, "{rule}");
    }
}
