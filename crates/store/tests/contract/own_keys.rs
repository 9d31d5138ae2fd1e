//! The gateway's own keys: added once, retired once, each with its leaf.

use execgate_model::{KeyPurpose, Stage, UnixMs};
use execgate_store::{Claimed, Finish, Finished, KeyAdded, KeyRetired, OwnKey, Retirement, StoreError};

use super::runs::{Backend, change, claim, finish, held};

fn key(number: u8) -> OwnKey {
    OwnKey {
        purpose: KeyPurpose::Receipt,
        public: [number; 32],
        added: UnixMs(1_000 + u64::from(number)),
        retired: None,
    }
}

fn log_key(number: u8) -> OwnKey {
    OwnKey { purpose: KeyPurpose::Log, ..key(number) }
}

pub(crate) async fn a_key_reads_back_and_is_added_once(backend: &impl Backend) {
    let (one, two) = (backend.open(), backend.open());
    assert_eq!(one.add_own_key(key(1), change(1)).await.unwrap(), KeyAdded::Done);
    assert_eq!(
        two.add_own_key(OwnKey { added: UnixMs(9), ..key(1) }, change(2)).await.unwrap(),
        KeyAdded::Known
    );
    assert_eq!(two.add_own_key(log_key(1), change(3)).await.unwrap(), KeyAdded::Done);
    assert_eq!(one.own_keys().await.unwrap(), [key(1), log_key(1)]);
    let told = two.changes(None, 100).await.unwrap();
    assert_eq!(told.into_iter().map(|recorded| recorded.change).collect::<Vec<_>>(), [change(3), change(1)]);
}

pub(crate) async fn the_newest_key_signs_and_is_not_retired(backend: &impl Backend) {
    let store = backend.open();
    store.add_own_key(key(1), change(1)).await.unwrap();
    assert_eq!(
        store.retire_own_key(KeyPurpose::Receipt, [1; 32], change(2)).await.unwrap(),
        KeyRetired::Signs
    );
    assert_eq!(
        store.retire_own_key(KeyPurpose::Receipt, [9; 32], change(2)).await.unwrap(),
        KeyRetired::Missing
    );
    assert_eq!(store.own_keys().await.unwrap(), [key(1)]);
    assert_eq!(store.changes(None, 100).await.unwrap().len(), 1);
}

pub(crate) async fn a_key_is_retired_once_at_the_size_that_the_log_has_then(backend: &impl Backend) {
    let store = backend.open();
    for number in 1..4 {
        store.add_own_key(key(number), change(number.into())).await.unwrap();
    }
    let retire =
        |number: u8, said: u16| store.retire_own_key(KeyPurpose::Receipt, [number; 32], change(said));
    let at = change(7).at;
    let first = Retirement { at, size: 3 };
    assert_eq!(retire(1, 7).await.unwrap(), KeyRetired::Done(first));
    assert_eq!(retire(1, 8).await.unwrap(), KeyRetired::Before(first));
    let second = Retirement { at: change(9).at, size: 4 };
    assert_eq!(retire(2, 9).await.unwrap(), KeyRetired::Done(second));
    assert_eq!(retire(3, 10).await.unwrap(), KeyRetired::Signs);
    let retired = |number, retirement| OwnKey { retired: Some(retirement), ..key(number) };
    assert_eq!(store.own_keys().await.unwrap(), [retired(1, first), retired(2, second), key(3)]);
    assert_eq!(store.changes(None, 100).await.unwrap().len(), 5);
}

pub(crate) async fn a_receipt_under_a_retired_key_is_refused_and_nothing_is_written(backend: &impl Backend) {
    let store = backend.open();
    for number in 1..3 {
        store.add_own_key(key(number), change(number.into())).await.unwrap();
    }
    let claimed = claim(store.instance(), 1);
    assert_eq!(store.claim(claimed.clone()).await.unwrap(), Claimed::Fresh);
    store.retire_own_key(KeyPurpose::Receipt, [1; 32], change(3)).await.unwrap();
    let late = Finish { signer: [1; 32], ..finish(store.instance(), 1, Stage::Settled) };
    let refused = store.finish(late.clone()).await;
    assert!(matches!(refused, Err(StoreError::KeyRetired)), "{refused:?}");
    assert_eq!(store.run(claimed.run).await.unwrap(), Some(held(&claimed)));
    assert_eq!(store.log_standing().await.unwrap().leaves, 4, "two keys, an intent, and the end of a key");
    assert_eq!(store.finish(Finish { signer: [2; 32], ..late }).await.unwrap(), Finished::Recorded);
}

pub(crate) async fn keys_of_one_purpose_are_nothing_to_the_other(backend: &impl Backend) {
    let store = backend.open();
    store.add_own_key(key(1), change(1)).await.unwrap();
    store.add_own_key(log_key(2), change(2)).await.unwrap();
    assert_eq!(
        store.retire_own_key(KeyPurpose::Receipt, [1; 32], change(3)).await.unwrap(),
        KeyRetired::Signs
    );
    assert_eq!(
        store.retire_own_key(KeyPurpose::Receipt, [2; 32], change(3)).await.unwrap(),
        KeyRetired::Missing
    );
}
