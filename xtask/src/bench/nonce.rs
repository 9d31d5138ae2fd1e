//! Nonces that no earlier run used: random, and cheap to make.

use std::fs::File;
use std::io::Read;

use anyhow::{Context, Result};

/// A stream of random nonces.
pub(crate) struct Nonces {
    state: u64,
}

impl Nonces {
    /// Seeds the stream from the kernel.
    pub(crate) fn new() -> Result<Self> {
        let mut seed = [0; 8];
        let mut source = File::open("/dev/urandom").context("failed to open the kernel's random source")?;
        source.read_exact(&mut seed).context("failed to read a seed")?;
        Ok(Self { state: u64::from_ne_bytes(seed) })
    }

    /// The next number. Algorithm: `SplitMix64`, which passes through every state once.
    pub(crate) fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// The next nonce: 32 hexadecimal digits.
    pub(crate) fn next(&mut self) -> String {
        format!("{:016x}{:016x}", self.number(), self.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn nonces_differ_within_a_stream_and_between_streams() {
        let (mut a, mut b) = (Nonces::new().unwrap(), Nonces::new().unwrap());
        let seen: BTreeSet<String> = (0..1000).flat_map(|_| [a.next(), b.next()]).collect();
        assert_eq!(seen.len(), 2000);
        assert!(seen.iter().all(|nonce| nonce.len() == 32));
    }
}
