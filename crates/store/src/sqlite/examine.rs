//! The record for whoever checks it. Reads in pages, so that a writer is never kept from copying its WAL for long; what
//! has to be one look says so.

use std::collections::HashMap;
use std::sync::Arc;

use execgate_model::{Amount, Digest, RunId, Stage, UnixMs};
use rusqlite::types::FromSql;
use rusqlite::{Connection, Row};

use super::fault::failed_to;
use super::readers::Readers;
use super::{limits, parking, rows};
use crate::port::Reply;
use crate::{
    ExaminedLeaf, ExaminedParked, ExaminedPayment, ExaminedRun, ExaminedVote, Examiner, Extent, LeafKind,
    LimitDrift, StoreError,
};

/// Rows of one page: few enough to hold with their receipts, and to be judged in some milliseconds.
const PAGE: u32 = 128;

/// Requests, and statements of people, of one page: a request has some MiB at the most.
const REQUESTS: u32 = 16;

/// Faults of the file that are told; the first ones say where to look.
const FILE_FAULTS: u32 = 20;

/// Changes without a leaf, and counters that drifted, that are told.
const TOLD_MAX: u16 = 1_000;

/// Counters that are summed up at once: 56 bytes each.
const COUNTERS_AT_ONCE: u32 = 100_000;

/// The examiner of one store.
pub(super) struct SqliteExaminer(pub(super) Arc<Readers>);

impl Examiner for SqliteExaminer {
    fn extent(&self) -> Reply<'_, Extent> {
        Box::pin(self.0.long(extent))
    }

    fn file(&self) -> Reply<'_, Vec<String>> {
        Box::pin(self.0.long(file))
    }

    fn runs(&self, after: u64) -> Reply<'_, Vec<ExaminedRun>> {
        Box::pin(self.0.long(move |conn| runs(conn, after, PAGE)))
    }

    fn run(&self, place: u64) -> Reply<'_, Option<ExaminedRun>> {
        Box::pin(self.0.long(move |conn| {
            let found = runs(conn, place.saturating_sub(1), 1)?;
            Ok(found.into_iter().find(|run| run.place == place))
        }))
    }

    fn leaves(&self, after: u64) -> Reply<'_, Vec<ExaminedLeaf>> {
        Box::pin(self.0.long(move |conn| leaves(conn, after)))
    }

    fn bare_changes(&self) -> Reply<'_, Vec<u64>> {
        Box::pin(self.0.long(bare_changes))
    }

    fn parked(&self, after: u64) -> Reply<'_, Vec<ExaminedParked>> {
        Box::pin(self.0.long(move |conn| parked(conn, after)))
    }

    fn unprepared(&self) -> Reply<'_, Vec<RunId>> {
        Box::pin(self.0.long(unprepared))
    }

    fn votes(&self, after: u64) -> Reply<'_, Vec<ExaminedVote>> {
        Box::pin(self.0.long(move |conn| votes(conn, after)))
    }

    fn bare_votes(&self) -> Reply<'_, Vec<u64>> {
        Box::pin(self.0.long(bare_votes))
    }

    fn payment(&self, key: Digest) -> Reply<'_, Option<ExaminedPayment>> {
        Box::pin(self.0.long(move |conn| payment(conn, key)))
    }

    fn payments(&self, after: u64) -> Reply<'_, Vec<ExaminedPayment>> {
        Box::pin(self.0.long(move |conn| payments(conn, after)))
    }

    fn limits(&self) -> Reply<'_, Vec<LimitDrift>> {
        Box::pin(self.0.long(drifted))
    }
}

/// A place as SQLite knows it. Beyond its numbers there is nothing.
fn place(after: u64) -> i64 {
    i64::try_from(after).unwrap_or(i64::MAX)
}

fn extent(conn: &Connection) -> Result<Extent, StoreError> {
    let sql = "SELECT coalesce((SELECT max(id) FROM run), 0), coalesce((SELECT max(seq) FROM leaf), 0), \
        coalesce((SELECT max(id) FROM payment), 0)";
    let read = |row: &Row<'_>| {
        Ok(Extent {
            runs: rows::unsigned(row, 0, "id")?,
            leaves: rows::unsigned(row, 1, "seq")?,
            payments: rows::unsigned(row, 2, "id")?,
        })
    };
    Ok(rows::first(conn, sql, "measure the record", [], read)?.unwrap_or_default())
}

