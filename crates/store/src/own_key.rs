//! The gateway's own keys: their public halves, since when, and how far each counts. No secret is ever here.

use execgate_model::{KeyPurpose, UnixMs};

/// A key of the gateway's own, as the record has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnKey {
    /// What it signs.
    pub purpose: KeyPurpose,
    /// The 32 bytes of the public key (RFC 8032).
    pub public: [u8; 32],
    /// When it was recorded.
    pub added: UnixMs,
    /// Since when it does not count any more, where it does not.
    pub retired: Option<Retirement>,
}

/// The end of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retirement {
    /// When.
    pub at: UnixMs,
    /// How many leaves the log had: what stands there, from 0, or later, does not count.
    pub size: u64,
}

/// How many keys there may be, the retired ones too: a ring of keys is read whole.
pub const OWN_KEYS_MAX: usize = 1_000;

/// What came of recording a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyAdded {
    /// It signs from now on.
    Done,
    /// It was there before.
    Known,
    /// There are [`OWN_KEYS_MAX`] already.
    Full,
}

/// What came of retiring a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRetired {
    /// It is retired now.
    Done(Retirement),
    /// There is no such key.
    Missing,
    /// It is the newest of its purpose that is not retired, so it signs.
    Signs,
    /// It was retired before.
    Before(Retirement),
}
