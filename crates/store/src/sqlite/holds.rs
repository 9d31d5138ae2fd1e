//! What a payer may still have held, and what stays of a payment whose run was taken back.

use execgate_model::{Amount, Digest, RunId, UnixMs};
use rusqlite::{Connection, Row};

use super::rows;
use crate::{Claimed, NewPayment, SettlementWord, StoreError};

/// A payment that no run stands behind: its run was taken back when its capture had been asked for.
pub(super) struct Loose {
    id: i64,
    run: RunId,
    word: Option<String>,
    is_loose: bool,
}

/// What is recorded of a payment.
fn find(conn: &Connection, key: Digest) -> Result<Option<Loose>, StoreError> {
    let sql = "SELECT p.id, p.run, p.word, NOT EXISTS (SELECT 1 FROM run r INDEXED BY run_by_run \
        WHERE r.run = p.run AND r.payment = p.id) FROM payment p WHERE p.key = ?1";
    let read = |row: &Row<'_>| {
        Ok(Loose {
            id: rows::value(row, 0, "id")?,
            run: RunId::from_stored(rows::value(row, 1, "run")?),
            word: rows::value(row, 2, "word")?,
            is_loose: rows::value(row, 3, "run")?,
        })
    };
    rows::first(conn, sql, "find a payment", [key.as_bytes()], read)
}

/// The payment that an earlier try of this very run has left.
pub(super) fn left_by(conn: &Connection, run: RunId, key: Digest) -> Result<Option<Loose>, StoreError> {
    let found = find(conn, key)?;
    Ok(found.filter(|found| found.run == run && found.is_loose && found.word.as_deref() != Some("failed")))
}

/// What stands in the way of holding a payment for a run.
pub(super) fn obstacle(
    conn: &Connection,
    run: RunId,
    payment: &NewPayment,
) -> Result<Option<Claimed>, StoreError> {
    let left = left_by(conn, run, payment.key)?;
    if left.is_none()
        && let Some(other) = rows::by_payment(conn, payment.key)?
    {
        return Ok(Some(Claimed::PaymentSpent(other)));
    }
    if !payment.upfront && has_failed(conn, &payment.payer)? {
        return Ok(Some(Claimed::UpfrontOnly));
    }
    let sql = "SELECT count(*), coalesce(sum(amount), 0) FROM payment INDEXED BY payment_open \
        WHERE word IS NULL AND payer = ?1 AND id <> ?2";
    let own = left.as_ref().map_or(0, |left| left.id);
    let read = |row: &Row<'_>| Ok((rows::unsigned(row, 0, "count")?, rows::unsigned(row, 1, "amount")?));
    let open = rows::first(conn, sql, "count open holds", (&payment.payer, own), read)?;
    let (count, held) = open.unwrap_or_default();
    if count >= u64::from(payment.holds_max) {
        return Ok(Some(Claimed::HoldsFull));
    }
    let is_taken = left.is_some_and(|left| left.word.as_deref() == Some("captured"));
    let wanted = held.saturating_add(payment.amount.micros());
    match payment.funds {
        Some(funds) if !is_taken && wanted > funds.micros() => {
            Ok(Some(Claimed::Overdrawn { held: Amount::from_micros(held) }))
        }
        Some(_) | None => Ok(None),
    }
}

fn has_failed(conn: &Connection, payer: &str) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM payer_failed WHERE payer = ?1";
    Ok(rows::first(conn, sql, "look for a failed payment", [payer], |_| Ok(()))?.is_some())
}

/// Takes note that a payment could not be taken when the work was done.
pub(super) fn note_failed(conn: &Connection, payment: i64, at: UnixMs) -> Result<(), StoreError> {
    let sql = "INSERT INTO payer_failed (payer, at) SELECT payer, ?2 FROM payment WHERE id = ?1 ON CONFLICT DO NOTHING";
    let doing = "note a failed payment";
    rows::change(conn, sql, doing, (payment, rows::stored(at.0, doing)?)).map(|_| ())
}

/// Records what is owed for a payment that was taken for nothing.
pub(super) fn credit(conn: &Connection, payment: i64, at: UnixMs) -> Result<(), StoreError> {
    let (sql, doing) =
        ("INSERT INTO credit (payment, at) VALUES (?1, ?2) ON CONFLICT DO NOTHING", "record a credit");
    rows::change(conn, sql, doing, (payment, rows::stored(at.0, doing)?)).map(|_| ())
}

/// Inserts a payment, or takes up the one that an earlier try has left: its row, and where its money stands.
pub(super) fn hold(
    conn: &Connection,
    run: RunId,
    payment: &NewPayment,
) -> Result<(i64, SettlementWord), StoreError> {
    if let Some(left) = left_by(conn, run, payment.key)? {
        if left.word.as_deref() == Some("captured") {
            rows::change(conn, "DELETE FROM credit WHERE payment = ?1", "use a credit", [left.id])?;
            return Ok((left.id, SettlementWord::Captured));
        }
        return Ok((left.id, SettlementWord::Capturing));
    }
    let word = if payment.upfront { SettlementWord::Capturing } else { SettlementWord::Held };
    insert(conn, run, payment).map(|id| (id, word))
}

/// Inserts a payment and gives the key of its row.
pub(super) fn insert(conn: &Connection, run: RunId, payment: &NewPayment) -> Result<i64, StoreError> {
    let sql = "INSERT INTO payment (key, run, payer, rail, amount, state, upfront) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let amount = rows::stored(payment.amount.micros(), "store an amount")?;
    let params = (
        payment.key.as_bytes(),
        run.as_bytes(),
        &payment.payer,
        &payment.rail,
        amount,
        &payment.state,
        payment.upfront.then_some(1),
    );
    rows::change(conn, sql, "store a payment", params)?;
    Ok(conn.last_insert_rowid())
}

/// What becomes of the payment of a claim that is taken back: gone where nothing was asked of its rail, kept where
/// something was, and a credit where it was taken. True for a credit.
pub(super) fn let_go(
    conn: &Connection,
    payment: i64,
    word: SettlementWord,
    at: UnixMs,
) -> Result<bool, StoreError> {
    match word {
        SettlementWord::Captured => credit(conn, payment, at).map(|()| true),
        SettlementWord::Capturing | SettlementWord::Pending => Ok(false),
        SettlementWord::Free | SettlementWord::Held | SettlementWord::Released | SettlementWord::Unpaid => {
            rows::change(conn, "DELETE FROM payment WHERE id = ?1", "undo a claim", [payment])?;
            Ok(false)
        }
    }
}
