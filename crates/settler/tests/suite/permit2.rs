//! What Permit2 moves: the real Permit2, behind stand-ins of x402's proxies. One's own key keeps the contract of the port by it,
//! too; and what Permit2 tells nobody is not guessed.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use execgate_payment::evm::{Address, Authorization, ChainId, EXACT_PROXY, Means, U256};
use execgate_payment::{Facilitator, Finality, LookError, SettleError, Whereabouts};
use execgate_settler::{Counter, Desk, Ledger, Rpc, serve};
use execgate_testkit::chain::{Chain, GAS, PAYER, SELLER};
use execgate_testkit::facilitator::{Ground, keeps_the_contract};
use execgate_testkit::wallet::Wallet;
use execgate_testkit::{Upstream, temporary_folder};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::between::between;
use super::paying::{PRICE, desk, desk_at};

/// How long a block may take to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Behind so many blocks a nonce of Permit2 is believed to be used by nobody's transfer of ours.
const LAG: u64 = 6;

/// Where a test puts a contract of its own.
const ROUNDABOUT: &str = "0x00000000000000000000000000000000000abcde";

/// A chain with Permit2, and a facilitator before it.
struct Permitted {
    chain: Chain,
    facilitator: Arc<dyn Facilitator>,
}

impl Ground for Permitted {
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
        self.chain.lets(&who.to_string(), u64::MAX);
    }

    fn balance(&self, who: Address) -> u64 {
        self.chain.balance(&who.to_string())
    }

    fn submit(&self, authorization: &Authorization) {
        self.chain.submit(authorization);
        self.chain.mine(LAG);
    }

    fn cancel(&self, wallet: &Wallet, nonce: [u8; 32]) {
        self.chain.invalidate(&wallet.address().to_string(), &nonce);
        self.chain.mine(LAG);
    }

    fn pays(&self, payer: &Wallet, to: Address, units: u64, number: u64) -> Authorization {
        payer.permits(to, units, number, self.now_s())
    }
}

fn seller() -> Address {
    SELLER.address.parse().unwrap()
}

/// A chain on which the payer has so much, and lets Permit2 move it.
fn chain() -> Chain {
    let chain = Chain::with_permit2();
    chain.fund(PAYER.address, 10 * PRICE);
    chain.lets(PAYER.address, 10 * PRICE);
    chain
}

fn paid(chain: &Chain, number: u64) -> Authorization {
    Wallet::of(PAYER).permits(seller(), PRICE, number, chain.now_s())
}

/// The desk of a folder behind its socket, as a gateway asks it.
async fn counter(chain: &Chain, folder: &Path) -> Counter {
    let desk = desk(chain, folder, PATIENCE).await;
    let socket = folder.join("settler.sock");
    tokio::spawn({
        let socket = socket.clone();
        async move { serve(&socket, Arc::new(desk)).await }
    });
    while !socket.exists() {
        tokio::task::yield_now().await;
    }
    Counter::new(socket)
}

#[tokio::test]
async fn a_desk_behind_a_socket_keeps_the_contract_by_permit2() {
    let (chain, folder) = (Chain::with_permit2(), temporary_folder());
    let facilitator = Arc::new(counter(&chain, folder.path()).await);
    keeps_the_contract(&Permitted { chain, facilitator }).await;
}

#[tokio::test]
async fn a_payer_who_does_not_let_permit2_is_refused_before_anything_is_signed() {
    let (chain, folder) = (Chain::with_permit2(), temporary_folder());
    let desk = desk(&chain, folder.path(), PATIENCE).await;
    let paid = paid(&chain, 1);
    let code = async || match desk.verify(&paid).await {
        Err(LookError::Refused(reason)) => reason,
        other => format!("{other:?}"),
    };
    assert_eq!(code().await, "insufficient_funds");
    chain.fund(PAYER.address, PRICE);
    assert_eq!(code().await, "permit2_allowance_required");
    let settled = desk.settle(&paid).await;
    assert_eq!(settled, Err(SettleError::Refused("permit2_allowance_required".to_owned())));
    chain.lets(PAYER.address, PRICE - 1);
    assert_eq!(code().await, "permit2_allowance_required");
    assert_eq!(chain.nonce(GAS.address), 0);
    chain.lets(PAYER.address, PRICE);
    desk.settle(&paid).await.unwrap();
    assert_eq!(chain.balance(SELLER.address), PRICE);
    assert_eq!(code().await, "permit2_invalid_nonce");
}

