//! One's own key: it keeps the contract of the port, alone and through its socket, and over deaths of its process.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use execgate_payment::evm::{Address, Authorization, ChainId};
use execgate_payment::{Facilitator, SettleError, Whereabouts};
use execgate_settler::{Counter, Desk, GasKey, Ledger, Manners, Rpc, serve};
use execgate_testkit::chain::{Chain, Coin, GAS, PAYER, SELLER};
use execgate_testkit::facilitator::{Ground, keeps_the_contract};
use execgate_testkit::temporary_folder;
use execgate_testkit::wallet::{Wallet, usdc};

/// A chain and a facilitator before it.
struct OnChain {
    chain: Chain,
    facilitator: Arc<dyn Facilitator>,
}

impl Ground for OnChain {
    fn facilitator(&self) -> Arc<dyn Facilitator> {
        Arc::clone(&self.facilitator)
    }

    fn now_s(&self) -> u64 {
        self.chain.now_s()
    }

    fn advance(&self, seconds: u64) {
        self.chain.advance(seconds);
    }

    fn fund(&self, who: Address, units: u64) {
        self.chain.fund(&who.to_string(), units);
    }

    fn balance(&self, who: Address) -> u64 {
        self.chain.balance(&who.to_string())
    }

    fn submit(&self, authorization: &Authorization) {
        self.chain.submit(authorization);
    }

    fn cancel(&self, wallet: &Wallet, nonce: [u8; 32]) {
        self.chain.cancel(&wallet.address().to_string(), &nonce, &wallet.cancels(&usdc(), nonce));
    }
}

/// Those of a test: a desk that looks often and offers more soon.
const HASTY: Manners = Manners {
    look_every: Duration::from_millis(20),
    bump_after: Duration::from_millis(300),
    patience: Duration::from_millis(600),
    fee_max: 100_000_000_000,
};

/// Those of a test that waits for its chain.
const PATIENT: Manners = Manners { patience: Duration::from_secs(30), ..HASTY };

async fn desk(chain: &Chain, folder: &Path, manners: Manners) -> Desk {
    let rpc = Rpc::new(&chain.url()).unwrap();
    let ledger = Ledger::open(rpc, ChainId::BASE_SEPOLIA).await.unwrap();
    Desk::open(ledger, GasKey::parse(GAS.key).unwrap(), &folder.join("settler.db"), manners).unwrap()
}

fn paid(chain: &Chain, number: u64) -> Authorization {
    chain.fund(PAYER.address, 50_000);
    Wallet::of(PAYER).pays(SELLER.address.parse().unwrap(), 50_000, number, chain.now_s())
}

#[tokio::test]
async fn a_desk_keeps_the_contract() {
    let (chain, folder) = (Chain::start(), temporary_folder());
    let desk = desk(&chain, folder.path(), PATIENT).await;
    assert_eq!(desk.account().to_string(), GAS.address);
    keeps_the_contract(&OnChain { chain, facilitator: Arc::new(desk) }).await;
}

#[tokio::test]
async fn a_desk_behind_a_socket_keeps_the_contract() {
    let (chain, folder) = (Chain::start(), temporary_folder());
    let desk: Arc<dyn Facilitator> = Arc::new(desk(&chain, folder.path(), PATIENT).await);
    let socket = folder.path().join("settler.sock");
    let serving = tokio::spawn({
        let socket = socket.clone();
        async move { serve(&socket, desk).await }
    });
    while !socket.exists() {
        tokio::task::yield_now().await;
    }
    keeps_the_contract(&OnChain { chain, facilitator: Arc::new(Counter::new(socket)) }).await;
    serving.abort();
}

#[tokio::test]
async fn a_settler_that_is_not_there_is_one_of_which_nobody_can_tell() {
    let (chain, folder) = (Chain::start(), temporary_folder());
    let counter = Counter::new(folder.path().join("settler.sock"));
    let paid = paid(&chain, 1);
    assert_eq!(counter.settle(&paid).await, Err(SettleError::Unknown { transaction: None }));
    assert!(counter.whereabouts(&paid).await.is_err());
}

