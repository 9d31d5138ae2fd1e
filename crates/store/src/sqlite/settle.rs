//! Where the money of a run ends, and a second payment after a capture that failed.

use execgate_model::{InstanceId, RunId};
use rusqlite::Connection;

use super::fault::backend;
use super::{claim, rows};
use crate::{Leaf, NewPayment, Repaid, SettlementWord, StoreError};

/// Sets the word and the reference, appends the leaf, and closes a run in `witness` if the word is an end.
pub(super) fn settle(
    conn: &Connection,
    run: RunId,
    word: SettlementWord,
    reference: Option<&str>,
    leaf: Option<&Leaf>,
) -> Result<(), StoreError> {
    let doing = "settle a run";
    let sql = "UPDATE run SET settlement = ?2, reference = ?3, \
        stage = CASE WHEN stage = 'witness' AND ?4 THEN 'settled' ELSE stage END WHERE run = ?1";
    let params = (run.as_bytes(), word.as_str(), reference, is_end(word));
    if rows::change(conn, sql, doing, params)? == 0 {
        return Err(backend(doing, format!("no run is called {run}")));
    }
    // The port gives no time here: the leaf stands in the order of the log.
    leaf.map_or(Ok(()), |leaf| rows::append_leaf(conn, run, leaf.kind, leaf, None))
}

const fn is_end(word: SettlementWord) -> bool {
    match word {
        SettlementWord::Free | SettlementWord::Captured | SettlementWord::Released => true,
        SettlementWord::Held | SettlementWord::Unpaid | SettlementWord::Pending => false,
    }
}

/// Claims a new payment for a run that waits for one. The run becomes `mine`, so that no other process takes
/// it for an orphan while the new payment is captured.
pub(super) fn repay(
    conn: &Connection,
    run: RunId,
    mine: InstanceId,
    payment: &NewPayment,
) -> Result<Repaid, StoreError> {
    let sql = "SELECT id FROM run WHERE run = ?1 AND stage = 'witness' AND settlement = 'unpaid'";
    let Some(row) = rows::row_of(conn, sql, run)? else { return Ok(Repaid::NotDue) };
    if let Some(other) = rows::by_payment(conn, payment.key)? {
        return Ok(Repaid::PaymentSpent(other));
    }
    let newest = claim::insert_payment(conn, run, payment)?;
    let sql = "UPDATE run SET payment = ?2, rail = ?3, instance = ?4, settlement = 'held', reference = NULL \
        WHERE id = ?1";
    rows::change(conn, sql, "hold a second payment", (row, newest, &payment.rail, mine.as_bytes()))?;
    Ok(Repaid::Held)
}