fn file(conn: &Connection) -> Result<Vec<String>, StoreError> {
    let sql = format!("PRAGMA integrity_check({FILE_FAULTS})");
    let mut said = rows::all(conn, &sql, "check the file", [], |row| rows::value(row, 0, "file"))?;
    said.retain(|line: &String| line != "ok");
    Ok(said)
}

fn runs(conn: &Connection, after: u64, limit: u32) -> Result<Vec<ExaminedRun>, StoreError> {
    // One look, so that a run and its money are of one moment.
    let look = conn.unchecked_transaction().map_err(failed_to("begin to read runs"))?;
    let sql = "SELECT r.id, r.run, r.nonce_key, r.payment, n.receipt, p.upfront IS NOT NULL, r.parked FROM run r \
        LEFT JOIN resolution n ON n.run = r.id LEFT JOIN payment p ON p.id = r.payment WHERE r.id > ?1 ORDER BY r.id LIMIT ?2";
    let read = |row: &Row<'_>| {
        let run = RunId::from_stored(rows::value(row, 1, "run")?);
        let record = match rows::run(&look, run) {
            Ok(Some(record)) => Ok(record),
            // The index does not lead to the row that it was made for.
            Ok(None) => Err("run"),
            Err(StoreError::Unreadable { column }) => Err(column),
            Err(other) => return Err(other),
        };
        let parked: Option<i64> = rows::value(row, 6, "parked")?;
        Ok(ExaminedRun {
            place: rows::unsigned(row, 0, "id")?,
            run,
            record,
            nonce_key: rows::value::<Option<_>>(row, 2, "nonce_key")?.map(Digest::from_bytes),
            payment: optional_place(row, 3, "payment")?,
            upfront: rows::value(row, 5, "upfront")?,
            resolution: rows::value(row, 4, "receipt")?,
            has_waited: parked.is_some(),
            parked_with_leaf: parked == Some(parking::WITH_LEAF),
        })
    };
    rows::all(&look, sql, "read runs to check them", (place(after), limit), read)
}

fn optional_place(row: &Row<'_>, index: usize, column: &'static str) -> Result<Option<u64>, StoreError> {
    let found = rows::value::<Option<i64>>(row, index, column)?;
    found.map(u64::try_from).transpose().map_err(|_| StoreError::Unreadable { column })
}

const LEAVES: &str = "SELECT l.seq, l.run, l.kind, l.digest, r.id, coalesce(c.salt, r.salt), CASE l.kind \
    WHEN 'intent' THEN r.intent WHEN 'final' THEN (SELECT receipt FROM ending e WHERE e.run = r.id) \
    WHEN 'resolve' THEN (SELECT receipt FROM resolution n WHERE n.run = r.id) ELSE c.statement END \
    FROM leaf l LEFT JOIN run r ON r.run = l.run LEFT JOIN change c ON c.leaf = l.seq AND l.kind IN ('change', 'approval', 'refusal', 'vote', 'parked', 'settlement') \
    WHERE l.seq > ?1 ORDER BY l.seq LIMIT ?2";

fn leaves(conn: &Connection, after: u64) -> Result<Vec<ExaminedLeaf>, StoreError> {
    rows::all(conn, LEAVES, "read leaves to check them", (place(after), PAGE), |row| {
        let word: String = rows::value(row, 2, "kind")?;
        Ok(ExaminedLeaf {
            seq: rows::unsigned(row, 0, "seq")?,
            run: fitting(row, 1).map(RunId::from_stored),
            kind: LeafKind::from_word(&word).ok_or(word),
            digest: fitting(row, 3).map(Digest::from_bytes),
            place: optional_place(row, 4, "id")?,
            salt: fitting(row, 5),
            behind: rows::value(row, 6, "statement")?,
        })
    })
}

/// A value of the right length; none else.
fn fitting<T: FromSql>(row: &Row<'_>, index: usize) -> Option<T> {
    row.get(index).ok()
}

