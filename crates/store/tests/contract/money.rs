//! Where the money of a run ends.

use execgate_model::Stage;
use execgate_store::{Claim, Leaf, LeafKind, NewPayment, Record, Repaid, SettlementWord, StoreError};

use super::runs::{Backend, claim, digest, finish, held, payment, recorded, run_id};

fn leaf(number: u16) -> Leaf {
    Leaf { kind: LeafKind::Settlement, digest: digest(12, number) }
}

pub(crate) async fn only_an_end_of_the_money_closes_a_run(backend: &impl Backend) {
    let store = backend.open();
    for (number, word) in (1..).zip(SettlementWord::ALL) {
        let start = Claim { payment: Some(payment(number)), ..claim(store.instance(), number) };
        let end = finish(store.instance(), number, Stage::Witness);
        store.claim(start.clone()).await.unwrap();
        store.finish(end.clone()).await.unwrap();
        store.settle(run_id(number), word, Some("0xabc".to_owned()), Some(leaf(number))).await.unwrap();

        let open = matches!(word, SettlementWord::Held | SettlementWord::Unpaid | SettlementWord::Pending);
        let expected = Record {
            stage: if open { Stage::Witness } else { Stage::Settled },
            settlement: word,
            settlement_reference: Some("0xabc".to_owned()),
            ..recorded(held(&start), &end)
        };
        assert_eq!(store.run(run_id(number)).await.unwrap(), Some(expected));
        assert_eq!(backend.leaves(run_id(number)), [start.leaf, end.leaf, leaf(number)]);
    }
}

pub(crate) async fn settling_moves_no_other_stage_than_witness(backend: &impl Backend) {
    let store = backend.open();
    store.claim(claim(store.instance(), 1)).await.unwrap();
    store.claim(claim(store.instance(), 2)).await.unwrap();
    store.finish(finish(store.instance(), 2, Stage::Unknown)).await.unwrap();
    for (number, stage) in [(1, Stage::Execute), (2, Stage::Unknown)] {
        store.settle(run_id(number), SettlementWord::Released, None, None).await.unwrap();
        let record = store.run(run_id(number)).await.unwrap().unwrap();
        assert_eq!((record.stage, record.settlement), (stage, SettlementWord::Released));
    }
}

pub(crate) async fn settling_a_run_that_is_not_there_is_a_fault(backend: &impl Backend) {
    let store = backend.open();
    let answer = store.settle(run_id(1), SettlementWord::Captured, None, Some(leaf(1))).await;
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
    store.settle(run_id(1), SettlementWord::Unpaid, Some("0xbad".to_owned()), None).await.unwrap();

    assert_eq!(store.repay(run_id(1), payment(1)).await.unwrap(), Repaid::PaymentSpent(run_id(1)));
    let fresh = NewPayment { rail: "mpp".to_owned(), ..payment(2) };
    assert_eq!(second.repay(run_id(1), fresh.clone()).await.unwrap(), Repaid::Held);
    assert_eq!(second.repay(run_id(1), payment(3)).await.unwrap(), Repaid::NotDue);

    let expected = Record {
        instance: second.instance(),
        rail: "mpp".to_owned(),
        payment_state: Some(fresh.state),
        ..recorded(held(&start), &end)
    };
    assert_eq!(store.run(run_id(1)).await.unwrap(), Some(expected));
    for number in [1, 2] {
        assert_eq!(store.by_payment(digest(5, number)).await.unwrap(), Some(run_id(1)));
    }
    assert_eq!(store.by_payment(digest(5, 3)).await.unwrap(), None);
}
