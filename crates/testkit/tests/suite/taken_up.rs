//! Payments that an earlier try of the same call has left: looked for, never asked for blindly, never lost.

use execgate_flow::recover::Recovered;
use execgate_flow::settle::Reconciled;
use execgate_model::{Amount, Stage, UnixMs};
use execgate_store::SettlementWord;
use execgate_testkit::{Ask, Death, History, Move, StoreFault, World, ask, books};
use serde_json::{Value, json};

fn prepaid(action: &str) -> Ask {
    ask(action).mark("n").nonce("n").pays("p^")
}

fn paid(claim: &str) -> Ask {
    ask("gives").mark("n").nonce("n").pays(claim)
}

/// A world in which the price of everything is that.
fn costs(price: &str) -> Value {
    json!({"version": "1", "default": "allow", "tools": {"gives": {"price": price}}})
}

async fn credited(world: &World) -> u64 {
    world.store().sums().await.unwrap().credited_micros
}

#[tokio::test]
async fn what_was_taken_for_a_start_that_failed_is_not_asked_for_again() {
    let world = World::priced().open();
    world.bank().forgetful(true);
    for _ in 0..3 {
        assert_eq!(world.walk(prepaid("unstartable")).await.rule(), "not-started-paid");
        assert_eq!((world.journal().captures(), credited(&world).await), (1, 50_000));
    }
    assert_eq!(books(&world).await, Vec::<String>::new());
    assert_eq!(world.fsck().await.0, []);
}

#[tokio::test]
async fn what_was_asked_for_is_looked_for_though_its_time_is_over_and_its_payer_cannot_be_seen() {
    for (answer, reconciled) in
        [(Move::DoneUnheard, true), (Move::DoneUnheard, false), (Move::LostUnheard, false)]
    {
        let world = World::priced().open();
        world.bank().forgetful(true);
        world.bank().next_capture("p^", answer);
        assert_eq!(world.walk(prepaid("gives")).await.rule(), "settlement-pending");
        if reconciled {
            assert_eq!(world.reconcile().await, Some(Reconciled { captured: 1, ..Reconciled::default() }));
        }
        world.bank().lapse("p^");
        world.bank().funds(Some(Amount::ZERO));
        assert_eq!(world.walk(prepaid("gives")).await.passage().answer.status, 200);
        assert_eq!((world.journal().starts(), world.journal().captures()), (1, 1));
        assert_eq!((credited(&world).await, books(&world).await), (0, vec![]));
        assert_eq!(world.fsck().await.0, []);
    }
}

#[tokio::test]
async fn what_nobody_can_tell_of_stays_pending_however_often_the_call_comes_again() {
    let world = World::priced().open();
    world.bank().next_capture("p^", Move::LostUnheard);
    assert_eq!(world.walk(prepaid("gives")).await.rule(), "settlement-pending");
    world.bank().close(true);
    for _ in 0..3 {
        assert_eq!(world.walk(prepaid("gives")).await.rule(), "settlement-pending");
    }
    assert_eq!((world.journal().starts(), world.journal().captures()), (0, 0));
    world.bank().close(false);
    assert_eq!(world.walk(prepaid("gives")).await.passage().answer.status, 200);
}

#[tokio::test]
async fn what_was_refused_is_asked_for_again_though_nobody_can_look() {
    let world = World::priced().open();
    world.bank().next_capture("p^", Move::Failed);
    assert_eq!(world.walk(prepaid("gives")).await.rule(), "payment-refused");
    world.bank().close(true);
    assert_eq!(world.walk(prepaid("gives")).await.passage().answer.status, 200);
    assert_eq!((world.journal().starts(), world.journal().captures()), (1, 1));
}

#[tokio::test]
async fn what_was_taken_at_an_earlier_price_serves_its_call_at_that() {
    let world = World::priced().open();
    world.bank().next_capture("p^", Move::DoneUnheard);
    assert_eq!(world.walk(prepaid("gives")).await.rule(), "settlement-pending");
    world.obey(costs("0.09"));
    assert_eq!(world.walk(prepaid("gives")).await.passage().answer.status, 200);
    assert_eq!(world.only_run().await.price, Amount::from_micros(50_000));
    assert_eq!((books(&world).await, world.fsck().await.0), (vec![], vec![]));
}

#[tokio::test]
async fn what_was_left_is_taken_before_the_work_though_another_flow_is_agreed_now() {
    for answer in [Move::DoneUnheard, Move::LostUnheard] {
        let mut world = World::priced().open();
        world.bank().next_capture("p^", answer);
        assert_eq!(world.walk(prepaid("gives")).await.rule(), "settlement-pending");
        // The same payment, to be taken after the work: its handler starts, and its process dies.
        world.die_at("ran", Death::Simulated);
        assert!(world.walk(paid("p^~")).await.died());
        assert_eq!(world.restart().await, Recovered { unknown: 1, settled: 0, left: 0 });
        // It was started, so that it is never started again.
        assert_eq!(world.walk(paid("p^~")).await.passage().answer.status, 409);
        assert_eq!((world.journal().starts(), world.journal().captures()), (1, 1));
        assert_eq!((credited(&world).await, books(&world).await), (50_000, vec![]));
        assert_eq!(world.fsck().await.0, []);
    }
}

