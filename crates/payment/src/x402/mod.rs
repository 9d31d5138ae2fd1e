//! The rail `x402`: the scheme `exact` on chains of the Ethereum kind, by EIP-3009 in versions 2 and 1 of the protocol, and by
//! Permit2 in version 2; and there, for what is metered, `upto`.
//!
//! Of what x402 has, refused by name: `batch-settlement`, ERC-7710, wallets that are contracts.

mod code;
mod credential;
mod offer;
mod rail;
mod response;

pub use code::ALLOWANCE_REQUIRED;
#[cfg(any(test, fuzzing))]
pub(crate) use credential::read;
pub use rail::{Account, Transfer, X402};
