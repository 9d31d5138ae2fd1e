//! Orphans: only of the dead, and only for one.

use execgate_model::{InstanceId, Stage};
use execgate_store::{Claim, Finished, NewPayment, SettlementWord};

use super::runs::{Backend, claim, finish, held, payment, recorded, run_id, settling};

pub(crate) async fn a_living_instance_has_no_orphans(backend: &impl Backend) {
    let (one, two) = (backend.open(), backend.open());
    one.claim(claim(one.instance(), 1)).await.unwrap();
    two.claim(claim(two.instance(), 2)).await.unwrap();
    assert_eq!(one.orphans().await.unwrap(), []);
    assert_eq!(two.orphans().await.unwrap(), []);
}

pub(crate) async fn the_open_runs_of_a_dead_instance_are_orphans_oldest_first(backend: &impl Backend) {
    let (dying, heir) = (backend.open(), backend.open());
    let id = dying.instance();
    // The second is paid: its money is open until it is settled.
    let claim = |number| Claim { payment: (number == 2).then(|| payment(2)), ..claim(id, number) };
    for number in [4, 3, 2, 1] {
        dying.claim(claim(number)).await.unwrap();
    }
    dying.finish(finish(id, 2, Stage::Witness)).await.unwrap();
    dying.finish(finish(id, 3, Stage::Settled)).await.unwrap();
    dying.close().await;

    let witnessed = recorded(held(&claim(2)), &finish(id, 2, Stage::Witness));
    let expected = [held(&claim(1)), witnessed, held(&claim(4))];
    assert_eq!(heir.orphans().await.unwrap(), expected);

    assert_eq!(heir.finish(finish(id, 1, Stage::Unknown)).await.unwrap(), Finished::Recorded);
    heir.settle(settling(2, SettlementWord::Capturing, SettlementWord::Captured)).await.unwrap();
    assert_eq!(heir.orphans().await.unwrap(), [held(&claim(4))]);
}

pub(crate) async fn orphans_have_one_heir_until_it_dies_too(backend: &impl Backend) {
    let (dying, heir, next) = (backend.open(), backend.open(), backend.open());
    let orphan = claim(dying.instance(), 1);
    dying.claim(orphan.clone()).await.unwrap();
    dying.close().await;

    assert_eq!(heir.orphans().await.unwrap(), [held(&orphan)]);
    assert_eq!(next.orphans().await.unwrap(), []);
    heir.close().await;
    assert_eq!(next.orphans().await.unwrap(), [held(&orphan)]);
}

pub(crate) async fn an_instance_that_nobody_knows_is_dead(backend: &impl Backend) {
    let store = backend.open();
    let orphan = claim(InstanceId::from_entropy([99; 16]), 1);
    store.claim(orphan.clone()).await.unwrap();
    assert_eq!(store.orphans().await.unwrap(), [held(&orphan)]);
}

pub(crate) async fn an_unpaid_run_is_nobodys_orphan_until_somebody_has_paid_and_died(backend: &impl Backend) {
    let (dying, heir, payee) = (backend.open(), backend.open(), backend.open());
    let start = Claim { payment: Some(payment(1)), ..claim(dying.instance(), 1) };
    dying.claim(start.clone()).await.unwrap();
    dying.finish(finish(dying.instance(), 1, Stage::Witness)).await.unwrap();
    dying.settle(settling(1, SettlementWord::Capturing, SettlementWord::Unpaid)).await.unwrap();
    dying.close().await;

    // What could not be captured is the payer's to mend; a sweep has nothing to do about it.
    assert_eq!(heir.orphans().await.unwrap(), []);
    payee.repay(run_id(1), NewPayment { ..payment(2) }).await.unwrap();
    assert_eq!(heir.orphans().await.unwrap(), []);
    payee.close().await;
    assert_eq!(heir.orphans().await.unwrap().len(), 1);
}