#[tokio::test]
async fn one_nonce_pays_once_whatever_it_is_signed_for() {
    let (chain, folder) = (chain(), temporary_folder());
    let desk = desk(&chain, folder.path(), PATIENCE).await;
    let first = paid(&chain, 1);
    let dearer = Wallet::of(PAYER).permits(seller(), 2 * PRICE, 1, chain.now_s());
    assert_eq!(dearer.claim_key(), first.claim_key());
    desk.settle(&first).await.unwrap();
    assert_eq!(desk.settle(&dearer).await, Err(SettleError::Refused("permit2_invalid_nonce".to_owned())));
    chain.mine(LAG);
    let found = desk.whereabouts(&dearer).await.unwrap();
    assert!(matches!(found, Whereabouts::Used { to_us: false, .. }), "{found:?}");
    // The token's own nonce of that number is another.
    let by_token = Wallet::of(PAYER).pays(seller(), PRICE, 1, chain.now_s());
    desk.settle(&by_token).await.unwrap();
    assert_eq!((chain.balance(SELLER.address), chain.transfers().len()), (2 * PRICE, 2));
}

/// A contract of a payer's own, which hands on to the proxy whatever it is told.
fn put_roundabout(chain: &Chain) {
    let code = format!("0x365f5f375f5f365f5f73{}5af100", &EXACT_PROXY.to_lowercase()[2..]);
    chain.rpc("anvil_setCode", &json!([ROUNDABOUT, code]));
}

#[tokio::test]
async fn a_transfer_that_went_a_way_round_is_not_guessed() {
    let (chain, folder) = (chain(), temporary_folder());
    let desk = desk(&chain, folder.path(), PATIENCE).await;
    put_roundabout(&chain);
    let round = paid(&chain, 1);
    chain.settle_by(ROUNDABOUT, &round);
    chain.mine(LAG);
    assert_eq!(chain.balance(SELLER.address), PRICE, "it has moved");
    assert!(desk.whereabouts(&round).await.is_err(), "and another permit may have moved as much");
    // It holds up no other payment of the same two.
    let other = paid(&chain, 2);
    desk.settle(&other).await.unwrap();
    assert_eq!(chain.balance(SELLER.address), 2 * PRICE);
}

#[tokio::test]
async fn what_was_signed_before_a_death_is_sent_by_the_next_and_what_is_taken_back_again() {
    let (chain, folder) = (chain(), temporary_folder());
    chain.finalize();
    let paid = paid(&chain, 1);
    chain.mine_at_once(false);
    let first = desk(&chain, folder.path(), Duration::from_millis(600)).await;
    let settled = first.settle(&paid).await;
    let Err(SettleError::Unknown { transaction: Some(sent) }) = settled else { panic!("{settled:?}") };
    first.stop();
    // The node has lost it, too.
    chain.forget(&sent.to_string());

    let second = desk(&chain, folder.path(), PATIENCE).await;
    assert_eq!(second.resume().await.unwrap(), 1);
    chain.mine_at_once(true);
    let hash = second.settle(&paid).await.unwrap();
    let settled = [(paid, Some(hash))];
    assert_eq!(second.finality(&settled).await.unwrap(), [Finality::Fresh]);
    chain.take_back(1);
    assert_eq!(chain.balance(SELLER.address), 0);
    // To ask is what has it sent again.
    while second.finality(&settled).await.unwrap() != [Finality::Fresh] {}
    chain.finalize();
    assert_eq!(second.finality(&settled).await.unwrap(), [Finality::Final(hash)]);
    assert_eq!((chain.balance(SELLER.address), chain.nonce(GAS.address)), (PRICE, 1));
}

#[tokio::test]
async fn a_permit_counts_from_its_first_second_to_the_end_of_its_last() {
    let (chain, folder) = (chain(), temporary_folder());
    let desk = desk(&chain, folder.path(), PATIENCE).await;
    let wallet = Wallet::of(PAYER);
    let ends_s = chain.now_s() + 60;
    let last = wallet.signs(Authorization { valid_before: U256::from(ends_s), ..paid(&chain, 1) });
    chain.advance(60 - 1);
    let until = ends_s - chain.now_s();
    chain.advance(until);
    assert_eq!((chain.now_s(), desk.whereabouts(&last).await), (ends_s, Ok(Whereabouts::Unused)));
    chain.advance(1);
    assert_eq!(desk.whereabouts(&last).await, Ok(Whereabouts::Expired));
    let young = wallet.signs(Authorization { valid_after: U256::from(chain.now_s()), ..paid(&chain, 2) });
    desk.settle(&young).await.unwrap();
    assert_eq!(chain.balance(SELLER.address), PRICE);
}

