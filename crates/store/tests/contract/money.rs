//! Where the money of a run ends.

use std::collections::BTreeSet;
use std::sync::Arc;

use execgate_model::{Amount, Stage, UnixMs};
use execgate_store::{
    Change, Claim, Claimed, Finish, Late, Leaf, LeafKind, Metered, MovedLate, NewPayment, Record, Repaid,
    Revised, Revision, Settled, SettlementWord, Settling, Store, StoreError, Undone,
};
use tokio::task::JoinSet;

use super::runs::{Backend, claim, created, digest, finish, held, payment, recorded, run_id, settling};

use SettlementWord::{Captured, Capturing, Held, Pending, Released, Unpaid};

fn leaf(number: u16) -> Leaf {
    Leaf { kind: LeafKind::Settlement, digest: digest(12, number) }
}

fn said(number: u16) -> Change {
    Change { statement: b"said".to_vec(), salt: [3; 32], leaf: leaf(number), at: created(number) }
}

pub(crate) async fn only_an_end_of_the_money_closes_a_run(backend: &impl Backend) {
    let store = backend.open();
    let ways = [(Held, Released, false), (Capturing, Captured, true), (Capturing, Unpaid, true)];
    for (number, (from, to, charged)) in (1..).zip(ways.into_iter().chain([(Capturing, Pending, true)])) {
        let start = Claim { payment: Some(payment(number)), ..claim(store.instance(), number) };
        let end = Finish { charged, ..finish(store.instance(), number, Stage::Witness) };
        store.claim(start.clone()).await.unwrap();
        store.finish(end.clone()).await.unwrap();
        let reference = Some("0xabc".to_owned());
        let moves = Settling { reference, said: Some(said(number)), ..settling(number, from, to) };
        assert_eq!(store.settle(moves).await.unwrap(), Settled::Moved);
        let expected = Record {
            stage: if to.is_end() { Stage::Settled } else { Stage::Witness },
            settlement: to,
            settlement_reference: Some("0xabc".to_owned()),
            ..recorded(held(&start), &end)
        };
        assert_eq!(store.run(run_id(number)).await.unwrap(), Some(expected));
        assert_eq!(backend.leaves(run_id(number)), [start.leaf, end.leaf, leaf(number)]);
    }
}

pub(crate) async fn what_usage_came_to_is_durable_with_the_outcome_and_stands(backend: &impl Backend) {
    let store = backend.open();
    let start = Claim { payment: Some(payment(1)), ..claim(store.instance(), 1) };
    store.claim(start.clone()).await.unwrap();
    let (amount, most) = (Amount::from_micros(7), payment(1).amount);
    let metered = Some(Metered { amount, state: b"seven".to_vec() });
    let end = Finish { metered, ..finish(store.instance(), 1, Stage::Witness) };
    store.finish(end.clone()).await.unwrap();
    // Written again as after an answer that was lost.
    store.finish(end.clone()).await.unwrap();
    let expected = Record {
        payment_amount: Some(amount),
        payment_most: Some(most),
        payment_state: Some(b"seven".to_vec()),
        ..recorded(held(&start), &end)
    };
    assert_eq!(store.run(run_id(1)).await.unwrap(), Some(expected));
    store.settle(settling(1, Capturing, Unpaid)).await.unwrap();
    let again = NewPayment { amount, most: Some(most), ..payment(2) };
    assert_eq!(store.repay(run_id(1), again).await.unwrap(), Repaid::Held);
    let record = store.run(run_id(1)).await.unwrap().unwrap();
    assert_eq!((record.payment_amount, record.payment_most), (Some(amount), Some(most)));
}

