//! The schema, step by step. A step that has shipped never changes.

use rusqlite::{Connection, Error as SqlError, TransactionBehavior};

/// The steps, in order, each with the version that it leaves behind.
const STEPS: &[(i32, &str)] = &[
    (1, include_str!("migrations/0001_runs.sql")),
    (2, include_str!("migrations/0002_limits.sql")),
    (3, include_str!("migrations/0003_grants.sql")),
    (4, include_str!("migrations/0004_secureexec.sql")),
    (5, include_str!("migrations/0005_audit.sql")),
    (6, include_str!("migrations/0006_change.sql")),
    (7, include_str!("migrations/0007_grant_policy.sql")),
    (8, include_str!("migrations/0008_calls.sql")),
    (9, include_str!("migrations/0009_log.sql")),
    (10, include_str!("migrations/0010_approvals.sql")),
    (11, include_str!("migrations/0011_answers.sql")),
    (12, include_str!("migrations/0012_own_key.sql")),
    (13, include_str!("migrations/0013_parked.sql")),
    (14, include_str!("migrations/0014_parked_head.sql")),
    (15, include_str!("migrations/0015_log_outside.sql")),
    (16, include_str!("migrations/0016_money.sql")),
    (17, include_str!("migrations/0017_watch.sql")),
    (18, include_str!("migrations/0018_till.sql")),
    (19, include_str!("migrations/0019_finality.sql")),
    (20, include_str!("migrations/0020_metered.sql")),
    (21, include_str!("migrations/0021_run_held.sql")),
    (22, include_str!("migrations/0022_payer_taken.sql")),
    (23, include_str!("migrations/0023_payment_unasked.sql")),
];

/// The newest version that this release knows.
pub(super) const KNOWN: i32 = 23;

/// Why a file's schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub(super) enum MigrateError {
    /// A later release has written the file. Reading it with this one could lose what it means.
    #[error("the database has schema version {found}, and this release knows {known}: use a newer release")]
    Newer {
        /// The version of the file.
        found: i32,
        /// The newest that this release knows.
        known: i32,
    },
    /// SQLite failed; the file is as it was.
    #[error("failed to apply the schema")]
    Sql(#[from] SqlError),
}

/// Applies what is missing in one transaction, so that a file never has half a step.
pub(super) fn migrate(conn: &mut Connection) -> Result<(), MigrateError> {
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: i32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > KNOWN {
        return Err(MigrateError::Newer { found, known: KNOWN });
    }
    for (version, step) in STEPS.iter().filter(|(version, _)| *version > found) {
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", version)?;
    }
    transaction.commit()?;
    Ok(())
}
