//! Forgetting answers after their retention, by age and by size. Nonces, claims and receipts stay.

use execgate_model::UnixMs;
use rusqlite::{Connection, Row};

use super::rows;
use crate::StoreError;

/// Answers that one transaction forgets: few enough that the claims behind it do not notice.
pub(super) const ANSWERS_PER_BATCH: u32 = 256;

/// Those of one batch that are older than a time. From an index that holds only answers that are still there.
pub(super) const OLD_ANSWERS: &str = "SELECT run FROM ending INDEXED BY ending_kept \
    WHERE kept IS NOT NULL AND finished < ?1 ORDER BY finished LIMIT ?2";

/// The oldest of one batch, and how large each is. The index alone is read.
pub(super) const OLDEST_ANSWERS: &str = "SELECT run, kept FROM ending INDEXED BY ending_kept \
    WHERE kept IS NOT NULL ORDER BY finished LIMIT ?1";

/// How large all are. The index alone is read: some 20 bytes for each answer.
pub(super) const KEPT_BYTES: &str =
    "SELECT coalesce(sum(kept), 0) FROM ending INDEXED BY ending_kept WHERE kept IS NOT NULL";

/// Forgets one batch of answers of runs that ended before then, oldest first; says how many.
pub(super) fn forget_batch(conn: &Connection, before: UnixMs) -> Result<u32, StoreError> {
    let sql = format!(
        "UPDATE ending SET status = NULL, content_type = NULL, body = NULL, kept = NULL WHERE run IN ({OLD_ANSWERS})"
    );
    // A time beyond what SQLite stores is later than any stored one.
    let before = i64::try_from(before.0).unwrap_or(i64::MAX);
    let forgotten = rows::change(conn, &sql, "forget answers", (before, ANSWERS_PER_BATCH))?;
    Ok(u32::try_from(forgotten).unwrap_or(ANSWERS_PER_BATCH))
}

/// How many bytes the answers that are kept have together.
pub(super) fn kept_bytes(conn: &Connection) -> Result<u64, StoreError> {
    let read = |row: &Row<'_>| rows::unsigned(row, 0, "kept");
    Ok(rows::first(conn, KEPT_BYTES, "measure the answers", [], read)?.unwrap_or_default())
}

/// What one batch has forgotten.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Forgotten {
    pub(super) answers: u64,
    pub(super) bytes: u64,
}

/// Forgets one batch of the oldest answers, until as many bytes are gone as are too many.
pub(super) fn trim_batch(conn: &Connection, too_many: u64) -> Result<Forgotten, StoreError> {
    let doing = "forget the oldest answers";
    let read = |row: &Row<'_>| Ok((rows::value::<i64>(row, 0, "run")?, rows::unsigned(row, 1, "kept")?));
    let mut gone = Forgotten::default();
    for (run, bytes) in rows::all(conn, OLDEST_ANSWERS, doing, [ANSWERS_PER_BATCH], read)? {
        if gone.bytes >= too_many {
            break;
        }
        let sql =
            "UPDATE ending SET status = NULL, content_type = NULL, body = NULL, kept = NULL WHERE run = ?1";
        rows::change(conn, sql, doing, [run])?;
        gone = Forgotten { answers: gone.answers + 1, bytes: gone.bytes + bytes };
    }
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::{KEPT_BYTES, OLDEST_ANSWERS};
    use crate::sqlite::migrate::migrate;

    #[test]
    fn no_answer_is_read_to_be_measured() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn).unwrap();
        for sql in [KEPT_BYTES, OLDEST_ANSWERS] {
            let mut plan = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let parameters = vec![0; plan.parameter_count()];
            let steps = plan.query_map(rusqlite::params_from_iter(parameters), |row| row.get("detail"));
            let steps: Vec<String> = steps.unwrap().map(Result::unwrap).collect();
            assert!(steps.iter().all(|step| step.contains("COVERING INDEX ending_kept")), "{steps:#?}");
        }
    }
}
