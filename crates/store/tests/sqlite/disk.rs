//! A disk that is full, simulated by a limit on the length of files.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use execgate_model::Stage;
use execgate_store::{Claimed, Finished, StoreError};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::JoinSet;

use super::child::Process;
use super::folder::{Folder, instance, open};
use crate::contract::{Backend, block_on, claim, digest, finish, run_id};

#[test]
fn a_full_disk_fails_each_write_and_later_writes_work_again() {
    let folder = Folder::new();
    let mut child = Process::start("starve", folder.path());
    assert_eq!(child.word(), "fed again");
    child.end();
    block_on(async {
        let store = folder.open();
        for number in 1..=20 {
            assert!(store.run(run_id(number)).await.unwrap().is_some());
            assert_eq!(folder.leaves(run_id(number)).len(), if number == 1 { 2 } else { 1 });
        }
    });
}

/// Runs in a process of its own: claims, lets no file grow, fails, lets them grow, claims.
pub(super) async fn starve(folder: &Path) -> String {
    let store = open(folder, instance(500)).unwrap();
    store.claim(claim(store.instance(), 1)).await.unwrap();

    let limit = getrlimit(Resource::Fsize);
    let full = fs::metadata(folder.join("record.db-wal")).unwrap().len() + 1;
    setrlimit(Resource::Fsize, Rlimit { current: Some(full), maximum: limit.maximum }).unwrap();
    let mut claims = JoinSet::new();
    for number in 2..=20 {
        let store = Arc::clone(&store);
        claims.spawn(async move { store.claim(claim(store.instance(), number)).await });
    }
    for answer in claims.join_all().await {
        assert!(matches!(answer, Err(StoreError::Backend { .. })), "{answer:?}");
    }
    let finished = store.finish(finish(store.instance(), 1, Stage::Settled)).await;
    assert!(matches!(finished, Err(StoreError::Backend { .. })), "{finished:?}");
    assert_eq!(store.by_nonce(digest(1, 2)).await.unwrap(), None);
    assert_eq!(store.run(run_id(1)).await.unwrap().unwrap().stage, Stage::Execute);

    setrlimit(Resource::Fsize, limit).unwrap();
    for number in 2..=20 {
        assert_eq!(store.claim(claim(store.instance(), number)).await.unwrap(), Claimed::Fresh);
    }
    assert_eq!(store.finish(finish(store.instance(), 1, Stage::Settled)).await.unwrap(), Finished::Recorded);
    store.close().await;
    "fed again".to_owned()
}
