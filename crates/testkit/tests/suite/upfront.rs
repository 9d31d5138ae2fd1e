//! Payments that are taken before the work, and what a payer may have open.

use execgate_flow::settle::Reconciled;
use execgate_model::{Amount, Stage};
use execgate_store::SettlementWord;
use execgate_testkit::{Ask, Event, Move, World, ask};

fn prepaid(action: &str) -> Ask {
    ask(action).mark("n").nonce("n").pays("p^")
}

#[tokio::test]
async fn what_is_paid_before_the_work_is_taken_when_the_intent_is_durable_and_before_it_starts() {
    let world = World::priced().open();
    let passage = world.walk(prepaid("gives")).await.passage();
    let events = world.journal().events();
    let place = |wanted: fn(&Event) -> bool| events.iter().position(wanted).unwrap();
    let taken = place(|event| matches!(event, Event::Captured { .. }));
    assert!(taken < place(|event| matches!(event, Event::Started { .. })), "{events:?}");
    let record = world.only_run().await;
    assert_eq!((record.stage, record.settlement), (Stage::Settled, SettlementWord::Captured));
    assert_eq!(world.walk(prepaid("gives")).await.passage().answer, passage.answer);
    assert_eq!((world.journal().starts(), world.journal().captures()), (1, 1));
    assert_eq!(world.fsck().await.0, []);
}

#[tokio::test]
async fn work_that_fails_after_it_was_paid_leaves_a_credit() {
    let world = World::priced().open();
    assert_eq!(world.walk(prepaid("panics")).await.passage().answer.status, 409);
    let earned = world.store().earned(0).await.unwrap();
    assert_eq!((earned.len(), earned[0].is_credit, earned[0].payer.as_str()), (1, true, "account:1"));
    assert_eq!(world.store().sums().await.unwrap().credited_micros, 50_000);
    assert_eq!(world.fsck().await.0, []);
}

#[tokio::test]
async fn a_payment_that_fails_before_the_work_starts_nothing_and_burns_nothing() {
    let world = World::priced().open();
    world.bank().next_capture("p^", Move::Failed);
    assert_eq!(world.walk(prepaid("gives")).await.rule(), "payment-refused");
    assert_eq!((world.journal().starts(), world.runs().await.len()), (0, 0));
    assert_eq!(world.walk(prepaid("gives")).await.passage().answer.status, 200);
    assert_eq!((world.journal().starts(), world.journal().captures()), (1, 1));
}

#[tokio::test]
async fn a_payment_of_which_nobody_can_tell_starts_nothing_until_somebody_can() {
    for (answer, taken) in [(Move::DoneUnheard, 1), (Move::LostUnheard, 0)] {
        let world = World::priced().open();
        world.bank().next_capture("p^", answer);
        assert_eq!(world.walk(prepaid("gives")).await.rule(), "settlement-pending");
        assert_eq!((world.journal().starts(), world.journal().captures()), (0, taken));
        // The same call with the same payment is served; any other is not.
        assert_eq!(world.walk(ask("gives").nonce("m").pays("p^")).await.rule(), "payment-reused");
        assert_eq!(world.walk(prepaid("gives")).await.passage().answer.status, 200);
        assert_eq!((world.journal().starts(), world.journal().captures()), (1, 1));
        assert_eq!(world.store().sums().await.unwrap().credited_micros, 0);
    }
}

#[tokio::test]
async fn a_payment_that_nobody_was_asked_for_is_no_refusal_and_the_same_call_is_served_later() {
    let world = World::priced().open();
    world.bank().next_capture("p^", Move::Unasked);
    assert_eq!(world.walk(prepaid("gives")).await.rule(), "rail-unavailable");
    assert_eq!((world.journal().starts(), world.journal().captures()), (0, 0));
    assert_eq!(world.walk(prepaid("gives")).await.passage().answer.status, 200);
    assert_eq!((world.journal().starts(), world.journal().captures()), (1, 1));
    // What the bank itself refuses is one.
    world.bank().next_capture("q^", Move::Failed);
    assert_eq!(world.walk(ask("gives").nonce("m").pays("q^")).await.rule(), "payment-refused");
    assert_eq!(world.fsck().await.0, []);
}

#[tokio::test]
async fn a_payment_that_was_taken_for_a_call_that_never_came_again_is_a_credit() {
    let world = World::priced().open();
    world.bank().next_capture("p^", Move::DoneUnheard);
    assert_eq!(world.walk(prepaid("gives")).await.rule(), "settlement-pending");
    assert_eq!(world.reconcile().await, Some(Reconciled { captured: 1, ..Reconciled::default() }));
    assert_eq!(world.store().sums().await.unwrap().credited_micros, 50_000);
    // It comes after all, and is served for what was taken.
    assert_eq!(world.walk(prepaid("gives")).await.passage().answer.status, 200);
    assert_eq!(world.store().sums().await.unwrap().credited_micros, 0);
    assert_eq!((world.journal().starts(), world.journal().captures()), (1, 1));
    assert_eq!(world.fsck().await.0, []);
}

#[tokio::test]
async fn a_start_that_fails_after_it_was_paid_serves_the_same_call_again() {
    let world = World::priced().open();
    assert_eq!(world.walk(prepaid("unstartable")).await.rule(), "not-started-paid");
    assert_eq!(world.store().sums().await.unwrap().credited_micros, 50_000);
    assert_eq!(world.walk(prepaid("unstartable")).await.rule(), "not-started-paid");
    assert_eq!(
        (world.journal().captures(), world.store().sums().await.unwrap().credited_micros),
        (1, 50_000)
    );
    assert_eq!(world.fsck().await.0, []);
}

#[tokio::test]
async fn a_payer_never_holds_more_than_it_has() {
    let world = World::priced().open();
    world.bank().funds(Some(Amount::from_micros(120_000)));
    let gate = world.gate();
    let blocked = |name: &str| {
        let (gate, asked) = (gate.clone(), ask("blocks").nonce(name).pays(name));
        tokio::spawn(async move { gate.walk(asked).await })
    };
    let open = [blocked("a"), blocked("b")];
    world.journal().until_started(2).await;
    assert_eq!(world.walk(ask("gives").nonce("c").pays("c")).await.rule(), "holds-exceed-balance");
    assert_eq!(world.walk(ask("gives").nonce("d").pays("d@account:2")).await.passage().answer.status, 200);
    world.bench().let_go();
    for walk in open {
        assert_eq!(walk.await.unwrap().passage().answer.status, 200);
    }
    assert_eq!(world.walk(ask("gives").nonce("c").pays("c")).await.passage().answer.status, 200);
}

#[tokio::test]
async fn a_payer_who_cannot_be_looked_at_buys_nothing_and_is_answered_what_it_bought() {
    let world = World::priced().open();
    let bought = world.walk(ask("gives").nonce("n").pays("p")).await.passage();
    world.bank().close(true);
    assert_eq!(world.walk(ask("gives").nonce("m").pays("q")).await.rule(), "rail-unavailable");
    // A replay asks neither a chain nor the clock.
    world.bank().lapse("p");
    assert_eq!(world.walk(ask("gives").nonce("n").pays("p")).await.passage().answer, bought.answer);
    world.bank().close(false);
    world.bank().lapse("q");
    assert_eq!(world.walk(ask("gives").nonce("m").pays("q")).await.rule(), "payment-refused");
    assert_eq!((world.journal().starts(), world.journal().captures()), (1, 1));
}
