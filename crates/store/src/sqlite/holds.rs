//! What a payer may still have held, and what stays of a payment whose run was taken back.

use execgate_model::{Amount, Digest, RunId, UnixMs};
use rusqlite::{Connection, Row};

use super::{payers, rows, watch};
use crate::{Claimed, LeftPayment, NewPayment, SettlementWord, StoreError};

/// What is recorded of a payment.
struct Known {
    id: i64,
    run: RunId,
    rail: String,
    amount: Amount,
    state: Vec<u8>,
    word: Option<String>,
    reference: Option<String>,
    /// It was asked for before the work, and no run stands behind it.
    is_left: bool,
}

impl Known {
    fn is_captured(&self) -> bool {
        self.word.as_deref() == Some("captured")
    }

    /// Whether it is the very same, and not another one under its key.
    fn is(&self, payment: &NewPayment) -> bool {
        self.state == payment.state && self.amount == payment.amount && self.rail == payment.rail
    }
}

fn find(conn: &Connection, key: Digest) -> Result<Option<Known>, StoreError> {
    let sql = "SELECT p.id, p.run, p.rail, p.amount, p.state, p.word, p.reference, \
        p.upfront = 1 AND coalesce(p.word, '') NOT IN ('failed', 'reversed') AND NOT EXISTS (SELECT 1 FROM run r INDEXED BY run_by_run \
        WHERE r.run = p.run AND r.payment = p.id) FROM payment p WHERE p.key = ?1";
    let read = |row: &Row<'_>| {
        Ok(Known {
            id: rows::value(row, 0, "id")?,
            run: RunId::from_stored(rows::value(row, 1, "run")?),
            rail: rows::value(row, 2, "rail")?,
            amount: Amount::from_micros(rows::unsigned(row, 3, "amount")?),
            state: rows::value(row, 4, "state")?,
            word: rows::value(row, 5, "word")?,
            reference: rows::value(row, 6, "reference")?,
            is_left: rows::value::<Option<bool>>(row, 7, "upfront")? == Some(true),
        })
    };
    rows::first(conn, sql, "find a payment", [key.as_bytes()], read)
}

/// The payment that an earlier try of this very run has left. What was taken after the work, or was to be, is none: its
/// handler may have started.
fn left_by(conn: &Connection, run: RunId, key: Digest) -> Result<Option<Known>, StoreError> {
    Ok(find(conn, key)?.filter(|known| known.run == run && known.is_left))
}

/// The same, for whoever asks before a claim.
pub(super) fn left_payment(
    conn: &Connection,
    run: RunId,
    key: Digest,
) -> Result<Option<LeftPayment>, StoreError> {
    let left = left_by(conn, run, key)?;
    Ok(left.map(|left| LeftPayment {
        is_captured: left.is_captured(),
        rail: left.rail,
        amount: left.amount,
        state: left.state,
    }))
}

/// What stands in the way of holding a payment for a run.
pub(super) fn obstacle(
    conn: &Connection,
    run: RunId,
    payment: &NewPayment,
    at: UnixMs,
) -> Result<Option<Claimed>, StoreError> {
    let known = find(conn, payment.key)?;
    let own = match known {
        None => 0,
        Some(known) if known.run == run && known.is_left && known.is(payment) => {
            if known.is_captured() {
                return Ok(None);
            }
            known.id
        }
        Some(known) => return Ok(Some(Claimed::PaymentSpent(known.run))),
    };
    // What was left was to be taken before the work.
    if own == 0
        && !payment.upfront
        && let Some(obstacle) = payers::obstacle(conn, &payment.payer, at)?
    {
        return Ok(Some(obstacle));
    }
    let sql = "SELECT count(*), coalesce(sum(amount), 0) FROM payment INDEXED BY payment_open \
        WHERE word IS NULL AND payer = ?1 AND id <> ?2";
    let read = |row: &Row<'_>| Ok((rows::unsigned(row, 0, "count")?, rows::unsigned(row, 1, "amount")?));
    let open = rows::first(conn, sql, "count open holds", (&payment.payer, own), read)?;
    let (count, held) = open.unwrap_or_default();
    if count >= u64::from(payment.holds_max) {
        return Ok(Some(Claimed::HoldsFull));
    }
    let wanted = held.saturating_add(payment.amount.micros());
    match payment.funds {
        Some(funds) if wanted > funds.micros() => {
            Ok(Some(Claimed::Overdrawn { held: Amount::from_micros(held) }))
        }
        Some(_) | None => Ok(None),
    }
}

