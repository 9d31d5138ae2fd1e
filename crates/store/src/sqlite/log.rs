//! The log in its tables: hashes, names, heads and places.

use execgate_model::{Digest, RunId, UnixMs};
use rusqlite::{CachedStatement, Connection, Row};

use super::fault::{backend, failed_to};
use super::rows;
use crate::{
    LOG_LEAVES_MAX, LeafKind, LogCheckpoint, LogEpoch, LogHead, LogLeaf, LogNode, LogStanding, LogStep,
    StoreError,
};

/// Heads that are kept of each epoch. A proof is made to the newest; those before are for whoever just asked for one.
const HEADS_KEPT: u32 = 64;

/// Bytes of a hash.
const HASH: u64 = 32;

/// How many leaves there are, from the number of the last: none is ever deleted.
const LEAVES: &str = "SELECT coalesce(max(seq), 0) FROM leaf";

/// How many of them have hashes.
const HASHED: &str = "SELECT coalesce(max(leaf) + 1, 0) FROM log_hash";

pub(super) fn standing(conn: &Connection) -> Result<LogStanding, StoreError> {
    // One transaction: its parts must be of one moment.
    let doing = "read where the log stands";
    let transaction = conn.unchecked_transaction().map_err(failed_to(doing))?;
    let epoch = newest_epoch(&transaction)?;
    let newest = match &epoch {
        Some(epoch) => head(&transaction, epoch.number, Signed::Whether)?,
        None => None,
    };
    let (leaves, hashed) = (count(&transaction, LEAVES)?, count(&transaction, HASHED)?);
    Ok(LogStanding { leaves, hashed, epoch, newest })
}

fn count(conn: &Connection, sql: &str) -> Result<u64, StoreError> {
    let found = rows::first(conn, sql, "count the leaves", [], |row| rows::unsigned(row, 0, "seq"))?;
    found.ok_or(StoreError::Unreadable { column: "seq" })
}

fn newest_epoch(conn: &Connection) -> Result<Option<LogEpoch>, StoreError> {
    let sql = "SELECT epoch, origin, start FROM log_epoch ORDER BY epoch DESC LIMIT 1";
    rows::first(conn, sql, "read the name of the log", [], epoch)
}

pub(super) fn epochs(conn: &Connection) -> Result<Vec<LogEpoch>, StoreError> {
    let sql = "SELECT epoch, origin, start FROM log_epoch ORDER BY epoch";
    rows::all(conn, sql, "read the names of the log", [], epoch)
}

fn epoch(row: &Row<'_>) -> Result<LogEpoch, StoreError> {
    Ok(LogEpoch {
        number: rows::unsigned(row, 0, "epoch")?,
        origin: rows::value(row, 1, "origin")?,
        start: rows::unsigned(row, 2, "start")?,
    })
}

/// Which heads count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Signed {
    Only,
    Whether,
}

fn head(conn: &Connection, epoch: u64, signed: Signed) -> Result<Option<LogCheckpoint>, StoreError> {
    let doing = "read a checkpoint of the log";
    let sql = match signed {
        Signed::Only => {
            "SELECT size, root, note FROM log_checkpoint WHERE epoch = ?1 AND note IS NOT NULL \
                ORDER BY size DESC LIMIT 1"
        }
        Signed::Whether => {
            "SELECT size, root, note FROM log_checkpoint WHERE epoch = ?1 ORDER BY size DESC LIMIT 1"
        }
    };
    rows::first(conn, sql, doing, [rows::stored(epoch, doing)?], |row| {
        let root = Digest::from_bytes(rows::value(row, 1, "root")?);
        let head = LogHead { epoch, size: rows::unsigned(row, 0, "size")?, root };
        Ok(LogCheckpoint { head, note: rows::value(row, 2, "note")? })
    })
}

