//! What every back end that moves tokens promises, as a suite; and one that keeps its books in memory.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use execgate_model::BoxFuture;
use execgate_payment::evm::{Address, Authorization, Token, U256, keccak256};
use execgate_payment::{Facilitator, LookError, SettleError, TxHash, Unreachable, Whereabouts};
use tokio::task::JoinSet;

use crate::wallet::{Wallet, usdc};

/// A chain and the facilitator in front of it.
pub trait Ground {
    /// The facilitator.
    fn facilitator(&self) -> std::sync::Arc<dyn Facilitator>;

    /// The chain's clock, in seconds.
    fn now_s(&self) -> u64;

    /// Moves that clock on.
    fn advance(&self, seconds: u64);

    /// Gives somebody tokens.
    fn fund(&self, who: Address, units: u64);

    /// How many somebody has.
    fn balance(&self, who: Address) -> u64;

    /// Somebody else has a transfer happen.
    fn submit(&self, authorization: &Authorization);

    /// A payer takes a nonce back.
    fn cancel(&self, wallet: &Wallet, nonce: [u8; 32]);

    /// What a payer signs, by whatever is tried here: another nonce for another number.
    fn pays(&self, payer: &Wallet, to: Address, units: u64, number: u64) -> Authorization {
        payer.pays(to, units, number, self.now_s())
    }
}

/// Sent at once, in [`keeps_the_contract`].
const CROWD: usize = 8;

/// The price in [`keeps_the_contract`], in units.
const PRICE: u64 = 20_000;

/// Whether a facilitator keeps the contract of its port.
///
/// # Panics
/// If it does not.
pub async fn keeps_the_contract(ground: &dyn Ground) {
    let facilitator = ground.facilitator();
    let (payer, seller) = (Wallet::number(1), Wallet::number(2).address());
    let balances = || (ground.balance(payer.address()), ground.balance(seller));
    let pays = |number| ground.pays(&payer, seller, PRICE, number);
    ground.fund(payer.address(), 5 * PRICE);
    assert_eq!(facilitator.balance(&usdc(), payer.address()).await, Ok(U256::from(5 * PRICE)));

    let once = pays(1);
    let seen = Ok(Some(U256::from(5 * PRICE)));
    assert_eq!(facilitator.verify(&once).await, seen, "before it is settled");
    assert_eq!(facilitator.whereabouts(&once).await, Ok(Whereabouts::Unused), "before it is settled");
    let transaction = facilitator.settle(&once).await.expect("a good transfer is settled");
    assert_eq!(balances(), (4 * PRICE, PRICE));
    let found = Whereabouts::Used { transaction: Some(transaction), to_us: true };
    assert_eq!(facilitator.whereabouts(&once).await, Ok(found), "when it is settled");
    assert_eq!(facilitator.settle(&once).await, Ok(transaction), "settled again");

    let refused = async |authorization: &Authorization, when: &str| {
        let looked = facilitator.verify(authorization).await;
        assert!(matches!(looked, Err(LookError::Refused(_))), "{when}: {looked:?}");
    };
    refused(&once, "settled").await;

    let mut crowd = JoinSet::new();
    let many = pays(2);
    for _ in 0..CROWD {
        let (facilitator, many) = (ground.facilitator(), many.clone());
        crowd.spawn(async move { facilitator.settle(&many).await });
    }
    let hashes = crowd.join_all().await;
    assert!(hashes.iter().all(|hash| hash.is_ok() && *hash == hashes[0]), "{hashes:?}");
    assert_eq!(balances(), (3 * PRICE, 2 * PRICE), "settled by many at once");

    let dear = ground.pays(&payer, seller, 4 * PRICE, 3);
    assert!(matches!(facilitator.settle(&dear).await, Err(SettleError::Refused(_))), "more than there is");
    assert_eq!(facilitator.whereabouts(&dear).await, Ok(Whereabouts::Unused), "more than there is");
    refused(&dear, "more than there is").await;

    let forged = Wallet::number(3).signs(pays(4));
    assert!(matches!(facilitator.settle(&forged).await, Err(SettleError::Refused(_))), "signed by another");
    refused(&forged, "signed by another").await;

    let taken_back = pays(5);
    ground.cancel(&payer, taken_back.nonce);
    assert_eq!(facilitator.whereabouts(&taken_back).await, Ok(Whereabouts::Cancelled));
    assert!(matches!(facilitator.settle(&taken_back).await, Err(SettleError::Refused(_))), "cancelled");
    refused(&taken_back, "cancelled").await;

    let elsewhere = ground.pays(&payer, Wallet::number(4).address(), PRICE, 6);
    ground.submit(&elsewhere);
    let ours = pays(6);
    assert_eq!(ours.nonce, elsewhere.nonce);
    let found = facilitator.whereabouts(&ours).await.expect("the chain can be asked");
    assert!(matches!(found, Whereabouts::Used { to_us: false, .. }), "{found:?}");
    assert!(matches!(facilitator.settle(&ours).await, Err(SettleError::Refused(_))), "used elsewhere");

    let front_run = pays(7);
    ground.submit(&front_run);
    refused(&front_run, "it may have bought something else").await;
    let theirs = facilitator.settle(&front_run).await.expect("somebody else was faster, and we were paid");
    let found = Whereabouts::Used { transaction: Some(theirs), to_us: true };
    assert_eq!(facilitator.whereabouts(&front_run).await, Ok(found), "settled by somebody else");
    assert_eq!(balances(), (PRICE, 3 * PRICE));

    let late = pays(8);
    ground.advance(3_600);
    assert_eq!(facilitator.whereabouts(&late).await, Ok(Whereabouts::Expired));
    assert!(matches!(facilitator.settle(&late).await, Err(SettleError::Refused(_))), "too late");
    refused(&late, "too late").await;
    assert_eq!(balances(), (PRICE, 3 * PRICE), "in the end");
}

