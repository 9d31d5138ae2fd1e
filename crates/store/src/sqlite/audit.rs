//! The audit trail in its table: appended, read page by page, cut at its end. Nothing of it is ever changed.

use execgate_model::{Digest, RunId, UnixMs};
use rusqlite::{Connection, Row, params};
use serde::de::DeserializeOwned;

use super::fault::backend;
use super::rows;
use crate::{
    AUDIT_PAGE_MAX, AuditDecision, AuditEntry, AuditLine, AuditOrder, AuditPlace, AuditQuery, StoreError,
};

/// Lines that one transaction forgets: few enough that the claims behind it do not notice.
pub(super) const LINES_PER_BATCH: u32 = 256;

const INSERT: &str = "INSERT INTO audit (at, tenant, caller, surface, action, effect, run, nonce, decision, room, rule, \
    outcome, iam, keys, args_digest, policy, rooms, total_us, omitted) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)";

/// The columns, in the order that [`entry`] reads them; `?1` to `?6` select. `INDEXED BY` makes a query that would
/// sort the trail an error instead of a slow answer.
macro_rules! select_lines {
    ($from:literal, $rest:literal) => {
        concat!(
            "SELECT seq, at, tenant, caller, surface, action, effect, run, nonce, decision, room, rule, outcome, ",
            "iam, keys, args_digest, policy, rooms, total_us, omitted FROM audit ",
            $from,
            " WHERE (?2 IS NULL OR tenant = ?2) AND (?3 IS NULL OR caller = ?3) AND (?4 IS NULL OR action = ?4) ",
            "AND (?5 IS NULL OR rule = ?5) AND (?6 IS NULL OR decision = ?6) ",
            $rest,
            " LIMIT ?1"
        )
    };
}

pub(super) const NEWEST: &str = select_lines!(
    "INDEXED BY audit_by_at",
    "AND (at, seq) < (?7, ?8) AND at >= ?9 ORDER BY at DESC, seq DESC"
);

pub(super) const OLDEST: &str =
    select_lines!("INDEXED BY audit_by_at", "AND (at, seq) > (?7, ?8) AND at < ?9 ORDER BY at, seq");

pub(super) const WRITTEN: &str =
    select_lines!("NOT INDEXED", "AND seq > ?7 AND at >= ?8 AND at < ?9 ORDER BY seq");

/// Appends lines.
pub(super) fn append(conn: &Connection, lines: &[AuditLine]) -> Result<(), StoreError> {
    let doing = "append to the audit trail";
    let text = |value: Result<String, serde_json::Error>| value.map_err(|error| backend(doing, error));
    for line in lines {
        let params = params![
            rows::stored(line.at.0, doing)?,
            line.tenant,
            line.caller,
            line.surface,
            line.action,
            rows::effect_word(line.effect),
            line.run.as_ref().map(RunId::as_bytes),
            line.has_nonce,
            line.decision.as_str(),
            line.room,
            line.rule,
            line.outcome,
            line.iam,
            text(serde_json::to_string(&line.argument_keys))?,
            line.args_digest.as_ref().map(Digest::as_bytes),
            line.policy.as_ref().map(Digest::as_bytes),
            text(serde_json::to_string(&line.rooms))?,
            rows::stored(line.total_us, doing)?,
            rows::stored(line.omitted, doing)?,
        ];
        rows::change(conn, INSERT, doing, params)?;
    }
    Ok(())
}

/// A page of the trail.
pub(super) fn page(conn: &Connection, query: &AuditQuery) -> Result<Vec<AuditEntry>, StoreError> {
    let since = query.since.map_or(0, time);
    let until = query.until.map_or(i64::MAX, time);
    let (sql, from, behind, bound) = match (query.order, query.after) {
        // What is before a moment is before all lines of that moment.
        (AuditOrder::Newest, None) => (NEWEST, until, i64::MIN, since),
        (AuditOrder::Newest, Some(place)) => {
            let (at, seq) = (time(place.at), number(place.seq));
            let (at, seq) = if at < until { (at, seq) } else { (until, i64::MIN) };
            (NEWEST, at, seq, since)
        }
        (AuditOrder::Oldest, None) => (OLDEST, since, i64::MIN, until),
        (AuditOrder::Oldest, Some(place)) => {
            let (at, seq) = (time(place.at), number(place.seq));
            let (at, seq) = if at >= since { (at, seq) } else { (since, i64::MIN) };
            (OLDEST, at, seq, until)
        }
        (AuditOrder::Written, after) => {
            (WRITTEN, after.map_or(i64::MIN, |place| number(place.seq)), since, until)
        }
    };
    let params = params![
        query.limit.min(AUDIT_PAGE_MAX),
        query.tenant,
        query.caller,
        query.action,
        query.rule,
        query.decision.map(AuditDecision::as_str),
        from,
        behind,
        bound,
    ];
    rows::all(conn, sql, "read the audit trail", params, entry)
}

