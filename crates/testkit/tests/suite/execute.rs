//! Execute: what is undone, what is unknown, and whose runs a process may mend.

use execgate_flow::recover::Recovered;
use execgate_model::Stage;
use execgate_receipt::{ReceiptFile, verify};
use execgate_store::SettlementWord;
use execgate_testkit::{Gate, World, ask, execute};
use serde_json::json;

#[tokio::test]
async fn a_run_that_never_started_is_undone_and_nonce_and_payment_are_free_again() {
    let world = World::priced().open();
    assert_eq!(world.walk(ask("unstartable").nonce("n").pays("p")).await.rule(), "not-started");
    assert_eq!(world.runs().await, []);
    assert!(!world.journal().is_released("p"));
    let passage = world.walk(ask("gives").nonce("n").pays("p")).await.passage();
    assert_eq!((passage.answer.status, passage.replayed), (200, false));
    assert!(world.journal().is_captured("p"));
}

#[tokio::test]
async fn a_full_house_claims_nothing() {
    let world = World::priced().open();
    for (action, rule) in [("full", "full"), ("unavailable", "unavailable")] {
        assert_eq!(world.walk(ask(action).nonce("n").pays("p")).await.rule(), rule);
    }
    assert_eq!(world.runs().await, []);
    world.walk(ask("gives").nonce("n").pays("p")).await.passage();
}

/// What everybody sees of a run whose end is lost.
async fn assert_unknown(world: &World, action: &str) {
    let record = world.only_run().await;
    assert_eq!((record.stage, record.outcome.as_deref()), (Stage::Unknown, Some("unknown")), "{action}");
    assert_eq!(record.settlement, SettlementWord::Released, "{action}");
    assert_eq!((world.journal().starts(), world.journal().captures()), (1, 0), "{action}");
    assert!(world.journal().is_released("p"), "{action}");
    let file = ReceiptFile::from_json(record.receipt.as_deref().unwrap()).unwrap();
    let verified = verify(&file, &[world.key()]).unwrap();
    let said = &verified.statement().predicate;
    assert_eq!(
        (said.outcome.as_str(), &said.charged, said.result_digest),
        ("unknown", &None, None),
        "{action}"
    );
    assert_eq!(said.finished_at, None, "{action}");

    let again = world.walk(ask(action).nonce("n").pays("p")).await.passage();
    assert_eq!((again.replayed, again.answer.status), (true, 409), "{action}");
    let problem: serde_json::Value = serde_json::from_slice(&again.answer.body).unwrap();
    assert_eq!(problem["code"], "run-outcome-unknown", "{action}");
    assert_eq!(problem["exec_id"], json!(record.run), "{action}");
    assert_eq!(problem["receipt"], json!(record.content), "{action}");
}

#[tokio::test]
async fn a_run_whose_end_is_lost_is_unknown_has_a_receipt_and_charges_nothing() {
    for action in ["panics", "loses-its-end", "inexact"] {
        let world = World::priced().open();
        let first = world.walk(ask(action).nonce("n").pays("p")).await.passage();
        assert_eq!((first.replayed, first.answer.status), (false, 409), "{action}");
        assert_unknown(&world, action).await;
        assert_eq!(world.only_run().await.answer, Some(first.answer), "{action}");
    }
}

#[tokio::test]
async fn a_run_whose_process_died_is_unknown_and_never_started_again() {
    let mut world = World::priced().open();
    assert!(world.walk(ask("dies").nonce("n").pays("p")).await.died());
    assert_eq!(world.restart().await, Recovered { unknown: 1, settled: 0, left: 0 });
    assert_unknown(&world, "dies").await;
    assert_eq!(world.restart().await, Recovered::default());
    assert_unknown(&world, "dies").await;
}

#[tokio::test]
async fn before_recovery_a_replay_of_a_dead_run_waits_and_starts_nothing() {
    let mut world = World::free();
    assert!(world.walk(ask("dies").nonce("n")).await.died());
    world.reopen().await;
    let gate = world.gate();
    let replay = tokio::spawn(async move { gate.walk(ask("dies").nonce("n")).await });
    world.walk(ask("gives").nonce("m")).await.passage();
    assert!(!replay.is_finished());
    assert_eq!(world.sweep().await.unwrap().unknown, 1);
    assert_eq!(replay.await.unwrap().passage().answer.status, 409);
    assert_eq!(world.journal().starts(), 2);
}

#[tokio::test]
async fn two_processes_on_one_record_leave_each_others_live_runs_alone() {
    let world = World::free();
    let gates = [world.gate(), world.another_gate()];
    let nonces = ["a", "b"];
    let run = |gate: &Gate, nonce: &'static str| {
        let gate = gate.clone();
        tokio::spawn(async move { gate.walk(ask("blocks").nonce(nonce)).await })
    };
    let walks = [run(&gates[0], nonces[0]), run(&gates[1], nonces[1])];
    world.journal().until_started(2).await;
    for gate in &gates {
        assert_eq!(gate.sweep().await, Some(Recovered::default()));
    }
    assert!(world.runs().await.iter().all(|record| record.stage == Stage::Execute));
    world.bench().let_go();
    for walk in walks {
        assert_eq!(walk.await.unwrap().passage().answer.status, 200);
    }
}

#[tokio::test]
async fn a_process_mends_what_another_left_when_it_died_and_only_that() {
    let world = World::free();
    let other = world.another_gate();
    let gate = world.gate();
    let mine = tokio::spawn(async move { gate.walk(ask("blocks").nonce("mine")).await });
    let gate = other.clone();
    let theirs = tokio::spawn(async move { gate.walk(ask("blocks").nonce("theirs")).await });
    world.journal().until_started(2).await;
    other.kill().await;
    assert!(theirs.await.unwrap().died());
    assert_eq!(world.sweep().await, Some(Recovered { unknown: 1, settled: 0, left: 0 }));
    world.bench().let_go();
    assert_eq!(mine.await.unwrap().passage().answer.status, 200);
    assert_eq!(world.walk(ask("blocks").nonce("theirs")).await.passage().answer.status, 409);
}

#[tokio::test]
async fn a_person_says_what_became_of_an_unknown_run_and_its_answer_stays() {
    let world = World::free();
    let body = json!({"action": "panics", "nonce": "n"});
    let first = world.http(execute(&body)).await;
    let run = world.only_run().await.run;
    assert!(world.resolve(run, "it sent the mail").await);
    assert!(!world.resolve(run, "it did not").await);
    let record = world.only_run().await;
    assert_eq!(record.resolution.as_deref(), Some("it sent the mail"));
    assert_eq!(world.http(execute(&body)).await.body, first.body);
    assert_eq!(world.journal().starts(), 1);
}
