//! **Propose**: is this a request that could run, and what does it cost?
//!
//! Nothing here has an effect, and nothing is looked up: who asks has not proven anything yet.

mod fingerprint;
mod lifetime;
mod meter;
mod price;
mod quote;

pub use fingerprint::{NonceKey, fingerprint};
pub use lifetime::lives_at_least_s;
pub use meter::Meter;
pub use price::{Prices, ToolPrices};
pub use quote::{Propose, Quote};