pub(crate) async fn money_moves_once_whoever_speaks_last(backend: &impl Backend) {
    let store = backend.open();
    let start = Claim { payment: Some(payment(1)), ..claim(store.instance(), 1) };
    store.claim(start).await.unwrap();
    store.finish(finish(store.instance(), 1, Stage::Witness)).await.unwrap();
    assert_eq!(store.settle(settling(1, Capturing, Pending)).await.unwrap(), Settled::Moved);
    assert_eq!(store.settle(settling(1, Pending, Captured)).await.unwrap(), Settled::Moved);
    for (from, to) in [(Capturing, Unpaid), (Pending, Unpaid), (Pending, Captured), (Held, Released)] {
        assert_eq!(store.settle(settling(1, from, to)).await.unwrap(), Settled::Stands(Captured), "{from:?}");
    }
    for from in SettlementWord::ALL {
        for to in SettlementWord::ALL.into_iter().filter(|to| !from.may_become(*to)) {
            let answer = store.settle(settling(1, from, to)).await;
            assert!(matches!(answer, Err(StoreError::Backend { .. })), "{from:?} {to:?}");
        }
    }
    assert_eq!(store.run(run_id(1)).await.unwrap().unwrap().settlement, Captured);
}

pub(crate) async fn a_word_about_an_earlier_payment_changes_nothing(backend: &impl Backend) {
    let store = backend.open();
    store.claim(Claim { payment: Some(payment(1)), ..claim(store.instance(), 1) }).await.unwrap();
    store.finish(finish(store.instance(), 1, Stage::Witness)).await.unwrap();
    store.settle(settling(1, Capturing, Unpaid)).await.unwrap();
    assert_eq!(store.repay(run_id(1), payment(2)).await.unwrap(), Repaid::Held);
    let late = store.settle(settling(1, Capturing, Captured)).await.unwrap();
    assert_eq!(late, Settled::Stands(Capturing));
    let newest = Settling { payment: digest(5, 2), ..settling(1, Capturing, Captured) };
    assert_eq!(store.settle(newest).await.unwrap(), Settled::Moved);
}

pub(crate) async fn settling_moves_no_other_stage_than_witness(backend: &impl Backend) {
    let store = backend.open();
    for number in [1, 2] {
        let start = Claim { payment: Some(payment(number)), ..claim(store.instance(), number) };
        store.claim(start).await.unwrap();
    }
    let lost = Finish { charged: false, ..finish(store.instance(), 2, Stage::Unknown) };
    store.finish(lost).await.unwrap();
    for (number, stage) in [(1, Stage::Execute), (2, Stage::Unknown)] {
        store.settle(settling(number, Held, Released)).await.unwrap();
        let record = store.run(run_id(number)).await.unwrap().unwrap();
        assert_eq!((record.stage, record.settlement), (stage, Released));
    }
}

pub(crate) async fn settling_a_run_that_is_not_there_is_a_fault(backend: &impl Backend) {
    let store = backend.open();
    let moves = Settling { said: Some(said(1)), ..settling(1, Capturing, Captured) };
    let answer = store.settle(moves).await;
    assert!(matches!(answer, Err(StoreError::Backend { doing: "settle a run", .. })));
    assert_eq!(backend.leaves(run_id(1)), []);
}

pub(crate) async fn an_unpaid_run_takes_one_new_payment(backend: &impl Backend) {
    let (store, second) = (backend.open(), backend.open());
    let start = Claim { payment: Some(payment(1)), ..claim(store.instance(), 1) };
    let end = finish(store.instance(), 1, Stage::Witness);
    store.claim(start.clone()).await.unwrap();
    assert_eq!(store.repay(run_id(1), payment(2)).await.unwrap(), Repaid::NotDue);
    store.finish(end.clone()).await.unwrap();
    assert_eq!(store.repay(run_id(1), payment(2)).await.unwrap(), Repaid::NotDue);
    let failed = Settling { reference: Some("0xbad".to_owned()), ..settling(1, Capturing, Unpaid) };
    store.settle(failed).await.unwrap();

    assert_eq!(store.repay(run_id(1), payment(1)).await.unwrap(), Repaid::PaymentSpent(run_id(1)));
    let fresh = NewPayment { rail: "mpp".to_owned(), ..payment(2) };
    assert_eq!(second.repay(run_id(1), fresh.clone()).await.unwrap(), Repaid::Held);
    assert_eq!(second.repay(run_id(1), payment(3)).await.unwrap(), Repaid::NotDue);

    let expected = Record {
        instance: second.instance(),
        rail: "mpp".to_owned(),
        payment_state: Some(fresh.state.clone()),
        payment_key: Some(fresh.key),
        payer: Some(fresh.payer),
        ..recorded(held(&start), &end)
    };
    let shown = format!("{expected:?}");
    assert!(shown.contains("payer-2") && !shown.contains(&format!("{:?}", fresh.state)), "{shown}");
    assert_eq!(store.run(run_id(1)).await.unwrap(), Some(expected));
    for number in [1, 2] {
        assert_eq!(store.by_payment(digest(5, number)).await.unwrap(), Some(run_id(1)));
    }
    assert_eq!(store.by_payment(digest(5, 3)).await.unwrap(), None);
}

