//! A no that comes while a run is being started, and votes that bind nobody any more.

use execgate_flow::authorise::IamAnswer;
use execgate_model::{Clock as _, RunId, Stage, UnixMs};
use execgate_receipt::approval::{ApprovalStatement, Decision};
use execgate_receipt::{ReceiptFile, Timestamp, verify};
use execgate_testkit::{Ask, Gate, History, StoreFault, ask, get};
use serde_json::{Value, json};

use super::parking::{RESTS_MS, TTL_S, builder, call, hand_in, parked, problem, said_of, says, wants};

/// A call that is claimed and cannot be started, once the test lets it go.
fn fails() -> Ask {
    ask("unstartable-later").mark("u").nonce("u")
}

/// Waits until a run stands so.
async fn until(gate: &Gate, run: RunId, stage: Stage) {
    while gate.record(run).await.stage != stage {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_no_during_a_start_holds_when_that_start_is_taken_back() {
    let world = builder().open();
    let run = parked(world.walk(fails()).await);
    let yes = said_of(&world, run, "anna", Decision::Approve, &fails());
    assert_eq!(hand_in(&world, run, &yes).await.status, 200);
    until(&world, run, Stage::Execute).await;
    let no = ApprovalStatement {
        reason: Some("not this one".to_owned()),
        ..said_of(&world, run, "bob", Decision::Deny, &fails())
    };
    for _ in 0..2 {
        assert_eq!(problem(&hand_in(&world, run, &no).await), (409, "approval-starting".to_owned()));
    }
    let late = said_of(&world, run, "carol", Decision::Approve, &fails());
    assert_eq!(problem(&hand_in(&world, run, &late).await), (409, "approval-settled".to_owned()));
    world.bench().let_go();
    until(&world, run, Stage::Parked).await;

    // Whatever rests after a start that failed: this does not.
    world.tend().await;
    assert_eq!(world.record(run).await.outcome.as_deref(), Some("denied"));
    let passage = world.walk(fails()).await.passage();
    assert_eq!((passage.answer.status, passage.outcome.as_str()), (403, "denied"));
    assert!(String::from_utf8_lossy(&passage.answer.body).contains("not this one"));
    assert_eq!(world.journal().starts(), 0);
    let mut history = History::default();
    history.heard("u", &passage);
    assert_eq!(history.faults(&world).await, Vec::<String>::new());
}

#[tokio::test]
async fn whoever_asks_again_first_finds_the_no_that_came_during_the_start() {
    let world = builder().open();
    let run = parked(world.walk(fails()).await);
    let yes = said_of(&world, run, "anna", Decision::Approve, &fails());
    assert_eq!(hand_in(&world, run, &yes).await.status, 200);
    until(&world, run, Stage::Execute).await;
    let no = said_of(&world, run, "bob", Decision::Deny, &fails());
    assert_eq!(problem(&hand_in(&world, run, &no).await).0, 409);
    world.bench().let_go();
    until(&world, run, Stage::Parked).await;
    assert_eq!(world.walk(fails()).await.passage().outcome, "denied");
    assert_eq!(world.fsck().await.0, []);
}

#[tokio::test]
async fn a_denial_that_crosses_a_failed_start_signs_what_is_in_force() {
    let world = builder().open();
    let other = world.another_gate();
    let asked = ask("unstartable").mark("u").nonce("u");
    let run = parked(world.walk(asked.clone()).await);
    // The end is made, and not written yet.
    world.fail_at("refuse", StoreFault::Held);
    let no = said_of(&world, run, "bob", Decision::Deny, &asked);
    let (gate, said) = (world.gate(), no.clone());
    let denied = tokio::spawn(async move { hand_in(&gate, run, &said).await });
    world.holds().await;
    world.clock().advance_ms(RESTS_MS);
    let yes = said_of(&world, run, "anna", Decision::Approve, &asked);
    assert_eq!(hand_in(&other, run, &yes).await.status, 200);
    while world.store().parked(run).await.unwrap().is_none_or(|parked| parked.tries != 1) {
        tokio::task::yield_now().await;
    }
    let in_force: Value = serde_json::from_slice(&world.record(run).await.intent).unwrap();
    world.let_go();
    assert_eq!(denied.await.unwrap().status, 200);
    assert_eq!(world.record(run).await.outcome.as_deref(), Some("denied"));
    let file = ReceiptFile::from_json(&world.http(get(&format!("/receipts/{run}"))).await.body).unwrap();
    let verified = verify(&file, &[world.key()]).unwrap();
    let started = serde_json::to_value(&verified.statement().predicate).unwrap()["started_at"].clone();
    let in_force = in_force["started"].as_u64().and_then(|at| Timestamp::new(UnixMs(at)).ok());
    assert_eq!(started, json!(in_force));
    assert_eq!(world.fsck().await.0, []);
}

#[tokio::test]
async fn votes_under_other_rules_ask_nobody_until_rules_or_votes_change() {
    let world = builder().open();
    world.iam().says(IamAnswer::Approved);
    let run = parked(world.walk(call("n")).await);
    let bound = async |name: &str| {
        let shown = world.http(get(&format!("/approvals/{run}"))).await.json();
        ApprovalStatement {
            policy_digest: Some(shown["policy_digest"].as_str().unwrap().parse().unwrap()),
            expires_at: Timestamp::new(UnixMs(world.clock().now().0 + TTL_S * 1_000)).unwrap(),
            ..says(&world, run, name, Decision::Approve)
        }
    };
    // A yes that cannot start now, and whose rules are replaced before it could.
    world.space().is(true);
    assert_eq!(hand_in(&world, run, &bound("anna").await).await.status, 200);
    world.tend().await;
    world.space().is(false);
    world.obey(wants(&["anna", "bob"], 1));
    world.clock().advance_ms(RESTS_MS);
    world.tend().await;
    let asked = world.iam().asked();
    for _ in 0..40 {
        world.clock().advance_ms(5_000);
        world.tend().await;
    }
    assert_eq!(world.iam().asked(), asked, "nobody is asked again");
    assert_eq!(world.record(run).await.stage, Stage::Parked);

    // The rules under which it was said come back.
    world.obey(wants(&[], 1));
    world.tend().await;
    assert_eq!(world.record(run).await.outcome.as_deref(), Some("value"));
    assert_eq!(world.journal().starts(), 1);
    assert_eq!(world.fsck().await.0, []);
}

#[tokio::test]
async fn a_start_that_another_process_took_back_is_tried_here_all_the_same() {
    let world = builder().open();
    let other = world.another_gate();
    let run = parked(world.walk(fails()).await);
    // The word is taken here, and the start comes to its claim, which waits.
    world.fail_at("unpark", StoreFault::Held);
    let yes = said_of(&world, run, "anna", Decision::Approve, &fails());
    assert_eq!(hand_in(&world, run, &yes).await.status, 200);
    world.holds().await;
    let elsewhere = other.clone();
    let tending = tokio::spawn(async move { elsewhere.tend().await });
    until(&world, run, Stage::Execute).await;
    world.let_go();
    world.bench().let_go();
    tending.await.unwrap();
    let tries = async || world.store().parked(run).await.unwrap().map(|parked| parked.tries);
    while tries().await != Some(1) {
        tokio::task::yield_now().await;
    }
    // Until the one that was too late here has seen that.
    while tries().await == Some(1) {
        world.clock().advance_ms(RESTS_MS);
        world.tend().await;
    }
    assert_eq!(tries().await, Some(2));
}
