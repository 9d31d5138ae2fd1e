//! A transaction that calls a token (EIP-1559), and the key that signs it.

use core::fmt;

use alloy_rlp::{BytesMut, Decodable as _, Encodable, Header};
use execgate_payment::TxHash;
use execgate_payment::evm::{Address, from_hex, keccak256};
use k256::ecdsa::SigningKey;
use zeroize::Zeroizing;

/// The type byte of EIP-1559.
const TYPE: u8 = 2;

/// Why a text is no key. It never says the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a gas key is 0x and 64 hexadecimal digits, a number below the order of its group")]
pub struct KeyError;

/// The key whose account pays for gas.
#[derive(Clone)]
pub struct GasKey(SigningKey);

impl fmt::Debug for GasKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GasKey").field(&self.address()).finish()
    }
}

impl GasKey {
    /// Reads a key.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let bytes = Zeroizing::new(from_hex(text.trim(), 32).map_err(|_| KeyError)?);
        SigningKey::from_slice(&bytes).map(Self).map_err(|_| KeyError)
    }

    /// Its account.
    #[must_use]
    pub fn address(&self) -> Address {
        let point = self.0.verifying_key().to_sec1_point(false);
        let hash = keccak256(&point.as_bytes()[1..]);
        Address::from_bytes(core::array::from_fn(|i| hash[12 + i]))
    }
}

/// What a unit of gas costs, in wei.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fees {
    /// At most.
    pub(crate) most: u128,
    /// Of that, for whoever makes the block, at most.
    pub(crate) tip: u128,
}

/// A call of a contract.
pub(crate) struct Transaction<'a> {
    pub(crate) chain: u64,
    /// The number of the account's transactions before it.
    pub(crate) nonce: u64,
    pub(crate) fees: Fees,
    pub(crate) gas: u64,
    pub(crate) to: Address,
    pub(crate) data: &'a [u8],
}

/// A signed transaction.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Signed {
    pub(crate) hash: TxHash,
    /// Its number.
    pub(crate) nonce: u64,
    pub(crate) raw: Vec<u8>,
}

impl fmt::Debug for Signed {
    /// Whoever has its bytes can send it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signed").field("hash", &self.hash).finish_non_exhaustive()
    }
}

impl Signed {
    /// One that was kept by its hash and bytes; none where they are not those of a transaction of this type.
    pub(crate) fn kept(hash: TxHash, raw: Vec<u8>) -> Option<Self> {
        let mut rest = raw.strip_prefix(&[TYPE])?;
        Header::decode(&mut rest).ok().filter(|header| header.list)?;
        let _chain = u64::decode(&mut rest).ok()?;
        let nonce = u64::decode(&mut rest).ok()?;
        Some(Self { hash, nonce, raw })
    }
}

impl Transaction<'_> {
    /// Signs it.
    pub(crate) fn sign(&self, key: &GasKey) -> Signed {
        let (numbers, parity) = key.0.sign_prehash_recoverable(&keccak256(&self.encoded(None)));
        let raw = self.encoded(Some((parity.is_y_odd(), numbers.to_bytes().as_slice())));
        Signed { hash: TxHash::from_bytes(keccak256(&raw)), nonce: self.nonce, raw }
    }

    fn encoded(&self, signature: Option<(bool, &[u8])>) -> Vec<u8> {
        let mut fields = BytesMut::new();
        self.chain.encode(&mut fields);
        self.nonce.encode(&mut fields);
        self.fees.tip.encode(&mut fields);
        self.fees.most.encode(&mut fields);
        self.gas.encode(&mut fields);
        self.to.as_bytes().as_slice().encode(&mut fields);
        // No ether goes along, and nothing is announced of what it reads.
        0_u64.encode(&mut fields);
        self.data.encode(&mut fields);
        Header { list: true, payload_length: 0 }.encode(&mut fields);
        if let Some((is_odd, numbers)) = signature {
            is_odd.encode(&mut fields);
            let (r, s) = numbers.split_at(32);
            number(r).encode(&mut fields);
            number(s).encode(&mut fields);
        }
        let mut text = BytesMut::new();
        Header { list: true, payload_length: fields.len() }.encode(&mut text);
        [&[TYPE], text.as_ref(), fields.as_ref()].concat()
    }
}

/// A number without leading zeros.
fn number(bytes: &[u8]) -> &[u8] {
    &bytes[bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len())..]
}

#[cfg(test)]
mod tests {
    use super::{Fees, GasKey, Signed, Transaction};

    #[test]
    fn what_was_kept_has_the_number_that_it_was_signed_with() {
        let key = GasKey::parse(&format!("0x{}", "11".repeat(32))).unwrap();
        for nonce in [0, 1, 127, 128, 70_000, u64::MAX] {
            let fees = Fees { most: 2, tip: 1 };
            let (to, data) = (key.address(), [7; 228]);
            let signed = Transaction { chain: 84_532, nonce, fees, gas: 200_000, to, data: &data }.sign(&key);
            assert_eq!(signed.nonce, nonce);
            assert_eq!(Signed::kept(signed.hash, signed.raw.clone()), Some(signed.clone()));
            assert_eq!(Signed::kept(signed.hash, signed.raw[1..].to_vec()), None);
        }
    }
}