/// A payment of one payer who has 50,000 millionths.
pub(crate) fn of_one(number: u16) -> NewPayment {
    let funds = Some(Amount::from_micros(50_000));
    NewPayment { payer: "one".to_owned(), funds, ..payment(number) }
}

pub(crate) async fn holds_of_one_payer_never_exceed_what_it_has(backend: &impl Backend) {
    let store = backend.open();
    let paid = |number| Claim { payment: Some(of_one(number)), ..claim(store.instance(), number) };
    let (one, two, three, other) = tokio::join!(
        store.claim(paid(1)),
        store.claim(paid(2)),
        store.claim(paid(3)),
        store.claim(Claim { payment: Some(payment(4)), ..claim(store.instance(), 4) }),
    );
    let answers = [one.unwrap(), two.unwrap(), three.unwrap()];
    let fresh = answers.iter().filter(|answer| **answer == Claimed::Fresh).count();
    let over = Claimed::Overdrawn { held: Amount::from_micros(40_000) };
    assert_eq!((fresh, answers.contains(&over), other.unwrap()), (2, true, Claimed::Fresh), "{answers:?}");
    // What is settled is not held any more.
    let refused = (1..=3).find(|number| answers[usize::from(*number) - 1] == over).unwrap();
    let done = if refused == 1 { 2 } else { 1 };
    store.settle(settling(done, Held, Released)).await.unwrap();
    assert_eq!(store.claim(paid(refused)).await.unwrap(), Claimed::Fresh);
}

pub(crate) async fn open_holds_of_one_payer_are_counted(backend: &impl Backend) {
    let store = backend.open();
    let paid = |number| {
        let payment = NewPayment { holds_max: 2, funds: None, ..of_one(number) };
        Claim { payment: Some(payment), ..claim(store.instance(), number) }
    };
    for (number, answer) in [(1, Claimed::Fresh), (2, Claimed::Fresh), (3, Claimed::HoldsFull)] {
        assert_eq!(store.claim(paid(number)).await.unwrap(), answer);
    }
    store.undo(run_id(1), store.instance()).await.unwrap();
    assert_eq!(store.claim(paid(3)).await.unwrap(), Claimed::Fresh);
}

pub(crate) async fn a_payer_that_failed_pays_before_the_work(backend: &impl Backend) {
    let store = backend.open();
    let paid = |number, upfront| {
        let payment = NewPayment { upfront, ..of_one(number) };
        Claim { payment: Some(payment), ..claim(store.instance(), number) }
    };
    store.claim(paid(1, false)).await.unwrap();
    store.finish(finish(store.instance(), 1, Stage::Witness)).await.unwrap();
    store.settle(settling(1, Capturing, Unpaid)).await.unwrap();
    assert_eq!(store.claim(paid(2, false)).await.unwrap(), Claimed::UpfrontOnly);
    assert_eq!(store.claim(paid(2, true)).await.unwrap(), Claimed::Fresh);
    assert_eq!(store.run(run_id(2)).await.unwrap().unwrap().settlement, Capturing);
}

fn upfront(number: u16) -> NewPayment {
    NewPayment { upfront: true, ..payment(number) }
}

