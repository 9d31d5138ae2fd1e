//! Which outcomes are paid work (CONTRACTS 3, last column).

use execgate_model::Outcome;

use crate::parking::never_started;
use crate::witness::Facts;

/// Whether a run that ended so is charged.
#[must_use]
pub fn is_charged(outcome: &Outcome, facts: &Facts) -> bool {
    is_charged_word(Some(&outcome.word()), facts)
}

/// The same of a recorded outcome ([`Outcome::word`]); a run without an outcome is not charged. What reached beyond the
/// gateway may have acted before its time was over.
pub(crate) fn is_charged_word(word: Option<&str>, facts: &Facts) -> bool {
    match word {
        None | Some("unknown") => false,
        Some(word) if never_started(word) => false,
        Some("timeout") => facts.surface.charges_timeouts() || facts.reaches_out,
        Some(_) => true,
    }
}
