//! The log: leaves in their order, hashes written once, heads committed before they are signed.

use execgate_model::{Digest, Stage, UnixMs};
use execgate_store::{
    LeafKind, LogCheckpoint, LogCosigned, LogEpoch, LogHead, LogLeaf, LogNode, LogStanding, LogStep, Store,
    StoreError,
};

use super::runs::{Backend, change, claim, created, digest, finish, run_id};

fn hash(level: u8, index: u16) -> Digest {
    digest(100 + level, index)
}

/// The step that adds so many leaves, with hashes that name their places.
fn step(epoch: u64, after: u16, added: u16) -> LogStep {
    let completes = |leaf: u16| {
        let levels = 0..=u8::try_from(leaf.trailing_ones()).unwrap();
        levels.map(|level| hash(level, leaf >> level)).collect()
    };
    let size = after + added;
    LogStep {
        after: after.into(),
        hashes: (after..size).map(completes).collect(),
        head: LogHead { epoch, size: size.into(), root: digest(99, size) },
    }
}

async fn run(store: &dyn Store, number: u16) {
    store.claim(claim(store.instance(), number)).await.unwrap();
    store.finish(finish(store.instance(), number, Stage::Settled)).await.unwrap();
}

pub(crate) async fn leaves_stand_in_the_order_of_their_commits(backend: &impl Backend) {
    let (one, two) = (backend.open(), backend.open());
    run(&*one, 1).await;
    two.set_paused(true, change(2)).await.unwrap();
    let leaf = |kind, digest, at| LogLeaf { kind, digest, at: Some(at) };
    let leaves = [
        leaf(LeafKind::Intent, claim(one.instance(), 1).leaf.digest, created(1)),
        leaf(LeafKind::Final, digest(9, 1), UnixMs(created(1).0 + 1_000)),
        leaf(LeafKind::Change, digest(6, 2), UnixMs(2)),
    ];
    assert_eq!(one.log_leaves(0, 9).await.unwrap(), leaves);
    assert_eq!(two.log_leaves(1, 1).await.unwrap(), leaves[1..2]);
    assert_eq!(two.log_leaves(3, 9).await.unwrap(), []);
    let standing = LogStanding { leaves: 3, hashed: 0, epoch: None, newest: None };
    assert_eq!(one.log_standing().await.unwrap(), standing);
}

pub(crate) async fn a_step_is_taken_by_one_process_and_read_by_all(backend: &impl Backend) {
    let (one, two) = (backend.open(), backend.open());
    assert!(!one.log_extend(step(1, 0, 0)).await.unwrap(), "the log has no name yet");
    assert!(one.log_begin(0, "log.example".to_owned(), UnixMs(5), None).await.unwrap());
    assert!(!two.log_begin(0, "other.example".to_owned(), UnixMs(5), None).await.unwrap());
    run(&*one, 1).await;
    run(&*one, 2).await;
    assert!(one.log_extend(step(1, 0, 3)).await.unwrap());
    assert!(!two.log_extend(step(1, 0, 3)).await.unwrap(), "somebody was first");
    assert!(!two.log_extend(step(1, 2, 2)).await.unwrap(), "it stands elsewhere");
    assert!(!two.log_extend(step(2, 3, 1)).await.unwrap(), "it has another name");
    assert!(!two.log_extend(step(1, 3, 0)).await.unwrap(), "nothing is added");
    assert!(two.log_extend(step(1, 3, 1)).await.unwrap());

    let nodes = [(0, 0), (0, 3), (1, 0), (1, 1), (2, 0)];
    let hashes: Vec<_> = nodes.iter().map(|(level, index)| hash(*level, *index)).collect();
    let asked = nodes.map(|(level, index)| LogNode { level, index: index.into() }).to_vec();
    assert_eq!(one.log_hashes(asked).await.unwrap(), hashes);
    for (level, index) in [(0, 4), (1, 2), (3, 0), (63, 9), (200, 0), (0, u64::MAX)] {
        let missing = one.log_hashes(vec![LogNode { level, index }]).await;
        assert!(matches!(missing, Err(StoreError::Unreadable { column: "log_hash" })), "{level}/{index}");
    }
    assert_eq!(one.log_place(run_id(1)).await.unwrap(), Some(1));
    assert_eq!(two.log_place(run_id(2)).await.unwrap(), Some(3));
    assert_eq!(two.log_place(run_id(3)).await.unwrap(), None);
}

