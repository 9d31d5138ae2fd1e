//! What is to be paid for a run of its own, and for one of a batch.

use execgate_model::{Amount, Scope};
use execgate_payment::Hold;

/// What is to be paid for a run.
#[derive(Clone, Copy)]
pub(crate) enum Due<'h> {
    /// Its own price.
    Own,
    /// The price of the batch that it is the first of, before it starts.
    Batch(Amount),
    /// Nothing: the first of its batch has brought what pays for it.
    Covered {
        /// What it holds of that: nothing.
        hold: &'h Hold,
        /// The session by which their caller was known before.
        session: Option<&'h Scope>,
    },
}

impl Due<'_> {
    /// What is due where the run by itself costs so much.
    pub(crate) fn of(self, price: Amount) -> Amount {
        match self {
            Self::Own => price,
            Self::Batch(whole) => whole,
            Self::Covered { .. } => Amount::ZERO,
        }
    }
}
