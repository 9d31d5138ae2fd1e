//! Settle: money follows what was observed, and is taken once.

use core::time::Duration;

use execgate_flow::recover::Recovered;
use execgate_flow::settle::Reconciled;
use execgate_store::SettlementWord;
use execgate_testkit::{Ask, Death, Move, Walked, World, ask};
use tokio::time::Instant;

fn paid(claim: &str) -> Ask {
    ask("gives").mark("n").nonce("n").pays(claim)
}

async fn settlement(world: &World) -> SettlementWord {
    world.only_run().await.settlement
}

#[tokio::test]
async fn work_whose_capture_failed_is_withheld_until_a_new_payment_is_captured() {
    let world = World::priced().open();
    world.bank().next_capture("p", Move::Failed);
    assert_eq!(world.walk(paid("p")).await.rule(), "done-unpaid");
    assert_eq!(settlement(&world).await, SettlementWord::Unpaid);

    assert_eq!(world.walk(paid("p")).await.rule(), "done-unpaid", "the payment that failed is no new one");
    assert_eq!(world.walk(ask("gives").mark("n").nonce("n")).await.rule(), "payment-required");
    world.bank().next_capture("q", Move::Failed);
    assert_eq!(world.walk(paid("q")).await.rule(), "done-unpaid");

    let passage = world.walk(paid("r")).await.passage();
    assert_eq!(passage.answer.status, 200);
    assert_eq!(settlement(&world).await, SettlementWord::Captured);
    assert_eq!((world.journal().starts(), world.journal().captures()), (1, 1));
    assert!(world.journal().is_captured("r"));
    assert_eq!(world.walk(paid("p")).await.passage().answer, passage.answer);
}

#[tokio::test]
async fn a_payment_that_bought_another_run_does_not_redeem_a_withheld_one() {
    let world = World::priced().open();
    world.walk(ask("gives").nonce("m").pays("q")).await.passage();
    world.bank().next_capture("p", Move::Failed);
    assert_eq!(world.walk(paid("p")).await.rule(), "done-unpaid");
    assert_eq!(world.walk(paid("q")).await.rule(), "payment-reused");
    assert_eq!(world.walk(ask("gives").nonce("o").pays("p")).await.rule(), "payment-reused");
    assert_eq!(world.walk(paid("r")).await.passage().answer.status, 200);
}