#[tokio::test]
async fn a_token_that_takes_a_used_nonce_pays_nobody_twice() {
    let (chain, folder) = (Chain::start(), temporary_folder());
    chain.put(Coin::Lenient);
    let facilitator: Arc<dyn Facilitator> = Arc::new(desk(&chain, folder.path(), PATIENT).await);
    let elsewhere = Wallet::of(PAYER).pays(Wallet::number(9).address(), 10, 1, chain.now_s());
    let ours = paid(&chain, 1);
    chain.submit(&elsewhere);
    assert!(matches!(facilitator.settle(&ours).await, Err(SettleError::Refused(_))));
    assert_eq!(chain.balance(SELLER.address), 0);
}

#[tokio::test]
async fn a_desk_that_dies_is_gone_on_with_by_the_next_one() {
    let (chain, folder) = (Chain::start(), temporary_folder());
    let paid = paid(&chain, 1);
    chain.mine_at_once(false);
    let first = desk(&chain, folder.path(), HASTY).await;
    let settled = first.settle(&paid).await;
    let Err(SettleError::Unknown { transaction: Some(sent) }) = settled else { panic!("{settled:?}") };
    first.stop();
    // The node has lost it, too.
    chain.forget(&sent.to_string());

    let second = desk(&chain, folder.path(), PATIENT).await;
    assert_eq!(second.resume().await.unwrap(), 1);
    chain.mine_at_once(true);
    let settled = second.settle(&paid).await.unwrap();
    assert_eq!(
        second.whereabouts(&paid).await,
        Ok(Whereabouts::Used { transaction: Some(settled), to_us: true })
    );
    assert_eq!((chain.balance(SELLER.address), chain.nonce(GAS.address)), (50_000, 1));
    assert_eq!(second.resume().await.unwrap(), 0);
}

#[tokio::test]
async fn a_desk_offers_more_for_the_same_number_until_a_block_takes_it() {
    let (chain, folder) = (Chain::start(), temporary_folder());
    let paid = paid(&chain, 1);
    chain.mine_at_once(false);
    let desk = desk(&chain, folder.path(), HASTY).await;
    let settled = desk.settle(&paid).await;
    assert!(matches!(settled, Err(SettleError::Unknown { transaction: Some(_) })), "{settled:?}");
    // Gas is dearer than all that was offered by now.
    chain.set_base_fee(40_000_000_000);
    chain.mine(1);
    assert_eq!(chain.nonce(GAS.address), 0, "no block takes what offers too little");
    let mut settled = desk.settle(&paid).await;
    while settled.is_err() {
        chain.mine(1);
        settled = desk.settle(&paid).await;
    }
    assert_eq!((chain.balance(SELLER.address), chain.nonce(GAS.address)), (50_000, 1));
}

#[tokio::test]
async fn a_node_that_hangs_leaves_it_open_and_is_asked_again() {
    let (chain, folder) = (Chain::start(), temporary_folder());
    let paid = paid(&chain, 1);
    let desk = desk(&chain, folder.path(), HASTY).await;
    chain.hang();
    assert_eq!(desk.settle(&paid).await, Err(SettleError::Unknown { transaction: None }));
    chain.go_on();
    let mut settled = desk.settle(&paid).await;
    while settled.is_err() {
        settled = desk.settle(&paid).await;
    }
    assert_eq!((chain.balance(SELLER.address), chain.nonce(GAS.address)), (50_000, 1));
}

#[tokio::test]
async fn a_node_of_another_chain_is_refused() {
    let chain = Chain::start();
    let rpc = Rpc::new(&chain.url()).unwrap();
    let opened = Ledger::open(rpc, ChainId::BASE).await.err().map(|error| error.to_string());
    assert!(opened.unwrap().contains("84532"));
}
