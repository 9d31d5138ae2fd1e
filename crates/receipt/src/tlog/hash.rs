//! The three hashes of the tree (RFC 6962, section 2.1). A leaf must never be taken for a node, so each has a byte of
//! its own before it.

use execgate_model::Digest;
use sha2::{Digest as _, Sha256};

/// What stands before a leaf.
const LEAF: [u8; 1] = [0];

/// What stands before two hashes.
const NODE: [u8; 1] = [1];

/// The hash of an entry.
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Digest {
    Digest::from_bytes(Sha256::new().chain_update(LEAF).chain_update(entry).finalize().into())
}

/// The hash of two subtrees.
#[must_use]
pub fn node_hash(left: Digest, right: Digest) -> Digest {
    let hash = Sha256::new().chain_update(NODE).chain_update(left.as_bytes()).chain_update(right.as_bytes());
    Digest::from_bytes(hash.finalize().into())
}

/// The root of the tree that has no entry: the hash of nothing.
#[must_use]
pub fn empty_root() -> Digest {
    Digest::from_bytes(Sha256::digest([]).into())
}
