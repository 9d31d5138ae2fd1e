//! Listings of money: what is open, what was earned, and sums. None of them reads history that it does not show, but the
//! sums of what was earned.

use execgate_model::{ActionName, Amount, Digest, RunId, Stage, UnixMs};
use rusqlite::{Connection, Row};

use super::rows;
use crate::{Earned, OpenPayment, OpenPlace, StoreError, Sums};

/// Payments on one page.
const PAGE: u32 = 1_000;

/// Pending, and those whose run was taken back: nobody walks with them any more.
macro_rules! select_open {
    ($rest:literal) => {
        concat!(
            "SELECT p.key, p.run, p.payer, p.rail, p.amount, p.state, r.stage, r.reference, r.salt, ",
            "coalesce(r.created, p.since), p.id, EXISTS (SELECT 1 FROM payment_unasked u WHERE u.payment = p.id) ",
            "FROM payment p INDEXED BY payment_open LEFT JOIN run r ON r.run = p.run AND r.payment = p.id ",
            "WHERE p.word IS NULL AND (r.id IS NULL OR r.settlement = 'pending') ",
            $rest
        )
    };
}

/// A page of them, behind a place, in the order of their index.
pub(super) const OPEN: &str =
    select_open!("AND (p.payer, p.amount, p.id) > (?2, ?3, ?4) ORDER BY p.payer, p.amount, p.id LIMIT ?1");

/// Those of one run: what is open is few, so passing over the others is cheap.
pub(super) const OPEN_OF: &str = select_open!("AND p.payer > '' AND p.run = ?2 LIMIT ?1");

/// What was taken back for good, newest first.
pub(super) const REVERSED: &str = "SELECT p.key, p.run, p.payer, p.rail, p.amount, p.state, r.stage, p.reference, r.salt, coalesce(r.created, p.since), p.id, 0 \
    FROM payment p INDEXED BY payment_reversed LEFT JOIN run r ON r.run = p.run AND r.payment = p.id \
    WHERE p.word = 'reversed' AND p.id > 0 ORDER BY p.id DESC LIMIT ?1";

/// In the order of payments.
pub(super) const EARNED: &str = "SELECT p.id, p.run, r.action, p.rail, p.payer, p.amount, p.reference, p.at, c.payment IS NOT NULL, p.batch IS NOT NULL \
    FROM payment p INDEXED BY payment_captured LEFT JOIN run r ON r.run = p.run LEFT JOIN credit c ON c.payment = p.id \
    WHERE p.word = 'captured' AND p.id > ?1 ORDER BY p.id LIMIT ?2";

/// A page of payments whose capture nobody has heard the end of.
pub(super) fn open(conn: &Connection, after: Option<&OpenPlace>) -> Result<Vec<OpenPayment>, StoreError> {
    let doing = "list open payments";
    let (payer, amount, row) = match after {
        None => ("", 0, 0),
        Some(place) => {
            let amount = rows::stored(place.amount.micros(), doing)?;
            (place.payer.as_str(), amount, rows::stored(place.row, doing)?)
        }
    };
    rows::all(conn, OPEN, doing, (PAGE, payer, amount, row), open_payment)
}

/// Those of one run.
pub(super) fn open_of(conn: &Connection, run: RunId) -> Result<Vec<OpenPayment>, StoreError> {
    rows::all(conn, OPEN_OF, "list open payments", (PAGE, run.as_bytes()), open_payment)
}

/// Payments that their chain has taken back for good.
pub(super) fn reversed(conn: &Connection) -> Result<Vec<OpenPayment>, StoreError> {
    rows::all(conn, REVERSED, "list reversed payments", [PAGE], open_payment)
}

