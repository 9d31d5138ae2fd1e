//! What is stored of a tree, and how it grows.
//!
//! Only whole subtrees are stored, each once, when the leaf that completes it is appended: about two hashes for each
//! leaf, in the order of the leaves, and none ever changes.

use core::ops::Range;

use execgate_model::Digest;

use super::hash::{empty_root, leaf_hash, node_hash};

/// A whole subtree: that of `2^level` leaves from `index * 2^level` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node {
    /// How tall it is; a leaf has level 0.
    pub level: u8,
    /// Which of its level, from 0.
    pub index: u64,
}

impl Node {
    /// The leaf that completes it: its last one. None beyond what 64 bits count.
    #[must_use]
    pub fn completed_by(self) -> Option<u64> {
        let end = self.index.checked_add(1)?;
        let shifted = end.checked_shl(self.level.into())?;
        (shifted >> self.level == end).then(|| shifted - 1)
    }
}

/// The whole subtrees that a run of leaves consists of, from the left. The run must begin where a subtree of its size
/// can: that is so of every part that a proof needs.
pub(super) fn parts(leaves: Range<u64>) -> impl Iterator<Item = Node> {
    let mut start = leaves.start;
    core::iter::from_fn(move || {
        let left = leaves.end.checked_sub(start).filter(|left| *left > 0)?;
        let level = left.ilog2();
        let node = Node { level: u8::try_from(level).ok()?, index: start >> level };
        start += 1 << level;
        Some(node)
    })
}

/// The hash of a run of leaves, from those of its parts.
pub(super) fn fold(parts: &[Digest]) -> Digest {
    let mut from_right = parts.iter().rev().copied();
    let Some(last) = from_right.next() else { return empty_root() };
    from_right.fold(last, |right, left| node_hash(left, right))
}

/// The right edge of a tree: all that is needed to go on with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// The hashes of its whole subtrees, the largest first.
    peaks: Vec<Digest>,
}

impl Default for Frontier {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl Frontier {
    /// That of the tree without an entry.
    pub const EMPTY: Self = Self { size: 0, peaks: Vec::new() };

    /// What has to be read of a tree of so many leaves to go on with it.
    #[must_use]
    pub fn nodes(size: u64) -> Vec<Node> {
        parts(0..size).collect()
    }

    /// That of a tree of so many leaves, from the hashes of [`Self::nodes`]. None where their number is wrong.
    #[must_use]
    pub fn new(size: u64, peaks: Vec<Digest>) -> Option<Self> {
        let wanted = usize::try_from(size.count_ones()).ok()?;
        (peaks.len() == wanted).then_some(Self { size, peaks })
    }

    /// How many leaves there are.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root (RFC 6962, section 2.1).
    #[must_use]
    pub fn root(&self) -> Digest {
        fold(&self.peaks)
    }

    /// Appends an entry, and gives the hashes of the subtrees that it completes, from its own on.
    pub fn append(&mut self, entry: &[u8]) -> Vec<Digest> {
        let mut hash = leaf_hash(entry);
        let mut completed = vec![hash];
        for _ in 0..self.size.trailing_ones() {
            let Some(left) = self.peaks.pop() else { break };
            hash = node_hash(left, hash);
            completed.push(hash);
        }
        self.peaks.push(hash);
        self.size += 1;
        completed
    }
}

#[cfg(test)]
mod tests {
    use super::{Frontier, Node};

    #[test]
    fn a_subtree_is_stored_with_the_leaf_that_completes_it() {
        let completed = |level, index| Node { level, index }.completed_by();
        assert_eq!(completed(0, 5), Some(5));
        assert_eq!(completed(1, 0), Some(1));
        assert_eq!(completed(3, 1), Some(15));
        assert_eq!(completed(63, 0), Some((1 << 63) - 1));
        assert_eq!(completed(63, 1), None);
        assert_eq!(completed(64, 0), None);
        assert_eq!(completed(200, 0), None);
    }

    #[test]
    fn a_frontier_has_one_peak_for_each_bit_of_its_size() {
        assert_eq!(
            Frontier::nodes(11),
            [(3, 0), (1, 4), (0, 10)].map(|(level, index)| Node { level, index })
        );
        assert_eq!(Frontier::new(11, Vec::new()), None);
    }
}