pub(crate) async fn money_taken_for_work_that_is_not_charged_is_a_credit(backend: &impl Backend) {
    let store = backend.open();
    for (number, charged) in [(1, true), (2, false)] {
        let start = Claim { payment: Some(upfront(number)), ..claim(store.instance(), number) };
        store.claim(start).await.unwrap();
        store.settle(settling(number, Capturing, Captured)).await.unwrap();
        let end = Finish { charged, ..finish(store.instance(), number, Stage::Settled) };
        store.finish(end).await.unwrap();
    }
    let earned = store.earned(0).await.unwrap();
    let credits: Vec<_> = earned.iter().map(|earned| (earned.run, earned.is_credit)).collect();
    assert_eq!(credits, [(run_id(1), false), (run_id(2), true)]);
    let sums = store.sums().await.unwrap();
    assert_eq!((sums.captured, sums.captured_micros, sums.credited_micros), (2, 40_000, 20_000));
    assert_eq!(store.earned(earned[1].place).await.unwrap(), []);
}

pub(crate) async fn a_payment_whose_run_was_taken_back_serves_the_same_call_again(backend: &impl Backend) {
    let store = backend.open();
    let start = Claim { payment: Some(upfront(1)), ..claim(store.instance(), 1) };
    store.claim(start.clone()).await.unwrap();
    assert_eq!(store.undo(run_id(1), store.instance()).await.unwrap(), Undone::Undone);
    let open = store.open_payments(None).await.unwrap();
    assert_eq!(
        (open.len(), open[0].run, open[0].stage),
        (1, run_id(1), None),
        "its capture may have happened"
    );
    let other = Claim { payment: Some(upfront(1)), ..claim(store.instance(), 2) };
    assert_eq!(store.claim(other.clone()).await.unwrap(), Claimed::PaymentSpent(run_id(1)));

    let left = store.left_payment(run_id(1), digest(5, 1)).await.unwrap().unwrap();
    assert_eq!((left.is_captured, left.state), (false, upfront(1).state));
    assert_eq!(store.left_payment(run_id(2), digest(5, 1)).await.unwrap(), None);
    // Whatever was agreed now: it was asked for before the work.
    let agreed = NewPayment { upfront: false, ..upfront(1) };
    let again = Claim { payment: Some(agreed), ..start.clone() };
    assert_eq!(store.claim(again).await.unwrap(), taken_up(Pending));
    assert_eq!(store.left_payment(run_id(1), digest(5, 1)).await.unwrap(), None);
    assert_eq!(store.open_payments(None).await.unwrap(), []);
    store.settle(settling(1, Capturing, Captured)).await.unwrap();
    assert_eq!(store.undo(run_id(1), store.instance()).await.unwrap(), Undone::Credited);
    assert!(store.earned(0).await.unwrap()[0].is_credit);
    assert_eq!(store.claim(other).await.unwrap(), Claimed::PaymentSpent(run_id(1)));

    let another = NewPayment { state: b"another".to_vec(), ..upfront(1) };
    let other = Claim { payment: Some(another), ..start.clone() };
    assert_eq!(store.claim(other).await.unwrap(), Claimed::PaymentSpent(run_id(1)), "another under its key");
    assert_eq!(store.claim(start).await.unwrap(), taken_up(Captured));
    assert!(!store.earned(0).await.unwrap()[0].is_credit, "the credit is used");
    assert_eq!(store.run(run_id(1)).await.unwrap().unwrap().settlement, Captured);
}

pub(crate) async fn what_is_found_of_a_payment_without_a_run_is_recorded_once(backend: &impl Backend) {
    let store = backend.open();
    for number in [1, 2] {
        store
            .claim(Claim { payment: Some(upfront(number)), ..claim(store.instance(), number) })
            .await
            .unwrap();
        store.undo(run_id(number), store.instance()).await.unwrap();
    }
    for (number, word) in [(1, Captured), (2, Released)] {
        assert_eq!(store.settle(settling(number, Pending, word)).await.unwrap(), Settled::Moved);
        assert_eq!(store.settle(settling(number, Pending, Released)).await.unwrap(), Settled::Stands(word));
    }
    let earned = store.earned(0).await.unwrap();
    assert_eq!((earned.len(), earned[0].is_credit), (1, true));
    assert_eq!(store.open_payments(None).await.unwrap(), []);
}