/// Records what is owed for a payment that was taken for nothing.
pub(super) fn credit(conn: &Connection, payment: i64, at: UnixMs) -> Result<(), StoreError> {
    let (sql, doing) =
        ("INSERT INTO credit (payment, at) VALUES (?1, ?2) ON CONFLICT DO NOTHING", "record a credit");
    rows::change(conn, sql, doing, (payment, rows::stored(at.0, doing)?)).map(|_| ())
}

/// A payment that a claim holds.
pub(super) struct HeldPayment {
    /// Its row.
    pub(super) row: i64,
    /// Where the money of its run stands.
    pub(super) word: SettlementWord,
    /// What the claim is answered: whether an earlier try has left it.
    pub(super) claimed: Claimed,
}

/// Inserts a payment, or takes up the one that an earlier try has left.
pub(super) fn hold(conn: &Connection, run: RunId, payment: &NewPayment) -> Result<HeldPayment, StoreError> {
    let Some(left) = left_by(conn, run, payment.key)? else {
        let word = if payment.upfront { SettlementWord::Capturing } else { SettlementWord::Held };
        let row = insert(conn, run, payment, false)?;
        return Ok(HeldPayment { row, word, claimed: Claimed::Fresh });
    };
    if left.is_captured() {
        rows::change(conn, "DELETE FROM credit WHERE payment = ?1", "use a credit", [left.id])?;
        let claimed = Claimed::TakenUp { word: SettlementWord::Captured, reference: left.reference };
        return Ok(HeldPayment { row: left.id, word: SettlementWord::Captured, claimed });
    }
    // One that was refused is open again: it is looked for, and asked for again.
    let (sql, doing) = (
        "UPDATE payment SET word = NULL, reference = NULL, at = NULL, since = ?2 WHERE id = ?1",
        "take up a payment",
    );
    rows::change(conn, sql, doing, (left.id, rows::stored(payment.at.0, doing)?))?;
    let word = if left.word.is_some() {
        watch::end(conn, left.id)?;
        SettlementWord::Released
    } else {
        SettlementWord::Pending
    };
    let claimed = Claimed::TakenUp { word, reference: None };
    Ok(HeldPayment { row: left.id, word: SettlementWord::Capturing, claimed })
}

/// Inserts a payment and gives the key of its row. `again`: it pays for work that is done.
pub(super) fn insert(
    conn: &Connection,
    run: RunId,
    payment: &NewPayment,
    again: bool,
) -> Result<i64, StoreError> {
    let sql = "INSERT INTO payment (key, run, payer, rail, amount, state, upfront, again, since, batch, most) \
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    let amount = rows::stored(payment.amount.micros(), "store an amount")?;
    let params = (
        payment.key.as_bytes(),
        run.as_bytes(),
        &payment.payer,
        &payment.rail,
        amount,
        &payment.state,
        payment.upfront.then_some(1),
        again.then_some(1),
        rows::stored(payment.at.0, "store a time")?,
        payment.batch.then_some(1),
        payment.most.map(|most| rows::stored(most.micros(), "store an amount")).transpose()?,
    );
    rows::change(conn, sql, "store a payment", params)?;
    Ok(conn.last_insert_rowid())
}

/// What becomes of the payment of a claim that is taken back: gone where nothing was asked of its rail, kept where
/// something was, whatever came of it, and a credit where it was taken. True for a credit.
pub(super) fn let_go(
    conn: &Connection,
    payment: i64,
    word: SettlementWord,
    at: UnixMs,
) -> Result<bool, StoreError> {
    match word {
        SettlementWord::Captured => credit(conn, payment, at).map(|()| true),
        SettlementWord::Capturing
        | SettlementWord::Pending
        | SettlementWord::Released
        | SettlementWord::Unpaid
        | SettlementWord::Reversed => Ok(false),
        SettlementWord::Free | SettlementWord::Held => {
            rows::change(conn, "DELETE FROM payment WHERE id = ?1", "undo a claim", [payment])?;
            Ok(false)
        }
    }
}