#[tokio::test]
async fn a_payment_that_was_refused_before_the_work_and_moves_late_serves_its_call_or_is_a_credit() {
    for comes_again in [true, false] {
        let world = World::priced().open();
        world.bank().forgetful(true);
        world.bank().next_capture("p^", Move::Failed);
        assert_eq!(world.walk(prepaid("gives")).await.rule(), "payment-refused");
        assert_eq!(world.bank().move_late().as_deref(), Some("p^"));
        if comes_again {
            assert_eq!(world.walk(prepaid("gives")).await.passage().answer.status, 200);
        } else {
            world.clock().advance_ms(60_000);
            assert_eq!(world.reconcile().await, Some(Reconciled { late: 1, ..Reconciled::default() }));
            assert_eq!(credited(&world).await, 50_000);
            assert_eq!(world.walk(prepaid("gives")).await.passage().answer.status, 200);
        }
        assert_eq!((credited(&world).await, world.journal().starts()), (0, 1));
        assert_eq!((books(&world).await, world.fsck().await.0), (vec![], vec![]));
    }
}

#[tokio::test]
async fn a_payment_that_failed_and_moves_late_pays_for_its_run() {
    let world = World::priced().open();
    world.bank().next_capture("p", Move::Failed);
    assert_eq!(world.walk(paid("p")).await.rule(), "done-unpaid");
    world.bank().next_capture("q", Move::Failed);
    assert_eq!(world.walk(paid("q")).await.rule(), "done-unpaid");
    assert_eq!(world.bank().move_late().as_deref(), Some("p"));
    assert_eq!(world.reconcile().await, Some(Reconciled::default()), "it has only just failed");
    world.clock().advance_ms(60_000);
    assert_eq!(world.reconcile().await, Some(Reconciled { late: 1, ..Reconciled::default() }));
    let record = world.only_run().await;
    assert_eq!((record.stage, record.settlement), (Stage::Settled, SettlementWord::Captured));
    assert_eq!(record.settlement_reference.as_deref(), Some("transfer-of-p"));
    assert_eq!(world.walk(paid("q")).await.passage().answer.status, 200);
    assert_eq!((world.journal().starts(), world.journal().captures()), (1, 1));
    assert_eq!((books(&world).await, world.fsck().await.0), (vec![], vec![]));
}

#[tokio::test]
async fn a_payment_that_moves_late_beside_another_is_a_credit_and_one_that_is_over_is_looked_for_no_more() {
    let world = World::priced().open();
    world.bank().next_capture("p", Move::Failed);
    assert_eq!(world.walk(paid("p")).await.rule(), "done-unpaid");
    assert_eq!(world.walk(paid("q")).await.passage().answer.status, 200);
    world.bank().move_late();
    world.clock().advance_ms(60_000);
    assert_eq!(world.reconcile().await, Some(Reconciled { late: 1, ..Reconciled::default() }));
    assert_eq!(credited(&world).await, 50_000);
    assert_eq!((books(&world).await, world.fsck().await.0), (vec![], vec![]));

    let watched = || async { world.store().watched(UnixMs(u64::MAX >> 1), 9).await.unwrap().len() };
    for (claim, ends) in [("r", true), ("s", false)] {
        world.bank().next_capture(claim, Move::Failed);
        let asked = ask("gives").nonce(claim).pays(&format!("{claim}@account:{claim}"));
        assert_eq!(world.walk(asked).await.rule(), "done-unpaid");
        assert_eq!(watched().await, 1);
        if ends {
            world.bank().give_up(claim);
            world.clock().advance_ms(60_000);
        } else {
            world.clock().advance_ms(60_000);
            world.reconcile().await;
            assert_eq!(watched().await, 1);
            world.clock().advance_ms(2 * 86_400_000);
        }
        world.reconcile().await;
        assert_eq!(watched().await, 0, "{claim}");
    }
}

