//! One's own key: it keeps the contract of the port, alone and through its socket, and over deaths of its process.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use execgate_payment::evm::{Address, Authorization, ChainId, U256};
use execgate_payment::{Facilitator, LookError, SettleError, Whereabouts};
use execgate_settler::{Counter, Desk, GasKey, Ledger, Manners, Rpc, serve};
use execgate_testkit::chain::{Chain, Coin, GAS, PAYER, SELLER};
use execgate_testkit::facilitator::{Ground, keeps_the_contract};
use execgate_testkit::wallet::{Wallet, usdc};
use execgate_testkit::{Upstream, temporary_folder};
use serde_json::{Value, json};

use super::between::between;

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
    desk_at(&chain.url(), folder, manners).await
}

async fn desk_at(url: &str, folder: &Path, manners: Manners) -> Desk {
    let rpc = Rpc::new(url).unwrap();
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
    let counter = Counter::new(socket);
    let gas = counter.gas().await.unwrap().unwrap();
    assert_eq!((gas.account.to_string().as_str(), gas.nonce), (GAS.address, 0));
    let ground = OnChain { chain, facilitator: Arc::new(counter.clone()) };
    keeps_the_contract(&ground).await;
    let less = counter.gas().await.unwrap().unwrap();
    assert!(less.nonce > 0 && less.wei < gas.wei, "{less:?}");
    serving.abort();
}

