//! All of a claim, or nothing of it.

use std::sync::Arc;

use execgate_model::{Amount, InstanceId, Stage};
use execgate_store::{ApprovalClaim, Claim, Claimed, Finished, Leaf, LeafKind, Store, StoreError, Undone};
use tokio::task::JoinSet;

use super::runs::{Backend, approval, change, claim, digest, finish, held, payment, recorded, run_id};

/// Claims them all at once and gives the answers.
async fn at_once(store: &Arc<dyn Store>, claims: impl IntoIterator<Item = Claim>) -> Vec<(Claim, Claimed)> {
    let mut tasks = JoinSet::new();
    for claim in claims {
        let store = Arc::clone(store);
        tasks.spawn(async move { (claim.clone(), store.claim(claim).await.unwrap()) });
    }
    tasks.join_all().await
}

fn only_fresh(answers: &[(Claim, Claimed)]) -> Claim {
    let fresh: Vec<_> = answers.iter().filter(|(_, claimed)| *claimed == Claimed::Fresh).collect();
    assert_eq!(fresh.len(), 1);
    fresh[0].0.clone()
}

pub(crate) async fn a_claim_reads_back_whole(backend: &impl Backend) {
    let store = backend.open();
    let paid = Claim {
        payment: Some(payment(1)),
        approval: Some(approval(1)),
        rail: "x402".to_owned(),
        ..claim(store.instance(), 1)
    };
    let bare = Claim { nonce_key: None, owner: None, ..claim(store.instance(), 2) };
    assert_eq!(store.claim(paid.clone()).await.unwrap(), Claimed::Fresh);
    assert_eq!(store.claim(bare.clone()).await.unwrap(), Claimed::Fresh);

    assert_eq!(store.run(run_id(1)).await.unwrap(), Some(held(&paid)));
    assert_eq!(store.run(run_id(2)).await.unwrap(), Some(held(&bare)));
    assert_eq!(store.by_nonce(digest(1, 1)).await.unwrap(), Some(held(&paid)));
    assert_eq!(store.by_payment(digest(5, 1)).await.unwrap(), Some(run_id(1)));
    let intent = Leaf { kind: LeafKind::Intent, digest: digest(4, 1) };
    assert_eq!(backend.leaves(run_id(1)), [approval(1).change.leaf, intent]);
}

pub(crate) async fn a_nonce_is_claimed_once_among_two_hundred(backend: &impl Backend) {
    let store = backend.open();
    let same = |number| Claim { nonce_key: Some(digest(1, 1)), ..claim(store.instance(), number) };
    let answers = at_once(&store, (1..=200).map(same)).await;

    let winner = held(&only_fresh(&answers));
    let taken = answers.iter().filter(|(_, claimed)| *claimed == Claimed::Taken(Box::new(winner.clone())));
    assert_eq!(taken.count(), 199);
    assert_eq!(store.by_nonce(digest(1, 1)).await.unwrap(), Some(winner));
}

pub(crate) async fn two_instances_do_not_both_claim_a_nonce(backend: &impl Backend) {
    let (one, two) = (backend.open(), backend.open());
    for number in 1..=50 {
        let (left, right) =
            tokio::join!(one.claim(claim(one.instance(), number)), two.claim(claim(two.instance(), number)));
        let fresh = [left.unwrap(), right.unwrap()].into_iter().filter(|claimed| *claimed == Claimed::Fresh);
        assert_eq!(fresh.count(), 1);
    }
}

pub(crate) async fn a_payment_buys_one_run_among_fifty_nonces(backend: &impl Backend) {
    let store = backend.open();
    let same = |number| Claim { payment: Some(payment(1)), ..claim(store.instance(), number) };
    let answers = at_once(&store, (1..=50).map(same)).await;

    let winner = only_fresh(&answers);
    for (loser, claimed) in answers.iter().filter(|(claim, _)| claim.run != winner.run) {
        assert_eq!(*claimed, Claimed::PaymentSpent(winner.run));
        assert_eq!(store.run(loser.run).await.unwrap(), None);
        assert_eq!(store.by_nonce(loser.nonce_key.unwrap()).await.unwrap(), None);
        assert_eq!(backend.leaves(loser.run), []);
    }
    assert_eq!(store.by_payment(digest(5, 1)).await.unwrap(), Some(winner.run));
}

