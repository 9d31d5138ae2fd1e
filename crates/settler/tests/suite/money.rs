//! Whole runs that are paid on a chain: what the gateway believes of money, and what the chain shows.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use execgate_flow::settle::Reconciled;
use execgate_store::SettlementWord;
use execgate_testkit::chain::{Chain, PAYER, SELLER};
use execgate_testkit::{AuthorizedRail, World, ask, temporary_folder};
use tokio::task::JoinSet;

use super::paying::{PRICE, desk, paying, signed};

/// How long nobody is kept waiting for a block.
const PATIENCE: Duration = Duration::from_secs(2);

/// Sent at once.
const CROWD: usize = 64;

async fn world(chain: &Chain, folder: &Path) -> World {
    let desk = desk(chain, folder, PATIENCE).await;
    World::priced().rail(Arc::new(AuthorizedRail(Arc::new(desk)))).open()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_payment_sent_sixty_four_times_at_once_buys_one_run_and_moves_once() {
    let (chain, folder) = (Chain::start(), temporary_folder());
    let world = world(&chain, folder.path()).await;
    chain.fund(PAYER.address, 10 * PRICE);
    let paid = signed(&chain, 1);
    let mut crowd = JoinSet::new();
    for _ in 0..CROWD {
        let (gate, asked) = (world.gate(), paying(ask("gives"), &paid));
        crowd.spawn(async move { gate.walk(asked).await.passage().answer });
    }
    let answers = crowd.join_all().await;
    assert_eq!(answers.len(), CROWD);
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(world.journal().starts(), 1);
    let transfers = chain.transfers();
    assert_eq!((transfers.len(), transfers[0].value, chain.balance(SELLER.address)), (1, PRICE, PRICE));
    let record = world.only_run().await;
    assert_eq!(record.settlement_reference.as_ref(), Some(&transfers[0].transaction));
    // Another route, another body, another nonce: refused, and nothing moves.
    for other in [ask("raises"), ask("gives").nonce("n"), ask("gives").mark("m")] {
        assert_eq!(world.walk(paying(other, &paid)).await.rule(), "payment-reused");
    }
    assert_eq!((world.journal().starts(), chain.transfers().len()), (1, 1));
    assert_eq!(world.fsck().await.0, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wallet_that_is_emptied_while_its_work_runs_gets_nothing_and_pays_before_the_work_from_then_on() {
    let (chain, folder) = (Chain::start(), temporary_folder());
    let world = world(&chain, folder.path()).await;
    chain.fund(PAYER.address, 10 * PRICE);
    let gate = world.gate();
    let asked = paying(ask("blocks").nonce("n"), &signed(&chain, 1));
    let again = paying(ask("blocks").nonce("n"), &signed(&chain, 2));
    let walk = tokio::spawn(async move { gate.walk(asked).await.rule() });
    world.journal().until_started(1).await;
    chain.empty(PAYER.address);
    world.bench().let_go();
    assert_eq!(walk.await.unwrap(), "done-unpaid");
    assert_eq!(world.only_run().await.settlement, SettlementWord::Unpaid);
    chain.fund(PAYER.address, 10 * PRICE);
    let next = paying(ask("gives").nonce("m"), &signed(&chain, 3));
    assert_eq!(world.walk(next).await.rule(), "upfront-only");
    // The work that is done is had for a new payment, and runs no second time.
    assert_eq!(world.walk(again).await.passage().answer.status, 200);
    assert_eq!((world.journal().starts(), chain.balance(SELLER.address)), (1, PRICE));
    assert_eq!(world.fsck().await.0, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payer_holds_no_more_than_its_wallet_has() {
    let (chain, folder) = (Chain::start(), temporary_folder());
    let world = world(&chain, folder.path()).await;
    chain.fund(PAYER.address, PRICE + PRICE / 2);
    let gate = world.gate();
    let asked = paying(ask("blocks").nonce("a"), &signed(&chain, 1));
    let walk = tokio::spawn(async move { gate.walk(asked).await.passage() });
    world.journal().until_started(1).await;
    let second = paying(ask("gives").nonce("b"), &signed(&chain, 2));
    assert_eq!(world.walk(second).await.rule(), "holds-exceed-balance");
    world.bench().let_go();
    walk.await.unwrap();
    assert_eq!((world.journal().starts(), chain.balance(SELLER.address)), (1, PRICE));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_capture_that_no_block_takes_in_time_is_pending_and_found() {
    let (chain, folder) = (Chain::start(), temporary_folder());
    let world = world(&chain, folder.path()).await;
    chain.fund(PAYER.address, 10 * PRICE);
    chain.mine_at_once(false);
    let asked = paying(ask("gives").nonce("n"), &signed(&chain, 1));
    assert_eq!(world.walk(asked.clone()).await.rule(), "settlement-pending");
    assert_eq!(world.walk(asked.clone()).await.rule(), "settlement-pending");
    chain.mine_at_once(true);
    chain.mine(1);
    let mut found = world.reconcile().await.unwrap();
    while found.captured == 0 {
        found = world.reconcile().await.unwrap();
    }
    assert_eq!(found, Reconciled { captured: 1, ..Reconciled::default() });
    assert_eq!(world.walk(asked).await.passage().answer.status, 200);
    assert_eq!((world.journal().starts(), chain.transfers().len()), (1, 1));
    assert_eq!(world.fsck().await.0, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_is_answered_again_when_the_chain_is_gone_and_its_time_is_over() {
    let (chain, folder) = (Chain::start(), temporary_folder());
    let world = world(&chain, folder.path()).await;
    chain.fund(PAYER.address, 10 * PRICE);
    let paid = signed(&chain, 1);
    let first = world.walk(paying(ask("gives"), &paid)).await.passage();
    chain.advance(3_600);
    drop(chain);
    let again = world.walk(paying(ask("gives"), &paid)).await.passage();
    assert_eq!((again.replayed, again.answer), (true, first.answer));
    assert_eq!(world.journal().starts(), 1);
}