fn taken_up(word: SettlementWord) -> Claimed {
    Claimed::TakenUp { word, reference: None }
}

pub(crate) async fn a_payment_that_was_asked_for_is_never_forgotten(backend: &impl Backend) {
    let store = backend.open();
    let start = Claim { payment: Some(upfront(1)), ..claim(store.instance(), 1) };
    store.claim(start.clone()).await.unwrap();
    let failed = Settling { watch_until: Some(UnixMs(u64::MAX)), ..settling(1, Capturing, Released) };
    store.settle(failed).await.unwrap();
    assert_eq!(store.undo(run_id(1), store.instance()).await.unwrap(), Undone::Undone);
    assert_eq!(store.by_payment(digest(5, 1)).await.unwrap(), Some(run_id(1)));
    let other = Claim { payment: Some(upfront(1)), ..claim(store.instance(), 2) };
    assert_eq!(store.claim(other).await.unwrap(), Claimed::PaymentSpent(run_id(1)));
    assert_eq!(store.watched(UnixMs(u64::MAX >> 1), 9).await.unwrap().len(), 1);
    assert_eq!(store.claim(start).await.unwrap(), taken_up(Released));
    assert_eq!(store.watched(UnixMs(u64::MAX >> 1), 9).await.unwrap(), []);
    assert_eq!(store.sums().await.unwrap().open, 1);
    // What nobody has asked for is gone with its claim.
    store.claim(Claim { payment: Some(payment(3)), ..claim(store.instance(), 3) }).await.unwrap();
    store.undo(run_id(3), store.instance()).await.unwrap();
    assert_eq!(store.by_payment(digest(5, 3)).await.unwrap(), None);
}

pub(crate) async fn a_payment_that_was_left_is_closed_beside_its_run(backend: &impl Backend) {
    let store = backend.open();
    let start = Claim { payment: Some(upfront(1)), ..claim(store.instance(), 1) };
    store.claim(start.clone()).await.unwrap();
    store.undo(run_id(1), store.instance()).await.unwrap();
    store.claim(Claim { payment: Some(upfront(2)), ..start }).await.unwrap();
    let open = store.open_payments_of(run_id(1)).await.unwrap();
    assert_eq!((open.len(), open[0].key, open[0].stage), (1, digest(5, 1), None));
    assert_eq!(store.open_payments_of(run_id(2)).await.unwrap(), []);
    let found = Settling { said: Some(said(1)), ..settling(1, Pending, Captured) };
    assert_eq!(store.settle(found).await.unwrap(), Settled::Moved);
    assert_eq!(store.open_payments(None).await.unwrap(), []);
    let earned = store.earned(0).await.unwrap();
    assert_eq!((earned.len(), earned[0].is_credit), (1, true));
    assert!(backend.leaves(run_id(1)).contains(&leaf(1)));
}

pub(crate) async fn every_open_payment_is_on_one_page_however_many_there_are(backend: &impl Backend) {
    const OPEN: u16 = 1_003;
    let store = backend.open();
    for first in (1..=OPEN).step_by(64) {
        let mut held = JoinSet::new();
        for number in first..=OPEN.min(first + 63) {
            let store = Arc::clone(&store);
            held.spawn(async move {
                // Some of one payer, so that a page ends within what is alike.
                let payer = format!("payer-{}", number % 11);
                let payment = NewPayment { payer, holds_max: u32::MAX, ..upfront(number) };
                let start = Claim { payment: Some(payment), ..claim(store.instance(), number) };
                assert_eq!(store.claim(start).await.unwrap(), Claimed::Fresh);
                store.undo(run_id(number), store.instance()).await.unwrap();
            });
        }
        held.join_all().await;
    }
    let (mut after, mut runs, mut pages) = (None, BTreeSet::new(), Vec::new());
    loop {
        let page = store.open_payments(after).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.place());
        pages.push(page.len());
        for open in page {
            assert!(open.since.is_some(), "its age is known");
            assert!(runs.insert(*open.run.as_bytes()), "it is on two pages");
        }
    }
    assert_eq!((pages, runs.len()), (vec![1_000, 3], 1_003));
}