pub(crate) async fn an_approval_is_used_once_among_fifty_nonces(backend: &impl Backend) {
    let store = backend.open();
    let same = |number| Claim {
        approval: Some(approval(1)),
        payment: Some(payment(number)),
        ..claim(store.instance(), number)
    };
    let answers = at_once(&store, (1..=50).map(same)).await;

    let winner = only_fresh(&answers);
    for (loser, claimed) in answers.iter().filter(|(claim, _)| claim.run != winner.run) {
        assert_eq!(*claimed, Claimed::ApprovalSpent(winner.run));
        assert_eq!(store.by_payment(loser.payment.as_ref().unwrap().key).await.unwrap(), None);
    }
}

pub(crate) async fn approvals_are_used_together_or_not_at_all(backend: &impl Backend) {
    let store = backend.open();
    let keys = |numbers: &[u16]| {
        let keys = numbers.iter().map(|number| digest(6, *number)).collect();
        Some(ApprovalClaim { keys, ..approval(numbers[0]) })
    };
    let with = |number, numbers: &[u16]| Claim { approval: keys(numbers), ..claim(store.instance(), number) };
    assert_eq!(store.claim(with(1, &[1, 2])).await.unwrap(), Claimed::Fresh);
    assert_eq!(store.claim(with(2, &[3, 2])).await.unwrap(), Claimed::ApprovalSpent(run_id(1)));
    assert_eq!(store.claim(with(3, &[3])).await.unwrap(), Claimed::Fresh);
    // What is behind the leaf of an approval is told with the administrative changes.
    let said = store.changes(None, 10).await.unwrap();
    assert_eq!(
        said.iter().map(|said| said.change.clone()).collect::<Vec<_>>(),
        [approval(3).change, approval(1).change]
    );
    let kinds: Vec<_> = backend.leaves(run_id(1)).iter().map(|leaf| leaf.kind).collect();
    assert_eq!(kinds, [LeafKind::Approval, LeafKind::Intent]);

    assert_eq!(store.undo(run_id(1), store.instance()).await.unwrap(), Undone::Undone);
    assert_eq!(store.claim(with(4, &[2, 1])).await.unwrap(), Claimed::Fresh);
}

pub(crate) async fn a_replay_is_told_of_the_finished_run(backend: &impl Backend) {
    let store = backend.open();
    let (first, end) = (claim(store.instance(), 1), finish(store.instance(), 1, Stage::Settled));
    store.claim(first.clone()).await.unwrap();
    store.finish(end.clone()).await.unwrap();

    let other = Claim { nonce_key: first.nonce_key, payment: Some(payment(9)), ..claim(store.instance(), 2) };
    let expected = Claimed::Taken(Box::new(recorded(held(&first), &end)));
    assert_eq!(store.claim(other).await.unwrap(), expected);
    assert_eq!(store.by_payment(digest(5, 9)).await.unwrap(), None);
}

pub(crate) async fn a_pause_turns_new_runs_away_and_replays_not(backend: &impl Backend) {
    let (store, other) = (backend.open(), backend.open());
    let first = claim(store.instance(), 1);
    store.claim(Claim { payment: Some(payment(1)), ..first.clone() }).await.unwrap();
    assert!(!store.paused().await.unwrap());
    other.set_paused(true, change(1)).await.unwrap();
    assert!(store.paused().await.unwrap());

    assert!(matches!(store.claim(first).await.unwrap(), Claimed::Taken(_)));
    let spent = Claim { payment: Some(payment(1)), ..claim(store.instance(), 2) };
    assert_eq!(store.claim(spent).await.unwrap(), Claimed::Paused);
    assert_eq!(store.finish(finish(store.instance(), 1, Stage::Witness)).await.unwrap(), Finished::Recorded);

    store.set_paused(false, change(1)).await.unwrap();
    assert_eq!(store.claim(claim(store.instance(), 3)).await.unwrap(), Claimed::Fresh);
}

