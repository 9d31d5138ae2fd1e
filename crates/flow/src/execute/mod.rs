//! **Execute**: the claim, then the handler.
//!
//! The claim is the first durable point: one transaction that takes nonce, payment and approval and writes
//! the intent. Nothing starts before it is durable, and it is taken back only where nothing has started.

mod claim;
mod run;

pub(crate) use claim::Left;
pub use claim::{Claim, Claimed, Execute, owner};
pub use run::Ended;
