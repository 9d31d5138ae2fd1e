//! What a caller takes back that waits for people, or has just been started.

use execgate_flow::parking::{DecisionError, Withdrawn};
use execgate_model::{RunId, Stage};
use execgate_receipt::approval::Decision;
use execgate_store::{PARKED_OF_ONE_MAX, WITHDRAWN_KEEPS_MS};
use execgate_testkit::{Ask, Event, World, ask};
use serde_json::json;

use super::parking::{by_hand, call, hand_in, parked, people, said_of, wants};

/// A gateway whose people may be asked for an hour and more.
fn world() -> World {
    let mut rules = wants(&[], 1);
    for name in ["gives", "blocks", "unstartable-later"] {
        rules["tools"][name]["require_approval"]["ttl_s"] = json!(24 * 3_600);
    }
    World::builder().policy(rules).approvers(people()).open()
}

/// A run that somebody has approved, and that this process starts.
async fn starting(world: &World, asked: &Ask) -> RunId {
    let run = parked(world.walk(asked.clone()).await);
    let yes = said_of(world, run, "anna", Decision::Approve, asked);
    world.gate().decide(run, &by_hand(&yes)).await.unwrap();
    run
}

#[tokio::test]
async fn whoever_asks_and_takes_back_has_no_more_than_whoever_asks() {
    let world = world();
    let ends = async |nonce: String| {
        let run = parked(world.walk(call(&nonce)).await);
        assert_eq!(world.withdraw(run).await, Withdrawn::Reached);
        let ended = world.record(run).await;
        assert_eq!((ended.stage, ended.outcome.as_deref()), (Stage::Settled, Some("refused")));
    };
    for number in 0..PARKED_OF_ONE_MAX {
        ends(format!("n{number}")).await;
    }
    assert_eq!(world.walk(call("more")).await.rule(), "parked-full");
    assert_eq!(world.fsck().await.0, []);
    world.clock().advance_ms(WITHDRAWN_KEEPS_MS - 1);
    assert_eq!(world.walk(call("more")).await.rule(), "parked-full");
    world.clock().advance_ms(1);
    ends("more".to_owned()).await;
    assert_eq!(world.fsck().await.0, []);
}

#[tokio::test]
async fn what_was_taken_back_has_counted() {
    let mut rules = wants(&[], 1);
    let of_an_hour = json!([{"counter": "calls", "window": "hour", "max": 2, "scope": "global"}]);
    rules["tools"]["gives"]["limits"] = of_an_hour;
    let world = World::builder().policy(rules).approvers(people()).open();
    for nonce in ["a", "b"] {
        let run = parked(world.walk(call(nonce)).await);
        assert_eq!(world.withdraw(run).await, Withdrawn::Reached);
    }
    assert_eq!(world.walk(call("c")).await.rule(), "/tools/gives/limits/0");
    assert_eq!(world.fsck().await.0, []);
}

#[tokio::test]
async fn a_run_that_was_just_started_is_told_to_end() {
    let world = world();
    let asked = ask("blocks").mark("b").nonce("b");
    let run = starting(&world, &asked).await;
    world.journal().until_started(1).await;
    assert_eq!(world.withdraw(run).await, Withdrawn::Reached);
    assert!(world.journal().events().contains(&Event::Cancelled { run }));
    assert_eq!(world.record(run).await.stage, Stage::Settled);
    assert_eq!(world.withdraw(run).await, Withdrawn::Reached, "it has ended");
    assert_eq!(world.fsck().await.0, []);
}

#[tokio::test]
async fn a_start_that_is_taken_back_leaves_nothing_that_starts_again() {
    let world = world();
    let asked = ask("unstartable-later").mark("u").nonce("u");
    let run = starting(&world, &asked).await;
    while world.record(run).await.stage != Stage::Execute {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.withdraw(run).await, Withdrawn::Reached);
    let ended = world.record(run).await;
    assert_eq!((ended.stage, ended.outcome.as_deref()), (Stage::Settled, Some("refused")));
    let yes = said_of(&world, run, "anna", Decision::Approve, &asked);
    let late = world.gate().decide(run, &by_hand(&yes)).await;
    assert!(matches!(late, Err(DecisionError::Ended { .. })), "{late:?}");
    assert_eq!(world.journal().starts(), 0);
    assert_eq!(world.fsck().await.0, []);
}

#[tokio::test]
async fn what_another_process_runs_is_answered_as_too_late() {
    let world = world();
    let asked = ask("blocks").mark("b").nonce("b");
    let run = parked(world.walk(asked.clone()).await);
    // The door has a corridor of its own here, as another process has.
    let yes = said_of(&world, run, "anna", Decision::Approve, &asked);
    assert_eq!(hand_in(&world, run, &yes).await.status, 200);
    world.journal().until_started(1).await;
    assert_eq!(world.withdraw(run).await, Withdrawn::TooLate);
    world.bench().let_go();
    assert_eq!(world.walk(asked).await.passage().outcome, "value");
}
