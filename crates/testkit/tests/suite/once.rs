//! Exactly once: one nonce, one start, one answer, whoever asks how often.

use core::time::Duration;
use std::sync::Arc;

use execgate_model::{BodyPlace, Proposal, UnixMs};
use execgate_receipt::{ReceiptFile, verify};
use execgate_testkit::{Event, Walked, World, ask, change, execute, get, until_idle};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, pause, resume};

/// Requests at once: more than any pool of the gateway holds.
const CROWD: usize = 200;

fn blocking(nonce: &str) -> Value {
    json!({"action": "blocks", "payload": {"mark": nonce}, "nonce": nonce})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_requests_with_one_nonce_start_one_run_and_hear_one_answer() {
    let world = World::free();
    let mut crowd = JoinSet::new();
    for _ in 0..CROWD {
        let gate = world.gate();
        crowd.spawn(async move { gate.http(execute(&blocking("n"))).await });
    }
    world.journal().until_started(1).await;
    world.bench().let_go();
    let replies = crowd.join_all().await;

    assert_eq!(replies.len(), CROWD);
    assert_eq!(replies.iter().filter(|reply| reply.header("execgate-replayed").is_none()).count(), 1);
    let first = &replies[0];
    for reply in &replies {
        assert_eq!((reply.status, &reply.body), (200, &first.body));
        assert_eq!(reply.header("execgate-run"), first.header("execgate-run"));
        assert_eq!(reply.header("execgate-receipt"), first.header("execgate-receipt"));
    }
    assert_eq!(world.journal().starts(), 1);
    assert_eq!(world.journal().count(|event| matches!(event, Event::Reserved { .. })), 1);
    let record = world.only_run().await;
    assert_eq!(record.answer.unwrap().body, first.body);
    let file = ReceiptFile::from_json(&record.receipt.unwrap()).unwrap();
    assert!(verify(&file, &[world.key()]).is_ok());
}

#[tokio::test]
async fn a_request_takes_up_its_place_while_it_waits_and_no_longer() {
    let world = World::free();
    let walk = |place: &Arc<()>| {
        let (gate, place) = (world.gate(), BodyPlace::new(Arc::clone(place)));
        let proposal = Proposal { place, ..ask("blocks").mark("n").nonce("n").into() };
        tokio::spawn(async move { gate.walk(proposal).await.passage() })
    };
    let [runs, waits] = [Arc::new(()), Arc::new(())];
    let first = walk(&runs);
    world.journal().until_started(1).await;
    let second = walk(&waits);
    pause();
    until_idle().await;
    resume();
    assert_eq!((Arc::strong_count(&runs), Arc::strong_count(&waits)), (1, 2));
    world.bench().let_go();
    assert_eq!(first.await.unwrap().answer, second.await.unwrap().answer);
    assert_eq!(Arc::strong_count(&waits), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_that_are_asked_at_once_start_one_run() {
    let world = World::free();
    let mut crowd = JoinSet::new();
    for at in 0..40 {
        let gate = if at % 2 == 0 { world.gate() } else { world.another_gate() };
        crowd.spawn(async move { gate.walk(ask("gives").mark("n").nonce("n")).await.passage() });
    }
    let passages = crowd.join_all().await;
    assert!(passages.iter().all(|passage| passage.answer == passages[0].answer));
    assert_eq!(passages.iter().filter(|passage| !passage.replayed).count(), 1);
    assert_eq!(world.journal().starts(), 1);
}

#[tokio::test]
async fn a_nonce_is_refused_for_other_content_while_its_run_goes_on_and_after() {
    let world = World::free();
    let gate = world.gate();
    let first = tokio::spawn(async move { gate.http(execute(&blocking("n"))).await });
    world.journal().until_started(1).await;
    let other = json!({"action": "blocks", "payload": {"mark": "other"}, "nonce": "n"});
    let during = world.http(execute(&other)).await;
    world.bench().let_go();
    let run = first.await.unwrap().header("execgate-run").unwrap().to_owned();
    let after = world.http(execute(&other)).await;
    let elsewhere = world.another_gate().http(execute(&other)).await;
    for reply in [&during, &after, &elsewhere] {
        let problem = reply.json();
        assert_eq!((reply.status, &problem["code"]), (409, &json!("nonce-reused")));
        assert_eq!(problem["exec_id"], json!(run));
    }
    assert_eq!(world.journal().starts(), 1);
}

#[tokio::test]
async fn what_is_part_of_the_content_makes_another_request() {
    let world = World::free();
    world.walk(ask("gives").nonce("n")).await.passage();
    assert_eq!(world.walk(ask("raises").nonce("n")).await.rule(), "nonce-reused");
    assert_eq!(world.walk(ask("gives").dry_run().nonce("n")).await.rule(), "nonce-reused");
    assert!(world.walk(ask("gives").nonce("n")).await.passage().replayed);
}

#[tokio::test]
async fn a_payload_as_text_is_the_same_request_as_the_payload() {
    let world = World::free();
    let first = world.http(execute(&json!({"action": "echo", "payload": {"a": 1.0}, "nonce": "n"}))).await;
    let text = world.http(execute(&json!({"action": "echo", "payload": "{ \"a\": 1 }", "nonce": "n"}))).await;
    assert_eq!((first.status, &first.body), (text.status, &text.body));
    assert_eq!(text.header("execgate-replayed"), Some("true"));
}

#[tokio::test]
async fn a_replay_after_a_restart_is_the_first_answer_byte_for_byte() {
    let mut world = World::free();
    for (nonce, action) in [("value", "gives"), ("error", "raises"), ("unknown", "panics")] {
        let body = json!({"action": action, "payload": {"mark": nonce}, "nonce": nonce});
        let first = world.http(execute(&body)).await;
        world.restart().await;
        world.clock().advance_ms(86_400_000);
        let again = world.http(execute(&body)).await;
        assert_eq!((again.status, &again.body), (first.status, &first.body));
        for name in ["execgate-run", "execgate-receipt", "content-type"] {
            assert_eq!(again.header(name), first.header(name), "{name}");
        }
        assert_eq!(again.header("execgate-replayed"), Some("true"));
    }
    assert_eq!(world.journal().starts(), 3);
}

#[tokio::test]
async fn a_replay_is_answered_while_the_gateway_is_paused() {
    let world = World::free();
    let first = world.walk(ask("gives").nonce("n")).await.passage();
    world.store().set_paused(true, change()).await.unwrap();
    assert_eq!(world.walk(ask("gives").nonce("m")).await.rule(), "paused");
    assert_eq!(world.walk(ask("gives").nonce("n")).await.passage().answer, first.answer);
}

/// CONTRACTS 1 puts the rules' pre-check into `propose`, before anything is looked up; CONTRACTS 2 promises the
/// stored answer. Both hold: a caller whom the rules refuse today is refused, which consumes nothing, and hears the
/// first answer again once they allow it.
#[tokio::test]
async fn a_replay_that_the_rules_deny_today_is_denied_and_loses_nothing() {
    let mut world = World::free();
    let first = world.walk(ask("gives").nonce("n")).await.passage();
    world.restart_allowing(Some(&["add"])).await;
    assert_eq!(world.walk(ask("gives").nonce("n")).await.rule(), "allow-list");
    world.restart_allowing(None).await;
    let again = world.walk(ask("gives").nonce("n")).await.passage();
    assert_eq!((again.replayed, again.answer), (true, first.answer));
    assert_eq!(world.journal().starts(), 1);
}

#[tokio::test]
async fn a_replay_takes_no_payment_that_comes_with_it() {
    let world = World::priced().open();
    let first = world.walk(ask("gives").nonce("n").pays("p")).await.passage();
    for claim in ["p", "q"] {
        let again = world.walk(ask("gives").nonce("n").pays(claim)).await.passage();
        assert_eq!((again.replayed, again.answer), (true, first.answer.clone()), "{claim}");
    }
    assert_eq!((world.journal().starts(), world.journal().captures()), (1, 1));
    assert!(!world.journal().is_released("q"));
    world.walk(ask("gives").nonce("m").pays("q")).await.passage();
    assert!(world.journal().is_captured("q"));
}

#[tokio::test]
async fn a_duplicate_waits_and_takes_no_slot() {
    let world = World::free();
    let spawn = |nonce: &'static str| {
        let gate = world.gate();
        tokio::spawn(async move { gate.walk(ask("one-slot").mark(nonce).nonce(nonce)).await })
    };
    let first = spawn("n");
    world.journal().until_started(1).await;
    let duplicates: Vec<_> = (0..20).map(|_| spawn("n")).collect();
    assert_eq!(spawn("m").await.unwrap().rule(), "full");
    assert!(duplicates.iter().all(|duplicate| !duplicate.is_finished()));
    world.bench().let_go();
    let first = first.await.unwrap().passage();
    for duplicate in duplicates {
        assert_eq!(duplicate.await.unwrap().passage().answer, first.answer);
    }
    assert_eq!(world.journal().count(|event| matches!(event, Event::Reserved { .. })), 1);
    spawn("m").await.unwrap().passage();
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_does_not_wait_for_ever() {
    let world = World::free();
    let gate = world.gate();
    let first = tokio::spawn(async move { gate.walk(ask("blocks").nonce("n")).await });
    world.journal().until_started(1).await;
    let asked = Instant::now();
    assert_eq!(world.walk(ask("blocks").nonce("n")).await.rule(), "still-running");
    assert_eq!(asked.elapsed(), Duration::from_secs(330));
    world.bench().let_go();
    assert_eq!(first.await.unwrap().passage().answer.status, 200);
}

#[tokio::test]
async fn a_duplicate_in_another_process_waits_too() {
    let world = World::free();
    let gate = world.gate();
    let first = tokio::spawn(async move { gate.walk(ask("blocks").nonce("n")).await });
    world.journal().until_started(1).await;
    let other = world.another_gate();
    let second = tokio::spawn(async move { other.walk(ask("blocks").nonce("n")).await });
    world.bench().let_go();
    let (first, second) = (first.await.unwrap().passage(), second.await.unwrap().passage());
    assert_eq!((first.answer, second.replayed), (second.answer, true));
    assert_eq!(world.journal().starts(), 1);
}

#[tokio::test]
async fn a_caller_that_hangs_up_ends_its_run_only_if_nothing_names_it() {
    let world = World::priced().price("blocks", "0.00").open();
    let cancelled = |event: &Event| matches!(event, Event::Cancelled { .. });
    let hang_up = async |asked: execgate_testkit::Ask| {
        let started = world.journal().starts();
        let gate = world.gate();
        let caller = tokio::spawn(async move { gate.walk(asked).await });
        world.journal().until_started(started + 1).await;
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
    };
    hang_up(ask("blocks").mark("bare")).await;
    world.journal().until(1, cancelled).await;

    hang_up(ask("blocks").mark("named").nonce("n")).await;
    hang_up(ask("one-slot").mark("paid").pays("p")).await;
    world.bench().let_go();
    let named = world.walk(ask("blocks").mark("named").nonce("n")).await.passage();
    let paid = world.walk(ask("one-slot").mark("paid").pays("p")).await.passage();
    assert_eq!((named.answer.status, paid.answer.status), (200, 200));
    assert_eq!((world.journal().starts(), world.journal().count(cancelled)), (3, 1));
}

#[tokio::test]
async fn a_nonce_is_unique_within_its_scope_only() {
    let world = World::free();
    let runs = [
        world.walk(ask("gives").nonce("n")).await.passage().run,
        world.walk(ask("gives").by_wallet("a").nonce("n")).await.passage().run,
        world.walk(ask("gives").by_wallet("b").nonce("n")).await.passage().run,
    ];
    assert!(runs[0] != runs[1] && runs[1] != runs[2] && runs[0] != runs[2]);
    assert_eq!(world.journal().starts(), 3);
}

#[tokio::test]
async fn a_caller_without_a_scope_has_no_replay() {
    let world = World::free();
    for _ in 0..2 {
        assert!(!world.walk(ask("gives").anonymously().nonce("n")).await.passage().replayed);
    }
    assert_eq!(world.journal().starts(), 2);
}

#[tokio::test]
async fn a_replay_after_the_answers_retention_is_gone_and_never_a_run() {
    let world = World::free();
    let body = json!({"action": "gives", "nonce": "n"});
    let first = world.http(execute(&body)).await;
    world.clock().advance_ms(1);
    let now = execgate_model::Clock::now(world.clock());
    assert_eq!(world.store().forget_answers(UnixMs(now.0 + 1)).await.unwrap(), 1);
    let again = world.http(execute(&body)).await;
    assert_eq!((again.status, &again.json()["code"]), (410, &json!("answer-expired")));
    assert_eq!(again.json()["receipt"], first.json()["receipt"]);
    assert_eq!(world.journal().starts(), 1);
    let id = first.header("execgate-run").unwrap();
    assert_eq!(world.http(get(&format!("/receipts/{id}"))).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_drains_ends_its_runs_and_takes_no_more() {
    let world = World::free();
    let gate = world.gate();
    let first = tokio::spawn(async move { gate.walk(ask("blocks").nonce("n")).await });
    world.journal().until_started(1).await;
    let corridor = world.corridor();
    let drain = tokio::spawn(async move {
        corridor.close();
        corridor.drained().await;
    });
    until_idle().await;
    assert_eq!(world.walk(ask("gives")).await.rule(), "draining");
    assert!(!drain.is_finished());
    world.bench().let_go();
    drain.await.unwrap();
    let Walked::Passed(passage) = first.await.unwrap() else { panic!("the first run has an answer") };
    assert_eq!(passage.answer.status, 200);
}

#[tokio::test]
async fn without_space_nothing_is_claimed_and_what_was_answered_is_answered_again() {
    let world = World::priced().open();
    let first = world.walk(ask("gives").nonce("a").pays("p")).await.passage();
    world.space().is(true);
    assert_eq!(world.walk(ask("gives").nonce("b").pays("q")).await.rule(), "disk-low");
    let ready = world.http(get("/ready")).await;
    assert_eq!((ready.status, &ready.json()["reason"]), (503, &json!("disk")));
    assert_eq!(world.walk(ask("gives").nonce("a").pays("p")).await.passage().answer, first.answer);
    assert_eq!((world.runs().await.len(), world.journal().starts(), world.journal().captures()), (1, 1, 1));

    world.space().is(false);
    assert_eq!(world.http(get("/ready")).await.status, 200);
    assert_eq!(world.walk(ask("gives").nonce("b").pays("q")).await.passage().answer.status, 200);
    assert_eq!(world.fsck().await.0, []);
}
