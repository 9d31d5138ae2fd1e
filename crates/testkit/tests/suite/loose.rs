//! Payments that nobody walks with any more: each is looked for in turn, taken up in whatever form it is shown, and comes to an
//! end; and what a session has paid for.

use std::sync::{Arc, Mutex, OnceLock};

use execgate_flow::settle::Reconciled;
use execgate_model::{Amount, BoxFuture, Credential, UnixMs};
use execgate_payment::{CaptureError, Flow, Found, HoldError, Paid, PaymentClaim, Rail, Terms, Unreachable};
use execgate_receipt::approval::Decision;
use execgate_receipt::sha256;
use execgate_testkit::{Ask, ManualClock, Move, OPERATOR_UID, Reply, World, ask, books, get, post};
use execgate_web::Peer;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::parking::{builder, by_hand, parked, said_of};

const OPERATOR: Peer = Peer::User { uid: OPERATOR_UID };

const DAY_MS: u64 = 86_400_000;

/// Another form of the payments of the scripted rail, taken before the work: of a claim `p` it keeps `other:p`.
#[derive(Default)]
struct OtherForm {
    /// It cannot say where money is, and takes its time to say so.
    slow: OnceLock<Arc<ManualClock>>,
    looked: Mutex<Vec<String>>,
}

fn told(state: &[u8]) -> String {
    String::from_utf8(state.to_vec()).unwrap()
}

impl Rail for OtherForm {
    fn name(&self) -> &'static str {
        "other"
    }

    fn verify<'a>(
        &'a self,
        _terms: &'a Terms,
        credential: Option<&'a Credential>,
    ) -> BoxFuture<'a, Result<Paid, HoldError>> {
        Box::pin(async move {
            let claim = told(&credential.ok_or(HoldError::Required)?.bytes);
            let named = PaymentClaim { key: sha256(claim.as_bytes()), payer: "account:1".to_owned() };
            let paid = Paid::by(named, format!("other:{claim}").into_bytes());
            Ok(Paid { flow: Flow::Upfront, ..paid })
        })
    }

    fn capture<'a>(
        &'a self,
        _amount: Amount,
        _state: &'a [u8],
    ) -> BoxFuture<'a, Result<String, CaptureError>> {
        Box::pin(async { Err(CaptureError::Unknown { reference: None }) })
    }

    fn release<'a>(&'a self, _state: &'a [u8]) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }

    fn whereabouts<'a>(&'a self, state: &'a [u8]) -> BoxFuture<'a, Result<Found, Unreachable>> {
        Box::pin(async move {
            self.looked.lock().unwrap().push(told(state));
            if let Some(clock) = self.slow.get() {
                clock.advance_ms(15_000);
                return Err(Unreachable("the bank is asleep".to_owned()));
            }
            Ok(Found::Taken { reference: Some("other-transfer".to_owned()) })
        })
    }
}

fn call() -> Ask {
    ask("gives").mark("n").nonce("n")
}

async fn open(world: &World) -> usize {
    world.store().open_payments(None).await.unwrap().len()
}

async fn say(world: &World, word: Value) -> Reply {
    let run = world.store().open_payments(None).await.unwrap()[0].run;
    world.admin(OPERATOR, post(&format!("/payments/{run}/end"), word.to_string())).await
}

#[tokio::test]
async fn a_payment_that_one_form_has_left_is_taken_up_in_the_other_as_it_was_recorded() {
    for (first, again) in [("scripted", "other"), ("other", "scripted")] {
        let world = World::priced().rail(Arc::new(OtherForm::default())).open();
        world.bank().forgetful(true);
        world.bank().next_capture("p^", Move::DoneUnheard);
        assert_eq!(world.walk(call().pays_by(first, "p^")).await.rule(), "settlement-pending", "{first}");
        let passage = world.walk(call().pays_by(again, "p^")).await.passage();
        let record = world.only_run().await;
        assert_eq!((passage.answer.status, record.rail.as_str(), world.journal().starts()), (200, first, 1));
        assert_eq!(world.walk(call().pays_by(first, "p^")).await.passage().answer, passage.answer);
        // Of another call it is refused as before.
        let other = world.walk(ask("gives").mark("m").nonce("m").pays_by(again, "p^")).await;
        assert_eq!(other.rule(), "payment-reused");
        assert_eq!((open(&world).await, world.fsck().await.0), (0, vec![]));
    }
}

