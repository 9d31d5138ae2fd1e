//! Chains that take back blocks: what was paid in them is asked for again, by the very bytes that were signed, and the books say
//! so of what cannot be had any more.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use execgate_flow::settle::{Standing, unsettled};
use execgate_model::Stage;
use execgate_payment::evm::ChainId;
use execgate_payment::{Facilitator, Finality};
use execgate_settler::{Counter, Ledger, Rpc, serve};
use execgate_store::SettlementWord;
use execgate_testkit::chain::{Chain, GAS, PAYER, SELLER, Transfer};
use execgate_testkit::{AuthorizedRail, World, ask, temporary_folder};
use serde_json::json;

use super::between::between;
use super::paying::{PRICE, desk, paying, signed};

/// Until whatever was taken is looked at again, in milliseconds.
const LATER_MS: u64 = 600_000;

/// How long a block may take to come.
const PATIENCE: Duration = Duration::from_secs(5);

async fn world(chain: &Chain, folder: &Path) -> World {
    chain.fund(PAYER.address, 10 * PRICE);
    chain.finalize();
    World::priced().rail(Arc::new(AuthorizedRail(Arc::new(desk(chain, folder, PATIENCE).await)))).open()
}

/// Looks at everything that was taken until none of it is open any more.
async fn until_final(world: &World) {
    while world.store().sums().await.unwrap().unfinal > 0 {
        world.clock().advance_ms(LATER_MS);
        world.reconcile().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settler_sends_the_same_bytes_again_when_its_chain_takes_blocks_back() {
    let (chain, folder) = (Chain::start(), temporary_folder());
    chain.fund(PAYER.address, 10 * PRICE);
    chain.finalize();
    let desk: Arc<dyn Facilitator> = Arc::new(desk(&chain, folder.path(), PATIENCE).await);
    let socket = folder.path().join("settler.sock");
    let serving = tokio::spawn({
        let (socket, desk) = (socket.clone(), Arc::clone(&desk));
        async move { serve(&socket, desk).await }
    });
    while !socket.exists() {
        tokio::task::yield_now().await;
    }
    let counter = Counter::new(socket);
    let mut settled = Vec::new();
    for number in 1..=3 {
        let paid = signed(&chain, number);
        let hash = counter.settle(&paid).await.unwrap();
        settled.push((paid, Some(hash)));
    }
    let before = chain.transfers();
    assert_eq!(counter.finality(&settled).await.unwrap(), [Finality::Fresh; 3]);
    chain.take_back(2);
    assert_eq!((chain.balance(SELLER.address), chain.nonce(GAS.address)), (PRICE, 1));
    // To ask is what has it sent again.
    while counter.finality(&settled).await.unwrap() != [Finality::Fresh; 3] {}
    let hashes = |transfers: Vec<Transfer>| -> Vec<_> {
        transfers.into_iter().map(|transfer| transfer.transaction).collect()
    };
    assert_eq!(hashes(chain.transfers()), hashes(before), "the very same transactions");
    chain.finalize();
    let sealed: Vec<_> = settled.iter().filter_map(|(_, hash)| hash.map(Finality::Final)).collect();
    assert_eq!(counter.finality(&settled).await.unwrap(), sealed);
    assert_eq!((chain.balance(SELLER.address), chain.nonce(GAS.address)), (3 * PRICE, 3));
    serving.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_chain_takes_back_is_taken_again_and_watched_until_it_is_final() {
    let (chain, folder) = (Chain::start(), temporary_folder());
    let world = world(&chain, folder.path()).await;
    let asked = paying(ask("gives").nonce("n"), &signed(&chain, 1));
    let first = world.walk(asked.clone()).await.passage();
    let reference = world.only_run().await.settlement_reference;
    assert_eq!(world.store().sums().await.unwrap().unfinal, 1);
    chain.take_back(1);
    assert_eq!(chain.balance(SELLER.address), 0, "it is taken back");
    while chain.balance(SELLER.address) == 0 {
        world.clock().advance_ms(LATER_MS);
        world.reconcile().await.unwrap();
    }
    assert_eq!(world.store().sums().await.unwrap().unfinal, 1, "seen, and not final");
    chain.finalize();
    until_final(&world).await;
    let record = world.only_run().await;
    assert_eq!((record.settlement, record.settlement_reference), (SettlementWord::Captured, reference));
    assert_eq!(world.walk(asked).await.passage().answer, first.answer);
    assert_eq!((world.journal().starts(), chain.balance(SELLER.address)), (1, PRICE));
    assert_eq!(world.fsck().await.0, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_chain_takes_back_for_good_is_said_by_the_books_and_its_answer_stays() {
    let (chain, folder) = (Chain::start(), temporary_folder());
    let world = world(&chain, folder.path()).await;
    let asked = paying(ask("gives").nonce("n"), &signed(&chain, 1));
    let first = world.walk(asked.clone()).await.passage();
    chain.take_back(1);
    chain.empty(PAYER.address);
    world.clock().advance_ms(LATER_MS);
    let found = world.reconcile().await.unwrap();
    assert_eq!((found.taken_back, found.reversed), (1, 0), "it may still be had");
    // What was signed is over, in a block that is final.
    chain.advance(7_200);
    chain.finalize();
    until_final(&world).await;
    let record = world.only_run().await;
    assert_eq!((record.stage, record.settlement), (Stage::Settled, SettlementWord::Reversed));
    let again = world.walk(asked).await.passage();
    assert_eq!((again.replayed, again.answer), (true, first.answer));
    chain.fund(PAYER.address, 10 * PRICE);
    let next = paying(ask("gives").nonce("m"), &signed(&chain, 2));
    assert_eq!(world.walk(next).await.rule(), "upfront-only");
    let sums = world.store().sums().await.unwrap();
    assert_eq!((sums.captured, sums.reversed, sums.reversed_micros), (0, 1, PRICE));
    assert_eq!(world.store().earned(0).await.unwrap(), []);
    let told = unsettled(world.store().as_ref()).await.unwrap();
    let told: Vec<_> = told.iter().map(|one| (one.standing, one.run)).collect();
    assert_eq!(told, [(Standing::Reversed, record.run)]);
    let (findings, report) = world.fsck().await;
    assert_eq!((findings, report.counts.reversed, report.counts.captured), (vec![], 1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_transaction_moves_again_is_told_by_that_one() {
    let (chain, folder) = (Chain::start(), temporary_folder());
    let world = world(&chain, folder.path()).await;
    let paid = signed(&chain, 1);
    world.walk(paying(ask("gives").nonce("n"), &paid)).await.passage();
    let first = world.only_run().await.settlement_reference;
    chain.take_back(1);
    chain.submit(&paid);
    chain.finalize();
    until_final(&world).await;
    let record = world.only_run().await;
    let moved = chain.transfers().pop().unwrap().transaction;
    assert_ne!(first.as_ref(), Some(&moved));
    assert_eq!((record.settlement, record.settlement_reference), (SettlementWord::Captured, Some(moved)));
    assert_eq!(chain.balance(SELLER.address), PRICE);
    assert_eq!(world.fsck().await.0, []);
}

#[tokio::test]
async fn a_node_that_does_not_say_what_is_final_counts_blocks() {
    let (chain, folder) = (Chain::start(), temporary_folder());
    chain.fund(PAYER.address, PRICE);
    let paid = signed(&chain, 1);
    let hash = desk(&chain, folder.path(), PATIENCE).await.settle(&paid).await.unwrap();
    let settled = [(paid, Some(hash))];
    // As one answers that knows no such block.
    let untold = between(&chain, |question| {
        let error =
            || json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32602, "message": "no such tag"}});
        (question["params"][0] == "finalized").then(error)
    })
    .await;
    let ledger = Ledger::open(Rpc::new(&untold.url("")).unwrap(), ChainId::BASE_SEPOLIA).await.unwrap();
    let ledger = ledger.final_after(3);
    assert_eq!(ledger.finality(&settled).await.unwrap(), [Finality::Fresh]);
    chain.mine(3);
    assert_eq!(ledger.finality(&settled).await.unwrap(), [Finality::Final(hash)]);
}
