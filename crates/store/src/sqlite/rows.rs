//! Rows to records, and the conversions of single values. The only place that knows the columns of a record.

use execgate_model::{ActionName, Amount, Digest, Effect, InstanceId, RunId, Stage, UnixMs};
use rusqlite::types::{FromSql, ValueRef};
use rusqlite::{Connection, OptionalExtension, Params, Row};

use super::fault::{backend, failed_to};
use crate::{Answer, Leaf, LeafKind, Record, SettlementWord, StoreError};

/// The columns of a whole record, in the order that [`record`] reads them.
macro_rules! select_record {
    ($index:literal, $rest:literal) => {
        concat!(
            "SELECT r.run, r.instance, r.fingerprint, r.owner, r.action, r.effect, r.caller, r.stage, ",
            "r.settlement, r.reference, r.rail, r.price, r.salt, r.created, r.intent, p.state, ",
            "e.outcome, e.content, e.finished, n.note, e.status, e.content_type, e.receipt, p.key, e.body, p.amount, ",
            "p.payer, p.most ",
            "FROM run r INDEXED BY ",
            $index,
            " LEFT JOIN payment p ON p.id = r.payment LEFT JOIN ending e ON e.run = r.id ",
            "LEFT JOIN resolution n ON n.run = r.id ",
            $rest
        )
    };
}

/// The same without answers and receipts, so that a listing never reads their pages.
macro_rules! select_brief {
    ($index:literal, $rest:literal) => {
        concat!(
            "SELECT r.run, r.instance, r.fingerprint, r.owner, r.action, r.effect, r.caller, r.stage, ",
            "r.settlement, r.reference, r.rail, r.price, r.salt, r.created, r.intent, p.state, ",
            "e.outcome, e.content, e.finished, n.note, NULL, NULL, NULL, p.key, NULL, p.amount, ",
            "p.payer, p.most ",
            "FROM run r INDEXED BY ",
            $index,
            " LEFT JOIN payment p ON p.id = r.payment LEFT JOIN ending e ON e.run = r.id ",
            "LEFT JOIN resolution n ON n.run = r.id ",
            $rest
        )
    };
}
pub(super) use {select_brief, select_record};

/// One value of a row. What does not fit its type is `Unreadable`, since this version never wrote it.
pub(super) fn value<T: FromSql>(row: &Row<'_>, index: usize, column: &'static str) -> Result<T, StoreError> {
    row.get(index).map_err(|_| StoreError::Unreadable { column })
}

/// A word of a row, read by `read`; one that it does not know is `Unreadable`.
pub(super) fn word<T>(
    row: &Row<'_>,
    index: usize,
    column: &'static str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<T, StoreError> {
    let unreadable = StoreError::Unreadable { column };
    match row.get_ref(index) {
        Ok(ValueRef::Text(text)) => core::str::from_utf8(text).ok().and_then(read).ok_or(unreadable),
        _ => Err(unreadable),
    }
}

/// A number of a row that is not negative.
pub(super) fn unsigned(row: &Row<'_>, index: usize, column: &'static str) -> Result<u64, StoreError> {
    u64::try_from(value::<i64>(row, index, column)?).map_err(|_| StoreError::Unreadable { column })
}

/// A whole record, from the columns of [`select_record`] or [`select_brief`].
pub(super) fn record(row: &Row<'_>) -> Result<Record, StoreError> {
    Ok(Record {
        run: RunId::from_stored(value(row, 0, "run")?),
        instance: InstanceId::from_stored(value(row, 1, "instance")?),
        fingerprint: Digest::from_bytes(value(row, 2, "fingerprint")?),
        owner: value::<Option<_>>(row, 3, "owner")?.map(Digest::from_bytes),
        action: word(row, 4, "action", |text| ActionName::new(text).ok())?,
        effect: word(row, 5, "effect", effect_from_word)?,
        caller: value(row, 6, "caller")?,
        stage: word(row, 7, "stage", Stage::from_word)?,
        settlement: word(row, 8, "settlement", SettlementWord::from_word)?,
        settlement_reference: value(row, 9, "reference")?,
        rail: value(row, 10, "rail")?,
        price: Amount::from_micros(unsigned(row, 11, "price")?),
        salt: value(row, 12, "salt")?,
        created: UnixMs(unsigned(row, 13, "created")?),
        intent: value(row, 14, "intent")?,
        payment_state: value(row, 15, "state")?,
        payment_key: value::<Option<_>>(row, 23, "key")?.map(Digest::from_bytes),
        payment_amount: amount(row, 25, "amount")?,
        payment_most: amount(row, 27, "most")?,
        payer: value(row, 26, "payer")?,
        outcome: value(row, 16, "outcome")?,
        content: value::<Option<_>>(row, 17, "content")?.map(Digest::from_bytes),
        finished: match value::<Option<i64>>(row, 18, "finished")? {
            Some(_) => Some(UnixMs(unsigned(row, 18, "finished")?)),
            None => None,
        },
        resolution: value(row, 19, "note")?,
        answer: answer(row)?,
        receipt: value(row, 22, "receipt")?,
    })
}

/// An amount that may be missing.
fn amount(row: &Row<'_>, index: usize, column: &'static str) -> Result<Option<Amount>, StoreError> {
    match value::<Option<i64>>(row, index, column)? {
        Some(_) => Ok(Some(Amount::from_micros(unsigned(row, index, column)?))),
        None => Ok(None),
    }
}

fn answer(row: &Row<'_>) -> Result<Option<Answer>, StoreError> {
    let Some(status) = value(row, 20, "status")? else { return Ok(None) };
    Ok(Some(Answer { status, content_type: value(row, 21, "content_type")?, body: value(row, 24, "body")? }))
}

