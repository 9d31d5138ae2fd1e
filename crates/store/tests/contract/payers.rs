//! What payers are held to.

use execgate_model::{InstanceId, Stage, UnixMs};
use execgate_store::{
    Claim, Claimed, FAILED_FOR_MS, Finish, NewPayment, REDEEMED_BY, SPARED_ALL_MAX, SPARED_MAX,
    SPARED_PAID_MAX, SPARED_WINDOW_MS, SettlementWord, Settling,
};

use super::money::of_one;
use super::runs::{Backend, claim, created, finish, payment, settling};

use SettlementWord::{Captured, Capturing, Held, Pending, Released, Unpaid};

/// The end of a run by a timeout that is not charged.
fn timed_out(instance: InstanceId, number: u16) -> Finish {
    Finish { charged: false, outcome: "timeout".to_owned(), ..finish(instance, number, Stage::Witness) }
}

pub(crate) async fn a_payer_that_failed_is_redeemed_by_payments_before_the_work_or_by_time(
    backend: &impl Backend,
) {
    let store = backend.open();
    let paid = |number, upfront, at| {
        let payment = NewPayment { upfront, funds: None, ..of_one(number) };
        Claim { payment: Some(payment), at, ..claim(store.instance(), number) }
    };
    store.claim(paid(1, false, created(1))).await.unwrap();
    store.finish(finish(store.instance(), 1, Stage::Witness)).await.unwrap();
    let failing = settling(1, Capturing, Unpaid);
    let at = failing.at;
    store.settle(failing).await.unwrap();
    let week = UnixMs(at.0 + FAILED_FOR_MS);
    assert_eq!(store.claim(paid(2, false, UnixMs(week.0 - 1))).await.unwrap(), Claimed::UpfrontOnly);
    assert_eq!(store.claim(paid(2, false, week)).await.unwrap(), Claimed::Fresh);
    for number in 3..3 + u16::try_from(REDEEMED_BY).unwrap() {
        assert_eq!(store.claim(paid(9, false, at)).await.unwrap(), Claimed::UpfrontOnly);
        store.claim(paid(number, true, at)).await.unwrap();
        store.settle(settling(number, Capturing, Captured)).await.unwrap();
    }
    assert_eq!(store.claim(paid(9, false, at)).await.unwrap(), Claimed::Fresh);
}

pub(crate) async fn timeouts_of_payers_who_have_paid_are_counted_of_all_of_them(backend: &impl Backend) {
    let store = backend.open();
    let paid = |number: u16, payer: u16| {
        let payment =
            NewPayment { upfront: false, funds: None, payer: format!("payer {payer}"), ..payment(number) };
        Claim { payment: Some(payment), at: created(1), ..claim(store.instance(), number) }
    };
    let most = u16::try_from(SPARED_PAID_MAX).unwrap();
    // One after the other pays once, and then takes as many timeouts as it is let.
    let (mut taken, mut each) = (0, Vec::new());
    for payer in 0.. {
        let number = 2_000 + payer;
        // What is captured now is no hold, so that the first of each is let even where all are to pay before.
        let first = NewPayment { upfront: true, ..paid(number, payer).payment.unwrap() };
        store.claim(Claim { payment: Some(first), ..paid(number, payer) }).await.unwrap();
        store.finish(finish(store.instance(), number, Stage::Witness)).await.unwrap();
        store.settle(settling(number, Capturing, Captured)).await.unwrap();
        let before = taken;
        let refused = loop {
            let claimed = store.claim(paid(taken, payer)).await.unwrap();
            if claimed != Claimed::Fresh {
                break claimed;
            }
            store.finish(Finish { at: created(1), ..timed_out(store.instance(), taken) }).await.unwrap();
            store.settle(settling(taken, Held, Released)).await.unwrap();
            taken += 1;
        };
        each.push(taken - before);
        if taken == before {
            assert_eq!(refused, Claimed::SparedEnoughInAll);
            break;
        }
    }
    assert_eq!((taken, each.len()), (most, 349 + 1));
    assert_eq!((u32::from(each[0]), each[128], each[348]), (SPARED_MAX, 3, 1), "the more have, the fewer");
    assert!(each.is_sorted_by(|before, after| before >= after), "{each:?}");
    assert_eq!(store.claim(paid(3_001, 999)).await.unwrap(), Claimed::Fresh, "one who has never paid");
}

