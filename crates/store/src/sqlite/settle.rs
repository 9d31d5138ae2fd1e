//! Where the money of a run ends, and a second payment after a capture that failed.
//!
//! Money moves from word to word by compare-and-swap: what a payment has ended as, nothing overwrites.

use execgate_model::{InstanceId, RunId, Stage};
use rusqlite::{Connection, Row};

use super::fault::backend;
use super::{changes, finality, holds, payers, rows, watch};
use crate::{NewPayment, Repaid, Settled, SettlementWord, Settling, StoreError};

const DOING: &str = "settle a run";

/// Of the newest payment of its run alone: a word about an earlier one changes nothing.
const MOVE: &str = "UPDATE run SET settlement = ?3, reference = ?4, \
    stage = CASE WHEN stage = 'witness' AND ?5 THEN 'settled' ELSE stage END \
    WHERE run = ?1 AND settlement = ?2 AND payment = (SELECT id FROM payment WHERE key = ?6) \
    RETURNING payment, stage";

/// Moves the money of a run from one word to another, appends the leaf, and closes a run in `witness` if that is an end.
pub(super) fn settle(conn: &Connection, settling: &Settling) -> Result<Settled, StoreError> {
    if !settling.from.may_become(settling.to) {
        let (from, to) = (settling.from.as_str(), settling.to.as_str());
        return Err(backend(DOING, format!("no money goes from `{from}` to `{to}`")));
    }
    let params = (
        settling.run.as_bytes(),
        settling.from.as_str(),
        settling.to.as_str(),
        &settling.reference,
        settling.to.is_end(),
        settling.payment.as_bytes(),
    );
    let moved = |row: &Row<'_>| {
        Ok((rows::value::<i64>(row, 0, "payment")?, rows::word(row, 1, "stage", Stage::from_word)?))
    };
    match rows::first(conn, MOVE, DOING, params, moved)? {
        Some((payment, stage)) => {
            close(conn, payment, settling)?;
            if stage == Stage::Unknown && settling.to == SettlementWord::Captured {
                holds::credit(conn, payment, settling.at)?;
            }
            if let Some(said) = &settling.said {
                changes::record(conn, settling.run.as_bytes(), said)?;
            }
            Ok(Settled::Moved)
        }
        None => standing(conn, settling),
    }
}

/// Where the money of a run stands that has moved already; or of a payment whose run was taken back, which the run may have
/// come again without: that is closed here.
fn standing(conn: &Connection, settling: &Settling) -> Result<Settled, StoreError> {
    let of_run = {
        let sql = "SELECT settlement, payment FROM run WHERE run = ?1 AND payment IS NOT NULL";
        let read = |row: &Row<'_>| {
            let word = rows::word(row, 0, "settlement", SettlementWord::from_word)?;
            Ok((word, rows::value::<i64>(row, 1, "payment")?))
        };
        rows::first(conn, sql, DOING, [settling.run.as_bytes()], read)?
    };
    let sql = "SELECT id, word FROM payment WHERE key = ?1 AND run = ?2";
    let params = (settling.payment.as_bytes(), settling.run.as_bytes());
    let read = |row: &Row<'_>| {
        Ok((rows::value::<i64>(row, 0, "id")?, rows::value::<Option<String>>(row, 1, "word")?))
    };
    match (rows::first(conn, sql, DOING, params, read)?, of_run) {
        (None, None) => Err(backend(DOING, format!("no money is held for a run called {}", settling.run))),
        (Some((payment, None)), other) if other.is_none_or(|(_, newest)| newest != payment) => {
            close(conn, payment, settling)?;
            if settling.to == SettlementWord::Captured {
                holds::credit(conn, payment, settling.at)?;
            }
            if let Some(said) = &settling.said {
                changes::record(conn, settling.run.as_bytes(), said)?;
            }
            Ok(Settled::Moved)
        }
        (_, Some((word, _))) => Ok(Settled::Stands(word)),
        (Some((_, Some(word))), None) if word == "captured" => Ok(Settled::Stands(SettlementWord::Captured)),
        (Some((_, Some(word))), None) if word == "reversed" => Ok(Settled::Stands(SettlementWord::Reversed)),
        (Some(_), None) => Ok(Settled::Stands(SettlementWord::Released)),
    }
}

/// Takes down how a payment ended; one that is open stays so.
fn close(conn: &Connection, payment: i64, settling: &Settling) -> Result<(), StoreError> {
    note_asked(conn, payment, settling.to == SettlementWord::Pending && settling.blameless)?;
    let word = match settling.to {
        SettlementWord::Captured => "captured",
        SettlementWord::Released => "released",
        SettlementWord::Unpaid => "failed",
        // What was taken back for good is recorded by whoever has seen it.
        SettlementWord::Free
        | SettlementWord::Held
        | SettlementWord::Capturing
        | SettlementWord::Pending
        | SettlementWord::Reversed => return Ok(()),
    };
    let sql = "UPDATE payment SET word = ?2, reference = ?3, at = ?4 WHERE id = ?1";
    let at = rows::stored(settling.at.0, DOING)?;
    rows::change(conn, sql, DOING, (payment, word, &settling.reference, at))?;
    match settling.to {
        SettlementWord::Captured => {
            if settling.may_go_back {
                finality::begin(conn, payment, settling.at)?;
            }
            return payers::note_taken(conn, payment);
        }
        SettlementWord::Unpaid if !settling.blameless => payers::note_failed(conn, payment, settling.at)?,
        SettlementWord::Unpaid
        | SettlementWord::Free
        | SettlementWord::Held
        | SettlementWord::Capturing
        | SettlementWord::Released
        | SettlementWord::Pending
        | SettlementWord::Reversed => {}
    }
    settling.watch_until.map_or(Ok(()), |until| watch::begin(conn, payment, settling.at, until))
}

/// Takes down whether nobody was asked for a payment yet: of one that is pending, and of no other.
fn note_asked(conn: &Connection, payment: i64, is_unasked: bool) -> Result<(), StoreError> {
    let sql = if is_unasked {
        "INSERT OR IGNORE INTO payment_unasked (payment) VALUES (?1)"
    } else {
        "DELETE FROM payment_unasked WHERE payment = ?1"
    };
    rows::change(conn, sql, DOING, [payment]).map(|_| ())
}

/// Claims a new payment for a run that waits for one, to be captured at once. The run becomes `mine`, so that no other
/// process takes it for an orphan meanwhile.
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
    let newest = holds::insert(conn, run, payment, true)?;
    let sql = "UPDATE run SET payment = ?2, rail = ?3, instance = ?4, settlement = 'capturing', reference = NULL \
        WHERE id = ?1";
    rows::change(conn, sql, "hold a second payment", (row, newest, &payment.rail, mine.as_bytes()))?;
    Ok(Repaid::Held)
}
