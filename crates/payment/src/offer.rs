//! What a rail asks for something, and what it tells of a payment: headers, and members of the body of a 402.

use core::fmt;

use execgate_model::{Amount, UnixMs};
use serde_json::{Map, Value};

use crate::{Flow, SettlementState};

/// What is asked for something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The price.
    pub amount: Amount,
    /// When it is taken.
    pub flow: Flow,
    /// For how long an authorization has to live when it comes, in seconds: until the work is done and paid.
    pub lives_at_least_s: u64,
    /// Why what came did not pay for it, where something came: a code, or a code and a colon and words.
    pub refused: Option<String>,
    /// How the client would like to pay (`Accept-Payment`), where it says so.
    pub accepts: Option<String>,
}

/// A header of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Its name, in lowercase.
    pub name: &'static str,
    /// Its value, in visible ASCII.
    pub value: String,
}

/// How to pay, in the words of one rail.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Offer {
    /// The headers that say it.
    pub headers: Vec<Header>,
    /// The members of the body that say it. Where two rails have the same member, that of the first one stands.
    pub members: Map<String, Value>,
}

/// How a payment has ended, from the record: what an answer to it tells, replays included.
#[derive(Clone, Copy)]
pub struct Settled<'a> {
    /// How much was asked for.
    pub amount: Amount,
    /// Where it ended.
    pub state: SettlementState,
    /// The rail's own name for the movement.
    pub reference: Option<&'a str>,
    /// What the rail has kept of it. It is money: nothing that tells of a payment has its signature.
    pub kept: &'a [u8],
    /// When the run was claimed.
    pub at: UnixMs,
}

impl fmt::Debug for Settled<'_> {
    /// Without what its rail has kept.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settled")
            .field("amount", &self.amount)
            .field("state", &self.state)
            .field("reference", &self.reference)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use execgate_model::{Amount, UnixMs};

    use super::Settled;
    use crate::SettlementState;

    #[test]
    fn what_is_kept_is_in_no_debug_text() {
        let (amount, state, at) = (Amount::from_micros(7), SettlementState::Captured, UnixMs(1));
        let settled = Settled { amount, state, reference: Some("0xabc"), kept: b"canary", at };
        let shown = format!("{settled:?}");
        assert!(shown.contains("0xabc") && !shown.contains(&format!("{:?}", b"canary")), "{shown}");
    }
}
