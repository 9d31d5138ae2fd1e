//! The second durable point: an outcome is recorded once, by whoever may.

use execgate_model::{InstanceId, Stage, UnixMs};
use execgate_store::{Claimed, Finish, Finished, Leaf, LeafKind, Resolution, StoreError};

use super::runs::{Backend, change, claim, digest, finish, held, recorded, run_id};

pub(crate) async fn an_outcome_reads_back_whole(backend: &impl Backend) {
    let store = backend.open();
    let (start, end) = (claim(store.instance(), 1), finish(store.instance(), 1, Stage::Witness));
    store.claim(start.clone()).await.unwrap();
    assert_eq!(store.finish(end.clone()).await.unwrap(), Finished::Recorded);

    assert_eq!(store.run(run_id(1)).await.unwrap(), Some(recorded(held(&start), &end)));
    assert_eq!(store.by_nonce(digest(1, 1)).await.unwrap(), Some(recorded(held(&start), &end)));
    assert_eq!(backend.leaves(run_id(1)), [start.leaf, end.leaf]);
}

pub(crate) async fn a_late_outcome_is_only_a_leaf(backend: &impl Backend) {
    let store = backend.open();
    let (start, end) = (claim(store.instance(), 1), finish(store.instance(), 1, Stage::Unknown));
    store.claim(start.clone()).await.unwrap();
    store.finish(end.clone()).await.unwrap();

    let late = Finish {
        outcome: "exception".to_owned(),
        leaf: Leaf { kind: LeafKind::Final, digest: digest(10, 1) },
        ..finish(store.instance(), 1, Stage::Settled)
    };
    assert_eq!(store.finish(late).await.unwrap(), Finished::Late);
    assert_eq!(store.run(run_id(1)).await.unwrap(), Some(recorded(held(&start), &end)));
    let late_leaf = Leaf { kind: LeafKind::Late, digest: digest(10, 1) };
    assert_eq!(backend.leaves(run_id(1)), [start.leaf, end.leaf, late_leaf]);
}

pub(crate) async fn an_end_that_was_written_and_told_to_have_failed_is_recorded_once(backend: &impl Backend) {
    let store = backend.open();
    let (start, end) = (claim(store.instance(), 1), finish(store.instance(), 1, Stage::Settled));
    store.claim(start.clone()).await.unwrap();
    for _ in 0..2 {
        assert_eq!(store.finish(end.clone()).await.unwrap(), Finished::Recorded);
    }
    assert_eq!(store.run(run_id(1)).await.unwrap(), Some(recorded(held(&start), &end)));
    assert_eq!(backend.leaves(run_id(1)), [start.leaf, end.leaf]);
}

pub(crate) async fn another_instance_s_outcome_is_only_a_leaf(backend: &impl Backend) {
    let store = backend.open();
    let start = claim(store.instance(), 1);
    store.claim(start.clone()).await.unwrap();
    let foreign = finish(InstanceId::from_entropy([99; 16]), 1, Stage::Unknown);
    assert_eq!(store.finish(foreign).await.unwrap(), Finished::Late);
    assert_eq!(store.run(run_id(1)).await.unwrap(), Some(held(&start)));
}

pub(crate) async fn no_run_ends_in_execute(backend: &impl Backend) {
    let store = backend.open();
    let start = claim(store.instance(), 1);
    store.claim(start.clone()).await.unwrap();
    let answer = store.finish(finish(store.instance(), 1, Stage::Execute)).await;
    assert!(matches!(answer, Err(StoreError::Backend { doing: "record an outcome", .. })));
    assert_eq!(store.run(run_id(1)).await.unwrap(), Some(held(&start)));
    assert_eq!(backend.leaves(run_id(1)), [start.leaf]);
}

pub(crate) async fn an_unknown_run_is_resolved_once(backend: &impl Backend) {
    let store = backend.open();
    let (start, end) = (claim(store.instance(), 1), finish(store.instance(), 1, Stage::Unknown));
    let word = |note: &str| Resolution {
        signer: [0; 32],
        run: run_id(1),
        note: note.to_owned(),
        receipt: b"signed".to_vec(),
        leaf: Leaf { kind: LeafKind::Resolve, digest: digest(11, 1) },
        at: UnixMs(1_800_000_000_000),
    };
    store.claim(start.clone()).await.unwrap();
    assert!(!store.resolve(word("too early"), change(9)).await.unwrap());
    store.finish(end.clone()).await.unwrap();
    assert!(store.resolve(word("it never ran"), change(9)).await.unwrap());
    assert!(!store.resolve(word("it did run"), change(9)).await.unwrap());

    let mut expected = recorded(held(&start), &end);
    expected.resolution = Some("it never ran".to_owned());
    assert_eq!(store.run(run_id(1)).await.unwrap(), Some(expected));
    assert_eq!(backend.leaves(run_id(1)), [start.leaf, end.leaf, word("").leaf]);
}

pub(crate) async fn forgetting_answers_keeps_nonces_and_receipts(backend: &impl Backend) {
    let store = backend.open();
    let ends: Vec<_> = (1..=600).map(|number| finish(store.instance(), number, Stage::Settled)).collect();
    for (number, end) in (1..=600).zip(&ends) {
        store.claim(claim(store.instance(), number)).await.unwrap();
        store.finish(end.clone()).await.unwrap();
    }
    let before = ends[550].at;
    assert_eq!(store.forget_answers(before).await.unwrap(), 550);
    assert_eq!(store.forget_answers(before).await.unwrap(), 0);

    for (number, end) in (1..=600).zip(&ends) {
        let mut expected = recorded(held(&claim(store.instance(), number)), end);
        if end.at < before {
            expected.answer = None;
        }
        assert_eq!(store.by_nonce(digest(1, number)).await.unwrap(), Some(expected.clone()));
        let replay = claim(store.instance(), number);
        assert_eq!(store.claim(replay).await.unwrap(), Claimed::Taken(Box::new(expected)));
    }
}

pub(crate) async fn the_oldest_answers_are_forgotten_first_and_no_more_than_are_too_many(
    backend: &impl Backend,
) {
    let store = backend.open();
    // The later a run was claimed the earlier it ended; each answer has 100 bytes.
    for number in 1..=600 {
        store.claim(claim(store.instance(), number)).await.unwrap();
        let mut end = finish(store.instance(), number, Stage::Settled);
        end.at = UnixMs(10_000 - u64::from(number));
        end.answer.body = vec![b'a'; 100];
        store.finish(end).await.unwrap();
    }
    let kept = async || {
        let mut kept = Vec::new();
        for number in 1..=600 {
            kept.extend(store.run(run_id(number)).await.unwrap().unwrap().answer.map(|_| number));
        }
        kept
    };
    assert_eq!(store.forget_answers_beyond(60_000).await.unwrap(), 0);
    assert_eq!(store.forget_answers_beyond(59_999).await.unwrap(), 1);
    assert_eq!(kept().await, (1..=599).collect::<Vec<_>>());
    assert_eq!(store.forget_answers_beyond(20_050).await.unwrap(), 399);
    assert_eq!(kept().await, (1..=200).collect::<Vec<_>>());
    assert_eq!(store.forget_answers_beyond(0).await.unwrap(), 200);
    assert_eq!(store.forget_answers_beyond(0).await.unwrap(), 0);
    let replay = store.by_nonce(digest(1, 600)).await.unwrap().unwrap();
    assert_eq!((replay.answer, replay.receipt), (None, Some(b"receipt 600".to_vec())));
}
