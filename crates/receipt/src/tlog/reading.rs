//! Which stored hashes a root or a proof is made of, and how.
//!
//! A proof is a list of hashes of runs of leaves, and each run is a few whole subtrees: they are asked for first, all at
//! once, and folded when they have come.

use core::ops::Range;

use execgate_model::Digest;

use super::tree::{Node, fold, parts};

/// Why there is nothing to be read, or nothing can be made of what was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadingError {
    /// The entry, or the older tree, is not within the tree.
    #[error("{wanted} is not within a log of {size} entries")]
    Beyond {
        /// The index of the entry, or the size of the older tree.
        wanted: u64,
        /// How many entries there are.
        size: u64,
    },
    /// Another number of hashes came than was asked for.
    #[error("{found} hashes came instead of {wanted}")]
    Count {
        /// How many were asked for.
        wanted: usize,
        /// How many came.
        found: usize,
    },
}

/// What is to be read, and what is to be made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    nodes: Vec<Node>,
    /// Of how many nodes each hash is made.
    spans: Vec<usize>,
}

impl Reading {
    /// For the root of the first `size` entries: one hash.
    #[must_use]
    pub fn root(size: u64) -> Self {
        Self::of(core::iter::once(0..size))
    }

    /// For the proof that the entry at an index is among the first `size`: from the leaf's sibling up (RFC 9162, section
    /// 2.1.3.1).
    ///
    /// # Errors
    /// [`ReadingError::Beyond`].
    pub fn inclusion(index: u64, size: u64) -> Result<Self, ReadingError> {
        if index >= size {
            return Err(ReadingError::Beyond { wanted: index, size });
        }
        let mut runs = Vec::new();
        let mut tree = 0..size;
        while tree.end - tree.start > 1 {
            let middle = middle(&tree);
            let (within, beside) = if index < middle {
                (tree.start..middle, middle..tree.end)
            } else {
                (middle..tree.end, tree.start..middle)
            };
            runs.push(beside);
            tree = within;
        }
        Ok(Self::of(runs.into_iter().rev()))
    }

    /// For the proof that the first `older` entries are still what they were among the first `size` (RFC 9162, section
    /// 2.1.4.1). Nothing is to be shown of a tree without entries, nor of the same tree.
    ///
    /// # Errors
    /// [`ReadingError::Beyond`].
    pub fn consistency(older: u64, size: u64) -> Result<Self, ReadingError> {
        if older > size {
            return Err(ReadingError::Beyond { wanted: older, size });
        }
        let mut runs = Vec::new();
        let mut tree = 0..size;
        if older > 0 {
            while older < tree.end {
                let middle = middle(&tree);
                let (within, beside) = if older <= middle {
                    (tree.start..middle, middle..tree.end)
                } else {
                    (middle..tree.end, tree.start..middle)
                };
                runs.push(beside);
                tree = within;
            }
            // The older tree's own root is known to whoever asks.
            if tree.start > 0 {
                runs.push(tree);
            }
        }
        Ok(Self::of(runs.into_iter().rev()))
    }

    /// The subtrees whose hashes are needed, in the order in which they are to come.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// What is made of the hashes of [`Self::nodes`].
    ///
    /// # Errors
    /// [`ReadingError::Count`].
    pub fn make(&self, hashes: &[Digest]) -> Result<Vec<Digest>, ReadingError> {
        let (wanted, found) = (self.nodes.len(), hashes.len());
        if wanted != found {
            return Err(ReadingError::Count { wanted, found });
        }
        let mut rest = hashes;
        let made = self.spans.iter().map(|span| {
            let (parts, behind) = rest.split_at(*span);
            rest = behind;
            fold(parts)
        });
        Ok(made.collect())
    }

    fn of(runs: impl Iterator<Item = Range<u64>>) -> Self {
        let (mut nodes, mut spans) = (Vec::new(), Vec::new());
        for run in runs {
            let before = nodes.len();
            nodes.extend(parts(run));
            spans.push(nodes.len() - before);
        }
        Self { nodes, spans }
    }
}

/// Where a tree of two leaves or more is parted: its left side is the largest whole subtree that leaves something.
fn middle(tree: &Range<u64>) -> u64 {
    let last = tree.end - tree.start - 1;
    tree.start + (1 << last.ilog2())
}
