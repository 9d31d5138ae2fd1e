//! What a node tells before any work that is wrong with ourselves: a token that is another than is configured, and a clock that
//! is behind that of the chain. Nothing is sold then, and no payer is blamed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use execgate_model::{Clock, UnixMs};
use execgate_payment::evm::{Authorization, ChainId, Token};
use execgate_payment::{Facilitator as _, LookError};
use execgate_settler::{Desk, GasKey, Ledger, Manners, Rpc, TokenError};
use execgate_testkit::chain::{Chain, GAS, PAYER, SELLER};
use execgate_testkit::temporary_folder;
use execgate_testkit::wallet::{Wallet, usdc};
use serde_json::json;

use super::between::between;

async fn ledger(url: &str) -> Ledger {
    Ledger::open(Rpc::new(url).unwrap(), ChainId::BASE_SEPOLIA).await.unwrap()
}

fn paid(chain: &Chain) -> Authorization {
    chain.fund(PAYER.address, 50_000);
    Wallet::of(PAYER).pays(SELLER.address.parse().unwrap(), 50_000, 1, chain.now_s())
}

/// A clock that shows what it was set to.
struct Hands(AtomicU64);

impl Clock for Hands {
    fn now(&self) -> UnixMs {
        UnixMs(self.0.load(Ordering::SeqCst) * 1_000)
    }

    fn monotonic_us(&self) -> u64 {
        self.now().0 * 1_000
    }
}

#[tokio::test]
async fn a_token_that_its_contract_says_is_another_sells_nothing() {
    let (chain, folder) = (Chain::start(), temporary_folder());
    let ledger = ledger(&chain.url()).await;
    let nobody = Token { contract: "0x00000000000000000000000000000000000000aa".parse().unwrap(), ..usdc() };
    let renamed = Token { name: "USD Coin".to_owned(), ..usdc() };
    let wrong = [
        (Token { decimals: 18, ..usdc() }, "has 6 decimals"),
        (Token { version: "1".to_owned(), ..usdc() }, "another name or version"),
        (renamed.clone(), "another name or version"),
        (nobody, "no contract"),
    ];
    let key = GasKey::parse(GAS.key).unwrap();
    let desk =
        Desk::open(ledger.clone(), key, &folder.path().join("settler.db"), Manners::default()).unwrap();
    for (token, why) in wrong {
        let told = ledger.is_as_configured(&token, true).await.unwrap_err().to_string();
        assert!(told.contains(why), "{told}");
        let signed = Wallet::of(PAYER).signs(Authorization { token, ..paid(&chain) });
        let looked = desk.verify(&signed).await;
        assert!(matches!(looked, Err(LookError::Unreachable(_))), "{looked:?}");
    }
    // By Permit2 nobody signs for the token's own domain.
    assert_eq!(ledger.is_as_configured(&renamed, false).await, Ok(()));
    assert_eq!(ledger.is_as_configured(&usdc(), true).await, Ok(()));
    // That it is good as it was configured says nothing of another configuration.
    let cheaper = Token { decimals: 4, ..usdc() };
    for by_token in [false, true] {
        let told = ledger.is_as_configured(&cheaper, by_token).await;
        assert!(matches!(told, Err(TokenError::Decimals { .. })), "{told:?}");
    }
    assert!(desk.verify(&paid(&chain)).await.is_ok());
}

#[tokio::test]
async fn what_a_token_does_not_tell_is_not_held_against_it_and_a_node_that_does_not_tell_is() {
    let chain = Chain::start();
    // What a contract without such a function answers, and what a node says that is asked too often.
    let answers = [
        (json!({"error": {"code": 3, "message": "execution reverted"}}), true),
        (json!({"result": "0x"}), true),
        (json!({"error": {"code": -32005, "message": "limit exceeded"}}), false),
    ];
    for (answer, is_good) in answers {
        let node = between(&chain, move |question| {
            let data = question["params"][0]["data"].as_str().unwrap_or_default();
            ["0x313ce567", "0x3644e515"].contains(&data).then(|| answer.clone())
        })
        .await;
        let told = ledger(&node.url("")).await.is_as_configured(&usdc(), true).await;
        assert_eq!(told.is_ok(), is_good, "{told:?}");
        assert!(is_good || matches!(told, Err(TokenError::Unreachable(_))), "{told:?}");
    }
}

#[tokio::test]
async fn a_token_that_is_moved_by_permit2_is_not_asked_for_its_domain() {
    let chain = Chain::start();
    let node = between(&chain, |question| {
        let is_domain = question["params"][0]["data"] == "0x3644e515";
        is_domain.then(|| json!({"error": {"code": -32000, "message": "out of gas"}}))
    })
    .await;
    let ledger = ledger(&node.url("")).await;
    assert_eq!(ledger.is_as_configured(&usdc(), false).await, Ok(()));
    let told = ledger.is_as_configured(&usdc(), true).await;
    assert!(matches!(told, Err(TokenError::Unreachable(_))), "{told:?}");
}

#[tokio::test]
async fn nothing_is_sold_by_a_clock_that_is_behind_that_of_the_chain() {
    let (chain, folder) = (Chain::start(), temporary_folder());
    let paid = paid(&chain);
    let hands = Arc::new(Hands(AtomicU64::new(0)));
    let ledger = ledger(&chain.url()).await.timed_by(Arc::clone(&hands) as _);
    let key = GasKey::parse(GAS.key).unwrap();
    let desk = Desk::open(ledger, key, &folder.path().join("settler.db"), Manners::default()).unwrap();
    let now_s = chain.now_s();
    for (shows, is_sold) in [(now_s - 31, false), (now_s - 30, true), (now_s + 3_600, true)] {
        hands.0.store(shows, Ordering::SeqCst);
        let looked = desk.verify(&paid).await;
        assert_eq!(looked.is_ok(), is_sold, "{looked:?}");
        assert!(is_sold || matches!(looked, Err(LookError::Unreachable(_))), "{looked:?}");
    }
    // What was done for it is paid, whatever our clock shows.
    hands.0.store(now_s - 31, Ordering::SeqCst);
    desk.settle(&paid).await.unwrap();
    assert_eq!(chain.balance(SELLER.address), 50_000);
}
