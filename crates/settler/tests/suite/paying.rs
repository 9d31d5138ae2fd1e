//! What the tests share that pay for whole runs: a price, an authorization of it, and a settler that does not keep them waiting.

use std::path::Path;
use std::time::Duration;

use execgate_payment::evm::{Authorization, ChainId};
use execgate_settler::{Desk, GasKey, Ledger, Manners, Rpc};
use execgate_testkit::chain::{Chain, GAS, PAYER, SELLER};
use execgate_testkit::wallet::Wallet;
use execgate_testkit::{AUTHORIZED, Ask};

/// What a run costs in a world with prices, in units.
pub(crate) const PRICE: u64 = 50_000;

/// A settler that looks often, and waits so long for a block.
pub(crate) async fn desk(chain: &Chain, folder: &Path, patience: Duration) -> Desk {
    desk_at(&chain.url(), folder, patience).await
}

/// The same, which asks the node at this address.
pub(crate) async fn desk_at(url: &str, folder: &Path, patience: Duration) -> Desk {
    let ledger = Ledger::open(Rpc::new(url).unwrap(), ChainId::BASE_SEPOLIA).await.unwrap();
    let manners = Manners {
        look_every: Duration::from_millis(20),
        bump_after: Duration::from_millis(500),
        patience,
        fee_max: 100_000_000_000,
    };
    Desk::open(ledger, GasKey::parse(GAS.key).unwrap(), &folder.join("settler.db"), manners).unwrap()
}

/// What the payer signs, each under a nonce of its number.
pub(crate) fn signed(chain: &Chain, number: u64) -> Authorization {
    Wallet::of(PAYER).pays(SELLER.address.parse().unwrap(), PRICE, number, chain.now_s())
}

/// The same call, with that shown.
pub(crate) fn paying(asked: Ask, authorization: &Authorization) -> Ask {
    asked.pays_by(AUTHORIZED, &String::from_utf8(authorization.to_bytes().unwrap()).unwrap())
}
