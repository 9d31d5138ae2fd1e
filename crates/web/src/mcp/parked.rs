//! Calls without a key that wait for people. A model that makes the same call again means the same run: it is found here
//! by who asks, the tool and its arguments, until its end was told.
//!
//! Nothing of it is durable: after a restart the same call asks for an approval anew, unless it came with a key of its own.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use execgate_model::{Digest, Nonce, RunId, UnixMs};

/// The most that are remembered. Where so many wait, further ones need a key of their own to be found again.
const CALLS_MAX: usize = 4096;

/// For how long one is remembered at the least, in milliseconds: a day.
const KEPT_MS: u64 = 24 * 60 * 60 * 1_000;

/// A call that waits.
#[derive(Debug)]
struct Waits {
    nonce: Nonce,
    /// The run, once it is parked.
    run: Option<RunId>,
    /// Until when its end may be asked for.
    until: UnixMs,
}

/// Which call waits under which nonce, by a digest of who asks for what.
#[derive(Debug, Default)]
pub(crate) struct ParkedCalls(Mutex<HashMap<Digest, Waits>>);

impl ParkedCalls {
    /// The nonce under which a call waits already, or the one that is handed in, which it waits under from now on; and whether
    /// it is that one. None where no more are remembered.
    pub(super) fn nonce(&self, call: Digest, fresh: Nonce, now: UnixMs) -> Option<(Nonce, bool)> {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = calls.get(&call) {
            return Some((known.nonce.clone(), false));
        }
        if calls.len() >= CALLS_MAX {
            calls.retain(|_, waits| waits.until.0 > now.0);
        }
        (calls.len() < CALLS_MAX).then(|| {
            let until = UnixMs(now.0.saturating_add(KEPT_MS));
            calls.insert(call, Waits { nonce: fresh.clone(), run: None, until });
            (fresh, true)
        })
    }

    /// The nonce under which a call waits, where it does.
    pub(super) fn known(&self, call: Digest) -> Option<Nonce> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&call).map(|waits| waits.nonce.clone())
    }

    /// Whether any call waits at all.
    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// It is that run, which waits for people until then; its end is of interest for a while after. A call that was forgotten
    /// meanwhile, because the same call was refused, is known again.
    pub(super) fn waits_until(&self, call: Digest, nonce: Nonce, run: RunId, expires: UnixMs) {
        let until = UnixMs(expires.0.saturating_add(KEPT_MS));
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = calls.entry(call).or_insert(Waits { nonce: nonce.clone(), run: None, until });
        if waits.nonce == nonce {
            (waits.run, waits.until) = (Some(run), until);
        }
    }

    /// The nonce under which the call of a run waits, where it has one of ours.
    pub(super) fn name_of(&self, run: RunId) -> Option<Nonce> {
        let calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        calls.values().find(|waits| waits.run == Some(run)).map(|waits| waits.nonce.clone())
    }

    /// The end of a run was told.
    pub(super) fn forget_run(&self, run: RunId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, waits| waits.run != Some(run));
    }

    /// It was refused before it waited: the same call is a new one from now on, where no other of it waits by now.
    pub(super) fn forget_unless_it_waits(&self, call: Digest) {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if calls.get(&call).is_some_and(|waits| waits.run.is_none()) {
            calls.remove(&call);
        }
    }

    /// Its end was told: the same call is a new one from now on.
    pub(super) fn forget(&self, call: Digest) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&call);
    }
}

#[cfg(test)]
mod tests {
    use execgate_model::{Digest, Nonce, RunId, UnixMs};

    use super::{CALLS_MAX, KEPT_MS, ParkedCalls};

    const NOW: UnixMs = UnixMs(1_000);

    fn nonce(text: &str) -> Nonce {
        Nonce::new(text).unwrap()
    }

    #[test]
    fn the_same_call_waits_under_the_same_nonce_until_it_is_forgotten() {
        let (calls, call) = (ParkedCalls::default(), Digest::from_bytes([1; 32]));
        assert_eq!((calls.known(call), calls.is_empty()), (None, true));
        assert_eq!(calls.nonce(call, nonce("a"), NOW), Some((nonce("a"), true)));
        assert_eq!(calls.nonce(call, nonce("b"), NOW), Some((nonce("a"), false)));
        assert_eq!((calls.known(call), calls.is_empty()), (Some(nonce("a")), false));
        calls.forget(call);
        assert_eq!(calls.nonce(call, nonce("b"), NOW), Some((nonce("b"), true)));
    }

    #[test]
    fn of_two_that_are_one_call_the_refused_one_takes_nothing_from_the_one_that_waits() {
        let (calls, call, run) =
            (ParkedCalls::default(), Digest::from_bytes([1; 32]), RunId::from_entropy([7; 16]));
        // Refused after the other one waits, and before.
        calls.nonce(call, nonce("a"), NOW).unwrap();
        calls.waits_until(call, nonce("a"), run, NOW);
        calls.forget_unless_it_waits(call);
        assert_eq!(calls.name_of(run), Some(nonce("a")));
        calls.forget(call);
        calls.nonce(call, nonce("a"), NOW).unwrap();
        calls.forget_unless_it_waits(call);
        assert_eq!(calls.known(call), None);
        calls.waits_until(call, nonce("a"), run, NOW);
        assert_eq!((calls.known(call), calls.name_of(run)), (Some(nonce("a")), Some(nonce("a"))));
        // Another that waits by now is left alone.
        calls.waits_until(call, nonce("b"), RunId::from_entropy([8; 16]), NOW);
        assert_eq!(calls.name_of(run), Some(nonce("a")));
    }

    #[test]
    fn where_many_wait_those_of_old_make_room() {
        let calls = ParkedCalls::default();
        let number = |number: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&u64::try_from(number).unwrap().to_be_bytes());
            Digest::from_bytes(bytes)
        };
        for at in 0..CALLS_MAX {
            assert!(calls.nonce(number(at), nonce("n"), NOW).is_some());
        }
        calls.waits_until(number(0), nonce("n"), RunId::from_entropy([7; 16]), UnixMs(2 * KEPT_MS));
        let later = UnixMs(NOW.0 + KEPT_MS);
        assert_eq!(calls.nonce(Digest::from_bytes([9; 32]), nonce("n"), UnixMs(later.0 - 1)), None);
        assert!(calls.nonce(Digest::from_bytes([9; 32]), nonce("n"), later).is_some());
        assert!(calls.known(number(0)).is_some() && calls.known(number(1)).is_none());
    }
}
