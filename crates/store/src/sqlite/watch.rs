//! Payments that were asked for and failed: looked for until their authorization is over, and recorded where one moves late.

use execgate_model::{Amount, Digest, RunId, UnixMs};
use rusqlite::{Connection, Row};

use super::{changes, finality, holds, payers, rows};
use crate::{Late, MovedLate, StoreError, Watched};

/// How long after its failure a payment is looked for the first time, in milliseconds: some blocks.
const FIRST_LOOK_MS: u64 = 30_000;

/// What is due, the longest first.
pub(super) const DUE: &str = "SELECT p.key, p.run, p.rail, p.amount, p.state, coalesce(p.at, 0), w.until \
    FROM watch w INDEXED BY watch_by_due JOIN payment p ON p.id = w.payment WHERE w.due <= ?1 ORDER BY w.due LIMIT ?2";

/// Begins to watch a payment that has failed.
pub(super) fn begin(conn: &Connection, payment: i64, at: UnixMs, until: UnixMs) -> Result<(), StoreError> {
    let doing = "watch a payment";
    let sql = "INSERT INTO watch (payment, due, until) VALUES (?1, ?2, ?3) \
        ON CONFLICT DO UPDATE SET due = excluded.due, until = excluded.until";
    let due = rows::stored(at.0.saturating_add(FIRST_LOOK_MS), doing)?;
    let until = i64::try_from(until.0).unwrap_or(i64::MAX);
    rows::change(conn, sql, doing, (payment, due, until)).map(|_| ())
}

/// Watches a payment no more.
pub(super) fn end(conn: &Connection, payment: i64) -> Result<(), StoreError> {
    rows::change(conn, "DELETE FROM watch WHERE payment = ?1", "watch a payment no more", [payment])
        .map(|_| ())
}

/// What is to be looked for by now.
pub(super) fn due(conn: &Connection, now: UnixMs, limit: u32) -> Result<Vec<Watched>, StoreError> {
    let doing = "list watched payments";
    rows::all(conn, DUE, doing, (rows::stored(now.0, doing)?, limit), |row| {
        Ok(Watched {
            key: Digest::from_bytes(rows::value(row, 0, "key")?),
            run: RunId::from_stored(rows::value(row, 1, "run")?),
            rail: rows::value(row, 2, "rail")?,
            amount: Amount::from_micros(rows::unsigned(row, 3, "amount")?),
            state: rows::value(row, 4, "state")?,
            since: UnixMs(rows::unsigned(row, 5, "at")?),
            until: UnixMs(rows::unsigned(row, 6, "until")?),
        })
    })
}

/// Looks for one again then, or never again.
pub(super) fn again(conn: &Connection, key: Digest, due: Option<UnixMs>) -> Result<(), StoreError> {
    let doing = "watch a payment again";
    let row = "(SELECT id FROM payment WHERE key = ?1)";
    let changed = match due {
        None => {
            let sql = format!("DELETE FROM watch WHERE payment = {row}");
            rows::change(conn, &sql, doing, [key.as_bytes()])
        }
        Some(due) => {
            let sql = format!("UPDATE watch SET due = ?2 WHERE payment = {row}");
            rows::change(conn, &sql, doing, (key.as_bytes(), rows::stored(due.0, doing)?))
        }
    };
    changed.map(|_| ())
}

/// Records that a payment which failed has moved after all.
pub(super) fn moved_late(conn: &Connection, late: &Late) -> Result<MovedLate, StoreError> {
    let doing = "record a late payment";
    let sql = "SELECT id FROM payment WHERE key = ?1 AND run = ?2 AND word IN ('failed', 'released')";
    let read = |row: &Row<'_>| rows::value::<i64>(row, 0, "id");
    let params = (late.payment.as_bytes(), late.run.as_bytes());
    let Some(payment) = rows::first(conn, sql, doing, params, read)? else { return Ok(MovedLate::Stands) };
    let sql = "UPDATE payment SET word = 'captured', reference = ?2, at = ?3 WHERE id = ?1";
    rows::change(conn, sql, doing, (payment, &late.reference, rows::stored(late.at.0, doing)?))?;
    end(conn, payment)?;
    if late.may_go_back {
        finality::begin(conn, payment, late.at)?;
    }
    payers::note_taken(conn, payment)?;
    // Its result waits for a payment, and this is one.
    let sql = "UPDATE run SET payment = ?2, settlement = 'captured', reference = ?3, stage = 'settled', \
        rail = (SELECT rail FROM payment WHERE id = ?2) \
        WHERE run = ?1 AND stage = 'witness' AND settlement = 'unpaid'";
    let paid = rows::change(conn, sql, doing, (late.run.as_bytes(), payment, &late.reference))? > 0;
    if !paid {
        holds::credit(conn, payment, late.at)?;
    }
    changes::record(conn, late.run.as_bytes(), &late.said)?;
    Ok(if paid { MovedLate::Paid } else { MovedLate::Credited })
}
