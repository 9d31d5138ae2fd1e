//! Which outcomes are paid work (CONTRACTS 3, last column), and how much they come to.

use execgate_model::{Amount, UnixMs};

use crate::parking::never_started;
use crate::witness::Facts;

/// How much is taken for a run that ended so ([`Outcome::word`](execgate_model::Outcome::word)), then: its price, or what its
/// usage comes to; nothing where it is not charged.
#[must_use]
pub fn due(word: Option<&str>, facts: &Facts, ended: UnixMs) -> Amount {
    match &facts.meter {
        _ if !is_charged_word(word, facts) => Amount::ZERO,
        Some(meter) => meter.due(facts.started, ended, facts.price),
        None => facts.price,
    }
}

/// Whether a run is charged that ended so; one without an outcome is not. What reached beyond the gateway may have acted before
/// its time was over.
fn is_charged_word(word: Option<&str>, facts: &Facts) -> bool {
    match word {
        None | Some("unknown") => false,
        Some(word) if never_started(word) => false,
        Some("timeout") => facts.surface.charges_timeouts() || facts.reaches_out,
        Some(_) => true,
    }
}
