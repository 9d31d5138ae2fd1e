//! Every leaf again: whether the stored hashes are those of the leaves, and the heads those of the hashes.

use execgate_receipt::Frontier;
use execgate_store::{LOG_LEAVES_MAX, LogNode, Store, StoreError};

use super::LogFault;
use super::sequence::end_gone;

/// What an audit of the log found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audited {
    /// So many entries were hashed again, and everything fits.
    Sound {
        /// How many.
        entries: u64,
    },
    /// The entry at an index is not the one that was hashed: it, or its hash, was changed.
    Changed {
        /// The index, from 0.
        index: u64,
    },
    /// Something else is wrong.
    Faulty(LogFault),
}

/// Hashes every leaf of a record again and compares. Reads the whole log, a bounded part at a time.
///
/// # Errors
/// A record that cannot be read.
pub async fn audit(store: &dyn Store) -> Result<Audited, StoreError> {
    let standing = store.log_standing().await?;
    if let Some(fault) = end_gone(&standing) {
        return Ok(Audited::Faulty(fault));
    }
    let mut frontier = Frontier::EMPTY;
    while frontier.size() < standing.hashed {
        let found = match audit_part(store, &mut frontier, standing.hashed).await {
            Err(StoreError::Unreadable { column }) => Some(Audited::Faulty(LogFault::Damaged { column })),
            found => found?,
        };
        if let Some(found) = found {
            return Ok(found);
        }
    }
    match standing.newest {
        Some(newest) if newest.head.size == standing.hashed && newest.head.root != frontier.root() => {
            Ok(Audited::Faulty(LogFault::Hashes { size: newest.head.size }))
        }
        Some(_) | None => Ok(Audited::Sound { entries: frontier.size() }),
    }
}

/// The next entries; what does not fit, where something does not.
async fn audit_part(
    store: &dyn Store,
    frontier: &mut Frontier,
    size: u64,
) -> Result<Option<Audited>, StoreError> {
    let start = frontier.size();
    let limit = u32::try_from(size - start).map_or(LOG_LEAVES_MAX, |left| left.min(LOG_LEAVES_MAX));
    let leaves = store.log_leaves(start, limit).await?;
    if leaves.is_empty() {
        return Err(StoreError::Unreadable { column: "leaf.seq" });
    }
    let (mut nodes, mut made) = (Vec::new(), Vec::new());
    for (index, leaf) in (start..).zip(leaves) {
        for (level, hash) in (0_u8..).zip(frontier.append(leaf.digest.as_bytes())) {
            nodes.push(LogNode { level, index: index >> level });
            made.push((index, hash));
        }
    }
    let kept = store.log_hashes(nodes).await?;
    let changed = made.into_iter().zip(kept).find(|((_, made), kept)| made != kept);
    Ok(changed.map(|((index, _), _)| Audited::Changed { index }))
}