fn bare_changes(conn: &Connection) -> Result<Vec<u64>, StoreError> {
    let sql = "SELECT leaf FROM change c WHERE NOT EXISTS \
        (SELECT 1 FROM leaf l WHERE l.seq = c.leaf AND l.kind IN ('change', 'approval', 'refusal', 'vote', 'parked', 'settlement')) ORDER BY leaf LIMIT ?1";
    rows::all(conn, sql, "look for changes without a leaf", [TOLD_MAX], |row| rows::unsigned(row, 0, "leaf"))
}

fn parked(conn: &Connection, after: u64) -> Result<Vec<ExaminedParked>, StoreError> {
    let sql = "SELECT p.run, r.run, r.stage, r.fingerprint, p.bytes, p.head, d.payload FROM parked p \
        LEFT JOIN parked_payload d ON d.run = p.run \
        LEFT JOIN run r ON r.id = p.run WHERE p.run > ?1 ORDER BY p.run LIMIT ?2";
    rows::all(conn, sql, "read what waits to check it", (place(after), REQUESTS), |row| {
        let stage: Option<String> = rows::value(row, 2, "stage")?;
        Ok(ExaminedParked {
            place: rows::unsigned(row, 0, "run")?,
            run: fitting(row, 1).map(RunId::from_stored),
            stage: stage.as_deref().and_then(Stage::from_word),
            fingerprint: fitting(row, 3).map(Digest::from_bytes),
            bytes: rows::unsigned(row, 4, "bytes")?,
            head: rows::value(row, 5, "head")?,
            payload: rows::value(row, 6, "payload")?,
        })
    })
}

fn unprepared(conn: &Connection) -> Result<Vec<RunId>, StoreError> {
    let sql = "SELECT r.run FROM run r WHERE r.stage = 'parked' AND r.stage <> 'settled' \
        AND NOT EXISTS (SELECT 1 FROM parked p WHERE p.run = r.id) ORDER BY r.id LIMIT ?1";
    let read = |row: &Row<'_>| Ok(RunId::from_stored(rows::value(row, 0, "run")?));
    rows::all(conn, sql, "look for runs that wait with nothing", [TOLD_MAX], read)
}

fn votes(conn: &Connection, after: u64) -> Result<Vec<ExaminedVote>, StoreError> {
    let sql = "SELECT v.leaf, v.run, v.person, v.approver, v.word, v.at, v.artifact, c.statement FROM vote v \
        LEFT JOIN leaf l ON l.seq = v.leaf AND l.kind = 'vote' AND l.run = v.run LEFT JOIN change c ON c.leaf = l.seq \
        WHERE v.leaf > ?1 ORDER BY v.leaf LIMIT ?2";
    rows::all(conn, sql, "read votes to check them", (place(after), REQUESTS), |row| {
        Ok(ExaminedVote {
            leaf: rows::unsigned(row, 0, "leaf")?,
            run: RunId::from_stored(rows::value(row, 1, "run")?),
            person: rows::value(row, 2, "person")?,
            approver: rows::value(row, 3, "approver")?,
            word: rows::value(row, 4, "word")?,
            at: UnixMs(rows::unsigned(row, 5, "at")?),
            artifact: rows::value(row, 6, "artifact")?,
            statement: rows::value(row, 7, "statement")?,
        })
    })
}

fn bare_votes(conn: &Connection) -> Result<Vec<u64>, StoreError> {
    let sql = "SELECT seq FROM leaf l WHERE l.kind = 'vote' \
        AND NOT EXISTS (SELECT 1 FROM vote v WHERE v.leaf = l.seq) ORDER BY seq LIMIT ?1";
    rows::all(conn, sql, "look for leaves without a vote", [TOLD_MAX], |row| rows::unsigned(row, 0, "seq"))
}

macro_rules! select_payment {
    ($rest:literal) => {
        concat!(
            "SELECT p.id, p.run, p.amount, r.price, r.payment, p.upfront IS NOT NULL, p.rail, p.word, p.reference, ",
            "p.at, c.payment IS NOT NULL, p.again IS NOT NULL, r.settlement, r.rail, r.reference, p.first_reference, p.most FROM payment p LEFT JOIN run r ON r.run = p.run ",
            "LEFT JOIN credit c ON c.payment = p.id ",
            $rest
        )
    };
}

