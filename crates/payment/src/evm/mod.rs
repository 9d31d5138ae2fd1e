//! Money on chains of the Ethereum kind: who, where, which token, and an authorization to move it (EIP-3009,
//! or Permit2).
//!
//! Everything here only computes. Whether an authorization is good on its chain now is for whoever moves it. Every change
//! here needs a second reader.

mod address;
mod authorization;
mod chain;
mod hex;
mod keccak;
mod number;
mod permit2;
mod signature;
mod token;

pub use address::{Address, AddressError};
#[cfg(test)]
pub(crate) use authorization::sample;
pub use authorization::{Authorization, AuthorizationError};
pub use chain::{ChainId, ChainIdError};
pub use hex::{HexError, from_hex, to_hex};
pub use keccak::keccak256;
pub use number::{U256, U256Error};
pub use permit2::{EXACT_PROXY, Means, PERMIT2, UPTO_PROXY};
pub use signature::{Signature, SignatureError};
pub use token::{KNOWN_TOKENS, KnownToken, Token};
