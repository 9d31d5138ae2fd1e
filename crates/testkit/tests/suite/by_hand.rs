//! Settle: what is pending, and what an operator says of it who has looked at the chain.

use execgate_flow::settle::{ByHand, ByHandError, Reconciled};
use execgate_model::Digest;
use execgate_payment::SettlementState;
use execgate_receipt::sha256;
use execgate_store::{LeafKind, SettlementWord};
use execgate_testkit::{Ask, Move, World, ask};
use serde_json::{Value, json};

fn paid(claim: &str) -> Ask {
    ask("gives").mark("n").nonce("n").pays(claim)
}

fn key(claim: &str) -> Digest {
    sha256(claim.as_bytes())
}

fn taken() -> ByHand {
    ByHand::Taken { reference: "0xabc".to_owned() }
}

/// What the log says of money.
async fn said(world: &World) -> Vec<Value> {
    let mut said = Vec::new();
    for leaf in world.store().examiner().leaves(0).await.unwrap() {
        if leaf.kind == Ok(LeafKind::Settlement) {
            said.push(serde_json::from_slice(&leaf.behind.unwrap()).unwrap());
        }
    }
    said
}

#[tokio::test]
async fn a_pending_payment_that_an_operator_found_taken_gives_the_withheld_answer() {
    let world = World::priced().open();
    world.bank().next_capture("p", Move::DoneUnheard);
    assert_eq!(world.walk(paid("p")).await.rule(), "settlement-pending");
    world.bank().close(true);
    assert_eq!(world.reconcile().await, Some(Reconciled { left: 1, ..Reconciled::default() }));
    let run = world.only_run().await.run;
    let ended = world.end_by_hand(run, None, taken()).await.unwrap();
    assert_eq!((ended.payment, ended.state, ended.is_credit), (key("p"), SettlementState::Captured, false));
    let record = world.only_run().await;
    assert_eq!(
        (record.settlement, record.settlement_reference.as_deref()),
        (SettlementWord::Captured, Some("0xabc"))
    );
    world.bank().close(false);
    assert_eq!(world.walk(paid("p")).await.passage().answer.status, 200);
    let expected = json!({
        "v": 1, "kind": "settlement", "exec_id": run, "payment": key("p"), "rail": "scripted", "amount": "0.05",
        "currency": "USD", "reference": "0xabc", "by": "operator", "ended": "taken",
    });
    assert_eq!(said(&world).await, [expected]);
    // It is ended, and is not ended twice.
    let again = world.end_by_hand(run, None, ByHand::Gone).await;
    assert!(matches!(again, Err(ByHandError::NotPending)), "{again:?}");
    assert_eq!((world.journal().starts(), world.journal().captures()), (1, 1));
    assert_eq!(world.fsck().await.0, []);
}

#[tokio::test]
async fn a_pending_payment_that_an_operator_found_gone_leaves_the_work_to_a_new_one() {
    let world = World::priced().open();
    world.bank().next_capture("p", Move::LostUnheard);
    assert_eq!(world.walk(paid("p")).await.rule(), "settlement-pending");
    let run = world.only_run().await.run;
    let ended = world.end_by_hand(run, Some(key("p")), ByHand::Gone).await.unwrap();
    assert_eq!(ended.state, SettlementState::Unpaid);
    assert_eq!(world.walk(paid("p")).await.rule(), "done-unpaid");
    assert_eq!(world.walk(paid("q")).await.passage().answer.status, 200);
    let ends: Vec<_> = said(&world).await.iter().map(|said| said["ended"].clone()).collect();
    assert_eq!(ends, [json!("gone"), Value::Null]);
    assert_eq!(world.fsck().await.0, []);
}

#[tokio::test]
async fn what_an_operator_found_taken_for_a_run_that_was_taken_back_is_a_credit_and_serves_the_same_call() {
    let world = World::priced().open();
    let prepaid = |claim: &str| ask("gives").mark("n").nonce("n").pays(claim);
    for claim in ["p^", "q^"] {
        world.bank().next_capture(claim, Move::DoneUnheard);
        assert_eq!(world.walk(prepaid(claim)).await.rule(), "settlement-pending");
    }
    let run = world.store().open_payments(None).await.unwrap()[0].run;
    let which = world.end_by_hand(run, None, taken()).await;
    assert!(matches!(&which, Err(ByHandError::Several(keys)) if keys.len() == 2), "{which:?}");
    let ended = world.end_by_hand(run, Some(key("q^")), taken()).await.unwrap();
    assert_eq!((ended.state, ended.is_credit), (SettlementState::Captured, true));
    assert_eq!(world.store().sums().await.unwrap().credited_micros, 50_000);
    assert_eq!(said(&world).await.len(), 1);
    assert_eq!(world.walk(prepaid("q^")).await.passage().answer.status, 200);
    assert_eq!(world.store().sums().await.unwrap().credited_micros, 0);
    // The other is closed beside the run that has come again without it.
    let ended = world.end_by_hand(run, Some(key("p^")), ByHand::Gone).await.unwrap();
    assert_eq!((ended.state, ended.is_credit), (SettlementState::Released, false));
    assert_eq!(world.store().open_payments(None).await.unwrap(), []);
    assert_eq!(world.fsck().await.0, []);
}

#[tokio::test]
async fn nothing_is_ended_by_hand_but_what_is_pending_and_nothing_under_a_name_that_is_none() {
    let world = World::priced().open();
    world.walk(paid("p")).await.passage();
    let run = world.only_run().await.run;
    for payment in [None, Some(key("p")), Some(key("q"))] {
        let ended = world.end_by_hand(run, payment, taken()).await;
        assert!(matches!(ended, Err(ByHandError::NotPending)), "{ended:?}");
    }
    world.bank().next_capture("q", Move::LostUnheard);
    assert_eq!(world.walk(ask("gives").nonce("m").pays("q")).await.rule(), "settlement-pending");
    let run = world.store().open_payments(None).await.unwrap()[0].run;
    for reference in ["", "two words", "\u{e9}", &"a".repeat(257)] {
        let ended = world.end_by_hand(run, None, ByHand::Taken { reference: reference.to_owned() }).await;
        assert!(matches!(ended, Err(ByHandError::Reference)), "{ended:?}");
    }
    assert_eq!(world.store().open_payments(None).await.unwrap().len(), 1);
}