fn payments(conn: &Connection, after: u64) -> Result<Vec<ExaminedPayment>, StoreError> {
    let sql = select_payment!("WHERE p.id > ?1 ORDER BY p.id LIMIT ?2");
    rows::all(conn, sql, "read payments to check them", (place(after), PAGE), examined_payment)
}

fn payment(conn: &Connection, key: Digest) -> Result<Option<ExaminedPayment>, StoreError> {
    let sql = select_payment!("WHERE p.key = ?1");
    rows::first(conn, sql, "read a payment to check it", [key.as_bytes()], examined_payment)
}

fn examined_payment(row: &Row<'_>) -> Result<ExaminedPayment, StoreError> {
    Ok(ExaminedPayment {
        place: rows::unsigned(row, 0, "id")?,
        run: RunId::from_stored(rows::value(row, 1, "run")?),
        amount: Amount::from_micros(rows::unsigned(row, 2, "amount")?),
        price: optional_place(row, 3, "price")?.map(Amount::from_micros),
        newest: optional_place(row, 4, "payment")?,
        upfront: rows::value(row, 5, "upfront")?,
        rail: rows::value(row, 6, "rail")?,
        word: rows::value(row, 7, "word")?,
        reference: rows::value(row, 8, "reference")?,
        at: optional_place(row, 9, "at")?.map(UnixMs),
        is_credit: rows::value(row, 10, "credit")?,
        again: rows::value(row, 11, "again")?,
        settlement: rows::value(row, 12, "settlement")?,
        run_rail: rows::value(row, 13, "rail")?,
        run_reference: rows::value(row, 14, "reference")?,
        first_reference: rows::value(row, 15, "first_reference")?,
        most: optional_place(row, 16, "most")?.map(Amount::from_micros),
    })
}

/// A counter in its window: what it says, and what was found.
type Counters = HashMap<([u8; 32], u64), (u64, u64)>;

fn drifted(conn: &Connection) -> Result<Vec<LimitDrift>, StoreError> {
    // One look: counters and reservations change together.
    let look = conn.unchecked_transaction().map_err(failed_to("begin to read limits"))?;
    let mut found = Vec::new();
    let mut after = Vec::new();
    loop {
        let (mut counters, last) = counters(&look, &after)?;
        let Some(last) = last else { return Ok(found) };
        sum_up(&look, &mut counters)?;
        let drifted = counters.into_iter().filter(|(_, (used, reserved))| used != reserved);
        found.extend(drifted.map(|((key, _), (used, reserved))| {
            let key = Digest::from_bytes(key);
            LimitDrift { key, used, reserved }
        }));
        found.sort_by_key(|drift| drift.key);
        found.truncate(usize::from(TOLD_MAX));
        after = last;
    }
}

/// The next counters, and the key of the last.
fn counters(conn: &Connection, after: &[u8]) -> Result<(Counters, Option<Vec<u8>>), StoreError> {
    let sql = "SELECT key, starts, used FROM spent WHERE key > ?1 ORDER BY key LIMIT ?2";
    let read = |row: &Row<'_>| {
        let (starts, used) = (rows::unsigned(row, 1, "starts")?, rows::unsigned(row, 2, "used")?);
        Ok(((rows::value::<[u8; 32]>(row, 0, "key")?, starts), (used, 0)))
    };
    let page = rows::all(conn, sql, "read limits to check them", (after, COUNTERS_AT_ONCE), read)?;
    let last = page.last().map(|((key, _), _)| key.to_vec());
    Ok((page.into_iter().collect(), last))
}

fn sum_up(conn: &Connection, counters: &mut Counters) -> Result<(), StoreError> {
    let failed = failed_to("read reservations to check them");
    let mut statement =
        conn.prepare("SELECT reserved FROM run WHERE reserved IS NOT NULL").map_err(failed)?;
    let mut runs = statement.query([]).map_err(failed)?;
    while let Some(row) = runs.next().map_err(failed)? {
        let kept: Vec<u8> = rows::value(row, 0, "reserved")?;
        for (key, starts, amount) in limits::reservations(&kept)? {
            if let Some((_, reserved)) = counters.get_mut(&(key, starts)) {
                // As the counter itself: what is in shadow only ends at what SQLite can hold.
                *reserved = reserved.saturating_add(amount).min(limits::USED_MAX);
            }
        }
    }
    Ok(())
}
