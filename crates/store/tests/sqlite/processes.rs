//! Two processes on one data directory, and the death of one.

use execgate_model::Stage;
use execgate_store::Finished;

use super::child::Process;
use super::folder::{Folder, instance};
use crate::contract::{Backend, block_on, claim, finish, held, run_id};

#[test]
fn a_claim_that_was_answered_survives_a_kill_and_is_then_an_orphan() {
    let folder = Folder::new();
    let mut child = Process::start("claim", folder.path());
    assert_eq!(child.word(), "claimed");
    let expected = [held(&claim(instance(500), 500))];
    block_on(async {
        let store = folder.open();
        assert_eq!(store.run(run_id(500)).await.unwrap(), expected.first().cloned());
        assert_eq!(store.orphans().await.unwrap(), []);

        child.kill();
        assert_eq!(store.orphans().await.unwrap(), expected);
        let unknown = finish(instance(500), 500, Stage::Unknown);
        assert_eq!(store.finish(unknown).await.unwrap(), Finished::Recorded);
        assert_eq!(store.orphans().await.unwrap(), []);
    });
}

#[test]
fn whatever_was_answered_before_a_kill_is_there_after_it() {
    let folder = Folder::new();
    let mut child = Process::start("stream", folder.path());
    let answered: Vec<u16> = (0..100).map(|_| child.word().parse().unwrap()).collect();
    child.kill();
    block_on(async {
        let store = folder.open();
        for number in answered {
            let expected = held(&claim(instance(500), number));
            assert_eq!(store.run(run_id(number)).await.unwrap(), Some(expected));
        }
    });
}