#[tokio::test]
async fn a_new_payment_at_a_new_price_is_recorded_as_it_was_signed_and_taken() {
    let world = World::priced().open();
    world.bank().next_capture("p", Move::Failed);
    assert_eq!(world.walk(paid("p")).await.rule(), "done-unpaid");
    world.obey(costs("0.06"));
    assert_eq!(world.walk(paid("q")).await.passage().answer.status, 200);
    let earned = world.store().earned(0).await.unwrap();
    assert_eq!((earned.len(), earned[0].amount), (1, Amount::from_micros(60_000)));
    let record = world.only_run().await;
    assert_eq!(
        (record.price, record.payment_amount),
        (Amount::from_micros(50_000), Some(Amount::from_micros(60_000)))
    );
    assert_eq!((books(&world).await, world.fsck().await.0), (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_record_that_fails_when_money_has_moved_is_asked_again() {
    for fault in [StoreFault::Busy, StoreFault::Before, StoreFault::After] {
        for claim in ["p", "p^"] {
            let world = World::priced().open();
            world.bank().forgetful(true);
            world.gate().fail_at("settle", fault);
            assert_eq!(world.walk(paid(claim)).await.passage().answer.status, 200, "{fault:?} {claim}");
            assert_eq!((books(&world).await, world.fsck().await.0), (vec![], vec![]));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_end_could_not_be_written_is_ended_without_a_restart() {
    for (claim, captures) in [("p", 1), ("p^", 1)] {
        let world = World::priced().open();
        world.bank().forgetful(true);
        for _ in 0..10 {
            world.gate().fail_at("settle", StoreFault::Before);
        }
        assert_eq!(world.walk(paid(claim)).await.rule(), "record-failed", "{claim}");
        assert_eq!(world.sweep().await, Some(Recovered::default()), "it has only just been claimed");
        // What has not been written yet.
        while world.sweep_after(60_000).await.is_some_and(|found| found.left > 0) {}
        world.reconcile().await;
        assert_eq!(world.walk(paid(claim)).await.passage().answer.status, 200, "{claim}");
        assert_eq!((world.journal().starts(), world.journal().captures()), (1, captures));
        assert_eq!((books(&world).await, world.fsck().await.0), (vec![], vec![]));
        assert_eq!(History::default().faults(&world).await, Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_could_not_be_taken_back_is_without_a_restart() {
    let world = World::priced().open();
    world.bank().next_capture("p^", Move::Failed);
    world.gate().fail_at("undo", StoreFault::Before);
    assert_eq!(world.walk(prepaid("gives")).await.rule(), "record-failed");
    assert_eq!(world.sweep_after(60_000).await, Some(Recovered { unknown: 0, settled: 1, left: 0 }));
    assert_eq!(world.walk(prepaid("gives")).await.passage().answer.status, 200);
    assert_eq!((world.journal().starts(), world.journal().captures()), (1, 1));
}

#[tokio::test]
async fn a_run_that_walks_is_nobody_elses_however_long_it_takes() {
    let world = World::priced().open();
    let gate = world.gate();
    let walk = tokio::spawn(async move { gate.walk(ask("blocks").nonce("n").pays("p")).await });
    world.journal().until_started(1).await;
    for _ in 0..3 {
        assert_eq!(world.sweep_after(600_000).await, Some(Recovered::default()));
    }
    world.bench().let_go();
    assert_eq!(walk.await.unwrap().passage().answer.status, 200);
    assert_eq!((books(&world).await, world.fsck().await.0), (vec![], vec![]));
}

#[tokio::test]
async fn what_is_turned_away_after_its_payment_was_verified_holds_nothing() {
    let limits = json!([{"counter": "calls", "window": "hour", "max": 1, "scope": "global"}]);
    let rules = json!({"version": "1", "default": "allow", "all_tools": {"limits": limits}});
    let world = World::priced().policy(rules).open();
    world.bank().funds(Some(Amount::from_micros(50_000)));
    world.walk(ask("gives").nonce("m").pays("m")).await.passage();
    for claim in ["p", "p^", "q", "q^"] {
        let refused = world.walk(ask("gives").nonce("n").pays(claim)).await;
        assert_eq!(refused.rule(), "/all_tools/limits/0", "{claim}");
    }
    world.obey(json!({"version": "1", "default": "deny", "tools": {}}));
    assert_eq!(world.walk(ask("gives").nonce("n").pays("r")).await.rule(), "/default");
    let sums = world.store().sums().await.unwrap();
    assert_eq!((sums.open, sums.pending, world.journal().captures()), (0, 0, 1));
    // Its payer has all that it had, and the payment buys what it did not.
    world.obey(json!({"version": "1", "default": "allow", "tools": {}}));
    world.walk(ask("gives").nonce("n").pays("p")).await.passage();
}

#[tokio::test]
async fn a_caller_that_is_known_has_its_own_answer_without_a_payment() {
    let world = World::priced().open();
    let bought = world.walk(paid("p")).await.passage();
    let asked = || ask("gives").mark("n").nonce("n");
    let again = world.walk(asked()).await.passage();
    assert_eq!((again.answer, again.replayed), (bought.answer, true));
    for (case, other) in [
        ("other content", asked().mark("other")),
        ("an empty body, to ask for the price", ask("gives").nonce("n")),
        ("another nonce", asked().nonce("m")),
        ("another caller", asked().by_wallet("w")),
        ("nobody", asked().anonymously()),
        ("no nonce", ask("gives").mark("n")),
    ] {
        assert_eq!(world.walk(other).await.rule(), "payment-required", "{case}");
    }
    world.bank().next_capture("q", Move::LostUnheard);
    assert_eq!(world.walk(ask("gives").nonce("o").pays("q")).await.rule(), "settlement-pending");
    assert_eq!(world.walk(ask("gives").nonce("o")).await.rule(), "settlement-pending");
    assert_eq!((world.journal().starts(), world.journal().captures()), (2, 1));
}
