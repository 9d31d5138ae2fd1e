//! Administrative changes: what the record keeps of each, beside what it changed.

use execgate_model::UnixMs;

use crate::Leaf;

/// What is said of one administrative change. It is recorded in the transaction of the change, or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Who changed what, as canonical JSON. No secret is in it.
    pub statement: Vec<u8>,
    /// The salt of its leaf.
    pub salt: [u8; 32],
    /// Its leaf: SHA-256(salt ‖ statement).
    pub leaf: Leaf,
    /// When.
    pub at: UnixMs,
}

/// A recorded change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Where its leaf stands in the order of the log.
    pub seq: u64,
    /// What was said of it.
    pub change: Change,
}