#[tokio::test]
async fn a_loose_payment_whose_rail_tells_no_end_is_closed_by_its_age_and_still_buys_its_call() {
    let world = World::priced().open();
    world.bank().next_capture("p^", Move::LostUnheard);
    assert_eq!(world.walk(call().pays("p^")).await.rule(), "settlement-pending");
    let left = Some(Reconciled { left: 1, ..Reconciled::default() });
    assert_eq!(world.reconcile().await, left);
    world.clock().advance_ms(DAY_MS);
    assert_eq!(world.reconcile().await, left, "a day is not over");
    world.clock().advance_ms(60_000);
    assert_eq!(world.reconcile().await, Some(Reconciled { released: 1, ..Reconciled::default() }));
    // It may move all the same: it is looked for, and its call is served.
    let soon = world.store().watched(UnixMs(u64::MAX >> 1), 9).await.unwrap();
    assert_eq!((open(&world).await, soon.len()), (0, 1));
    assert_eq!(world.walk(call().pays("p^")).await.passage().answer.status, 200);
    assert_eq!((world.journal().captures(), books(&world).await, world.fsck().await.0), (1, vec![], vec![]));
}

#[tokio::test]
async fn a_loose_payment_whose_rail_tells_no_end_is_gone_by_the_operators_word() {
    let world = World::priced().open();
    world.bank().next_capture("p^", Move::LostUnheard);
    assert_eq!(world.walk(call().pays("p^")).await.rule(), "settlement-pending");
    let taken = say(&world, json!({"word": "taken", "transaction": "0xabc"})).await.json();
    assert_eq!(taken["code"], "contradicted", "its rail says that it was not");
    let gone = say(&world, json!({"word": "gone"})).await.json();
    assert_eq!((&gone["state"], &gone["unasked"]), (&json!("released"), &Value::Null));
    assert_eq!((open(&world).await, world.fsck().await.0), (0, vec![]));
}

#[tokio::test]
async fn where_nobody_can_be_asked_the_operator_is_told_before_a_word_is_recorded() {
    let world = World::priced().open();
    world.bank().next_capture("p", Move::LostUnheard);
    assert_eq!(world.walk(call().pays("p")).await.rule(), "settlement-pending");
    world.bank().close(true);
    let careful = say(&world, json!({"word": "gone", "only_if_asked": true})).await;
    let told = careful.json();
    assert_eq!((careful.status, &told["code"]), (409, &json!("unasked")));
    assert!(told["detail"].as_str().unwrap().contains("the bank is closed"), "{told}");
    assert_eq!(open(&world).await, 1, "nothing is recorded");
    let gone = say(&world, json!({"word": "gone"})).await.json();
    assert_eq!((&gone["state"], &gone["unasked"]), (&json!("unpaid"), &json!("the bank is closed")));
}

#[tokio::test]
async fn payments_whose_rail_is_slow_are_looked_for_in_turn() {
    let rail = Arc::new(OtherForm::default());
    let world = World::priced().rail(rail.clone()).open();
    rail.slow.set(world.shared_clock()).unwrap();
    for claim in ["1", "2", "3"] {
        let paid = ask("gives").nonce(claim).pays_by("other", claim);
        assert_eq!(world.walk(paid).await.rule(), "settlement-pending");
    }
    // One go has time for two of them, and goes on where the last one was cut short.
    for seen in [["other:1", "other:2"], ["other:3", "other:1"], ["other:2", "other:3"]] {
        assert_eq!(world.reconcile().await, Some(Reconciled { left: 2, ..Reconciled::default() }));
        assert_eq!(core::mem::take(&mut *rail.looked.lock().unwrap()), seen);
    }
}

#[tokio::test]
async fn whoever_has_not_paid_is_told_by_name_whatever_its_rail_keeps() {
    let world = World::priced().open();
    world.bank().next_capture("p", Move::Failed);
    assert_eq!(world.walk(call().pays("p@eip155:8453:0x01")).await.rule(), "done-unpaid");
    let listed = world.admin(OPERATOR, get("/payments")).await.json();
    assert_eq!(
        (&listed[0]["state"], &listed[0]["payer"]),
        (&json!("unpaid"), &json!("eip155:8453:0x01")),
        "{listed}"
    );
}

