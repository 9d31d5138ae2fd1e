//! Where the money of a run ends.

use execgate_model::{Amount, Stage};
use execgate_store::{
    Change, Claim, Claimed, Finish, Leaf, LeafKind, NewPayment, Record, Repaid, Settled, SettlementWord,
    Settling, StoreError, Undone,
};

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
        payment_state: Some(fresh.state),
        payment_key: Some(fresh.key),
        ..recorded(held(&start), &end)
    };
    assert_eq!(store.run(run_id(1)).await.unwrap(), Some(expected));
    for number in [1, 2] {
        assert_eq!(store.by_payment(digest(5, number)).await.unwrap(), Some(run_id(1)));
    }
    assert_eq!(store.by_payment(digest(5, 3)).await.unwrap(), None);
}

/// A payment of one payer who has 50,000 millionths.
fn of_one(number: u16) -> NewPayment {
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
    let open = store.open_payments().await.unwrap();
    assert_eq!(
        (open.len(), open[0].run, open[0].stage),
        (1, run_id(1), None),
        "its capture may have happened"
    );
    let other = Claim { payment: Some(upfront(1)), ..claim(store.instance(), 2) };
    assert_eq!(store.claim(other.clone()).await.unwrap(), Claimed::PaymentSpent(run_id(1)));

    assert_eq!(store.claim(start.clone()).await.unwrap(), Claimed::Fresh);
    assert_eq!(store.open_payments().await.unwrap(), []);
    store.settle(settling(1, Capturing, Captured)).await.unwrap();
    assert_eq!(store.undo(run_id(1), store.instance()).await.unwrap(), Undone::Credited);
    assert!(store.earned(0).await.unwrap()[0].is_credit);
    assert_eq!(store.claim(other).await.unwrap(), Claimed::PaymentSpent(run_id(1)));

    assert_eq!(store.claim(start).await.unwrap(), Claimed::Fresh);
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
    assert_eq!(store.open_payments().await.unwrap(), []);
}

pub(crate) async fn an_upfront_payment_that_failed_leaves_nothing(backend: &impl Backend) {
    let store = backend.open();
    let start = Claim { payment: Some(upfront(1)), ..claim(store.instance(), 1) };
    store.claim(start.clone()).await.unwrap();
    store.settle(settling(1, Capturing, Released)).await.unwrap();
    assert_eq!(store.undo(run_id(1), store.instance()).await.unwrap(), Undone::Undone);
    assert_eq!(store.by_payment(digest(5, 1)).await.unwrap(), None);
    assert_eq!(store.claim(start).await.unwrap(), Claimed::Fresh);
}