pub(crate) async fn what_a_session_asked_for_is_found_again_until_it_is_taken_back(backend: &impl Backend) {
    let store = backend.open();
    let of_session = |number| Claim {
        session_nonce: Some(digest(15, 1)),
        fingerprint: digest(2, 1),
        payment: Some(payment(number)),
        ..claim(store.instance(), number)
    };
    let found = |nonce, content| {
        let found = store.by_session_nonce(digest(15, nonce), digest(2, content));
        async move { found.await.unwrap().map(|record| record.run) }
    };
    assert_eq!(found(1, 1).await, None);
    store.claim(of_session(1)).await.unwrap();
    let first = Some(run_id(1));
    assert_eq!((found(1, 1).await, found(1, 2).await, found(2, 1).await), (first, first, None));
    for again in [of_session(2), Claim { fingerprint: digest(2, 2), ..of_session(2) }] {
        let Claimed::Taken(record) = store.claim(again).await.unwrap() else { panic!("one nonce, one run") };
        assert_eq!(record.run, run_id(1), "whoever pays, and whatever it asks for now");
    }
    assert_eq!(store.by_payment(digest(5, 2)).await.unwrap(), None, "the other payment is not taken");
    store.undo(run_id(1), store.instance()).await.unwrap();
    assert_eq!(found(1, 1).await, None);
    store.claim(of_session(2)).await.unwrap();
    assert_eq!(found(1, 1).await, Some(run_id(2)));
}

/// A run whose payment has failed, and is watched.
async fn failed(store: &dyn Store, number: u16) {
    store.claim(Claim { payment: Some(payment(number)), ..claim(store.instance(), number) }).await.unwrap();
    store.finish(finish(store.instance(), number, Stage::Witness)).await.unwrap();
    let until = Some(UnixMs(created(number).0 + 900_000));
    let failed = Settling { watch_until: until, ..settling(number, Capturing, Unpaid) };
    store.settle(failed).await.unwrap();
}

fn late(number: u16) -> Late {
    let (run, payment, reference) = (run_id(number), digest(5, number), Some("0xlate".to_owned()));
    let may_go_back = false;
    Late { run, payment, reference, said: said(number), may_go_back, at: UnixMs(created(number).0 + 60_000) }
}

pub(crate) async fn a_payment_that_moves_late_pays_for_its_run_or_is_a_credit(backend: &impl Backend) {
    let store = backend.open();
    failed(store.as_ref(), 1).await;
    failed(store.as_ref(), 2).await;
    let soon = UnixMs(created(2).0 + 2_000);
    assert_eq!(store.watched(soon, 9).await.unwrap(), [], "it has only just failed");
    let due = UnixMs(created(2).0 + 40_000);
    assert_eq!(store.watched(due, 1).await.unwrap().len(), 1);
    store.watch_again(digest(5, 1), Some(UnixMs(due.0 + 1))).await.unwrap();
    assert_eq!(store.watched(due, 9).await.unwrap().iter().map(|w| w.run).collect::<Vec<_>>(), [run_id(2)]);

    assert_eq!(store.moved_late(late(1)).await.unwrap(), MovedLate::Paid);
    assert_eq!(store.moved_late(late(1)).await.unwrap(), MovedLate::Stands);
    let record = store.run(run_id(1)).await.unwrap().unwrap();
    assert_eq!((record.stage, record.settlement), (Stage::Settled, Captured));
    assert_eq!(record.settlement_reference.as_deref(), Some("0xlate"));

    // Its work has been paid for meanwhile.
    assert_eq!(store.repay(run_id(2), payment(3)).await.unwrap(), Repaid::Held);
    let paid = Settling { payment: digest(5, 3), ..settling(2, Capturing, Captured) };
    store.settle(paid).await.unwrap();
    assert_eq!(store.moved_late(late(2)).await.unwrap(), MovedLate::Credited);
    let record = store.run(run_id(2)).await.unwrap().unwrap();
    assert_eq!((record.settlement, record.payment_key), (Captured, Some(digest(5, 3))));
    let sums = store.sums().await.unwrap();
    assert_eq!((sums.captured, sums.credited_micros), (3, 20_000));
    assert_eq!(store.watched(UnixMs(u64::MAX >> 1), 9).await.unwrap(), []);
    // Another run's, or one that is not there.
    let strange = Late { run: run_id(1), ..late(3) };
    assert_eq!(store.moved_late(strange).await.unwrap(), MovedLate::Stands);
}