pub(crate) async fn a_payment_is_looked_at_before_an_approval(backend: &impl Backend) {
    let store = backend.open();
    let both = |number| Claim {
        payment: Some(payment(1)),
        approval: Some(approval(1)),
        ..claim(store.instance(), number)
    };
    store.claim(both(1)).await.unwrap();
    assert_eq!(store.claim(both(2)).await.unwrap(), Claimed::PaymentSpent(run_id(1)));
}

pub(crate) async fn an_undo_frees_nonce_payment_and_approval(backend: &impl Backend) {
    let store = backend.open();
    let whole =
        Claim { payment: Some(payment(1)), approval: Some(approval(1)), ..claim(store.instance(), 1) };
    let bystander = Claim { payment: Some(payment(2)), ..claim(store.instance(), 2) };
    store.claim(whole.clone()).await.unwrap();
    store.claim(bystander.clone()).await.unwrap();

    assert_eq!(store.undo(run_id(1), store.instance()).await.unwrap(), Undone::Undone);
    assert_eq!(store.run(run_id(1)).await.unwrap(), None);
    assert_eq!(store.by_nonce(digest(1, 1)).await.unwrap(), None);
    assert_eq!(store.by_payment(digest(5, 1)).await.unwrap(), None);
    assert_eq!(store.run(run_id(2)).await.unwrap(), Some(held(&bystander)));
    assert_eq!(store.by_payment(digest(5, 2)).await.unwrap(), Some(run_id(2)));
    assert_eq!(backend.leaves(run_id(1)).len(), 2);

    assert_eq!(store.claim(whole).await.unwrap(), Claimed::Fresh);
}

pub(crate) async fn an_undo_comes_too_late_for_a_run_that_ended_or_is_another_s(backend: &impl Backend) {
    let store = backend.open();
    let stranger = InstanceId::from_entropy([99; 16]);
    store.claim(claim(store.instance(), 1)).await.unwrap();
    assert_eq!(store.undo(run_id(1), stranger).await.unwrap(), Undone::TooLate);
    store.finish(finish(store.instance(), 1, Stage::Settled)).await.unwrap();
    assert_eq!(store.undo(run_id(1), store.instance()).await.unwrap(), Undone::TooLate);
    assert_eq!(store.undo(run_id(7), store.instance()).await.unwrap(), Undone::TooLate);
    assert!(store.run(run_id(1)).await.unwrap().is_some());
}

pub(crate) async fn a_claim_that_fails_leaves_nothing_and_its_neighbours_alone(backend: &impl Backend) {
    let store = backend.open();
    let numbers = |number: u16| {
        let fine = Claim { payment: Some(payment(number)), ..claim(store.instance(), number) };
        let too_much = Amount::from_micros(u64::MAX);
        if number.is_multiple_of(3) { Claim { price: too_much, ..fine } } else { fine }
    };
    let mut tasks = JoinSet::new();
    for number in 1..=60 {
        let (store, claim) = (Arc::clone(&store), numbers(number));
        tasks.spawn(async move { (number, store.claim(claim).await) });
    }
    for (number, answer) in tasks.join_all().await {
        if number.is_multiple_of(3) {
            assert!(matches!(answer, Err(StoreError::Backend { doing: "store a price", .. })));
            assert_eq!(store.by_payment(digest(5, number)).await.unwrap(), None);
            assert_eq!(backend.leaves(run_id(number)), []);
        } else {
            assert_eq!(answer.unwrap(), Claimed::Fresh);
            assert_eq!(store.run(run_id(number)).await.unwrap(), Some(held(&numbers(number))));
        }
    }
}