/// The first row of a cached query, read by `read`.
pub(super) fn first<T>(
    conn: &Connection,
    sql: &str,
    doing: &'static str,
    params: impl Params,
    read: impl FnOnce(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    let failed = failed_to(doing);
    let mut statement = conn.prepare_cached(sql).map_err(failed)?;
    let mut rows = statement.query(params).map_err(failed)?;
    rows.next().map_err(failed)?.map(read).transpose()
}

/// Every row of a cached query.
pub(super) fn all<T>(
    conn: &Connection,
    sql: &str,
    doing: &'static str,
    params: impl Params,
    read: impl Fn(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let failed = failed_to(doing);
    let mut statement = conn.prepare_cached(sql).map_err(failed)?;
    let mut rows = statement.query(params).map_err(failed)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        found.push(read(row)?);
    }
    Ok(found)
}

/// Runs a cached statement and says how many rows it changed.
pub(super) fn change(
    conn: &Connection,
    sql: &str,
    doing: &'static str,
    params: impl Params,
) -> Result<usize, StoreError> {
    let failed = failed_to(doing);
    conn.prepare_cached(sql).map_err(failed)?.execute(params).map_err(failed)
}

/// The run that holds a nonce.
pub(super) fn by_nonce(conn: &Connection, nonce_key: Digest) -> Result<Option<Record>, StoreError> {
    let sql = select_record!("run_by_nonce", "WHERE r.nonce_key = ?1");
    first(conn, sql, "read a run by its nonce", [nonce_key.as_bytes()], record)
}

/// What a session has asked for under a nonce of its own, and a payer's wallet has: the newest run of that content, or else of
/// any.
pub(super) fn by_session_nonce(
    conn: &Connection,
    session_nonce: Digest,
    fingerprint: Digest,
) -> Result<Option<Record>, StoreError> {
    let sql = select_record!(
        "run_by_session_nonce",
        "WHERE r.session_nonce = ?1 ORDER BY r.fingerprint = ?2 DESC, r.id DESC LIMIT 1"
    );
    let params = (session_nonce.as_bytes(), fingerprint.as_bytes());
    first(conn, sql, "read a run by the nonce of a session", params, record)
}

/// One run.
pub(super) fn run(conn: &Connection, run: RunId) -> Result<Option<Record>, StoreError> {
    first(conn, select_record!("run_by_run", "WHERE r.run = ?1"), "read a run", [run.as_bytes()], record)
}

/// The run that a payment has bought.
pub(super) fn by_payment(conn: &Connection, payment_key: Digest) -> Result<Option<RunId>, StoreError> {
    let sql = "SELECT run FROM payment WHERE key = ?1";
    first(conn, sql, "read a run by its payment", [payment_key.as_bytes()], run_id)
}

/// The run that an approval was used for.
pub(super) fn by_approval(conn: &Connection, approval_key: Digest) -> Result<Option<RunId>, StoreError> {
    let sql = "SELECT run FROM approval_use WHERE key = ?1";
    first(conn, sql, "read a run by its approval", [approval_key.as_bytes()], run_id)
}

fn run_id(row: &Row<'_>) -> Result<RunId, StoreError> {
    Ok(RunId::from_stored(value(row, 0, "run")?))
}

/// The key of a run's row, where the query finds one.
pub(super) fn row_of(conn: &Connection, sql: &str, run: RunId) -> Result<Option<i64>, StoreError> {
    let failed = failed_to("find a run");
    let mut statement = conn.prepare_cached(sql).map_err(failed)?;
    statement.query_row([run.as_bytes()], |row| row.get(0)).optional().map_err(failed)
}

/// Whether claims are paused.
pub(super) fn paused(conn: &Connection) -> Result<bool, StoreError> {
    let sql = "SELECT paused FROM gateway WHERE id = 1";
    let found = first(conn, sql, "read the kill switch", [], |row| value(row, 0, "paused"))?;
    found.ok_or(StoreError::Unreadable { column: "paused" })
}

/// Appends a leaf under a kind that may differ from its own: a final leaf that came late is `late`.
pub(super) fn append_leaf(
    conn: &Connection,
    run: RunId,
    kind: LeafKind,
    leaf: &Leaf,
    at: Option<UnixMs>,
) -> Result<(), StoreError> {
    append_leaf_of(conn, run.as_bytes(), kind, leaf, at)
}

/// Appends the leaf of a run, or of what belongs to none: an empty one.
pub(super) fn append_leaf_of(
    conn: &Connection,
    run: &[u8],
    kind: LeafKind,
    leaf: &Leaf,
    at: Option<UnixMs>,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO leaf (run, kind, digest, at) VALUES (?1, ?2, ?3, ?4)";
    let at = at.map(|at| stored(at.0, "store a time")).transpose()?;
    change(conn, sql, "append a leaf", (run, kind.as_str(), leaf.digest.as_bytes(), at))?;
    Ok(())
}

/// A number as SQLite stores it, or an error beyond 2^63 - 1.
pub(super) fn stored(number: u64, doing: &'static str) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|error| backend(doing, error))
}

/// The stored word of an effect.
pub(super) const fn effect_word(effect: Effect) -> &'static str {
    match effect {
        Effect::Live => "live",
        Effect::DryRun => "dry-run",
    }
}

/// Reads back what [`effect_word`] gave.
pub(super) fn effect_from_word(word: &str) -> Option<Effect> {
    [Effect::Live, Effect::DryRun].into_iter().find(|effect| effect_word(*effect) == word)
}
