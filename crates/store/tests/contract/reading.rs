//! Pages, and reads beside writes.

use execgate_model::{Stage, UnixMs};
use execgate_store::{Claim, Page, Record, Store, StoreError};

use super::runs::{Backend, claim, digest, finish, run_id};

async fn pages(store: &dyn Store, limit: u32, stage: Option<Stage>) -> Vec<Record> {
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let page = store.list(Page { before, limit, stage }).await.unwrap();
        assert!(page.len() <= usize::try_from(limit).unwrap());
        let Some(last) = page.last() else { return all };
        before = Some(last.run);
        all.extend(page);
    }
}

pub(crate) async fn pages_show_every_run_once_and_the_newest_first(backend: &impl Backend) {
    let store = backend.open();
    let stages = [Stage::Settled, Stage::Witness, Stage::Unknown, Stage::Execute];
    for (number, stage) in (0..40).zip(stages.into_iter().cycle()) {
        // Four runs share a millisecond: the order of their claims decides.
        let at = UnixMs(1_700_000_000_000 + u64::from(number / 4));
        store.claim(Claim { at, ..claim(store.instance(), number) }).await.unwrap();
        if stage != Stage::Execute {
            store.finish(finish(store.instance(), number, stage)).await.unwrap();
        }
    }
    let mut expected = Vec::new();
    for number in (0..40).rev() {
        let record = store.run(run_id(number)).await.unwrap().unwrap();
        expected.push(Record { answer: None, receipt: None, ..record });
    }
    for limit in [1, 3, 7, 40, 5_000] {
        assert_eq!(pages(&*store, limit, None).await, expected);
        for stage in Stage::ALL {
            let of_stage: Vec<_> = expected.iter().filter(|record| record.stage == stage).cloned().collect();
            assert_eq!(pages(&*store, limit, Some(stage)).await, of_stage);
        }
    }
    let unknown = Page { before: Some(run_id(999)), limit: 10, stage: None };
    assert_eq!(store.list(unknown).await.unwrap(), []);
}

pub(crate) async fn a_page_is_capped(backend: &impl Backend) {
    let store = backend.open();
    for number in 0..1_005 {
        store.claim(claim(store.instance(), number)).await.unwrap();
    }
    let page = store.list(Page { before: None, limit: u32::MAX, stage: None }).await.unwrap();
    assert_eq!(page.len(), 1_000);
}

pub(crate) async fn what_was_answered_is_read_at_once_by_every_instance(backend: &impl Backend) {
    let (store, other) = (backend.open(), backend.open());
    for number in 1..=100 {
        store.claim(claim(store.instance(), number)).await.unwrap();
        assert!(store.by_nonce(digest(1, number)).await.unwrap().is_some());
        assert!(other.run(run_id(number)).await.unwrap().is_some());
    }
}

pub(crate) async fn what_is_not_there_reads_as_none(backend: &impl Backend) {
    let store = backend.open();
    assert_eq!(store.run(run_id(1)).await.unwrap(), None);
    assert_eq!(store.by_nonce(digest(1, 1)).await.unwrap(), None);
    assert_eq!(store.by_payment(digest(5, 1)).await.unwrap(), None);
    assert_eq!(store.orphans().await.unwrap(), []);
}

pub(crate) async fn a_closed_store_says_so_and_has_written_everything(backend: &impl Backend) {
    let store = backend.open();
    let claims = (1..=20).map(|number| store.claim(claim(store.instance(), number)));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 21..=40 {
        let store = std::sync::Arc::clone(&store);
        tasks.spawn(async move { store.claim(claim(store.instance(), number)).await });
    }
    for claim in claims {
        claim.await.unwrap();
    }
    store.close().await;
    store.close().await;
    let answered: Vec<_> = tasks.join_all().await;

    assert!(matches!(store.claim(claim(store.instance(), 90)).await, Err(StoreError::Closed)));
    assert!(matches!(store.run(run_id(1)).await, Err(StoreError::Closed)));
    assert!(matches!(store.orphans().await, Err(StoreError::Closed)));
    let next = backend.open();
    let found = next.list(Page { before: None, limit: 100, stage: None }).await.unwrap();
    assert_eq!(found.len(), 20 + answered.iter().filter(|answer| answer.is_ok()).count());
}