/// What is signed for a part of it to be taken, by one that its payer has named.
fn metered(chain: &Chain, number: u64, facilitator: &str, taken: u64) -> Authorization {
    let by = |taken| Means::UpTo { facilitator: facilitator.parse().unwrap(), taken };
    let signed = Wallet::of(PAYER).signs(Authorization { by: by(None), ..paid(chain, number) });
    Authorization { by: by(Some(U256::from(taken))), ..signed }
}

#[tokio::test]
async fn of_what_is_metered_as_much_is_taken_as_is_said_and_by_the_one_that_is_named() {
    let (chain, folder) = (chain(), temporary_folder());
    let counter = counter(&chain, folder.path()).await;
    let refused = |reason: &str| Err(SettleError::Refused(reason.to_owned()));
    let settled = async |paid| counter.settle(&paid).await;
    let other = metered(&chain, 1, SELLER.address, 7);
    assert_eq!(settled(other).await, refused("upto_facilitator_mismatch"));
    let too_much = "invalid_upto_evm_payload_settlement_exceeds_amount";
    assert_eq!(settled(metered(&chain, 1, GAS.address, PRICE + 1)).await, refused(too_much));
    assert_eq!(settled(metered(&chain, 1, GAS.address, 0)).await, refused("permit2_invalid_amount"));
    assert_eq!((chain.nonce(GAS.address), chain.balance(SELLER.address)), (0, 0));

    let part = metered(&chain, 1, GAS.address, 7);
    assert!(counter.verify(&part).await.is_ok());
    let hash = counter.settle(&part).await.unwrap();
    assert_eq!(counter.settle(&part).await, Ok(hash), "once");
    let found = Whereabouts::Used { transaction: Some(hash), to_us: true };
    assert_eq!((counter.whereabouts(&part).await, chain.balance(SELLER.address)), (Ok(found), 7));
    // That much, and nothing else of the same permit.
    let more = metered(&chain, 1, GAS.address, 8);
    assert_eq!(settled(more.clone()).await, refused("permit2_invalid_nonce"));
    chain.mine(LAG);
    let found = counter.whereabouts(&more).await.unwrap();
    assert!(matches!(found, Whereabouts::Used { to_us: false, .. }), "{found:?}");
    chain.finalize();
    assert_eq!(counter.finality(&[(part, Some(hash))]).await.unwrap(), [Finality::Final(hash)]);
    assert_eq!((chain.nonce(GAS.address), chain.transfers().len()), (1, 1));
}

#[tokio::test]
async fn nobody_but_the_one_that_is_named_can_have_what_is_metered_moved() {
    let chain = chain();
    let signed = metered(&chain, 1, GAS.address, PRICE);
    chain.submit(&signed);
    assert_eq!(chain.balance(SELLER.address), 0, "a stranger");
    chain.settle(GAS.address, &metered(&chain, 2, GAS.address, PRICE + 1));
    assert_eq!(chain.balance(SELLER.address), 0, "more than is permitted");
    chain.settle(GAS.address, &signed);
    assert_eq!(chain.balance(SELLER.address), PRICE);
}

/// How many transfers a desk has on their way at once.
const TURNS: u64 = 16;

#[tokio::test]
async fn payers_whose_contract_was_faster_hold_up_nobody() {
    let (chain, folder) = (chain(), temporary_folder());
    chain.fund(PAYER.address, 20 * PRICE);
    chain.lets(PAYER.address, u64::MAX);
    put_roundabout(&chain);
    let is_mute = Arc::new(AtomicBool::new(true));
    let mute = Arc::clone(&is_mute);
    let node = between(&chain, move |question| {
        (mute.load(Ordering::SeqCst) && question["method"] == "eth_sendRawTransaction")
            .then(|| json!("nothing that can be read"))
    })
    .await;
    let patience = Duration::from_millis(600);
    let first = desk_at(&node.url(""), folder.path(), patience).await;
    let begun = Instant::now();
    let round: Vec<_> = (1..=TURNS).map(|number| paid(&chain, number)).collect();
    let mut settling = JoinSet::new();
    for paid in round.clone() {
        let desk = first.clone();
        settling.spawn(async move { desk.settle(&paid).await });
    }
    for settled in settling.join_all().await {
        assert!(matches!(settled, Err(SettleError::Unknown { transaction: Some(_) })), "{settled:?}");
    }
    for paid in &round {
        chain.settle_by(ROUNDABOUT, paid);
    }
    chain.mine(LAG);
    is_mute.store(false, Ordering::SeqCst);
    let nobody_knows = async |desk: &Desk| {
        let settled = desk.settle(&round[0]).await;
        assert!(matches!(settled, Err(SettleError::Unknown { transaction: Some(_) })), "{settled:?}");
    };
    // Every turn is given back, and what waits for ever holds up nobody, however long it does.
    while chain.nonce(GAS.address) < TURNS || begun.elapsed() < 5 * patience {
        nobody_knows(&first).await;
    }
    settled_in_the_end(&first, &paid(&chain, TURNS + 1)).await;
    assert!(first.verify(&paid(&chain, TURNS + 2)).await.is_ok());
    assert!(first.whereabouts(&round[0]).await.is_err(), "it is for the operator");
    first.stop();
    // It is kept, and the next desk ends as the one before.
    let second = desk(&chain, folder.path(), patience).await;
    assert_eq!(second.resume().await.unwrap(), round.len());
    nobody_knows(&second).await;
    settled_in_the_end(&second, &paid(&chain, TURNS + 2)).await;
    assert_eq!(chain.balance(SELLER.address), (TURNS + 2) * PRICE);
}

