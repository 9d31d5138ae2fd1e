//! The breaker: a service that has not answered for a while is left alone, and tried again by one question at a time.

use std::sync::{Mutex, PoisonError};

/// Questions without an answer, one after the other, after which it opens.
pub(crate) const FAILURES: u32 = 5;

/// How long it stays open, in microseconds.
pub(crate) const OPEN_US: u64 = 10_000_000;

/// How long one question may try whether the service is back before another one may: its own time limit and a margin.
const TRIAL_US: u64 = 4_000_000;

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// Until when nobody is asked.
    open_until_us: Option<u64>,
}

/// A breaker. Times are of a clock that never goes back.
#[derive(Debug, Default)]
pub(crate) struct Breaker(Mutex<State>);

impl Breaker {
    /// Whether to ask now. Of those who come when it has been open for long enough, only one may.
    pub(crate) fn lets_pass(&self, now_us: u64) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match state.open_until_us {
            None => true,
            Some(until) if now_us < until => false,
            Some(_) => {
                // Also where the one who tries is cancelled: the next one may after this.
                state.open_until_us = Some(now_us.saturating_add(TRIAL_US));
                true
            }
        }
    }

    /// The service has answered.
    pub(crate) fn answered(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.open_until_us.is_some() {
            tracing::info!("the identity service answers again");
        }
        *state = State::default();
    }

    /// The service has not answered.
    pub(crate) fn failed(&self, now_us: u64) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.failures = state.failures.saturating_add(1);
        if state.failures >= FAILURES {
            if state.open_until_us.is_none() {
                tracing::warn!("the identity service does not answer; it is left alone for a while");
            }
            state.open_until_us = Some(now_us.saturating_add(OPEN_US));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Breaker, FAILURES, OPEN_US, TRIAL_US};

    fn open() -> Breaker {
        let breaker = Breaker::default();
        for _ in 0..FAILURES {
            assert!(breaker.lets_pass(0));
            breaker.failed(0);
        }
        breaker
    }

    #[test]
    fn it_opens_after_so_many_failures_in_a_row_and_one_answer_starts_the_count_anew() {
        let breaker = Breaker::default();
        for _ in 1..FAILURES {
            breaker.failed(0);
        }
        breaker.answered();
        for _ in 1..FAILURES {
            breaker.failed(0);
        }
        assert!(breaker.lets_pass(0));
        breaker.failed(0);
        assert!(!breaker.lets_pass(0) && !breaker.lets_pass(OPEN_US - 1));
    }

    #[test]
    fn one_tries_whether_the_service_is_back_and_its_answer_closes_it() {
        let breaker = open();
        assert!(breaker.lets_pass(OPEN_US));
        assert!(!breaker.lets_pass(OPEN_US));
        breaker.answered();
        assert!(breaker.lets_pass(OPEN_US) && breaker.lets_pass(OPEN_US));
    }

    #[test]
    fn a_trial_that_fails_opens_it_again_and_one_that_is_cancelled_lets_another_try() {
        let breaker = open();
        assert!(breaker.lets_pass(OPEN_US));
        breaker.failed(OPEN_US);
        assert!(!breaker.lets_pass(2 * OPEN_US - 1) && breaker.lets_pass(2 * OPEN_US));
        assert!(!breaker.lets_pass(2 * OPEN_US + TRIAL_US - 1) && breaker.lets_pass(2 * OPEN_US + TRIAL_US));
    }
}
