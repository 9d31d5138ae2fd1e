//! Payment rails: how a run is priced to its caller, held, captured and released.
//!
//! A rail is one folder. [`hold`], [`capture`] and [`release`] are the only ways to the evidence that the
//! corridor asks for ([`Hold`], [`Settlement`]). Nothing here knows an HTTP framework.

pub mod evm;
mod facilitator;
mod first;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod movement;
pub mod mpp;
mod offer;
mod rail;
mod rails;
mod unpaid;
pub mod x402;

pub use facilitator::{
    Facilitator, Finality, Gas, SettleError, TxHash, Whereabouts, authorized_may_go_back, capture_authorized,
    endurance_of_authorized, find_authorized, funds_of_payer,
};
pub use movement::movement;
pub use offer::{Asked, Header, Offer, Settled};
pub use rail::{
    CaptureError, Endurance, Flow, Found, Hold, HoldError, LookError, Paid, PaymentClaim, Rail, Settlement,
    SettlementState, Taken, Terms, Unreachable, capture, hold, look, observe, release, resume,
};
pub use rails::Rails;
pub use unpaid::Unpaid;
