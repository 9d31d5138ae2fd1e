//! Pages of runs, and the runs of dead instances. Neither reads history that it does not show.

use execgate_model::{InstanceId, RunId, Stage, UnixMs};
use rusqlite::Connection;

use super::fault::failed_to;
use super::instances::{self, Instances};
use super::rows::{self, select_brief, select_record};
use crate::{Page, Record, StoreError};

/// Runs on one page at most.
const PAGE_RUNS: u32 = 1_000;

// `INDEXED BY` makes a query that would read all of history an error instead of a slow answer.
const ANY_STAGE: &str = select_brief!(
    "run_by_created",
    "WHERE (r.created, r.id) < (?1, ?2) ORDER BY r.created DESC, r.id DESC LIMIT ?3"
);

/// Open runs are few, so passing over them is cheap.
const SETTLED: &str = select_brief!(
    "run_by_created",
    "WHERE (r.created, r.id) < (?1, ?2) AND r.stage = 'settled' ORDER BY r.created DESC, r.id DESC LIMIT ?3"
);

const NOT_SETTLED: &str = select_brief!(
    "run_open",
    "WHERE r.stage <> 'settled' AND r.stage = ?4 AND (r.created, r.id) < (?1, ?2) \
    ORDER BY r.created DESC, r.id DESC LIMIT ?3"
);

/// What an instance has not told the end of.
const EXECUTING_OF: &str = select_record!(
    "run_open",
    "WHERE r.stage <> 'settled' AND r.stage = 'execute' AND r.instance = ?1 AND r.created < ?2"
);

/// What it has told the end of, and has not moved the money of.
const HOLDING_OF: &str = select_record!(
    "run_held",
    "WHERE r.settlement IN ('held', 'capturing') AND r.instance = ?1 AND r.stage <> 'execute' AND r.created < ?2"
);

/// Of the living, only what is over: an unknown run whose hold could not be let go of is asked for again.
const UNRELEASED_OF: &str = select_record!(
    "run_held",
    "WHERE r.settlement IN ('held', 'capturing') AND r.instance = ?1 AND r.stage = 'unknown'"
);

/// A page of runs, newest first. A `before` that names no run gives an empty page.
pub(super) fn list(conn: &Connection, page: Page) -> Result<Vec<Record>, StoreError> {
    let doing = "list runs";
    let Some((created, row)) = page.before.map_or(Ok(Some((i64::MAX, i64::MAX))), |run| place(conn, run))?
    else {
        return Ok(Vec::new());
    };
    let limit = page.limit.min(PAGE_RUNS);
    match page.stage {
        None => rows::all(conn, ANY_STAGE, doing, (created, row, limit), rows::record),
        Some(Stage::Settled) => rows::all(conn, SETTLED, doing, (created, row, limit), rows::record),
        Some(stage) => {
            rows::all(conn, NOT_SETTLED, doing, (created, row, limit, stage.as_str()), rows::record)
        }
    }
}

/// Where a page starts that comes behind a run.
pub(super) fn place(conn: &Connection, run: RunId) -> Result<Option<(i64, i64)>, StoreError> {
    let sql = "SELECT created, id FROM run WHERE run = ?1";
    let read = |row: &rusqlite::Row<'_>| Ok((rows::value(row, 0, "created")?, rows::value(row, 1, "id")?));
    rows::first(conn, sql, "find the start of a page", [run.as_bytes()], read)
}

/// The runs of dead instances, oldest first. Takes the locks of these instances before it reads their runs.
pub(super) fn orphans(conn: &Connection, instances: &Instances) -> Result<Vec<Record>, StoreError> {
    let mine = instances.mine();
    let mut found = rows::all(conn, UNRELEASED_OF, "read orphans", [mine.as_bytes()], rows::record)?;
    for dead in instances.adopt(conn, instances::seen_in_unended_runs(conn)?)? {
        found.extend(unended(conn, "read orphans", dead, i64::MAX)?);
    }
    found.sort_by_key(|record| record.created);
    Ok(found)
}

/// The runs of this instance that are not ended, claimed before a time, oldest first: those that walk, and those that
/// nobody walks with any more.
pub(super) fn own_unended(
    conn: &Connection,
    mine: InstanceId,
    before: UnixMs,
) -> Result<Vec<Record>, StoreError> {
    let doing = "read own runs";
    let mut found = unended(conn, doing, mine, rows::stored(before.0, doing)?)?;
    found.sort_by_key(|record| record.created);
    Ok(found)
}

/// What an instance has not ended of what was claimed before a time.
fn unended(
    conn: &Connection,
    doing: &'static str,
    of: InstanceId,
    before: i64,
) -> Result<Vec<Record>, StoreError> {
    // In one state of the record: a run that ended between would be in both, or in none.
    let transaction = conn.unchecked_transaction().map_err(failed_to(doing))?;
    let params = (of.as_bytes(), before);
    let mut found = rows::all(&transaction, EXECUTING_OF, doing, params, rows::record)?;
    found.extend(rows::all(&transaction, HOLDING_OF, doing, params, rows::record)?);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::{ANY_STAGE, EXECUTING_OF, HOLDING_OF, NOT_SETTLED, SETTLED, UNRELEASED_OF};
    use crate::sqlite::audit::{NEWEST, OLDEST, WRITTEN};
    use crate::sqlite::finality;
    use crate::sqlite::forget::OLD_ANSWERS;
    use crate::sqlite::instances::{EXECUTING_INSTANCES, HOLDING_INSTANCES};
    use crate::sqlite::migrate::migrate;
    use crate::sqlite::money::{EARNED, OPEN, OPEN_OF, REVERSED};
    use crate::sqlite::parking::PAGE;
    use crate::sqlite::watch::DUE;

    #[test]
    fn no_listing_scans_or_sorts_history() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn).unwrap();
        for sql in [
            EARNED,
            REVERSED,
            finality::DUE,
            OPEN,
            OPEN_OF,
            ANY_STAGE,
            SETTLED,
            NOT_SETTLED,
            EXECUTING_OF,
            HOLDING_OF,
            DUE,
            UNRELEASED_OF,
            EXECUTING_INSTANCES,
            HOLDING_INSTANCES,
            OLD_ANSWERS,
            NEWEST,
            OLDEST,
            WRITTEN,
            PAGE,
        ] {
            let mut plan = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let parameters = plan.parameter_count();
            let steps =
                plan.query_map(rusqlite::params_from_iter(vec![0; parameters]), |row| row.get("detail"));
            let steps: Vec<String> = steps.unwrap().map(Result::unwrap).collect();
            let scans = steps.iter().filter(|step| step.starts_with("SCAN"));
            assert_eq!(scans.collect::<Vec<_>>(), Vec::<&String>::new(), "{sql}\n{steps:#?}");
            let sorts = steps.iter().any(|step| step.contains("ORDER BY"));
            assert!(!sorts, "{sql}\n{steps:#?}");
        }
    }
}
