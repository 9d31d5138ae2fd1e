//! Proofs judged, by the algorithms of RFC 9162, which know nothing of how they were made.
//!
//! Sole judge of paths: every change here needs a second reader.

use execgate_model::Digest;

use super::MAX_PATH;
use super::hash::{empty_root, node_hash};

/// Why a path proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The entry, or the older tree, is not within the tree.
    #[error("{wanted} is not within a log of {size} entries")]
    Beyond {
        /// The index of the entry, or the size of the older tree.
        wanted: u64,
        /// How many entries there are.
        size: u64,
    },
    /// The path has too many or too few hashes for these sizes.
    #[error("the path does not have the length that these sizes ask for")]
    Length,
    /// The path does not lead from the entry to the root.
    #[error("the path does not lead to the root: the entry is not in this log at this place")]
    Root,
    /// The path does not lead to the older root: the older tree is not the beginning of the newer one.
    #[error("the path does not lead to the older root")]
    OlderRoot,
    /// The path does not lead to the newer root.
    #[error("the path does not lead to the newer root")]
    NewerRoot,
    /// Two trees of one size have different roots, so that the log has told two stories.
    #[error("two roots of {size} entries differ: the log was forked")]
    Forked {
        /// The size.
        size: u64,
    },
}

/// Checks that the entry with a hash is at an index among the first `size` (RFC 9162, section 2.1.3.2).
///
/// # Errors
/// [`PathError`] names what does not hold.
pub fn check_inclusion(
    leaf: Digest,
    index: u64,
    size: u64,
    path: &[Digest],
    root: Digest,
) -> Result<(), PathError> {
    if index >= size {
        return Err(PathError::Beyond { wanted: index, size });
    }
    let mut place = Places { first: index, last: size - 1 };
    let mut hash = leaf;
    for beside in bounded(path)? {
        hash = match place.step()? {
            Side::Left => node_hash(*beside, hash),
            Side::Right => node_hash(hash, *beside),
        };
    }
    if place.last != 0 {
        return Err(PathError::Length);
    }
    if hash == root { Ok(()) } else { Err(PathError::Root) }
}

/// Checks that the tree of `older` entries is the beginning of that of `newer` (RFC 9162, section 2.1.4.2). The tree
/// without entries is the beginning of every tree.
///
/// # Errors
/// [`PathError`] names what does not hold.
pub fn check_consistency(
    older: (u64, Digest),
    newer: (u64, Digest),
    path: &[Digest],
) -> Result<(), PathError> {
    let ((first, first_root), (second, second_root)) = (older, newer);
    if first > second {
        return Err(PathError::Beyond { wanted: first, size: second });
    }
    if first == second || first == 0 {
        if !path.is_empty() {
            return Err(PathError::Length);
        }
        let same = if first == second { first_root == second_root } else { first_root == empty_root() };
        return if same { Ok(()) } else { Err(PathError::Forked { size: first }) };
    }
    let mut path = bounded(path)?.iter();
    let mut place = Places { first: first - 1, last: second - 1 };
    place.skip(u64::trailing_ones(first - 1));
    // A whole tree is its own first step.
    let start = if first.is_power_of_two() { first_root } else { *path.next().ok_or(PathError::Length)? };
    let (mut old, mut new) = (start, start);
    for beside in path {
        match place.step()? {
            Side::Left => {
                old = node_hash(*beside, old);
                new = node_hash(*beside, new);
            }
            Side::Right => new = node_hash(new, *beside),
        }
    }
    if place.last != 0 {
        return Err(PathError::Length);
    }
    if old != first_root {
        return Err(PathError::OlderRoot);
    }
    if new == second_root { Ok(()) } else { Err(PathError::NewerRoot) }
}

fn bounded(path: &[Digest]) -> Result<&[Digest], PathError> {
    if path.len() > MAX_PATH { Err(PathError::Length) } else { Ok(path) }
}

/// On which side a hash of a path stands.
enum Side {
    Left,
    Right,
}

/// The numbers of a node and of the last node of its level, on the way up.
struct Places {
    first: u64,
    last: u64,
}

impl Places {
    /// One level up, past those where the node has nobody beside it.
    fn step(&mut self) -> Result<Side, PathError> {
        if self.last == 0 {
            return Err(PathError::Length);
        }
        let side = if self.first & 1 == 1 || self.first == self.last {
            if self.first & 1 == 0 {
                self.skip(self.first.trailing_zeros());
            }
            Side::Left
        } else {
            Side::Right
        };
        self.skip(1);
        Ok(side)
    }

    fn skip(&mut self, levels: u32) {
        self.first = self.first.checked_shr(levels).unwrap_or(0);
        self.last = self.last.checked_shr(levels).unwrap_or(0);
    }
}
