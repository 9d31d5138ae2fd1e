//! Payment rails: how a run is priced to its caller, held, captured and released.
//!
//! A rail is one folder. [`hold`], [`capture`] and [`release`] are the only ways to the evidence that the
//! corridor asks for ([`Hold`], [`Settlement`]). Nothing here knows an HTTP framework.

pub mod evm;
mod rail;
mod rails;
mod unpaid;

pub use rail::{
    CaptureError, Hold, HoldError, Paid, PaymentClaim, Rail, Settlement, SettlementState, Terms, capture,
    hold, release,
};
pub use rails::Rails;
pub use unpaid::Unpaid;
