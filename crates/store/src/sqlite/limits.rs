//! Limits: counted and reserved within the claim transaction, given back with its undoing.
//!
//! Must never count a claim that is not made, nor give back more than was taken. There is one writer at a time, so
//! that what is read here is still so when it is written.

use execgate_model::{RunId, UnixMs};
use rusqlite::{Connection, Row};

use super::fault::backend;
use super::rows;
use crate::{LimitClaim, LimitReached, StoreError};

/// Counters that one transaction forgets: few enough that the claims behind it do not notice.
pub(super) const COUNTERS_PER_BATCH: u32 = 256;

/// Bytes of one reservation in the row of its run: key, start, amount.
const RESERVATION_BYTES: usize = 48;

/// What SQLite can hold. Only a limit in shadow gets there.
pub(super) const USED_MAX: u64 = i64::MAX.unsigned_abs();

const READ: &str = "SELECT starts, ends, used FROM spent WHERE key = ?1";

/// A counter as it stands.
#[derive(Clone, Copy)]
struct Counter {
    starts: u64,
    ends: u64,
    used: u64,
}

/// A reservation that fits, and the counter that it goes to.
struct Fitting<'c> {
    limit: &'c LimitClaim,
    /// The counter, where its window is the one that counts.
    current: Option<Counter>,
}

impl Fitting<'_> {
    /// The window that counts never goes back: where the clock did, the later one still counts.
    fn starts(&self) -> u64 {
        self.current.map_or(self.limit.starts.0, |counter| counter.starts)
    }
}

/// Looks whether every limit has room for this claim. Nothing is written yet.
fn fit<'c>(
    conn: &Connection,
    run: RunId,
    limits: &'c [LimitClaim],
) -> Result<Result<Vec<Fitting<'c>>, LimitReached>, StoreError> {
    let mut fitting = Vec::with_capacity(limits.len());
    for limit in limits {
        let stored = rows::first(conn, READ, "read a limit", [limit.key.as_bytes()], counter)?;
        let current = stored.filter(|counter| counter.starts >= limit.starts.0);
        let used = current.map_or(0, |counter| counter.used);
        if used.checked_add(limit.amount).is_none_or(|sum| sum > limit.max) {
            if limit.enforced {
                let ends = current.map_or(limit.ends, |counter| UnixMs(counter.ends));
                return Ok(Err(LimitReached { rule: limit.rule.clone(), ends }));
            }
            tracing::warn!(%run, rule = limit.rule, "a limit in shadow would have refused this run");
        }
        fitting.push(Fitting { limit, current });
    }
    Ok(Ok(fitting))
}

fn counter(row: &Row<'_>) -> Result<Counter, StoreError> {
    let number = |index, column| {
        u64::try_from(rows::value::<i64>(row, index, column)?).map_err(|_| StoreError::Unreadable { column })
    };
    Ok(Counter { starts: number(0, "starts")?, ends: number(1, "ends")?, used: number(2, "used")? })
}

/// Reserves what a claim uses up of its limits, all or nothing. Gives what the row of the run keeps of it.
pub(super) fn reserve(
    conn: &Connection,
    run: RunId,
    limits: &[LimitClaim],
) -> Result<Result<Option<Vec<u8>>, LimitReached>, StoreError> {
    if limits.is_empty() {
        return Ok(Ok(None));
    }
    let fitting = match fit(conn, run, limits)? {
        Ok(fitting) => fitting,
        Err(reached) => return Ok(Err(reached)),
    };
    let mut kept = Vec::with_capacity(limits.len() * RESERVATION_BYTES);
    for fit in &fitting {
        write(conn, fit)?;
        kept.extend_from_slice(fit.limit.key.as_bytes());
        kept.extend_from_slice(&fit.starts().to_be_bytes());
        kept.extend_from_slice(&fit.limit.amount.min(USED_MAX).to_be_bytes());
    }
    Ok(Ok(Some(kept)))
}

fn write(conn: &Connection, fit: &Fitting<'_>) -> Result<(), StoreError> {
    let doing = "reserve of a limit";
    let key = fit.limit.key.as_bytes();
    let used = fit.current.map_or(0, |counter| counter.used).saturating_add(fit.limit.amount);
    let used = rows::stored(used.min(USED_MAX), doing)?;
    if fit.current.is_some() {
        rows::change(conn, "UPDATE spent SET used = ?2 WHERE key = ?1", doing, (key, used))?;
        return Ok(());
    }
    let sql = "INSERT INTO spent (key, starts, ends, used) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (key) DO UPDATE \
        SET starts = excluded.starts, ends = excluded.ends, used = excluded.used";
    let (starts, ends) = (rows::stored(fit.limit.starts.0, doing)?, rows::stored(fit.limit.ends.0, doing)?);
    rows::change(conn, sql, doing, (key, starts, ends, used))?;
    Ok(())
}

/// What the row of a run keeps of its reservations: key, start of the window, amount.
pub(super) fn reservations(kept: &[u8]) -> Result<Vec<([u8; 32], u64, u64)>, StoreError> {
    let unreadable = || StoreError::Unreadable { column: "reserved" };
    let (reservations, rest) = kept.as_chunks::<RESERVATION_BYTES>();
    if !rest.is_empty() {
        return Err(unreadable());
    }
    let read = |reservation: &[u8; RESERVATION_BYTES]| {
        let (key, numbers) = reservation.split_first_chunk::<32>()?;
        let (starts, amount) = numbers.split_first_chunk::<8>()?;
        Some((*key, u64::from_be_bytes(*starts), u64::from_be_bytes(*amount.first_chunk()?)))
    };
    reservations.iter().map(|reservation| read(reservation).ok_or_else(unreadable)).collect()
}

/// Gives back what a run has reserved, where its window still counts.
pub(super) fn give_back(conn: &Connection, reserved: &[u8]) -> Result<(), StoreError> {
    let doing = "give back of a limit";
    for (key, starts, amount) in reservations(reserved)? {
        let (starts, amount) = (rows::stored(starts, doing)?, rows::stored(amount, doing)?);
        let sql = "UPDATE spent SET used = max(used - ?3, 0) WHERE key = ?1 AND starts = ?2";
        rows::change(conn, sql, doing, (key, starts, amount))?;
    }
    Ok(())
}

/// Forgets one batch of counters whose window was over before then; says how many.
pub(super) fn forget_batch(conn: &Connection, before: UnixMs) -> Result<u32, StoreError> {
    let sql = "DELETE FROM spent WHERE key IN \
        (SELECT key FROM spent INDEXED BY spent_by_end WHERE ends <= ?1 ORDER BY ends LIMIT ?2)";
    let before = i64::try_from(before.0).unwrap_or(i64::MAX);
    let forgotten = rows::change(conn, sql, "forget limits", (before, COUNTERS_PER_BATCH))?;
    u32::try_from(forgotten).map_err(|error| backend("forget limits", error))
}