/// How a [`Ledger`] answers, where it is not honest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// It moves the tokens, and its answer is lost.
    DoneUnheard,
    /// It moves nothing, and its answer is lost.
    LostUnheard,
    /// It refuses, whatever it was asked for.
    Refuses,
    /// It never answers, and moves nothing.
    Hangs,
}

/// What used a nonce: a transfer, or none where its payer took it back.
type Use = Option<(TxHash, Address, U256)>;

#[derive(Debug, Default)]
struct Books {
    now_s: u64,
    balances: BTreeMap<Address, u64>,
    used: BTreeMap<(Address, [u8; 32]), Use>,
    moods: VecDeque<Mood>,
    reachable: bool,
}

/// A chain in memory and its facilitator in one.
#[derive(Debug)]
pub struct Ledger(Mutex<Books>);

impl Default for Ledger {
    fn default() -> Self {
        // Any time will do: the ledger's clock is its own.
        let books = Books { now_s: 1_800_000_000, reachable: true, ..Books::default() };
        Self(Mutex::new(books))
    }
}

impl Ledger {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How it answers when it is asked to settle next.
    pub fn next(&self, mood: Mood) {
        self.books().moods.push_back(mood);
    }

    /// Whether anybody can ask it about anything.
    pub fn reach(&self, reachable: bool) {
        self.books().reachable = reachable;
    }

    /// Its clock, in seconds.
    #[must_use]
    pub fn now_s(&self) -> u64 {
        self.books().now_s
    }

    /// Moves its clock on.
    pub fn advance(&self, seconds: u64) {
        self.books().now_s += seconds;
    }

    /// Gives somebody tokens.
    pub fn fund(&self, who: Address, units: u64) {
        *self.books().balances.entry(who).or_default() += units;
    }

    /// How many somebody has.
    #[must_use]
    pub fn balance_of(&self, who: Address) -> u64 {
        self.books().balances.get(&who).copied().unwrap_or_default()
    }

    /// Has a transfer happen, as its token would.
    ///
    /// # Errors
    /// The reason why it does not.
    pub fn submit(&self, authorization: &Authorization) -> Result<TxHash, String> {
        let Authorization { from, to, value, nonce, .. } = *authorization;
        let mut books = self.books();
        if let Some(used) = books.used.get(&(from, nonce)) {
            let ours = used.filter(|(_, payee, moved)| *payee == to && *moved == value);
            return ours
                .map(|(hash, ..)| hash)
                .ok_or_else(|| "invalid_exact_evm_nonce_already_used".to_owned());
        }
        if authorization.verify().is_err() {
            return Err("invalid_exact_evm_payload_signature".to_owned());
        }
        if authorization.valid_before <= U256::from(books.now_s) {
            return Err("invalid_exact_evm_payload_authorization_valid_before".to_owned());
        }
        let units = value.saturating_u64();
        let has = books.balances.entry(from).or_default();
        *has = has.checked_sub(units).ok_or("insufficient_funds")?;
        *books.balances.entry(to).or_default() += units;
        let hash = TxHash::from_bytes(keccak256(authorization.claim_key().as_bytes()));
        books.used.insert((from, nonce), Some((hash, to, value)));
        Ok(hash)
    }