fn open_payment(row: &Row<'_>) -> Result<OpenPayment, StoreError> {
    let stage = match rows::value::<Option<String>>(row, 6, "stage")? {
        None => None,
        Some(_) => Some(rows::word(row, 6, "stage", Stage::from_word)?),
    };
    Ok(OpenPayment {
        key: Digest::from_bytes(rows::value(row, 0, "key")?),
        run: RunId::from_stored(rows::value(row, 1, "run")?),
        payer: rows::value(row, 2, "payer")?,
        rail: rows::value(row, 3, "rail")?,
        amount: Amount::from_micros(rows::unsigned(row, 4, "amount")?),
        state: rows::value(row, 5, "state")?,
        stage,
        reference: rows::value(row, 7, "reference")?,
        salt: rows::value(row, 8, "salt")?,
        is_unasked: rows::value(row, 11, "unasked")?,
        since: time(row, 9, "created")?,
        row: rows::unsigned(row, 10, "id")?,
    })
}

fn time(row: &Row<'_>, index: usize, column: &'static str) -> Result<Option<UnixMs>, StoreError> {
    match rows::value::<Option<i64>>(row, index, column)? {
        None => Ok(None),
        Some(_) => rows::unsigned(row, index, column).map(|at| Some(UnixMs(at))),
    }
}

/// A page of what was taken, behind a place.
pub(super) fn earned(conn: &Connection, after: u64) -> Result<Vec<Earned>, StoreError> {
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    rows::all(conn, EARNED, "list what was earned", (after, PAGE), |row| {
        let action = rows::value::<Option<String>>(row, 2, "action")?;
        let unreadable = |_| StoreError::Unreadable { column: "action" };
        Ok(Earned {
            place: rows::unsigned(row, 0, "id")?,
            run: RunId::from_stored(rows::value(row, 1, "run")?),
            action: action.map(|action| ActionName::new(&action).map_err(unreadable)).transpose()?,
            rail: rows::value(row, 3, "rail")?,
            payer: rows::value(row, 4, "payer")?,
            amount: Amount::from_micros(rows::unsigned(row, 5, "amount")?),
            reference: rows::value(row, 6, "reference")?,
            at: time(row, 7, "at")?,
            is_credit: rows::value(row, 8, "credit")?,
            is_batch: rows::value(row, 9, "batch")?,
        })
    })
}

/// All of it, summed up.
pub(super) fn sums(conn: &Connection) -> Result<Sums, StoreError> {
    let doing = "sum up money";
    let pair = |sql: &str| {
        let read = |row: &Row<'_>| Ok((rows::unsigned(row, 0, "count")?, rows::unsigned(row, 1, "amount")?));
        rows::first(conn, sql, doing, [], read).map(Option::unwrap_or_default)
    };
    let (captured, captured_micros) = pair(
        "SELECT count(*), coalesce(sum(amount), 0) FROM payment INDEXED BY payment_captured WHERE word = 'captured'",
    )?;
    let (credited, credited_micros) =
        pair("SELECT count(*), coalesce(sum(p.amount), 0) FROM credit c JOIN payment p ON p.id = c.payment")?;
    let (open, open_micros) = pair(
        "SELECT count(*), coalesce(sum(amount), 0) FROM payment INDEXED BY payment_open WHERE word IS NULL",
    )?;
    let (pending, pending_micros) = pair(
        "SELECT count(*), coalesce(sum(p.amount), 0) FROM payment p INDEXED BY payment_open \
        LEFT JOIN run r ON r.run = p.run AND r.payment = p.id \
        WHERE p.word IS NULL AND (r.id IS NULL OR r.settlement = 'pending')",
    )?;
    let (unpaid, unpaid_micros) = pair(
        "SELECT count(*), coalesce(sum(price), 0) FROM run INDEXED BY run_open WHERE stage <> 'settled' AND stage = 'witness' \
        AND settlement = 'unpaid'",
    )?;
    let (unfinal, unfinal_micros) = pair(
        "SELECT count(*), coalesce(sum(p.amount), 0) FROM unfinal u JOIN payment p ON p.id = u.payment",
    )?;
    let (reversed, reversed_micros) = pair(
        "SELECT count(*), coalesce(sum(amount), 0) FROM payment INDEXED BY payment_reversed WHERE word = 'reversed'",
    )?;
    Ok(Sums {
        unfinal,
        unfinal_micros,
        reversed,
        reversed_micros,
        captured,
        captured_micros,
        credited,
        credited_micros,
        open,
        open_micros,
        pending,
        pending_micros,
        unpaid,
        unpaid_micros,
    })
}
