//! What many parked runs cost: starts that fail, long ones, large requests, and what each leaves in the record.

use std::pin::pin;

use execgate_flow::examine::Rule;
use execgate_model::RunId;
use execgate_receipt::approval::{ActionDigest, ApprovalStatement, Decision};
use execgate_receipt::digest_json;
use execgate_testkit::{Ask, World, ask, execute, get, keyed, post, temporary_folder};
use rusqlite::Connection;
use serde_json::json;
use tokio::select;

use super::parking::{RESTS_MS, TTL_S, builder, call, hand_in, parked, people, said_of, says};

#[tokio::test]
async fn a_run_that_cannot_start_leaves_few_leaves_however_often_it_is_looked_at_or_asked_for() {
    let world = builder().open();
    let asked = ask("unstartable").mark("u").nonce("u");
    let run = parked(world.walk(asked.clone()).await);
    let said_yes = said_of(&world, run, "anna", Decision::Approve, &asked);
    assert_eq!(hand_in(&world, run, &said_yes).await.status, 200);
    let tries = async || world.store().parked(run).await.unwrap().map(|parked| parked.tries);
    while tries().await != Some(1) {
        tokio::task::yield_now().await;
    }
    // The door has a corridor of its own here, as another process has: each of the two tries once.
    for _ in 0..20 {
        world.tend().await;
        assert_eq!(world.walk(asked.clone()).await.rule(), "/tools/unstartable/require_approval");
    }
    assert_eq!(tries().await, Some(2));
    // Each further try is twice as far away.
    let mut seen = 2;
    for _ in 0..(TTL_S - 100) {
        world.clock().advance_ms(1_000);
        world.tend().await;
        seen = seen.max(tries().await.unwrap());
    }
    assert!((5..=8).contains(&seen), "{seen}");
    assert_eq!(world.fsck().await.0, []);
}

#[tokio::test]
async fn long_runs_keep_no_other_from_its_start_or_its_end() {
    let world = builder().open();
    let long = |number: usize| ask("blocks").mark("b").nonce(&format!("b{number}"));
    let many = 24;
    let over = parked(world.walk(call("over")).await);
    world.clock().advance_ms(RESTS_MS);
    for number in 0..many {
        let run = parked(world.walk(long(number)).await);
        let yes = said_of(&world, run, "anna", Decision::Approve, &long(number));
        assert_eq!(hand_in(&world, run, &yes).await.status, 200);
        // More than may start at once, and none of them ends.
        world.journal().until_started(number + 1).await;
    }
    world.clock().advance_ms(TTL_S * 1_000 - RESTS_MS);
    world.tend().await;
    assert_eq!(world.record(over).await.outcome.as_deref(), Some("expired"));
    world.bench().let_go();
    for number in 0..many {
        assert_eq!(world.walk(long(number)).await.passage().outcome, "value");
    }
}

#[tokio::test]
async fn those_whose_tool_is_not_ready_keep_no_other_from_its_start() {
    let world = builder().open();
    let waits = |number: usize| ask("unready-yet").mark("w").nonce(&format!("w{number}"));
    let approve = async |asked: Ask| {
        let run = parked(world.walk(asked.clone()).await);
        let yes = said_of(&world, run, "anna", Decision::Approve, &asked);
        assert_eq!(hand_in(&world, run, &yes).await.status, 200);
    };
    // More than may start at once.
    let many = 24;
    for number in 0..many {
        approve(waits(number)).await;
    }
    approve(call("other")).await;
    // A start for which no turn was free in that moment comes again with the next look.
    let until_started = async |number: usize| {
        let mut started = pin!(world.journal().until_started(number));
        loop {
            select! {
                () = &mut started => break,
                () = world.tend() => {}
            }
        }
    };
    until_started(1).await;
    assert_eq!(world.walk(call("other")).await.passage().outcome, "value");
    world.bench().let_go();
    until_started(1 + many).await;
    for number in 0..many {
        assert_eq!(world.walk(waits(number)).await.passage().outcome, "value");
    }
    assert_eq!(world.fsck().await.0, []);
}

