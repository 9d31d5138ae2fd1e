//! How soon a worker looks again whether a block has taken its transaction: as soon as the chain has lately been with one, and
//! no more often where blocks are slow.

use core::time::Duration;
use std::sync::{Mutex, PoisonError};

/// The shortest pause before a look.
const PAUSE_MIN: Duration = Duration::from_millis(5);

/// What a desk knows of the pace of its chain.
pub(crate) struct Pace {
    every: Duration,
    /// From when the last transfer was sent until it was shown.
    lately: Mutex<Duration>,
}

impl Pace {
    /// That of a chain of which nothing is known yet, and how often it is looked at where blocks are slow.
    pub(crate) fn new(every: Duration) -> Self {
        Self { every, lately: Mutex::new(every * 2) }
    }

    /// How long to wait before the first look. Between that and the next, twice as long as before, and no longer than usual.
    pub(crate) fn first(&self) -> Duration {
        let lately = *self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        (lately / 2).clamp(PAUSE_MIN.min(self.every), self.every)
    }

    /// A transfer that was sent so long ago is shown.
    pub(crate) fn is_shown(&self, after: Duration) {
        *self.lately.lock().unwrap_or_else(PoisonError::into_inner) = after;
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::{PAUSE_MIN, Pace};

    #[test]
    fn a_quick_chain_is_looked_at_sooner_and_a_slow_one_no_more_often() {
        let every = Duration::from_millis(250);
        let pace = Pace::new(every);
        assert_eq!(pace.first(), every);
        // What is seen at a look was there before it: the next looks come nearer and nearer.
        for (shown_after_ms, first_ms) in [(250, 125), (126, 63), (20, 10), (0, 5), (2_000, 250)] {
            pace.is_shown(Duration::from_millis(shown_after_ms));
            assert_eq!(pace.first(), Duration::from_millis(first_ms), "{shown_after_ms}");
        }
        let often = Pace::new(Duration::from_millis(1));
        often.is_shown(Duration::ZERO);
        assert_eq!(often.first(), Duration::from_millis(1));
        assert!(often.first() < PAUSE_MIN);
    }
}