pub(crate) async fn a_payment_that_failed_by_no_fault_of_its_payer_is_not_held_against_it(
    backend: &impl Backend,
) {
    let store = backend.open();
    let of = |number| Claim { payment: Some(of_one(number)), ..claim(store.instance(), number) };
    for (number, from) in [(1, Capturing), (2, Pending)] {
        assert_eq!(store.claim(of(number)).await.unwrap(), Claimed::Fresh);
        store.finish(finish(store.instance(), number, Stage::Witness)).await.unwrap();
        if from == Pending {
            store.settle(settling(number, Capturing, Pending)).await.unwrap();
        }
        store.settle(Settling { blameless: true, ..settling(number, from, Unpaid) }).await.unwrap();
    }
    assert_eq!(store.claim(of(3)).await.unwrap(), Claimed::Fresh);
}

pub(crate) async fn timeouts_that_are_not_charged_are_counted_of_each_payer(backend: &impl Backend) {
    let store = backend.open();
    let paid = |number, upfront, at| {
        let payment = NewPayment { upfront, funds: None, ..of_one(number) };
        Claim { payment: Some(payment), at, ..claim(store.instance(), number) }
    };
    let most = u16::try_from(SPARED_MAX).unwrap();
    for number in 1..=most {
        assert_eq!(store.claim(paid(number, false, created(1))).await.unwrap(), Claimed::Fresh);
        store.finish(timed_out(store.instance(), number)).await.unwrap();
        store.settle(settling(number, Held, Released)).await.unwrap();
    }
    let begun = created(1).0 + 1_000;
    let over = UnixMs(begun + SPARED_WINDOW_MS);
    let asked = paid(99, false, UnixMs(over.0 - 1));
    assert_eq!(store.claim(asked).await.unwrap(), Claimed::SparedEnough);
    let other = Claim { payment: Some(payment(98)), ..claim(store.instance(), 98) };
    assert_eq!(store.claim(other).await.unwrap(), Claimed::Fresh);
    assert_eq!(store.claim(paid(97, true, created(1))).await.unwrap(), Claimed::Fresh);
    assert_eq!(store.claim(paid(99, false, over)).await.unwrap(), Claimed::Fresh);
}

pub(crate) async fn timeouts_that_are_not_charged_are_counted_of_all_payers(backend: &impl Backend) {
    let store = backend.open();
    let paid = |number: u16, payer: String, upfront, at| {
        let payment = NewPayment { upfront, funds: None, payer, ..payment(number) };
        Claim { payment: Some(payment), at, ..claim(store.instance(), number) }
    };
    // One of whom something was taken once.
    let old = |number, at| paid(number, "old".to_owned(), false, at);
    assert_eq!(store.claim(old(1_000, created(1))).await.unwrap(), Claimed::Fresh);
    store.finish(finish(store.instance(), 1_000, Stage::Witness)).await.unwrap();
    store.settle(settling(1_000, Capturing, Captured)).await.unwrap();
    let most = u16::try_from(SPARED_ALL_MAX).unwrap();
    for number in 1..=most {
        let asked = paid(number, format!("payer {number}"), false, created(1));
        assert_eq!(store.claim(asked).await.unwrap(), Claimed::Fresh);
        store.finish(Finish { at: created(1), ..timed_out(store.instance(), number) }).await.unwrap();
    }
    let over = UnixMs(created(1).0 + SPARED_WINDOW_MS);
    let before = UnixMs(over.0 - 1);
    let new = |number, upfront, at| paid(number, "another".to_owned(), upfront, at);
    assert_eq!(store.claim(new(997, false, before)).await.unwrap(), Claimed::SparedEnoughInAll);
    // New payers cost nothing: those who have paid do not wait for them.
    assert_eq!(store.claim(old(1_001, before)).await.unwrap(), Claimed::Fresh);
    assert_eq!(store.claim(new(998, true, before)).await.unwrap(), Claimed::Fresh);
    assert_eq!(store.claim(new(999, false, over)).await.unwrap(), Claimed::Fresh);
}
