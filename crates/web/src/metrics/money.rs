//! How much money was taken, is owed, and is still open, from the record.
//!
//! To sum it up reads whatever was taken, so that it is done again only after a while that is long beside the time it took.

use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use execgate_store::{Store, Sums};
use tokio::time::timeout;

use super::Reading;
use super::ReadingKind::Gauge;

/// How old the sums may be, at the least.
const FRESH: Duration = Duration::from_secs(5);

/// How many times as long as it takes to sum up they are kept.
const REST: u32 = 20;

/// How long whoever reads the figures waits for new sums; the ones before are told then.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sums, and until when they are told.
#[derive(Debug, Clone, Copy)]
struct Known {
    sums: Sums,
    until: Instant,
}

/// The money of one record.
pub(crate) struct Money {
    store: Arc<dyn Store>,
    known: Mutex<Option<Known>>,
    turn: tokio::sync::Mutex<()>,
}

impl Money {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, known: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    fn known(&self) -> Option<Known> {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sums up anew where that is due. What cannot be read is not told.
    pub(crate) async fn look(&self) {
        if timeout(PATIENCE, self.renew()).await.is_err() {
            tracing::warn!("the sums of money in the metrics are late");
        }
    }

    async fn renew(&self) {
        // Whoever comes meanwhile waits, and finds them new.
        let _turn = self.turn.lock().await;
        let begun = Instant::now();
        if self.known().is_some_and(|known| begun < known.until) {
            return;
        }
        let sums = match self.store.sums().await {
            Ok(sums) => {
                let now = Instant::now();
                let rest = (now - begun).saturating_mul(REST).max(FRESH);
                Some(Known { sums, until: now + rest })
            }
            Err(error) => {
                tracing::warn!(%error, "money cannot be summed up for the metrics");
                None
            }
        };
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = sums;
    }

    /// The figures; none before they were looked at.
    pub(crate) fn readings(&self) -> Vec<Reading> {
        let Some(Known { sums, .. }) = self.known() else { return Vec::new() };
        let state = |state: &str| [("state", state.to_owned())];
        let count = Reading::new("payments", "Payments of the record by where they stand", Gauge)
            .with(state("captured"), sums.captured)
            .with(state("credited"), sums.credited)
            .with(state("open"), sums.open)
            .with(state("pending"), sums.pending)
            .with(state("unpaid"), sums.unpaid)
            .with(state("unfinal"), sums.unfinal)
            .with(state("reversed"), sums.reversed);
        let money = Reading::new(
            "money_usd",
            "US dollars by where they stand: credited and unfinal are parts of captured, pending is part of open, unpaid is withheld work, reversed was taken back by its chain",
            Gauge,
        )
        .with_usd(state("captured"), sums.captured_micros)
        .with_usd(state("credited"), sums.credited_micros)
        .with_usd(state("open"), sums.open_micros)
        .with_usd(state("pending"), sums.pending_micros)
        .with_usd(state("unpaid"), sums.unpaid_micros)
        .with_usd(state("unfinal"), sums.unfinal_micros)
        .with_usd(state("reversed"), sums.reversed_micros);
        vec![count, money]
    }
}
