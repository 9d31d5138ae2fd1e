//! Which outcomes are paid work (CONTRACTS 3, last column).

use execgate_model::{Outcome, Surface};

use crate::parking::never_started;

/// Whether a run that ended so is charged.
#[must_use]
pub fn is_charged(outcome: &Outcome, surface: Surface) -> bool {
    is_charged_word(Some(&outcome.word()), surface)
}

/// The same of a recorded outcome ([`Outcome::word`]); a run without an outcome is not charged.
pub(crate) fn is_charged_word(word: Option<&str>, surface: Surface) -> bool {
    match word {
        None | Some("unknown") => false,
        Some(word) if never_started(word) => false,
        Some("timeout") => surface.charges_timeouts(),
        Some(_) => true,
    }
}