pub(crate) async fn a_head_is_signed_once_and_as_it_was_committed(backend: &impl Backend) {
    let store = backend.open();
    store.log_begin(0, "log.example".to_owned(), UnixMs(5), None).await.unwrap();
    run(&*store, 1).await;
    assert!(store.log_extend(step(1, 0, 1)).await.unwrap());
    let first = step(1, 0, 1).head;
    assert_eq!(store.log_checkpoint().await.unwrap(), None);
    assert!(!store.log_sign(LogHead { root: digest(98, 1), ..first }, "other".to_owned()).await.unwrap());
    assert!(!store.log_sign(LogHead { size: 2, ..first }, "other".to_owned()).await.unwrap());
    assert!(store.log_sign(first, "first".to_owned()).await.unwrap());
    assert!(!store.log_sign(first, "again".to_owned()).await.unwrap());
    assert!(store.log_extend(step(1, 1, 1)).await.unwrap());
    // What is not signed is not shown, and what is committed is not forgotten.
    let signed = LogCheckpoint { head: first, note: Some("first".to_owned()) };
    assert_eq!(store.log_checkpoint().await.unwrap(), Some(signed));
    let newest = Some(LogCheckpoint { head: step(1, 1, 1).head, note: None });
    let epoch = Some(LogEpoch { number: 1, origin: "log.example".to_owned(), start: 0 });
    assert_eq!(store.log_standing().await.unwrap(), LogStanding { leaves: 2, hashed: 2, epoch, newest });
}

pub(crate) async fn a_new_name_has_heads_of_its_own(backend: &impl Backend) {
    let store = backend.open();
    store.log_begin(0, "log.example".to_owned(), UnixMs(5), None).await.unwrap();
    run(&*store, 1).await;
    assert!(store.log_extend(step(1, 0, 2)).await.unwrap());
    assert!(store.log_sign(step(1, 0, 2).head, "old".to_owned()).await.unwrap());
    assert!(!store.log_begin(0, "next.example".to_owned(), UnixMs(6), Some(change(1))).await.unwrap());
    assert!(store.log_begin(1, "next.example".to_owned(), UnixMs(6), Some(change(1))).await.unwrap());
    assert_eq!(store.log_checkpoint().await.unwrap(), None);
    assert_eq!(store.changes(None, 9).await.unwrap().len(), 1, "a change that was not made is not said");
    assert!(store.log_extend(step(2, 2, 0)).await.unwrap());
    assert!(store.log_extend(step(2, 2, 1)).await.unwrap());
    let epoch = |number, origin: &str, start| LogEpoch { number, origin: origin.to_owned(), start };
    let epochs = [epoch(1, "log.example", 0), epoch(2, "next.example", 2)];
    assert_eq!(store.log_epochs().await.unwrap(), epochs);
}

pub(crate) async fn whoever_waits_is_told_of_a_write(backend: &impl Backend) {
    let store = backend.open();
    run(&*store, 1).await;
    store.log_stirred().await;
}

pub(crate) async fn of_each_witness_the_largest_checkpoint_is_kept(backend: &impl Backend) {
    let (one, two) = (backend.open(), backend.open());
    let cosigned = |witness: &str, epoch, size| LogCosigned {
        witness: witness.to_owned(),
        head: LogHead { epoch, size, root: digest(99, u16::try_from(size).unwrap()) },
        note: format!("{witness} {size}"),
    };
    assert!(one.log_keep_cosigned(vec![cosigned("w1", 1, 3), cosigned("w2", 1, 5)]).await.unwrap());
    assert!(two.log_keep_cosigned(vec![cosigned("w1", 1, 4)]).await.unwrap());
    assert!(
        two.log_keep_cosigned(vec![cosigned("w1", 1, 4)]).await.unwrap(),
        "the same again, with a newer time"
    );
    assert!(!two.log_keep_cosigned(vec![cosigned("w2", 1, 4)]).await.unwrap());
    assert!(two.log_keep_cosigned(vec![cosigned("w2", 2, 1)]).await.unwrap());
    assert_eq!(one.log_cosigned(1).await.unwrap(), [cosigned("w2", 1, 5), cosigned("w1", 1, 4)]);
    assert_eq!(one.log_cosigned(2).await.unwrap(), [cosigned("w2", 2, 1)]);
    assert_eq!(one.log_cosigned(3).await.unwrap(), []);
}