#[tokio::test]
async fn a_settler_that_is_not_there_is_one_of_which_nobody_can_tell() {
    let (chain, folder) = (Chain::start(), temporary_folder());
    let counter = Counter::new(folder.path().join("settler.sock"));
    let paid = paid(&chain, 1);
    let postponed = Err(SettleError::Postponed("facilitator_unreachable".to_owned()));
    assert_eq!(counter.settle(&paid).await, postponed, "it was not asked");
    assert!(counter.whereabouts(&paid).await.is_err() && counter.gas().await.is_err());
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
async fn a_transfer_waits_for_gas_to_be_as_cheap_as_the_operator_has_said() {
    const FEE_MAX: u64 = 5_000_000_000;
    let (chain, folder) = (Chain::start(), temporary_folder());
    let paid = paid(&chain, 1);
    chain.mine_at_once(false);
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let node = between(&chain, move |question| {
        let is_sent = question["method"] == "eth_sendRawTransaction";
        count.fetch_add(usize::from(is_sent), Ordering::SeqCst);
        None
    })
    .await;
    let manners = Manners { fee_max: FEE_MAX.into(), ..HASTY };
    let desk = desk_at(&node.url(""), folder.path(), manners).await;
    chain.set_base_fee(40_000_000_000);
    chain.mine(1);
    while sent.load(Ordering::SeqCst) < 3 {
        assert!(matches!(desk.settle(&paid).await, Err(SettleError::Unknown { .. })));
    }
    chain.mine(1);
    assert_eq!((chain.nonce(GAS.address), chain.balance(SELLER.address)), (0, 0));
    // Once gas is cheaper it is taken, for no more than that.
    chain.set_base_fee(1_000_000_000);
    let mut settled = desk.settle(&paid).await;
    while settled.is_err() {
        chain.mine(1);
        settled = desk.settle(&paid).await;
    }
    let taken = chain.rpc("eth_getTransactionByHash", &json!([settled.unwrap()]));
    let offered = u64::from_str_radix(&taken["maxFeePerGas"].as_str().unwrap()[2..], 16).unwrap();
    assert!(offered <= FEE_MAX, "{offered}");
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

#[tokio::test]
async fn transfers_are_on_their_way_side_by_side_and_none_waits_for_the_block_of_another() {
    let (chain, folder) = (Chain::start(), temporary_folder());
    let (one, two) = (paid(&chain, 1), paid(&chain, 2));
    chain.mine_at_once(false);
    let desk = desk(&chain, folder.path(), PATIENT).await;
    let settling = [one.clone(), two].map(|paid| {
        let desk = desk.clone();
        tokio::spawn(async move { desk.settle(&paid).await })
    });
    while chain.waiting() < 2 {
        tokio::task::yield_now().await;
    }
    chain.mine_at_once(true);
    chain.mine(1);
    for settled in settling {
        settled.await.unwrap().unwrap();
    }
    assert_eq!((chain.balance(SELLER.address), chain.nonce(GAS.address)), (100_000, 2));
    // What was signed with the same nonce for something else is another transfer, and was not paid.
    let other = Wallet::of(PAYER).pays(SELLER.address.parse().unwrap(), 7, 1, chain.now_s());
    assert_eq!(other.claim_key(), one.claim_key());
    assert!(matches!(desk.settle(&other).await, Err(SettleError::Refused(_))));
}

#[tokio::test]
async fn a_transfer_that_could_not_be_sent_holds_up_nobody_behind_it() {
    let (chain, folder) = (Chain::start(), temporary_folder());
    let (first, second) = (paid(&chain, 1), paid(&chain, 2));
    let (node, is_mute) = mute_for(&chain, "eth_sendRawTransaction").await;
    let desk = desk_at(&node.url(""), folder.path(), PATIENT_IN_TURN).await;
    let begun = desk.settle(&first).await;
    assert!(matches!(begun, Err(SettleError::Unknown { transaction: Some(_) })), "{begun:?}");
    is_mute.store(false, Ordering::SeqCst);
    settled_in_the_end(&desk, &second).await;
    settled_in_the_end(&desk, &first).await;
    assert_eq!((chain.balance(SELLER.address), chain.nonce(GAS.address)), (100_000, 2));
}

#[tokio::test]
async fn what_has_no_number_is_given_up_in_time_and_nothing_of_it_is_sent_later() {
    let (chain, folder) = (Chain::start(), temporary_folder());
    let paid = paid(&chain, 1);
    let (node, is_mute) = mute_for(&chain, "eth_call").await;
    let desk = desk_at(&node.url(""), folder.path(), HASTY).await;
    let nobody_knows = Err(SettleError::Unknown { transaction: None });
    assert_eq!(desk.settle(&paid).await, nobody_knows);
    // The worker has given up by the time that the next one asks for longer than it takes.
    assert_eq!(desk.settle(&paid).await, nobody_knows);
    is_mute.store(false, Ordering::SeqCst);
    assert_eq!((desk.resume().await.unwrap(), chain.nonce(GAS.address)), (0, 0));
    settled_in_the_end(&desk, &paid).await;
    assert_eq!(chain.balance(SELLER.address), 50_000);
}

#[tokio::test]
async fn a_node_that_is_behind_the_others_is_never_heard_as_a_no() {
    let (chain, folder) = (Chain::start(), temporary_folder());
    let paid = paid(&chain, 1);
    let is_behind = Arc::new(AtomicBool::new(true));
    let newest = chain.rpc("eth_blockNumber", &json!([]));
    let old = newest.as_str().unwrap().to_owned();
    let behind = Arc::clone(&is_behind);
    // Of the nodes behind one address some have the transaction, and some have got no further than a block before it.
    let node = between(&chain, move |question| {
        if !behind.load(Ordering::SeqCst) {
            return None;
        }
        match question["method"].as_str()? {
            "eth_getTransactionReceipt" => Some(json!({"result": null})),
            "eth_call" if question["params"][1] == "latest" => None,
            "eth_call" if question["params"][1] != old.as_str() => {
                Some(json!({"error": {"code": -32000, "message": "header not found"}}))
            }
            _ => None,
        }
    })
    .await;
    let desk = desk_at(&node.url(""), folder.path(), PATIENT_IN_TURN).await;
    let settled = desk.settle(&paid).await;
    let Err(SettleError::Unknown { transaction: Some(sent) }) = settled else { panic!("{settled:?}") };
    assert_eq!(chain.balance(SELLER.address), 50_000, "it is paid");
    assert!(desk.whereabouts(&paid).await.is_err(), "neither unused nor gone");
    is_behind.store(false, Ordering::SeqCst);
    settled_in_the_end(&desk, &paid).await;
    let used = Whereabouts::Used { transaction: Some(sent), to_us: true };
    assert_eq!(desk.whereabouts(&paid).await, Ok(used));
}

#[tokio::test]
async fn what_is_sent_and_in_no_block_is_neither_unused_nor_gone() {
    let (chain, folder) = (Chain::start(), temporary_folder());
    let paid = paid(&chain, 1);
    chain.mine_at_once(false);
    let desk = desk(&chain, folder.path(), HASTY).await;
    assert!(desk.settle(&paid).await.is_err());
    assert!(desk.whereabouts(&paid).await.is_err());
    chain.mine(1);
    assert!(matches!(desk.whereabouts(&paid).await, Ok(Whereabouts::Used { to_us: true, .. })));
}

#[tokio::test]
async fn a_transfer_that_failed_is_never_sent_again() {
    let (chain, folder) = (Chain::start(), temporary_folder());
    let paid = paid(&chain, 1);
    let (node, is_mute) = mute_for(&chain, "eth_sendRawTransaction").await;
    let desk = desk_at(&node.url(""), folder.path(), PATIENT_IN_TURN).await;
    assert!(matches!(desk.settle(&paid).await, Err(SettleError::Unknown { transaction: Some(_) })));
    chain.empty(PAYER.address);
    is_mute.store(false, Ordering::SeqCst);
    let mut settled = desk.settle(&paid).await;
    while let Err(SettleError::Unknown { .. }) = settled {
        settled = desk.settle(&paid).await;
    }
    let failed = Err(SettleError::Refused("invalid_exact_evm_transaction_failed".to_owned()));
    assert_eq!(settled, failed);
    chain.fund(PAYER.address, 50_000);
    assert_eq!(desk.settle(&paid).await, failed);
    assert_eq!((chain.balance(SELLER.address), chain.nonce(GAS.address)), (0, 1));
    assert!(matches!(desk.verify(&paid).await, Err(LookError::Refused(_))));
}

/// By hand, from a wallet that has the key: the first number, for much more, and nothing of ours.
fn by_hand() -> Value {
    json!([{
        "from": GAS.address, "to": GAS.address, "nonce": "0x0", "gas": "0x5208",
        "maxFeePerGas": "0xe8d4a51000", "maxPriorityFeePerGas": "0xe8d4a51000",
    }])
}

#[tokio::test]
async fn a_number_that_somebody_else_uses_up_is_given_for_another_and_its_transfer_happens_once() {
    let (chain, folder) = (Chain::start(), temporary_folder());
    let (first, second) = (paid(&chain, 1), paid(&chain, 2));
    chain.mine_at_once(false);
    let desk = desk(&chain, folder.path(), PATIENT_IN_TURN).await;
    let settled = desk.settle(&first).await;
    let Err(SettleError::Unknown { transaction: Some(stuck) }) = settled else { panic!("{settled:?}") };
    chain.forget(&stuck.to_string());
    chain.rpc("eth_sendTransaction", &by_hand());
    chain.mine(1);
    assert_eq!((chain.nonce(GAS.address), chain.balance(SELLER.address)), (1, 0));
    chain.mine_at_once(true);
    settled_in_the_end(&desk, &first).await;
    desk.settle(&second).await.unwrap();
    assert_eq!((chain.nonce(GAS.address), chain.balance(SELLER.address)), (3, 100_000));
    // What was signed with the first number is of no use to anybody.
    assert_eq!(chain.transfers().len(), 2);
}

#[tokio::test]
async fn a_number_that_is_free_again_after_its_job_got_another_is_filled() {
    let (chain, folder) = (Chain::start(), temporary_folder());
    let (first, second) = (paid(&chain, 1), paid(&chain, 2));
    chain.mine_at_once(false);
    let desk = desk(&chain, folder.path(), HASTY).await;
    let settled = desk.settle(&first).await;
    let Err(SettleError::Unknown { transaction: Some(stuck) }) = settled else { panic!("{settled:?}") };
    chain.forget(&stuck.to_string());
    chain.rpc("eth_sendTransaction", &by_hand());
    chain.mine(1);
    // Until it waits under the next number.
    while chain.waiting() == 0 {
        assert!(matches!(desk.settle(&first).await, Err(SettleError::Unknown { .. })));
    }
    // What was sent by hand is in no block, and never comes again.
    chain.take_back(1);
    assert_eq!((chain.nonce(GAS.address), chain.balance(SELLER.address)), (0, 0));
    chain.mine_at_once(true);
    settled_in_the_end(&desk, &first).await;
    settled_in_the_end(&desk, &second).await;
    assert_eq!((chain.balance(SELLER.address), chain.transfers().len()), (100_000, 2));
}

#[tokio::test]
async fn a_nonce_that_was_used_long_ago_is_found() {
    let (chain, folder) = (Chain::start(), temporary_folder());
    let paid = paid(&chain, 1);
    chain.submit(&paid);
    chain.mine(700);
    // A node that shows few blocks at once.
    let node = between(&chain, |question| {
        let of = |name: &str| u64::from_str_radix(&question["params"][0][name].as_str()?[2..], 16).ok();
        let is_wide = question["method"] == "eth_getLogs" && of("toBlock")? - of("fromBlock")? > 300;
        is_wide.then(|| json!({"error": {"code": -32005, "message": "block range too large"}}))
    })
    .await;
    let desk = desk_at(&node.url(""), folder.path(), PATIENT).await;
    let found = desk.whereabouts(&paid).await;
    assert!(matches!(found, Ok(Whereabouts::Used { transaction: Some(_), to_us: true })), "{found:?}");
}

#[tokio::test]
async fn before_the_work_it_is_asked_whether_a_transfer_could_happen_and_nothing_moves() {
    let (chain, folder) = (Chain::start(), temporary_folder());
    let good = paid(&chain, 1);
    let young = Authorization { valid_after: U256::from(chain.now_s()), ..paid(&chain, 2) };
    let young = Wallet::of(PAYER).signs(young);
    let has = chain.balance(PAYER.address);
    let is_mute = Arc::new(AtomicBool::new(false));
    let mute = Arc::clone(&is_mute);
    let node = between(&chain, move |question| {
        let is_over = mute.load(Ordering::SeqCst) && question["method"] == "eth_call";
        // What a node that is asked too often says is no word of the token.
        is_over.then(|| json!({"error": {"code": -32005, "message": "limit exceeded"}}))
    })
    .await;
    let desk = desk_at(&node.url(""), folder.path(), HASTY).await;
    assert_eq!(desk.verify(&good).await, Ok(Some(U256::from(has))));
    assert_eq!(desk.verify(&young).await, Ok(Some(U256::from(has))), "the chain's clock is behind");
    is_mute.store(true, Ordering::SeqCst);
    assert!(matches!(desk.verify(&good).await, Err(LookError::Unreachable(_))));
    is_mute.store(false, Ordering::SeqCst);
    chain.set_gas(GAS.address, 1_000);
    assert!(matches!(desk.verify(&good).await, Err(LookError::Unreachable(_))), "nobody pays for gas");
    assert_eq!((chain.balance(SELLER.address), chain.nonce(GAS.address)), (0, 0));
}

#[tokio::test]
async fn where_nothing_moves_any_more_no_work_is_done_for_what_would_wait_behind_it() {
    let (chain, folder) = (Chain::start(), temporary_folder());
    let (first, second) = (paid(&chain, 1), paid(&chain, 2));
    chain.mine_at_once(false);
    let desk = desk(&chain, folder.path(), HASTY).await;
    assert!(desk.settle(&first).await.is_err());
    assert!(desk.verify(&second).await.is_ok(), "it may be in the next block");
    let mut looked = desk.verify(&second).await;
    while looked.is_ok() {
        looked = desk.verify(&second).await;
    }
    assert!(matches!(looked, Err(LookError::Unreachable(_))), "{looked:?}");
    chain.mine_at_once(true);
    chain.mine(1);
    settled_in_the_end(&desk, &first).await;
    assert!(desk.verify(&second).await.is_ok());
}

/// Those of a test whose askers do not wait for long, and whose workers do.
const PATIENT_IN_TURN: Manners = Manners { patience: Duration::from_secs(2), ..HASTY };

/// A node that does not answer to one method until it is told so.
async fn mute_for(chain: &Chain, method: &'static str) -> (Upstream, Arc<AtomicBool>) {
    let is_mute = Arc::new(AtomicBool::new(true));
    let mute = Arc::clone(&is_mute);
    let node = between(chain, move |question| {
        (mute.load(Ordering::SeqCst) && question["method"] == method)
            .then(|| json!("nothing that can be read"))
    });
    (node.await, is_mute)
}

async fn settled_in_the_end(desk: &Desk, paid: &Authorization) {
    let mut settled = desk.settle(paid).await;
    while let Err(SettleError::Unknown { .. }) = settled {
        settled = desk.settle(paid).await;
    }
    settled.unwrap();
}
