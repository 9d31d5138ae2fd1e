//! Requests of one nonce that arrive at the same time: the first walks on, the others wait for it here.
//!
//! This saves work and keeps answers together; that at most one of them starts is the record's promise, which
//! holds without this file.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use execgate_model::{Digest, RunId};
use tokio::sync::watch;

use crate::propose::NonceKey;

/// How many requests may wait for one run; more are told to come back.
const WAITERS_MAX: usize = 256;

#[derive(Debug)]
struct Flight {
    fingerprint: Digest,
    run: RunId,
    landing: watch::Sender<()>,
}

/// The nonces that are walking through the corridor of this process.
#[derive(Debug, Clone, Default)]
pub struct Duplicates(Arc<Mutex<HashMap<NonceKey, Flight>>>);

/// Where a request stands among its duplicates.
#[derive(Debug)]
pub enum Place {
    /// It is the first; the nonce is its own until the guard is dropped.
    First(Guard),
    /// It is the same request as the first: wait until the receiver's sender is gone, then look again.
    Same(watch::Receiver<()>),
    /// Another request has the nonce now.
    Other(RunId),
    /// Too many wait already.
    Crowded(RunId),
}

/// Holds a nonce among the duplicates. Dropping it wakes all that wait.
#[derive(Debug)]
pub struct Guard {
    flights: Duplicates,
    key: NonceKey,
}

/// The places of one request: under the nonce of its session, and under that of its own caller.
#[derive(Debug, Default)]
#[expect(dead_code, reason = "what counts is how long they are kept")]
pub(crate) struct Places {
    pub(crate) in_session: Option<Guard>,
    pub(crate) own: Option<Guard>,
}

impl Duplicates {
    /// How many requests wait for another.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        flights.values().map(|flight| flight.landing.receiver_count()).sum()
    }

    /// Takes a place for one request.
    #[must_use]
    pub fn place(&self, key: NonceKey, fingerprint: Digest, run: RunId) -> Place {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(&key) {
            return if flight.fingerprint != fingerprint {
                Place::Other(flight.run)
            } else if flight.landing.receiver_count() >= WAITERS_MAX {
                Place::Crowded(flight.run)
            } else {
                Place::Same(flight.landing.subscribe())
            };
        }
        flights.insert(key, Flight { fingerprint, run, landing: watch::Sender::new(()) });
        Place::First(Guard { flights: self.clone(), key })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut flights = self.flights.0.lock().unwrap_or_else(PoisonError::into_inner);
        flights.remove(&self.key);
    }
}