pub(super) fn checkpoint(conn: &Connection) -> Result<Option<LogCheckpoint>, StoreError> {
    newest_epoch(conn)?.map_or(Ok(None), |epoch| head(conn, epoch.number, Signed::Only))
}

pub(super) fn leaves(conn: &Connection, from: u64, limit: u32) -> Result<Vec<LogLeaf>, StoreError> {
    let doing = "read leaves of the log";
    let sql = "SELECT seq, kind, digest, at FROM leaf WHERE seq > ?1 ORDER BY seq LIMIT ?2";
    let params = (rows::stored(from, doing)?, limit.min(LOG_LEAVES_MAX));
    let found = rows::all(conn, sql, doing, params, |row| {
        let at = match rows::value::<Option<i64>>(row, 3, "at")? {
            Some(_) => Some(UnixMs(rows::unsigned(row, 3, "at")?)),
            None => None,
        };
        let leaf = LogLeaf {
            kind: rows::word(row, 1, "kind", LeafKind::from_word)?,
            digest: Digest::from_bytes(rows::value(row, 2, "digest")?),
            at,
        };
        Ok((rows::unsigned(row, 0, "seq")?, leaf))
    })?;
    let wanted = from + 1..;
    if found.iter().zip(wanted).any(|((seq, _), wanted)| *seq != wanted) {
        return Err(StoreError::Unreadable { column: "leaf.seq" });
    }
    Ok(found.into_iter().map(|(_, leaf)| leaf).collect())
}

pub(super) fn hashes(conn: &Connection, nodes: &[LogNode]) -> Result<Vec<Digest>, StoreError> {
    let doing = "read hashes of the log";
    // One transaction: each statement by itself would take the locks of a read anew, which costs more than the read.
    let transaction = conn.unchecked_transaction().map_err(failed_to(doing))?;
    let sql = "SELECT substr(hashes, ?2, 32) FROM log_hash WHERE leaf = ?1";
    let mut statement = transaction.prepare_cached(sql).map_err(failed_to(doing))?;
    nodes.iter().map(|node| hash(&mut statement, *node, doing)).collect()
}

fn hash(
    statement: &mut CachedStatement<'_>,
    node: LogNode,
    doing: &'static str,
) -> Result<Digest, StoreError> {
    let missing = || StoreError::Unreadable { column: "log_hash" };
    let end = node.index.checked_add(1).and_then(|end| end.checked_shl(node.level.into()));
    let end = end.filter(|end| *end > 0 && end >> node.level == node.index + 1).ok_or_else(missing)?;
    let start = u64::from(node.level) * HASH + 1;
    let params = (rows::stored(end - 1, doing)?, rows::stored(start, doing)?);
    let mut found = statement.query(params).map_err(failed_to(doing))?;
    let row = found.next().map_err(failed_to(doing))?.ok_or_else(missing)?;
    rows::value(row, 0, "log_hash").map(Digest::from_bytes)
}

/// Adds hashes and the head behind them, where the log stands as the step believes.
pub(super) fn extend(conn: &Connection, step: &LogStep) -> Result<bool, StoreError> {
    let doing = "extend the log";
    let added = u64::try_from(step.hashes.len()).map_err(|error| backend(doing, error))?;
    let size = step.after.checked_add(added).ok_or_else(|| backend(doing, "the log is full"))?;
    let named = newest_epoch(conn)?.is_some_and(|epoch| epoch.number == step.head.epoch);
    if !named || size != step.head.size || count(conn, HASHED)? != step.after {
        return Ok(false);
    }
    if head(conn, step.head.epoch, Signed::Whether)?.is_some_and(|newest| newest.head.size >= size) {
        return Ok(false);
    }
    for (leaf, hashes) in (step.after..).zip(&step.hashes) {
        let bytes: Vec<u8> = hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
        let sql = "INSERT INTO log_hash (leaf, hashes) VALUES (?1, ?2)";
        rows::change(conn, sql, doing, (rows::stored(leaf, doing)?, bytes))?;
    }
    note_places(conn, step.after, size)?;
    let (epoch, size) = (rows::stored(step.head.epoch, doing)?, rows::stored(size, doing)?);
    let sql = "INSERT INTO log_checkpoint (epoch, size, root) VALUES (?1, ?2, ?3)";
    rows::change(conn, sql, doing, (epoch, size, step.head.root.as_bytes()))?;
    let sql = "DELETE FROM log_checkpoint WHERE epoch = ?1 AND size <= \
        (SELECT size FROM log_checkpoint WHERE epoch = ?1 ORDER BY size DESC LIMIT 1 OFFSET ?2)";
    rows::change(conn, sql, doing, (epoch, HEADS_KEPT))?;
    Ok(true)
}

