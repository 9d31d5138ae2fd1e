//! Payments that were taken and are not final yet, and what their chain has made of them.

use execgate_model::{Amount, Digest, RunId, UnixMs};
use rusqlite::{Connection, Row};

use super::{changes, payers, rows};
use crate::{Revised, Revision, StoreError, Unfinal};

/// How long after it was taken a payment is looked at the first time, in milliseconds: some blocks, and time enough to ask for it
/// again while what was signed still holds.
const FIRST_LOOK_MS: u64 = 20_000;

/// What is due, the longest first.
pub(super) const DUE: &str = "SELECT p.key, p.run, p.rail, p.amount, p.state, p.reference, coalesce(p.at, 0) \
    FROM unfinal u INDEXED BY unfinal_by_due JOIN payment p ON p.id = u.payment \
    WHERE u.due <= ?1 ORDER BY u.due LIMIT ?2";

/// Begins to look at a payment that was taken.
pub(super) fn begin(conn: &Connection, payment: i64, at: UnixMs) -> Result<(), StoreError> {
    let doing = "look whether a payment is final";
    let sql =
        "INSERT INTO unfinal (payment, due) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET due = excluded.due";
    let due = rows::stored(at.0.saturating_add(FIRST_LOOK_MS), doing)?;
    rows::change(conn, sql, doing, (payment, due)).map(|_| ())
}

/// What is to be looked at by now.
pub(super) fn due(conn: &Connection, now: UnixMs, limit: u32) -> Result<Vec<Unfinal>, StoreError> {
    let doing = "list payments that are not final";
    rows::all(conn, DUE, doing, (rows::stored(now.0, doing)?, limit), |row| {
        Ok(Unfinal {
            key: Digest::from_bytes(rows::value(row, 0, "key")?),
            run: RunId::from_stored(rows::value(row, 1, "run")?),
            rail: rows::value(row, 2, "rail")?,
            amount: Amount::from_micros(rows::unsigned(row, 3, "amount")?),
            state: rows::value(row, 4, "state")?,
            reference: rows::value(row, 5, "reference")?,
            since: UnixMs(rows::unsigned(row, 6, "at")?),
        })
    })
}

/// Looks at each of these again then; at those without a time never again: they are final.
pub(super) fn again(conn: &Connection, due: &[(Digest, Option<UnixMs>)]) -> Result<(), StoreError> {
    let doing = "look at payments again";
    for (key, due) in due {
        let row = "(SELECT id FROM payment WHERE key = ?1)";
        match due {
            None => {
                let sql = format!("DELETE FROM unfinal WHERE payment = {row}");
                rows::change(conn, &sql, doing, [key.as_bytes()])?;
            }
            Some(due) => {
                let sql = format!("UPDATE unfinal SET due = ?2 WHERE payment = {row}");
                rows::change(conn, &sql, doing, (key.as_bytes(), rows::stored(due.0, doing)?))?;
            }
        }
    }
    Ok(())
}

/// Records what its chain has made of a payment that was taken, and looks at it no more. False, and nothing is recorded, where
/// it is not one that was taken.
pub(super) fn revise(conn: &Connection, revised: &Revised) -> Result<bool, StoreError> {
    let doing = "record what a chain has taken back";
    let sql = "SELECT id FROM payment WHERE key = ?1 AND run = ?2 AND word = 'captured'";
    let read = |row: &Row<'_>| rows::value::<i64>(row, 0, "id");
    let params = (revised.payment.as_bytes(), revised.run.as_bytes());
    let Some(payment) = rows::first(conn, sql, doing, params, read)? else { return Ok(false) };
    let run = revised.run.as_bytes();
    match &revised.revision {
        Revision::MovedBy(reference) => {
            let sql = "UPDATE payment SET first_reference = coalesce(first_reference, reference), reference = ?2 \
                WHERE id = ?1";
            rows::change(conn, sql, doing, (payment, reference))?;
            let sql = "UPDATE run SET reference = ?3 WHERE run = ?1 AND payment = ?2";
            rows::change(conn, sql, doing, (run, payment, reference))?;
        }
        Revision::Reversed => {
            rows::change(conn, "UPDATE payment SET word = 'reversed' WHERE id = ?1", doing, [payment])?;
            // What we do not have is owed to nobody.
            rows::change(conn, "DELETE FROM credit WHERE payment = ?1", doing, [payment])?;
            payers::note_failed(conn, payment, revised.at)?;
            let sql = "UPDATE run SET settlement = 'reversed' \
                WHERE run = ?1 AND payment = ?2 AND settlement = 'captured'";
            rows::change(conn, sql, doing, (run, payment))?;
        }
    }
    rows::change(conn, "DELETE FROM unfinal WHERE payment = ?1", doing, [payment])?;
    changes::record(conn, run, &revised.said)?;
    Ok(true)
}
