//! Pay: a credential is looked at and nothing is taken; one payment buys at most one run.

use core::time::Duration;

use execgate_model::Amount;
use execgate_store::SettlementWord;
use execgate_testkit::{Event, Look, SCRIPTED, World, ask};
use serde_json::json;
use tokio::time::Instant;

#[tokio::test]
async fn a_good_payment_buys_the_run_and_is_taken_once_it_is_recorded() {
    let world = World::priced().open();
    let passage = world.walk(ask("gives").mark("m").nonce("n").pays("p")).await.passage();
    let record = world.only_run().await;
    assert_eq!(
        world.journal().events(),
        [
            Event::Verified { claim: "p".to_owned() },
            Event::Reserved { mark: "m".to_owned() },
            Event::Started { run: passage.run, mark: "m".to_owned() },
            Event::Captured { claim: "p".to_owned(), micros: 50_000 },
        ]
    );
    assert_eq!(record.settlement, SettlementWord::Captured);
    assert_eq!(record.settlement_reference.as_deref(), Some("transfer-of-p"));
    assert_eq!((record.rail.as_str(), record.price), (SCRIPTED, Amount::from_micros(50_000)));
}

#[tokio::test]
async fn a_credential_that_the_rail_refuses_is_refused() {
    let world = World::priced().open();
    world.bank().next_look("p", Look::Refused);
    assert_eq!(world.walk(ask("gives").pays("p")).await.rule(), "payment-refused");
    assert_eq!(world.walk(ask("gives").pays_by("barter", "p")).await.rule(), "payment-refused");
    assert_eq!(world.journal().events(), []);
}

#[tokio::test]
async fn a_rail_that_cannot_tell_is_unavailable_and_the_payment_stays_good() {
    let world = World::priced().open();
    world.bank().next_look("p", Look::Unavailable);
    assert_eq!(world.walk(ask("gives").pays("p")).await.rule(), "rail-unavailable");
    world.walk(ask("gives").pays("p")).await.passage();
}

#[tokio::test(start_paused = true)]
async fn a_rail_that_never_answers_is_waited_for_ten_seconds() {
    let world = World::priced().open();
    world.bank().next_look("p", Look::Silent);
    let asked = Instant::now();
    assert_eq!(world.walk(ask("gives").nonce("n").pays("p")).await.rule(), "rail-unavailable");
    assert_eq!(asked.elapsed(), Duration::from_secs(10));
    assert_eq!(world.journal().events(), []);
}

#[tokio::test]
async fn one_payment_buys_one_run() {
    let world = World::priced().open();
    let first = world.walk(ask("gives").nonce("n").pays("p")).await.passage();
    let other = json!({"other": 1});
    for (case, again, rule) in [
        ("another nonce", ask("gives").nonce("m").pays("p"), "payment-reused"),
        (
            "another nonce and body",
            ask("gives").payload(other.clone()).nonce("m").pays("p"),
            "payment-reused",
        ),
        ("another caller", ask("gives").by_wallet("w").nonce("n").pays("p"), "payment-reused"),
        ("another payer's name on it", ask("gives").nonce("m").pays("p@account:2"), "payment-reused"),
        ("no nonce", ask("gives").pays("p"), "payment-reused"),
        ("another body", ask("gives").payload(other).nonce("n").pays("p"), "nonce-reused"),
    ] {
        assert_eq!(world.walk(again).await.rule(), rule, "{case}");
    }
    assert_eq!(world.only_run().await.run, first.run);
    assert_eq!((world.journal().starts(), world.journal().captures()), (1, 1));
}

#[tokio::test]
async fn a_payment_is_its_own_nonce_where_there_is_none() {
    let world = World::priced().open();
    for caller in [ask("gives"), ask("gives").anonymously()] {
        let claim = if world.journal().starts() == 0 { "p" } else { "q" };
        let first = world.walk(caller.clone().pays(claim)).await.passage();
        let second = world.walk(caller.clone().pays(claim)).await.passage();
        assert_eq!((first.replayed, second.replayed), (false, true));
        assert_eq!((first.run, first.content, first.answer), (second.run, second.content, second.answer));
        let other = caller.payload(json!({"other": 1})).pays(claim);
        assert_eq!(world.walk(other).await.rule(), "payment-reused");
    }
    assert_eq!((world.journal().starts(), world.journal().captures()), (2, 2));
}

#[tokio::test]
async fn a_payment_that_named_a_run_does_not_buy_another_under_a_nonce() {
    let world = World::priced().open();
    world.walk(ask("gives").pays("p")).await.passage();
    assert_eq!(world.walk(ask("gives").nonce("n").pays("p")).await.rule(), "payment-reused");
    assert_eq!(world.journal().starts(), 1);
}

#[tokio::test]
async fn a_payment_that_is_in_use_is_taken_for_other_content() {
    let world = World::priced().open();
    let gate = world.gate();
    let first = tokio::spawn(async move { gate.walk(ask("blocks").pays("p")).await });
    world.journal().until_started(1).await;
    let other = ask("blocks").payload(json!({"other": 1}));
    assert_eq!(world.walk(other.clone().pays("p")).await.rule(), "payment-reused");
    assert_eq!(world.walk(other.nonce("n").pays("p")).await.rule(), "payment-reused");
    world.bench().let_go();
    assert_eq!(first.await.unwrap().passage().answer.status, 200);
}