/// Notes which leaves are those of receipts.
fn note_places(conn: &Connection, after: u64, size: u64) -> Result<(), StoreError> {
    let doing = "note places in the log";
    let sql = "INSERT OR REPLACE INTO log_place (run, leaf) SELECT run.id, leaf.seq - 1 FROM leaf \
        CROSS JOIN run INDEXED BY run_by_run ON run.run = leaf.run \
        WHERE leaf.seq > ?1 AND leaf.seq <= ?2 AND leaf.kind = 'final'";
    rows::change(conn, sql, doing, (rows::stored(after, doing)?, rows::stored(size, doing)?))?;
    Ok(())
}

pub(super) fn sign(conn: &Connection, head: &LogHead, note: &str) -> Result<bool, StoreError> {
    let doing = "keep a signed checkpoint";
    let sql =
        "UPDATE log_checkpoint SET note = ?4 WHERE epoch = ?1 AND size = ?2 AND root = ?3 AND note IS NULL";
    let (epoch, size) = (rows::stored(head.epoch, doing)?, rows::stored(head.size, doing)?);
    Ok(rows::change(conn, sql, doing, (epoch, size, head.root.as_bytes(), note))? > 0)
}

/// Gives the log its next name.
pub(super) fn begin(conn: &Connection, after: u64, origin: &str, at: UnixMs) -> Result<bool, StoreError> {
    let doing = "name the log";
    if newest_epoch(conn)?.map_or(0, |epoch| epoch.number) != after {
        return Ok(false);
    }
    let sql = "INSERT INTO log_epoch (epoch, origin, start, at) VALUES (?1, ?2, ?3, ?4)";
    let start = rows::stored(count(conn, LEAVES)?, doing)?;
    let params = (rows::stored(after, doing)? + 1, origin, start, rows::stored(at.0, doing)?);
    rows::change(conn, sql, doing, params)?;
    if after > 0 {
        // What waits may have run after this copy of the record was made: people have to be asked anew.
        let sql = "UPDATE parked SET expires = min(expires, ?1)";
        rows::change(conn, sql, doing, [rows::stored(at.0, doing)?])?;
    }
    Ok(true)
}

pub(super) fn place(conn: &Connection, run: RunId) -> Result<Option<u64>, StoreError> {
    let doing = "find a receipt in the log";
    let sql = "SELECT log_place.leaf FROM run INDEXED BY run_by_run JOIN log_place ON log_place.run = run.id \
        WHERE run.run = ?1";
    rows::first(conn, sql, doing, [run.as_bytes()], |row| rows::unsigned(row, 0, "log_place"))
}

pub(super) fn places(conn: &Connection) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT place FROM log_outside ORDER BY place";
    rows::all(conn, sql, "read where checkpoints are kept", [], |row| rows::value(row, 0, "place"))
}

pub(super) fn note_place(conn: &Connection, place: &str, at: UnixMs) -> Result<(), StoreError> {
    let doing = "note where a checkpoint is kept";
    let sql = "INSERT INTO log_outside (place, at) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
    rows::change(conn, sql, doing, (place, rows::stored(at.0, doing)?)).map(|_| ())
}