async fn settled_in_the_end(desk: &Desk, paid: &Authorization) {
    let mut settled = desk.settle(paid).await;
    while let Err(SettleError::Unknown { .. }) = settled {
        settled = desk.settle(paid).await;
    }
    settled.unwrap();
}

/// So many blocks are more than are looked at behind a node that shows few at once.
const MORE_THAN_ARE_SHOWN: u64 = 12_500;

fn number(text: &Value) -> Option<u64> {
    u64::from_str_radix(text.as_str()?.strip_prefix("0x")?, 16).ok()
}

/// A node that shows the logs of few blocks at once.
async fn meagre(chain: &Chain) -> Upstream {
    between(chain, |question| is_wide(question).then(|| said("block range too large"))).await
}

fn is_wide(question: &Value) -> bool {
    let of = |name: &str| number(&question["params"][0][name]);
    of("toBlock").zip(of("fromBlock")).is_some_and(|(last, first)| last - first > 260)
}

fn said(why: &str) -> Value {
    json!({"error": {"code": -32005, "message": why}})
}

/// The same, of a chain with many empty blocks behind this one, and with the state of the newest blocks alone where it is pruned.
async fn long(chain: &Arc<Chain>, cut: u64, is_pruned: bool) -> Upstream {
    let gap = MORE_THAN_ARE_SHOWN;
    let newest = number(&chain.rpc("eth_blockNumber", &json!([]))).unwrap() + gap;
    let before = move |block: u64| if block > cut + gap { block - gap } else { block.min(cut) };
    let behind = move |block: u64| if block > cut { before(block.max(cut + gap + 1)) } else { block };
    let node = Arc::clone(chain);
    between(chain, move |question| {
        let (method, mut params) = (question["method"].as_str()?, question["params"].clone());
        match method {
            "eth_getLogs" if is_wide(question) => return Some(said("block range too large")),
            "eth_getLogs" => {
                let of = |name: &str| number(&params[0][name]);
                let (first, last) = (behind(of("fromBlock")?), before(of("toBlock")?));
                if first > last {
                    return Some(json!({"result": []}));
                }
                params[0]["fromBlock"] = format!("{first:#x}").into();
                params[0]["toBlock"] = format!("{last:#x}").into();
            }
            "eth_getBlockByNumber" => {
                if let Some(block) = number(&params[0]) {
                    params[0] = format!("{:#x}", before(block)).into();
                }
                let mut block = node.rpc(method, &params);
                let real = number(&block["number"])?;
                block["number"] = format!("{:#x}", if real > cut { real + gap } else { real }).into();
                return Some(json!({"result": block}));
            }
            "eth_call" => {
                let block = number(&params[1])?;
                if is_pruned && block + 128 < newest {
                    return Some(said("missing trie node"));
                }
                params[1] = format!("{:#x}", before(block)).into();
            }
            _ => return None,
        }
        Some(json!({"result": node.rpc(method, &params)}))
    })
    .await
}

