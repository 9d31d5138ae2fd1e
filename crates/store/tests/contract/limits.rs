//! Limits: exact however many claim at once, and given back with an undone claim.

use std::sync::Arc;

use execgate_model::{Stage, UnixMs};
use execgate_store::{Claim, Claimed, LimitClaim, LimitReached, Store, StoreError, Undone};
use tokio::task::JoinSet;

use super::runs::{Backend, claim, created, digest, finish, payment, run_id};

/// The window of every limit here, in milliseconds.
const WINDOW_MS: u64 = 60_000;

/// Counter `number` in window `window`, of which this claim uses up one.
fn limit(number: u16, window: u64, max: u64) -> LimitClaim {
    let starts = created(0).0 - created(0).0 % WINDOW_MS + window * WINDOW_MS;
    LimitClaim {
        rule: format!("/limits/{number}"),
        key: digest(40, number),
        starts: UnixMs(starts),
        ends: UnixMs(starts + WINDOW_MS),
        amount: 1,
        max,
        enforced: true,
    }
}

/// A claim under these limits.
async fn claimed(store: &Arc<dyn Store>, number: u16, limits: &[LimitClaim]) -> Claimed {
    let claim = Claim { limits: limits.to_vec(), ..claim(store.instance(), number) };
    store.claim(claim).await.unwrap()
}

fn reached(limit: &LimitClaim) -> Claimed {
    Claimed::LimitReached(LimitReached { rule: limit.rule.clone(), ends: limit.ends })
}

pub(crate) async fn a_limit_is_exact_among_two_hundred_of_two_instances(backend: &impl Backend) {
    let (one, two) = (backend.open(), backend.open());
    let mut tasks = JoinSet::new();
    for number in 1..=200 {
        let store = if number % 2 == 0 { Arc::clone(&one) } else { Arc::clone(&two) };
        tasks.spawn(async move {
            loop {
                let limits = vec![limit(1, 0, 37), limit(2, 0, 1_000)];
                let claim = Claim { limits, ..claim(store.instance(), number) };
                match store.claim(claim).await {
                    // The other instance commits.
                    Err(StoreError::Busy) => {}
                    answer => break answer.unwrap(),
                }
            }
        });
    }
    let answers = tasks.join_all().await;
    let fresh = answers.iter().filter(|answer| **answer == Claimed::Fresh).count();
    let refused = answers.iter().filter(|answer| **answer == reached(&limit(1, 0, 37))).count();
    assert_eq!((fresh, refused), (37, 163));
    // The second limit has counted those that passed the first, and nobody else.
    assert_eq!(claimed(&one, 201, &[LimitClaim { amount: 963, ..limit(2, 0, 1_000) }]).await, Claimed::Fresh);
    assert_eq!(claimed(&one, 202, &[limit(2, 0, 1_000)]).await, reached(&limit(2, 0, 1_000)));
}

pub(crate) async fn a_limit_without_room_leaves_nothing(backend: &impl Backend) {
    let store = backend.open();
    claimed(&store, 1, &[limit(1, 0, 1)]).await;
    let limits = vec![limit(2, 0, 1), limit(1, 0, 1)];
    let refused = Claim { payment: Some(payment(2)), limits, ..claim(store.instance(), 2) };
    assert_eq!(store.claim(refused).await.unwrap(), reached(&limit(1, 0, 1)));

    assert_eq!(store.run(run_id(2)).await.unwrap(), None);
    assert_eq!(store.by_payment(digest(5, 2)).await.unwrap(), None);
    assert_eq!(backend.leaves(run_id(2)), []);
    assert_eq!(claimed(&store, 3, &[limit(2, 0, 1)]).await, Claimed::Fresh);
}

pub(crate) async fn a_replay_finds_its_run_though_the_limit_is_reached(backend: &impl Backend) {
    let store = backend.open();
    claimed(&store, 1, &[limit(1, 0, 1)]).await;
    assert!(matches!(claimed(&store, 1, &[limit(1, 0, 1)]).await, Claimed::Taken(_)));
}

pub(crate) async fn an_undo_gives_back_what_was_reserved_and_an_end_does_not(backend: &impl Backend) {
    let store = backend.open();
    let two = [LimitClaim { amount: 7, ..limit(1, 0, 10) }, limit(2, 0, 1)];
    assert_eq!(claimed(&store, 1, &two).await, Claimed::Fresh);
    assert_eq!(claimed(&store, 2, &two).await, reached(&two[0]));
    assert_eq!(store.undo(run_id(1), store.instance()).await.unwrap(), Undone::Undone);
    assert_eq!(claimed(&store, 2, &two).await, Claimed::Fresh);

    store.finish(finish(store.instance(), 2, Stage::Settled)).await.unwrap();
    assert_eq!(store.undo(run_id(2), store.instance()).await.unwrap(), Undone::TooLate);
    assert_eq!(claimed(&store, 3, &two).await, reached(&two[0]));
}

pub(crate) async fn a_new_window_starts_anew_and_never_goes_back(backend: &impl Backend) {
    let store = backend.open();
    assert_eq!(claimed(&store, 1, &[limit(1, 0, 1)]).await, Claimed::Fresh);
    assert_eq!(claimed(&store, 2, &[limit(1, 1, 1)]).await, Claimed::Fresh);
    // A clock that went back finds the window that counts, and when that one ends.
    assert_eq!(claimed(&store, 3, &[limit(1, 0, 1)]).await, reached(&limit(1, 1, 1)));
    // What was taken in a window that is over goes nowhere.
    store.undo(run_id(1), store.instance()).await.unwrap();
    assert_eq!(claimed(&store, 4, &[limit(1, 1, 1)]).await, reached(&limit(1, 1, 1)));
}

pub(crate) async fn a_limit_in_shadow_counts_and_refuses_nobody(backend: &impl Backend) {
    let store = backend.open();
    let shadow = LimitClaim { enforced: false, ..limit(1, 0, 1) };
    for number in 1..=3 {
        assert_eq!(claimed(&store, number, std::slice::from_ref(&shadow)).await, Claimed::Fresh);
    }
    let vast = LimitClaim { amount: u64::MAX, ..shadow };
    assert_eq!(claimed(&store, 4, &[vast]).await, Claimed::Fresh);
    assert_eq!(claimed(&store, 5, &[limit(1, 0, 1)]).await, reached(&limit(1, 0, 1)));
}

pub(crate) async fn counters_of_windows_that_are_over_are_forgotten(backend: &impl Backend) {
    let store = backend.open();
    for number in 1..=600 {
        let window = u64::from(number % 2);
        assert_eq!(claimed(&store, number, &[limit(number, window, 1)]).await, Claimed::Fresh);
    }
    let ends = limit(0, 0, 1).ends;
    assert_eq!(store.forget_limits(UnixMs(ends.0 - 1)).await.unwrap(), 0);
    assert_eq!(store.forget_limits(ends).await.unwrap(), 300);
    assert_eq!(store.forget_limits(ends).await.unwrap(), 0);
    assert_eq!(claimed(&store, 601, &[limit(1, 1, 1)]).await, reached(&limit(1, 1, 1)));
}
