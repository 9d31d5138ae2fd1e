//! A payer's wallet: it signs whatever a test wants.

use execgate_payment::evm::{
    Address, Authorization, ChainId, KnownToken, Means, Signature, Token, U256, keccak256, to_hex,
};
use k256::ecdsa::SigningKey;

use crate::chain::Account;

/// How long what a wallet signs is good, in seconds, where a test says nothing else.
const LIFE_S: u64 = 300;

/// An account and its key.
#[derive(Clone)]
pub struct Wallet {
    address: Address,
    key: SigningKey,
}

impl Wallet {
    /// The wallet of an account that everybody knows.
    ///
    /// # Panics
    /// If its key is none.
    #[must_use]
    pub fn of(account: Account) -> Self {
        let bytes = execgate_payment::evm::from_hex(account.key, 32).expect("a key is hexadecimal");
        Self::from_key(&bytes)
    }

    /// A wallet of its own for each number: it has nothing.
    #[must_use]
    pub fn number(number: u64) -> Self {
        Self::from_key(&keccak256(format!("wallet {number}").as_bytes()))
    }

    fn from_key(bytes: &[u8]) -> Self {
        let key = SigningKey::from_slice(bytes).expect("a key is a number below the order of its group");
        let point = key.verifying_key().to_sec1_point(false);
        let hash = keccak256(&point.as_bytes()[1..]);
        Self { address: Address::from_bytes(core::array::from_fn(|i| hash[12 + i])), key }
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> Address {
        self.address
    }

    /// A transfer of so many units of [`usdc`], good for five minutes by the clock that says `now_s`. Another number draws
    /// another nonce.
    #[must_use]
    pub fn pays(&self, to: Address, units: u64, number: u64, now_s: u64) -> Authorization {
        self.signs(Authorization {
            token: usdc(),
            from: self.address,
            to,
            value: U256::from(units),
            valid_after: U256::ZERO,
            valid_before: U256::from(now_s + LIFE_S),
            nonce: keccak256(format!("nonce {number}").as_bytes()),
            by: Means::Token,
            signature: no_signature(),
        })
    }

    /// The same as [`Self::pays`], by Permit2.
    #[must_use]
    pub fn permits(&self, to: Address, units: u64, number: u64, now_s: u64) -> Authorization {
        self.signs(Authorization { by: Means::Permit2, ..self.pays(to, units, number, now_s) })
    }

    /// The same transfer with this wallet's signature, whatever it says.
    ///
    /// # Panics
    /// If there is no such signature.
    #[must_use]
    pub fn signs(&self, authorization: Authorization) -> Authorization {
        let signature = self.sign(&authorization.digest());
        Authorization { signature, ..authorization }
    }

    /// The signature that takes back a nonce (EIP-3009).
    #[must_use]
    pub fn cancels(&self, token: &Token, nonce: [u8; 32]) -> Signature {
        let kind = keccak256(b"CancelAuthorization(address authorizer,bytes32 nonce)");
        let said = keccak256([kind, self.address.to_word(), nonce].as_flattened());
        self.sign(&keccak256(&[&[0x19, 0x01][..], &token.domain_separator(), &said].concat()))
    }

    fn sign(&self, digest: &[u8; 32]) -> Signature {
        let (numbers, parity) = self.key.sign_prehash_recoverable(digest);
        let mut bytes = numbers.to_bytes().to_vec();
        bytes.push(parity.to_byte());
        Signature::parse(&to_hex(&bytes)).expect("what was signed is a signature")
    }
}

/// The token at [`crate::chain::USDC`].
///
/// # Panics
/// If nobody knows it.
#[must_use]
pub fn usdc() -> Token {
    KnownToken::find("USDC", ChainId::BASE_SEPOLIA).expect("USDC on Base Sepolia is known")
}

/// Stands where a signature comes later.
fn no_signature() -> Signature {
    Signature::parse(&format!("0x{}{}1b", "11".repeat(32), "22".repeat(32)))
        .expect("two numbers and a parity")
}