#[tokio::test]
async fn a_capture_that_ended_unheard_before_the_record_knew_is_asked_for_again_and_taken_once() {
    let mut world = World::priced().open();
    world.die_at("rail-captured", Death::Simulated);
    assert!(world.walk(paid("p")).await.died());
    assert_eq!(world.restart().await, Recovered { unknown: 0, settled: 1, left: 0 });
    assert_eq!(settlement(&world).await, SettlementWord::Captured);
    assert_eq!((world.journal().starts(), world.journal().captures()), (1, 1));
    assert_eq!(world.walk(paid("p")).await.passage().answer.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_new_payments_one_is_captured() {
    let world = World::priced().open();
    world.bank().next_capture("p", Move::Failed);
    assert_eq!(world.walk(paid("p")).await.rule(), "done-unpaid");
    let gates = [world.gate(), world.another_gate()];
    let crowd: Vec<_> = (0..40)
        .map(|at| {
            let gate = gates[at % 2].clone();
            tokio::spawn(async move { gate.walk(paid(&format!("new-{at}"))).await })
        })
        .collect();
    for walked in crowd {
        let walked = walked.await.unwrap();
        assert!(matches!(&walked, Walked::Passed(passage) if passage.answer.status == 200), "{walked:?}");
    }
    assert_eq!((world.journal().starts(), world.journal().captures()), (1, 1));
}

#[tokio::test]
async fn recovery_does_not_ask_again_for_a_payment_that_failed() {
    let mut world = World::priced().open();
    world.bank().next_capture("p", Move::Failed);
    assert_eq!(world.walk(paid("p")).await.rule(), "done-unpaid");
    assert_eq!(world.restart().await, Recovered::default());
    assert_eq!(settlement(&world).await, SettlementWord::Unpaid);
    world.walk(paid("q")).await.passage();
    assert!(world.journal().is_captured("q") && !world.journal().is_captured("p"));
}

#[tokio::test]
async fn a_capture_that_nobody_can_tell_the_end_of_stays_pending_and_is_not_repeated() {
    for (answer, taken) in [(Move::DoneUnheard, 1), (Move::LostUnheard, 0)] {
        let mut world = World::priced().open();
        world.bank().next_capture("p", answer);
        assert_eq!(world.walk(paid("p")).await.rule(), "settlement-pending");
        for _ in 0..2 {
            for claim in ["p", "q"] {
                assert_eq!(world.walk(paid(claim)).await.rule(), "settlement-pending", "{claim}");
            }
            assert_eq!(settlement(&world).await, SettlementWord::Pending);
            assert_eq!((world.journal().starts(), world.journal().captures()), (1, taken));
            assert_eq!(world.restart().await, Recovered::default());
        }
        // Looked for, and asked for again only where it was not taken.
        world.bank().close(true);
        assert_eq!(world.reconcile().await, Some(Reconciled { left: 1, ..Reconciled::default() }));
        world.bank().close(false);
        assert_eq!(world.reconcile().await, Some(Reconciled { captured: 1, ..Reconciled::default() }));
        assert_eq!(world.reconcile().await, Some(Reconciled::default()));
        assert_eq!(world.walk(paid("p")).await.passage().answer.status, 200);
        assert_eq!((world.journal().starts(), world.journal().captures()), (1, 1));
        assert_eq!(world.fsck().await.0, []);
    }
}

#[tokio::test]
async fn a_payment_that_nobody_was_asked_for_is_not_held_against_its_payer() {
    let world = World::priced().open();
    world.bank().next_capture("p", Move::Unasked);
    assert_eq!(world.walk(paid("p")).await.rule(), "done-unpaid");
    assert_eq!(settlement(&world).await, SettlementWord::Unpaid);
    assert_eq!(world.walk(ask("gives").nonce("m").pays("r")).await.passage().answer.status, 200);
    // So it is where that is found out later.
    world.bank().next_capture("s", Move::LostUnheard);
    world.bank().next_capture("s", Move::Unasked);
    assert_eq!(world.walk(ask("gives").nonce("o").pays("s")).await.rule(), "settlement-pending");
    assert_eq!(world.reconcile().await, Some(Reconciled { unpaid: 1, ..Reconciled::default() }));
    assert_eq!(world.walk(ask("gives").nonce("t").pays("u")).await.passage().answer.status, 200);
    assert_eq!(world.walk(paid("q")).await.passage().answer.status, 200);
    assert_eq!(world.fsck().await.0, []);
}

#[tokio::test]
async fn a_payment_whose_time_ran_out_is_held_against_its_payer_only_where_somebody_was_asked_for_it() {
    // Each try, how it ends, and whether its payer pays before the work then.
    let (postponed, lost) = (Move::Postponed, Move::LostUnheard);
    for (tries, is_expired, is_blamed) in [
        (&[postponed][..], true, false),
        (&[postponed, postponed, postponed], true, false),
        (&[postponed, lost], true, true),
        (&[postponed, lost, postponed], true, true),
        (&[lost], true, true),
        (&[lost, postponed], true, true),
        (&[postponed], false, true),
    ] {
        let mut world = World::priced().open();
        for word in tries {
            world.bank().next_capture("p", *word);
        }
        assert_eq!(world.walk(paid("p")).await.rule(), "settlement-pending", "{tries:?}");
        for _ in 1..tries.len() {
            assert_eq!(world.reconcile().await, Some(Reconciled { left: 1, ..Reconciled::default() }));
            assert_eq!(world.restart().await, Recovered::default());
        }
        if is_expired {
            world.bank().expire("p")
        } else {
            world.bank().give_up("p")
        }
        assert_eq!(world.reconcile().await, Some(Reconciled { unpaid: 1, ..Reconciled::default() }));
        let next = world.walk(ask("gives").nonce("m").pays("r")).await;
        if is_blamed {
            assert_eq!(next.rule(), "upfront-only", "{tries:?}");
        } else {
            assert_eq!(next.passage().answer.status, 200, "{tries:?}");
        }
        assert_eq!(world.walk(paid("q")).await.passage().answer.status, 200);
        assert_eq!(world.fsck().await.0, []);
    }
    // One that is reached again is asked.
    let world = World::priced().open();
    world.bank().next_capture("p", postponed);
    assert_eq!(world.walk(paid("p")).await.rule(), "settlement-pending");
    assert_eq!(world.reconcile().await, Some(Reconciled { captured: 1, ..Reconciled::default() }));
    assert_eq!(world.walk(paid("p")).await.passage().answer.status, 200);
}

#[tokio::test]
async fn a_pending_payment_that_never_will_be_taken_leaves_its_work_to_a_new_one() {
    let world = World::priced().open();
    world.bank().next_capture("p", Move::LostUnheard);
    assert_eq!(world.walk(paid("p")).await.rule(), "settlement-pending");
    world.bank().give_up("p");
    assert_eq!(world.reconcile().await, Some(Reconciled { unpaid: 1, ..Reconciled::default() }));
    assert_eq!(world.walk(paid("p")).await.rule(), "done-unpaid");
    assert_eq!(world.walk(paid("q")).await.passage().answer.status, 200);
    assert_eq!((world.journal().starts(), world.journal().captures()), (1, 1));
    // Whose payment failed when the work was done pays before the work.
    assert_eq!(world.walk(ask("gives").nonce("m").pays("r")).await.rule(), "upfront-only");
    assert_eq!(world.walk(ask("gives").nonce("m").pays("r@account:2")).await.passage().answer.status, 200);
    assert_eq!(world.walk(ask("gives").nonce("o").pays("s^")).await.passage().answer.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_rail_that_never_answers_a_capture_leaves_it_pending_after_thirty_seconds() {
    let world = World::priced().open();
    world.bank().next_capture("p", Move::Silent);
    let asked = Instant::now();
    assert_eq!(world.walk(paid("p")).await.rule(), "settlement-pending");
    assert_eq!(asked.elapsed(), Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn a_rail_that_never_lets_go_holds_nobody_up_and_is_asked_again() {
    let world = World::priced().open();
    world.bank().next_release("p", Move::Silent);
    let asked = Instant::now();
    let lost = || ask("panics").nonce("n").pays("p");
    assert_eq!(world.walk(lost()).await.rule(), "rail-unavailable");
    assert_eq!(asked.elapsed(), Duration::from_secs(30));
    assert_eq!(settlement(&world).await, SettlementWord::Held);
    assert_eq!(world.walk(lost()).await.passage().answer.status, 409);

    assert_eq!(world.sweep().await, Some(Recovered { unknown: 0, settled: 1, left: 0 }));
    assert_eq!(settlement(&world).await, SettlementWord::Released);
    assert!(world.journal().is_released("p"));
}

#[tokio::test]
async fn a_free_run_moves_no_money() {
    let world = World::free();
    world.walk(ask("gives").nonce("n")).await.passage();
    assert_eq!(settlement(&world).await, SettlementWord::Free);
    world.walk(ask("panics").nonce("m")).await.passage();
    assert_eq!((world.journal().captures(), world.journal().releases()), (0, 0));
}