    /// Takes a nonce back.
    pub fn cancel(&self, who: Address, nonce: [u8; 32]) {
        self.books().used.entry((who, nonce)).or_insert(None);
    }
}

impl Facilitator for Ledger {
    fn name(&self) -> &'static str {
        "ledger"
    }

    fn verify<'a>(
        &'a self,
        authorization: &'a Authorization,
    ) -> BoxFuture<'a, Result<Option<U256>, LookError>> {
        Box::pin(async move {
            let Authorization { from, value, nonce, valid_before, .. } = *authorization;
            let is_signed = authorization.verify().is_ok();
            let books = self.books();
            if !books.reachable {
                return Err(Unreachable("the ledger is closed".to_owned()).into());
            }
            let has = U256::from(books.balances.get(&from).copied().unwrap_or_default());
            let reason = if !is_signed {
                "invalid_exact_evm_payload_signature"
            } else if books.used.contains_key(&(from, nonce)) {
                "invalid_exact_evm_nonce_already_used"
            } else if valid_before <= U256::from(books.now_s) {
                "invalid_exact_evm_payload_authorization_valid_before"
            } else if has < value {
                "insufficient_funds"
            } else {
                return Ok(Some(has));
            };
            Err(LookError::Refused(reason.to_owned()))
        })
    }

    fn settle<'a>(&'a self, authorization: &'a Authorization) -> BoxFuture<'a, Result<TxHash, SettleError>> {
        Box::pin(async move {
            let mood = self.books().moods.pop_front();
            match mood {
                Some(Mood::Hangs) => core::future::pending().await,
                Some(Mood::Refuses) => Err(SettleError::Refused("unexpected_settle_error".to_owned())),
                Some(Mood::LostUnheard) => Err(SettleError::Unknown { transaction: None }),
                Some(Mood::DoneUnheard) => {
                    let transaction = self.submit(authorization).ok();
                    Err(SettleError::Unknown { transaction })
                }
                None => self.submit(authorization).map_err(SettleError::Refused),
            }
        })
    }

    fn whereabouts<'a>(
        &'a self,
        authorization: &'a Authorization,
    ) -> BoxFuture<'a, Result<Whereabouts, Unreachable>> {
        Box::pin(async move {
            let books = self.books();
            if !books.reachable {
                return Err(Unreachable("the ledger is closed".to_owned()));
            }
            let Authorization { from, to, value, nonce, valid_before, .. } = *authorization;
            Ok(match books.used.get(&(from, nonce)) {
                Some(None) => Whereabouts::Cancelled,
                Some(Some((hash, payee, moved))) => {
                    Whereabouts::Used { transaction: Some(*hash), to_us: *payee == to && *moved == value }
                }
                None if valid_before <= U256::from(books.now_s) => Whereabouts::Expired,
                None => Whereabouts::Unused,
            })
        })
    }

    fn balance<'a>(
        &'a self,
        _token: &'a Token,
        account: Address,
    ) -> BoxFuture<'a, Result<U256, Unreachable>> {
        Box::pin(async move { Ok(U256::from(self.balance_of(account))) })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Ground, Ledger, keeps_the_contract};
    use crate::wallet::Wallet;
    use execgate_payment::Facilitator;
    use execgate_payment::evm::{Address, Authorization};

    impl Ground for Arc<Ledger> {
        fn facilitator(&self) -> Arc<dyn Facilitator> {
            self.clone()
        }
        fn now_s(&self) -> u64 {
            Ledger::now_s(self)
        }
        fn advance(&self, seconds: u64) {
            Ledger::advance(self, seconds);
        }
        fn fund(&self, who: Address, units: u64) {
            Ledger::fund(self, who, units);
        }
        fn balance(&self, who: Address) -> u64 {
            self.balance_of(who)
        }
        fn submit(&self, authorization: &Authorization) {
            Ledger::submit(self, authorization).unwrap();
        }
        fn cancel(&self, wallet: &Wallet, nonce: [u8; 32]) {
            Ledger::cancel(self, wallet.address(), nonce);
        }
    }

    #[tokio::test]
    async fn the_ledger_keeps_the_contract() {
        keeps_the_contract(&Arc::new(Ledger::default())).await;
    }
}
