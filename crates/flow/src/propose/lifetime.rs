//! For how long an authorization of a payment has to live when it comes: until the work is done, and paid.

use execgate_model::{Offer, Surface};

/// What comes before the work, in seconds: an identity service, the claim, an interpreter that starts.
const BEFORE_S: u64 = 15;

/// What comes after it, in seconds: a transaction, and the blocks behind it.
const AFTER_S: u64 = 45;

/// The longest that an action or a language may take, in seconds.
const ACTION_S: u64 = 300;

/// The longest that a tool may take, in seconds (CONTRACTS 4).
const TOOL_S: u64 = 30;

/// Seconds that an authorization has to live, by what is asked for.
#[must_use]
pub const fn lives_at_least_s(surface: Surface, offer: Option<Offer>) -> u64 {
    let work = match (surface, offer) {
        (_, Some(Offer::CodeRun)) => 30,
        (_, Some(Offer::CodeRunPro)) => 60,
        (_, Some(Offer::CodeRunBasic)) | (Surface::Execute | Surface::CodeRun | Surface::Mcp, None) => {
            ACTION_S
        }
        (Surface::SecureExec | Surface::Simulate, None) => TOOL_S,
    };
    BEFORE_S + work + AFTER_S
}
