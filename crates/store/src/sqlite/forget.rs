//! Forgetting answers after their retention. Nonces, claims and receipts stay.

use execgate_model::UnixMs;
use rusqlite::Connection;

use super::rows;
use crate::StoreError;

/// Answers that one transaction forgets: few enough that the claims behind it do not notice.
pub(super) const ANSWERS_PER_BATCH: u32 = 256;

/// The rows of one batch, from a partial index that holds only answers that are still there.
pub(super) const OLDEST_ANSWERS: &str = "SELECT run FROM ending INDEXED BY ending_with_answer \
    WHERE status IS NOT NULL AND finished < ?1 ORDER BY finished LIMIT ?2";

/// Forgets one batch of answers of runs that ended before then, oldest first; says how many.
pub(super) fn forget_batch(conn: &Connection, before: UnixMs) -> Result<u32, StoreError> {
    let sql = format!(
        "UPDATE ending SET status = NULL, content_type = NULL, body = NULL WHERE run IN ({OLDEST_ANSWERS})"
    );
    // A time beyond what SQLite stores is later than any stored one.
    let before = i64::try_from(before.0).unwrap_or(i64::MAX);
    let forgotten = rows::change(conn, &sql, "forget answers", (before, ANSWERS_PER_BATCH))?;
    Ok(u32::try_from(forgotten).unwrap_or(ANSWERS_PER_BATCH))
}
