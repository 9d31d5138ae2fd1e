//! The ports through which time, randomness and simulated death come in.

use core::future::Future;
use core::pin::Pin;

use serde::{Deserialize, Serialize};

/// A future behind a pointer, so that ports can be trait objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UnixMs(pub u64);

/// The time. Production reads the system's; a test turns the hands itself.
pub trait Clock: Send + Sync {
    /// The wall clock.
    fn now(&self) -> UnixMs;

    /// A clock that never goes back, in microseconds from an arbitrary start; for durations only.
    fn monotonic_us(&self) -> u64;
}

/// Randomness fit for keys and salts.
pub trait Entropy: Send + Sync {
    /// Fills the buffer.
    fn fill(&self, buffer: &mut [u8]);

    /// Sixteen random bytes.
    fn sixteen(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        bytes
    }

    /// Thirty-two random bytes.
    fn thirty_two(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.fill(&mut bytes);
        bytes
    }
}

/// Named places in the corridor where a test may let the process die.
pub trait CrashPoints: Send + Sync {
    /// Says that the run has come to the named place. In production this does nothing.
    fn reached(&self, point: &'static str);
}

/// Whether there is space for what a run will leave behind. It is asked before each claim, and must not wait.
pub trait Space: Send + Sync {
    /// Whether there is too little.
    fn is_low(&self) -> bool;
}

/// The production answer: nobody dies on purpose.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoCrash;

impl CrashPoints for NoCrash {
    fn reached(&self, _point: &'static str) {}
}
