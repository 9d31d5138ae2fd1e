//! What payers are held to: one whose payment failed when the work was done, or whose work ran into too many timeouts that
//! are not charged, pays before the work for a while.

use execgate_model::UnixMs;
use rusqlite::Connection;

use super::rows;
use crate::money::{
    FAILED_FOR_MS, REDEEMED_BY, SPARED_ALL_MAX, SPARED_MAX, SPARED_PAID_MAX, SPARED_WINDOW_MS, spared_each,
};
use crate::{Claimed, StoreError};

/// What stands for all payers together of whom nothing was ever taken, and for all others together, where they are counted: no
/// payer is called so. New payers cost nothing, so that those who have paid do not wait for them.
const UNPAID: &str = "*";
const PAID: &str = "+";

/// Windows that are over and forgotten with each new one, so that they never become more than those that count.
const FORGOTTEN_AT_ONCE: u32 = 8;

/// Why a payer has to pay before the work now, where it has.
pub(super) fn obstacle(conn: &Connection, payer: &str, at: UnixMs) -> Result<Option<Claimed>, StoreError> {
    let doing = "look what a payer is held to";
    let since = |ms: u64| rows::stored(at.0.saturating_sub(ms), doing);
    let sql = "SELECT 1 FROM payer_failed WHERE payer = ?1 AND at > ?2";
    if rows::first(conn, sql, doing, (payer, since(FAILED_FOR_MS)?), |_| Ok(()))?.is_some() {
        return Ok(Some(Claimed::UpfrontOnly));
    }
    let sql = "SELECT 1 FROM payer_taken WHERE payer = ?1";
    let has_paid = rows::first(conn, sql, doing, [payer], |_| Ok(()))?.is_some();
    let (all, all_max) = if has_paid { (PAID, SPARED_PAID_MAX) } else { (UNPAID, SPARED_ALL_MAX) };
    let since = since(SPARED_WINDOW_MS)?;
    let spared = |whose: &str| {
        let sql = "SELECT runs FROM payer_spared WHERE payer = ?1 AND starts > ?2";
        let runs = rows::first(conn, sql, doing, (whose, since), |row| rows::value::<u32>(row, 0, "runs"))?;
        Ok::<_, StoreError>(runs.unwrap_or_default())
    };
    let (own, of_all) = (spared(payer)?, spared(all)?);
    let is_over_its_share = has_paid && own >= spared_each(of_all);
    Ok(if own >= SPARED_MAX {
        Some(Claimed::SparedEnough)
    } else {
        (of_all >= all_max || is_over_its_share).then_some(Claimed::SparedEnoughInAll)
    })
}

/// Takes note that a payment could not be taken when the work was done.
pub(super) fn note_failed(conn: &Connection, payment: i64, at: UnixMs) -> Result<(), StoreError> {
    let sql = "INSERT INTO payer_failed (payer, at, paid) SELECT payer, ?2, 0 FROM payment WHERE id = ?1 \
        ON CONFLICT DO UPDATE SET at = excluded.at, paid = 0";
    let doing = "note a failed payment";
    rows::change(conn, sql, doing, (payment, rows::stored(at.0, doing)?)).map(|_| ())
}

/// Takes note that a payment was taken: its payer has paid, and one that was taken before the work counts for it.
pub(super) fn note_taken(conn: &Connection, payment: i64) -> Result<(), StoreError> {
    let doing = "note that a payer has paid";
    let sql = "INSERT OR IGNORE INTO payer_taken (payer) SELECT payer FROM payment WHERE id = ?1";
    rows::change(conn, sql, doing, [payment])?;
    let sql = "UPDATE payer_failed SET paid = paid + 1 \
        WHERE payer = (SELECT payer FROM payment WHERE id = ?1 AND upfront = 1)";
    if rows::change(conn, sql, doing, [payment])? == 0 {
        return Ok(());
    }
    let sql = "DELETE FROM payer_failed \
        WHERE payer = (SELECT payer FROM payment WHERE id = ?1) AND paid >= ?2";
    rows::change(conn, sql, doing, (payment, REDEEMED_BY)).map(|_| ())
}

/// Takes note that work of a payer ran into a timeout that is not charged: of it, and of all together who are as it is.
pub(super) fn note_spared(conn: &Connection, payment: i64, at: UnixMs) -> Result<(), StoreError> {
    let doing = "note a timeout that is not charged";
    let (at, over) =
        (rows::stored(at.0, doing)?, rows::stored(at.0.saturating_sub(SPARED_WINDOW_MS), doing)?);
    let sql = "DELETE FROM payer_spared WHERE payer IN \
        (SELECT payer FROM payer_spared INDEXED BY payer_spared_by_starts WHERE starts <= ?1 LIMIT ?2)";
    rows::change(conn, sql, doing, (over, FORGOTTEN_AT_ONCE))?;
    let sql = "INSERT INTO payer_spared (payer, starts, runs) SELECT payer, ?2, 1 \
        FROM (SELECT payer FROM payment WHERE id = ?1 UNION ALL \
        SELECT iif(EXISTS (SELECT 1 FROM payment p JOIN payer_taken t ON t.payer = p.payer WHERE p.id = ?1), ?5, ?4)) \
        WHERE TRUE \
        ON CONFLICT DO UPDATE SET runs = CASE WHEN starts > ?3 THEN runs + 1 ELSE 1 END, \
        starts = CASE WHEN starts > ?3 THEN starts ELSE excluded.starts END";
    rows::change(conn, sql, doing, (payment, at, over, UNPAID, PAID)).map(|_| ())
}
