//! A clock whose hands the test turns, and randomness that a seed gives again.

use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use execgate_model::{Clock, Entropy, UnixMs};

/// 2026-11-20T10:00:00Z, where every world begins.
const MORNING_MS: u64 = 1_795_168_800_000;

/// A clock that stands still until it is turned.
#[derive(Debug)]
pub struct ManualClock(AtomicU64);

impl Default for ManualClock {
    fn default() -> Self {
        Self(AtomicU64::new(MORNING_MS))
    }
}

impl ManualClock {
    /// Turns the hands back.
    pub fn set_back_ms(&self, by_ms: u64) {
        self.0.fetch_sub(by_ms, Ordering::Relaxed);
    }

    /// Turns the hands on.
    pub fn advance_ms(&self, by_ms: u64) {
        self.0.fetch_add(by_ms, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UnixMs {
        UnixMs(self.0.load(Ordering::Relaxed))
    }

    fn monotonic_us(&self) -> u64 {
        self.now().0.saturating_mul(1_000)
    }
}

/// A stream of numbers that only looks random (splitmix64). The same seed gives the same stream.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// The stream of a seed.
    #[must_use]
    pub const fn of(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// The next number below `bound`, which is not 0.
    ///
    /// # Panics
    /// If `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).expect("no list is that long");
        usize::try_from(self.roll() % bound).expect("it is below a usize")
    }

    /// True `times` out of a hundred.
    pub fn percent(&mut self, times: u64) -> bool {
        self.roll() % 100 < times
    }
}

/// The entropy of a seed.
#[derive(Debug)]
pub struct SeededEntropy(Mutex<Dice>);

impl SeededEntropy {
    /// The entropy of this seed.
    #[must_use]
    pub const fn of(seed: u64) -> Self {
        Self(Mutex::new(Dice::of(seed)))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        let mut dice = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for chunk in buffer.chunks_mut(8) {
            chunk.copy_from_slice(&dice.roll().to_le_bytes()[..chunk.len()]);
        }
    }
}