#[tokio::test]
async fn what_was_paid_before_all_that_is_looked_at_is_not_gone() {
    let (chain, folder) = (Arc::new(chain()), temporary_folder());
    let wallet = Wallet::of(PAYER);
    // It counts from the beginning, so that it may have been settled in any block.
    let old = |number, units| {
        let signed = wallet.permits(seller(), units, number, chain.now_s());
        wallet.signs(Authorization { valid_after: U256::ZERO, ..signed })
    };
    let (settled, taken_back) = (old(1, PRICE), old(2, PRICE));
    // Of one nonce each: what is asked for was never settled, and the other was, as long ago or just now.
    let (asked_long_ago, asked_now) = (old(3, 7), old(4, 7));
    chain.submit(&settled);
    chain.submit(&taken_back);
    chain.submit(&old(3, 8));
    let cut = number(&chain.rpc("eth_blockNumber", &json!([]))).unwrap();
    chain.advance(300);
    // That it is taken back when it has paid us says nothing.
    chain.invalidate(PAYER.address, &taken_back.nonce);
    let now = chain.now_s();
    let until = wallet.signs(Authorization { valid_before: U256::from(now + 600), ..old(4, 8) });
    chain.submit(&until);
    let young = wallet.signs(Authorization { valid_after: U256::from(now - 60), ..old(4, 9) });
    chain.mine(LAG);
    let gone = Ok(Whereabouts::Used { transaction: None, to_us: false });
    for is_pruned in [false, true] {
        let node = long(&chain, cut, is_pruned).await;
        let folder = folder.path().join(is_pruned.to_string());
        std::fs::create_dir(&folder).unwrap();
        let desk = desk_at(&node.url(""), &folder, PATIENCE).await;
        for paid in [&settled, &taken_back, &asked_long_ago] {
            assert!(desk.whereabouts(paid).await.is_err(), "{is_pruned}: it is for the operator");
        }
        // One whose nonce was free in the oldest block that was looked at, or that did not count there, is.
        assert_eq!(desk.whereabouts(&asked_now).await.is_err(), is_pruned);
        assert_eq!(desk.whereabouts(&young).await, gone, "{is_pruned}");
        if !is_pruned {
            assert_eq!(desk.whereabouts(&asked_now).await, gone);
        }
    }
}

#[tokio::test]
async fn of_a_payer_who_pays_often_the_newest_payments_are_looked_at_first() {
    let (chain, folder) = (chain(), temporary_folder());
    chain.fund(PAYER.address, 100 * PRICE);
    chain.lets(PAYER.address, u64::MAX);
    let all: Vec<_> = (1..=70).map(|number| paid(&chain, number)).collect();
    for paid in &all {
        chain.submit(paid);
    }
    let node = meagre(&chain).await;
    let desk = desk_at(&node.url(""), folder.path(), PATIENCE).await;
    let is_found = async |paid: &Authorization| {
        let found = desk.whereabouts(paid).await;
        matches!(found, Ok(Whereabouts::Used { transaction: Some(_), to_us: true }))
    };
    assert!(is_found(&all[69]).await && is_found(&all[6]).await);
    assert!(desk.whereabouts(&all[5]).await.is_err(), "behind 64 others it is not guessed");
    // Some spans further back it is found all the same.
    chain.mine(600);
    assert!(is_found(&all[69]).await);
}

#[tokio::test]
async fn what_a_chain_takes_back_and_its_nonce_pays_otherwise_is_gone() {
    let (chain, folder) = (chain(), temporary_folder());
    chain.finalize();
    let paid = paid(&chain, 1);
    let hash = desk(&chain, folder.path(), PATIENCE).await.settle(&paid).await.unwrap();
    let ledger = Ledger::open(Rpc::new(&chain.url()).unwrap(), ChainId::BASE_SEPOLIA).await.unwrap();
    let settled = [(paid, Some(hash))];
    assert_eq!(ledger.finality(&settled).await.unwrap(), [Finality::Fresh]);
    chain.take_back(1);
    chain.submit(&Wallet::of(PAYER).permits(seller(), 2 * PRICE, 1, chain.now_s()));
    chain.mine(LAG);
    assert_eq!(ledger.finality(&settled).await.unwrap(), [Finality::Unclear], "not in a final block");
    chain.finalize();
    assert_eq!(ledger.finality(&settled).await.unwrap(), [Finality::Gone]);
}

#[tokio::test]
async fn a_payer_holds_no_more_than_it_lets_permit2_move() {
    let (chain, folder) = (chain(), temporary_folder());
    let desk = desk(&chain, folder.path(), PATIENCE).await;
    let paid = paid(&chain, 1);
    let funds = async |lets: u64| {
        chain.lets(PAYER.address, lets);
        desk.verify(&paid).await
    };
    let has = |units: u64| Ok(Some(U256::from(units)));
    assert_eq!(funds(PRICE).await, has(PRICE), "it has ten times as much");
    assert_eq!(funds(3 * PRICE).await, has(3 * PRICE));
    assert_eq!(funds(u64::MAX).await, has(10 * PRICE));
    // What its token moves by itself asks nobody for leave.
    chain.lets(PAYER.address, 0);
    let by_token = Wallet::of(PAYER).pays(seller(), PRICE, 1, chain.now_s());
    assert_eq!(desk.verify(&by_token).await, has(10 * PRICE));
}
