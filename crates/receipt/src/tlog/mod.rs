//! The transparency log, as arithmetic: a Merkle tree that only grows (RFC 6962), proofs about it (RFC 9162), and the
//! texts and tiles in which others read it (C2SP tlog-checkpoint, tlog-tiles, tlog-proof).
//!
//! It never reads or writes anything: a [`Reading`] says which hashes it needs, whoever keeps them fetches them, and it
//! makes a root or a proof of them. A proof must never be called good before the hash at its end was compared with a
//! root that a trusted key has signed.
//!
//! Read on in `tree` (what is stored, and how it grows), `reading` and `check` (proofs made and judged), `tile`,
//! `checkpoint`, `proof` and `pair` (the forms on the wire), `witness` (what is cosigned).

mod check;
mod checkpoint;
mod hash;
mod pair;
mod proof;
mod reading;
mod tile;
mod tree;
mod witness;

pub use check::{PathError, check_consistency, check_inclusion};
pub use checkpoint::{Checkpoint, CheckpointError, MAX_EXTENSION_LINES};
pub use hash::{empty_root, leaf_hash, node_hash};
pub use pair::{Consistency, ConsistencyError};
pub use proof::{LogProof, ProofError};
pub use reading::{Reading, ReadingError};
pub use tile::{Tile, TileError, TileKind, entry_bundle};
pub use tree::{Frontier, Node};
pub use witness::{Submission, WitnessRefusal, cosignatures};

/// How many hashes a path can have at the most: one for each level of the tallest tree.
pub const MAX_PATH: usize = 64;