#[tokio::test]
async fn many_who_look_at_large_requests_hold_no_more_than_there_is_room_for() {
    let world = builder().open();
    let large = "x".repeat(7 << 20);
    let body = json!({"action": "gives", "payload": {"mark": "n", "more": large}, "nonce": "n"});
    let run: RunId = world.http(execute(&body)).await.json()["id"].as_str().unwrap().parse().unwrap();
    let path = format!("/approvals/{run}");
    let mut held = Vec::new();
    let full = loop {
        let response = world.gate().answering(get(&path)).await;
        if response.status() != 200 {
            break response.status();
        }
        held.push(response);
    };
    assert_eq!((full.as_u16(), held.len()), (503, 18), "128 MiB of 7 MiB each");
    drop(held);
    let shown = world.http(get(&path)).await.json();
    assert_eq!(shown["request"]["payload"]["more"].as_str().map(str::len), Some(large.len()));
    let digest = ActionDigest(digest_json(&shown["request"]).unwrap()).to_string();
    assert_eq!(shown["action_digest"], json!(digest));
}

#[tokio::test]
async fn a_receipt_that_was_asked_for_comes_with_the_answer_of_a_run_that_waited() {
    let file =
        json!({"version": "1", "default": "allow", "tools": {"*": {"require_approval": {"ttl_s": TTL_S}}}});
    let world = World::builder().policy(file).approvers(people()).open();
    let body = r#"{"code": "gives", "receipt": true}"#;
    let code = world.http(keyed(post("/api/code-run", body), "k")).await.json();
    let run: RunId = code["id"].as_str().unwrap().parse().unwrap();
    let shown = world.http(get(&format!("/approvals/{run}"))).await.json();
    let yes = ApprovalStatement {
        action: shown["request"]["action"].as_str().unwrap().parse().unwrap(),
        action_digest: shown["action_digest"].as_str().unwrap().parse().unwrap(),
        ..says(&world, run, "anna", Decision::Approve)
    };
    assert_eq!(hand_in(&world, run, &yes).await.status, 200);
    let answer = world.http(keyed(post("/api/code-run", body), "k")).await;
    assert_eq!(answer.json()["receipt"]["exec_id"], json!(run), "{}", answer.show());
}

#[tokio::test]
async fn every_run_that_waited_has_a_leaf_that_says_so() {
    for (harm, rule) in [
        ("DELETE FROM leaf WHERE kind = 'parked'", Rule::LeafMissing),
        ("UPDATE leaf SET digest = zeroblob(32) WHERE kind = 'parked'", Rule::LeafDiffers),
        ("UPDATE leaf SET run = zeroblob(16) WHERE kind = 'parked'", Rule::LeafMissing),
    ] {
        let folder = temporary_folder();
        let world = builder().in_folder(folder.path()).open();
        parked(world.walk(call("n")).await);
        assert_eq!(world.fsck().await.0, []);
        Connection::open(folder.path().join("record.db")).unwrap().execute_batch(harm).unwrap();
        let found = world.fsck().await.0;
        assert!(found.iter().any(|finding| finding.rule == rule), "{harm}: {found:?}");
    }
}

#[tokio::test]
async fn a_run_that_starts_long_after_it_was_asked_for_is_sound() {
    let world = builder().open();
    let run = parked(world.walk(call("n")).await);
    world.clock().advance_ms(RESTS_MS);
    assert_eq!(hand_in(&world, run, &says(&world, run, "anna", Decision::Approve)).await.status, 200);
    assert_eq!(world.walk(call("n")).await.passage().outcome, "value");
    let denied = parked(world.walk(call("m")).await);
    world.clock().advance_ms(RESTS_MS);
    let no = said_of(&world, denied, "anna", Decision::Deny, &call("m"));
    assert_eq!(hand_in(&world, denied, &no).await.status, 200);
    assert_eq!(world.fsck().await.0, []);
}
