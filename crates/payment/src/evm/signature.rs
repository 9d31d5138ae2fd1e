//! Signatures of accounts that are a key (ECDSA on secp256k1), in the one form in which they are kept and sent on.

use core::fmt;

use k256::ecdsa::{RecoveryId, VerifyingKey};

use super::address::Address;
use super::hex::{HexError, from_hex};
use super::keccak::keccak256;

/// The longest signature that is read, in bytes. That of a contract's wallet may be long; it is refused, but by its name.
const LENGTH_MAX: usize = 8192;

/// The signature of an account: `r`, `s`, and which of two keys it is of. It moves money: it is never shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; 65]);

/// Why a text is no signature, or not of whom it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// It is no hexadecimal, or too long.
    #[error("the signature is not 0x and hexadecimal digits")]
    Hex(#[source] HexError),
    /// It is too short.
    #[error("the signature has {0} bytes, and that of an account has 65, or 64 (EIP-2098)")]
    Length(usize),
    /// It is of a wallet that is a contract; whether that agrees only its chain can tell.
    #[error(
        "the signature is of a wallet that is a contract (EIP-1271, ERC-6492), which is not taken here: pay from an account \
         that is a key"
    )]
    Contract,
    /// Its last byte says nothing.
    #[error("the last byte of the signature is none of 0, 1, 27 and 28")]
    Parity,
    /// Its numbers are out of range, or `s` is the larger of the two that would do, which tokens refuse.
    #[error("the numbers of the signature are out of range, or its s is high (EIP-2)")]
    Range,
    /// It is of no key.
    #[error("the signature is of no key")]
    NoKey,
    /// It is of another account than the one that pays, or over something else.
    #[error("the signature is not that of the payer over this authorization")]
    OtherSigner,
}

impl Signature {
    /// Reads the forms in which clients send it: 65 bytes with 0, 1, 27 or 28 at the end, or the 64 of EIP-2098.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn parse(text: &str) -> Result<Self, SignatureError> {
        let bytes = from_hex(text, LENGTH_MAX).map_err(SignatureError::Hex)?;
        match bytes.len() {
            64 => Self::compact(&bytes),
            65 => Self::full(&bytes),
            length @ 0..64 => Err(SignatureError::Length(length)),
            _ => Err(SignatureError::Contract),
        }
    }

    fn compact(bytes: &[u8]) -> Result<Self, SignatureError> {
        let mut full = [0; 65];
        full[..64].copy_from_slice(bytes);
        full[64] = 27 + (full[32] >> 7);
        full[32] &= 0x7f;
        Self::checked(full)
    }

    fn full(bytes: &[u8]) -> Result<Self, SignatureError> {
        let mut full = [0; 65];
        full.copy_from_slice(bytes);
        full[64] = match full[64] {
            0 | 27 => 27,
            1 | 28 => 28,
            _ => return Err(SignatureError::Parity),
        };
        Self::checked(full)
    }

    fn checked(full: [u8; 65]) -> Result<Self, SignatureError> {
        let signature = Self(full);
        let numbers = signature.numbers()?;
        if numbers.normalize_s() == numbers { Ok(signature) } else { Err(SignatureError::Range) }
    }

    fn numbers(&self) -> Result<k256::ecdsa::Signature, SignatureError> {
        k256::ecdsa::Signature::from_slice(&self.0[..64]).map_err(|_| SignatureError::Range)
    }

    /// `r`, the first of its numbers.
    #[must_use]
    pub fn r(&self) -> [u8; 32] {
        core::array::from_fn(|i| self.0[i])
    }

    /// `s`, the second of its numbers, the lower one of two.
    #[must_use]
    pub fn s(&self) -> [u8; 32] {
        core::array::from_fn(|i| self.0[32 + i])
    }

    /// 27 or 28.
    #[must_use]
    pub const fn v(&self) -> u8 {
        self.0[64]
    }

    /// The 65 bytes, `v` last.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 65] {
        &self.0
    }

    /// Whose it is over a digest.
    ///
    /// # Errors
    /// [`SignatureError::NoKey`] where there is no such key.
    pub fn signer(&self, digest: &[u8; 32]) -> Result<Address, SignatureError> {
        let parity = RecoveryId::new(self.v() == 28, false);
        let key = VerifyingKey::recover_from_prehash(digest, &self.numbers()?, parity)
            .map_err(|_| SignatureError::NoKey)?;
        let point = key.to_sec1_point(false);
        let hash = keccak256(&point.as_bytes()[1..]);
        Ok(Address::from_bytes(core::array::from_fn(|i| hash[12 + i])))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature(…)")
    }
}