#[tokio::test]
async fn a_session_that_has_paid_has_its_own_answer_without_a_payment() {
    let world = World::priced().open();
    let bought = world.walk(call().by_session("s").pays("p")).await.passage();
    let again = world.walk(call().by_session("s")).await.passage();
    assert_eq!((&again.answer, again.replayed, again.run), (&bought.answer, true, bought.run));
    for (case, other) in [
        ("another session", call().by_session("t")),
        ("nobody", call().anonymously()),
        ("other content", call().mark("other").by_session("s")),
        ("another nonce", call().nonce("m").by_session("s")),
        ("no nonce", ask("gives").mark("n").by_session("s")),
    ] {
        assert_eq!(world.walk(other).await.rule(), "payment-required", "{case}");
    }
    // What is known of it ends with its run, and its wallet is who it was.
    world.bank().next_capture("q^", Move::Failed);
    let taken_back = || ask("gives").mark("o").nonce("o").by_session("s");
    assert_eq!(world.walk(taken_back().pays("q^")).await.rule(), "payment-refused");
    assert_eq!(world.walk(taken_back()).await.rule(), "payment-required");
    world.bank().next_capture("r", Move::LostUnheard);
    let pending = || ask("gives").mark("r").nonce("r").by_session("s");
    assert_eq!(world.walk(pending().pays("r")).await.rule(), "settlement-pending");
    assert_eq!(world.walk(pending()).await.rule(), "settlement-pending");
    assert_eq!((world.journal().starts(), world.journal().captures()), (2, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_pays_for_one_nonce_from_many_wallets_at_once_has_one_run_and_one_charge() {
    let world = World::priced().open();
    let mut crowd = JoinSet::new();
    for wallet in 0..64 {
        let gate = world.gate();
        let paid = call().by_session("s").pays(&format!("p{wallet}@w{wallet}"));
        crowd.spawn(async move { gate.walk(paid).await });
    }
    let passages: Vec<_> = crowd.join_all().await.into_iter().map(|walked| walked.passage()).collect();
    let first = &passages[0];
    assert!(passages.iter().all(|passage| (passage.run, &passage.answer) == (first.run, &first.answer)));
    assert_eq!(passages.iter().filter(|passage| !passage.replayed).count(), 1);
    assert_eq!((world.journal().starts(), world.journal().captures()), (1, 1));
    assert_eq!(world.fsck().await.0, []);
}

#[tokio::test]
async fn in_a_session_a_nonce_is_one_call_whoever_pays_for_it() {
    let world = World::priced().open();
    let bought = world.walk(call().by_session("s").pays("p@w1")).await.passage();
    for other in ["q@w2", "q@w2", "r@w3"] {
        let again = world.walk(call().by_session("s").pays(other)).await.passage();
        assert_eq!((again.replayed, again.run, &again.answer), (true, bought.run, &bought.answer), "{other}");
    }
    let changed = call().mark("other").by_session("s").pays("q@w2");
    assert_eq!(world.walk(changed).await.rule(), "nonce-reused");
    assert_eq!((world.journal().starts(), world.journal().captures()), (1, 1));
    // What did not come with it is good for something else.
    world.walk(call().nonce("m").by_session("s").pays("q@w2")).await.passage();
    // What is withheld until somebody pays is had by whoever does.
    world.bank().next_capture("f", Move::Failed);
    let unpaid = || ask("gives").mark("o").nonce("o").by_session("s");
    assert_eq!(world.walk(unpaid().pays("f@w1")).await.rule(), "done-unpaid");
    world.walk(unpaid().pays("g@w4")).await.passage();
    assert_eq!((world.journal().starts(), world.journal().captures()), (3, 3));
    assert_eq!(world.fsck().await.0, []);
}

#[tokio::test]
async fn what_waits_in_a_session_is_paid_for_by_the_payer_that_it_waits_under() {
    let world = builder().price("gives", "0.05").open();
    let asked = || call().by_session("s");
    let run = parked(world.walk(asked().pays("p@w1")).await);
    assert_eq!(parked(world.walk(asked().pays("q@w2")).await), run, "nobody has said anything yet");
    let yes = said_of(&world, run, "anna", Decision::Approve, &call());
    world.gate().decide(run, &by_hand(&yes)).await.unwrap();
    assert_eq!(world.walk(asked().pays("q@w2")).await.rule(), "payment-refused");
    assert_eq!(world.walk(asked().pays("p@w1")).await.passage().run, run);
    assert_eq!(world.walk(asked().pays("q@w2")).await.passage().run, run, "it is answered");
    assert_eq!((world.journal().starts(), world.journal().captures()), (1, 1));
    assert_eq!(world.fsck().await.0, []);
}
