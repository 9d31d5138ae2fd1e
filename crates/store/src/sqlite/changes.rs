//! Administrative changes, approvals that were used and refusals in their table, each beside its leaf.

use execgate_model::{Digest, UnixMs};
use rusqlite::{Connection, Row};

use super::rows;
use crate::{Change, Leaf, LeafKind, Recorded, StoreError};

/// Changes that are read at once, at the most.
const PAGE_MAX: u32 = 1_000;

/// Records what is said of a change, where it was one: the leaf, and what stands behind it.
pub(super) fn record_if(conn: &Connection, changed: bool, change: &Change) -> Result<(), StoreError> {
    if changed { record(conn, &[], change) } else { Ok(()) }
}

/// Records what is said of a run, or with an empty one of what belongs to none.
pub(super) fn record(conn: &Connection, run: &[u8], change: &Change) -> Result<(), StoreError> {
    let doing = "record what is behind a leaf";
    rows::append_leaf_of(conn, run, change.leaf.kind, &change.leaf, Some(change.at))?;
    let sql = "INSERT INTO change (leaf, statement, salt, at) VALUES (last_insert_rowid(), ?1, ?2, ?3)";
    let at = rows::stored(change.at.0, "store a time")?;
    rows::change(conn, sql, doing, (&change.statement, change.salt, at))?;
    Ok(())
}

/// The changes before one, newest first.
pub(super) fn list(conn: &Connection, before: Option<u64>, limit: u32) -> Result<Vec<Recorded>, StoreError> {
    let doing = "list administrative changes";
    let sql = "SELECT leaf.seq, change.statement, change.salt, leaf.digest, change.at, leaf.kind \
        FROM change JOIN leaf ON leaf.seq = change.leaf WHERE change.leaf < ?1 AND leaf.kind <> 'settlement' ORDER BY change.leaf DESC LIMIT ?2";
    let before = before.map_or(Ok(i64::MAX), |seq| rows::stored(seq, doing))?;
    rows::all(conn, sql, doing, (before, limit.min(PAGE_MAX)), recorded)
}

fn recorded(row: &Row<'_>) -> Result<Recorded, StoreError> {
    let digest = Digest::from_bytes(rows::value(row, 3, "digest")?);
    Ok(Recorded {
        seq: rows::unsigned(row, 0, "seq")?,
        change: Change {
            statement: rows::value(row, 1, "statement")?,
            salt: rows::value(row, 2, "salt")?,
            leaf: Leaf { kind: rows::word(row, 5, "kind", LeafKind::said_by)?, digest },
            at: UnixMs(rows::unsigned(row, 4, "at")?),
        },
    })
}
