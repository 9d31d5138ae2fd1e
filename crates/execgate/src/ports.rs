//! The system's clock and randomness, behind the ports of `model`.

use std::time::Instant;

use execgate_model::{Clock, Entropy, UnixMs};
use rustix::rand::{GetRandomFlags, getrandom};

/// The clock of this machine.
#[derive(Debug)]
pub(crate) struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock that starts now.
    pub(crate) fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> UnixMs {
        #[expect(clippy::disallowed_methods, reason = "this is the Clock that everybody else asks")]
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        UnixMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn monotonic_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// The kernel's randomness.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SystemEntropy;

impl Entropy for SystemEntropy {
    /// # Panics
    /// If the kernel has no randomness to give, which it always has once it is seeded (getrandom(2)): going on
    /// would make keys and salts that can be guessed.
    fn fill(&self, buffer: &mut [u8]) {
        let mut filled = 0;
        while filled < buffer.len() {
            match getrandom(&mut buffer[filled..], GetRandomFlags::empty()) {
                Ok(count) => filled += count,
                Err(rustix::io::Errno::INTR) => {}
                #[expect(clippy::panic, reason = "without randomness nothing here is safe")]
                Err(error) => panic!("the kernel gives no randomness: {error}"),
            }
        }
    }
}