/// Forgets one batch of lines from before then; says how many.
pub(super) fn forget_batch(conn: &Connection, before: UnixMs) -> Result<u32, StoreError> {
    let sql = "DELETE FROM audit WHERE seq IN \
        (SELECT seq FROM audit INDEXED BY audit_by_at WHERE at < ?1 ORDER BY at LIMIT ?2)";
    let forgotten = rows::change(conn, sql, "forget of the audit trail", (time(before), LINES_PER_BATCH))?;
    Ok(u32::try_from(forgotten).unwrap_or(LINES_PER_BATCH))
}

/// By how many lines there are more than so many.
pub(super) fn beyond(conn: &Connection, keep: u64) -> Result<u64, StoreError> {
    let count = |row: &Row<'_>| rows::unsigned(row, 0, "count");
    let lines = rows::first(conn, "SELECT count(*) FROM audit", "count the audit trail", [], count)?;
    Ok(lines.unwrap_or_default().saturating_sub(keep))
}

/// Forgets one batch of at most so many lines: of those that were written first, the lines of runs, which are in the record
/// themselves, before all others. Nobody pushes a refusal out by running something often.
pub(super) fn trim_batch(conn: &Connection, most: u64) -> Result<u32, StoreError> {
    let most = u32::try_from(most).unwrap_or(u32::MAX).min(LINES_PER_BATCH);
    let runs = "DELETE FROM audit WHERE seq IN (SELECT seq FROM audit INDEXED BY audit_of_runs \
        WHERE decision = 'allowed' ORDER BY seq LIMIT ?1)";
    let doing = "trim the audit trail";
    let forgotten = u32::try_from(rows::change(conn, runs, doing, [most])?).unwrap_or(most);
    let others = "DELETE FROM audit WHERE seq IN (SELECT seq FROM audit ORDER BY seq LIMIT ?1)";
    let more = rows::change(conn, others, doing, [most.saturating_sub(forgotten)])?;
    Ok(forgotten.saturating_add(u32::try_from(more).unwrap_or(most)))
}

/// A time beyond what SQLite stores is later than any stored one.
fn time(at: UnixMs) -> i64 {
    number(at.0)
}

fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn entry(row: &Row<'_>) -> Result<AuditEntry, StoreError> {
    let at = UnixMs(rows::unsigned(row, 1, "at")?);
    let line = AuditLine {
        at,
        tenant: rows::value(row, 2, "tenant")?,
        caller: rows::value(row, 3, "caller")?,
        surface: rows::value(row, 4, "surface")?,
        action: rows::value(row, 5, "action")?,
        effect: rows::word(row, 6, "effect", rows::effect_from_word)?,
        run: rows::value::<Option<_>>(row, 7, "run")?.map(RunId::from_stored),
        has_nonce: rows::value(row, 8, "nonce")?,
        decision: rows::word(row, 9, "decision", AuditDecision::from_word)?,
        room: rows::value(row, 10, "room")?,
        rule: rows::value(row, 11, "rule")?,
        outcome: rows::value(row, 12, "outcome")?,
        iam: rows::value(row, 13, "iam")?,
        argument_keys: json(row, 14, "keys")?,
        args_digest: rows::value::<Option<_>>(row, 15, "args_digest")?.map(Digest::from_bytes),
        policy: rows::value::<Option<_>>(row, 16, "policy")?.map(Digest::from_bytes),
        rooms: json(row, 17, "rooms")?,
        total_us: rows::unsigned(row, 18, "total_us")?,
        omitted: rows::unsigned(row, 19, "omitted")?,
    };
    Ok(AuditEntry { place: AuditPlace { at, seq: rows::unsigned(row, 0, "seq")? }, line })
}

fn json<T: DeserializeOwned>(row: &Row<'_>, index: usize, column: &'static str) -> Result<T, StoreError> {
    rows::word(row, index, column, |text| serde_json::from_str(text).ok())
}