pub(crate) async fn what_was_taken_is_looked_at_until_it_is_final_or_taken_back_for_good(
    backend: &impl Backend,
) {
    let store = backend.open();
    for number in 1..=3 {
        let start = Claim { payment: Some(payment(number)), ..claim(store.instance(), number) };
        store.claim(start).await.unwrap();
        let end = finish(store.instance(), number, Stage::Witness);
        store.finish(Finish { charged: true, ..end }).await.unwrap();
        let reference = Some(format!("0x{number}"));
        let taken = settling(number, Capturing, Captured);
        store.settle(Settling { reference, may_go_back: number < 3, ..taken }).await.unwrap();
    }
    let sums = store.sums().await.unwrap();
    assert_eq!((sums.captured, sums.unfinal, sums.unfinal_micros), (3, 2, 40_000));
    assert_eq!(store.unfinal(created(1), 9).await.unwrap(), [], "it was only just taken");
    let due = UnixMs(created(2).0 + 60_000);
    let found = store.unfinal(due, 9).await.unwrap();
    assert_eq!(found.iter().map(|one| one.run).collect::<Vec<_>>(), [run_id(1), run_id(2)]);
    store.look_again(vec![(digest(5, 1), Some(UnixMs(due.0 + 1)))]).await.unwrap();
    assert_eq!(store.unfinal(due, 9).await.unwrap().len(), 1);

    let revised = |number, revision| Revised {
        run: run_id(number),
        payment: digest(5, number),
        revision,
        said: said(number),
        at: due,
    };
    assert!(store.revise(revised(1, Revision::MovedBy("0xother".to_owned()))).await.unwrap());
    let record = store.run(run_id(1)).await.unwrap().unwrap();
    assert_eq!((record.settlement, record.settlement_reference.as_deref()), (Captured, Some("0xother")));
    assert!(store.revise(revised(2, Revision::Reversed)).await.unwrap());
    assert!(!store.revise(revised(2, Revision::Reversed)).await.unwrap(), "it is said once");
    let record = store.run(run_id(2)).await.unwrap().unwrap();
    assert_eq!((record.stage, record.settlement), (Stage::Settled, SettlementWord::Reversed));
    let reversed = store.reversed().await.unwrap();
    assert_eq!(reversed.iter().map(|one| one.run).collect::<Vec<_>>(), [run_id(2)]);
    let sums = store.sums().await.unwrap();
    assert_eq!((sums.captured, sums.unfinal, sums.reversed, sums.reversed_micros), (2, 0, 1, 20_000));
    let earned = store.earned(0).await.unwrap();
    assert_eq!(earned.iter().map(|one| one.run).collect::<Vec<_>>(), [run_id(1), run_id(3)]);
}

pub(crate) async fn own_runs_that_are_not_ended_are_listed_from_a_time_on(backend: &impl Backend) {
    let (store, other) = (backend.open(), backend.open());
    store.claim(Claim { payment: Some(payment(1)), ..claim(store.instance(), 1) }).await.unwrap();
    store.claim(Claim { payment: Some(payment(2)), ..claim(store.instance(), 2) }).await.unwrap();
    store.finish(finish(store.instance(), 2, Stage::Witness)).await.unwrap();
    store.claim(claim(other.instance(), 3)).await.unwrap();
    store.claim(claim(store.instance(), 4)).await.unwrap();
    store.finish(finish(store.instance(), 4, Stage::Settled)).await.unwrap();
    store.claim(claim(store.instance(), 5)).await.unwrap();
    let own = store.own_unended(created(5)).await.unwrap();
    assert_eq!(own.iter().map(|record| record.run).collect::<Vec<_>>(), [run_id(1), run_id(2)]);
}
