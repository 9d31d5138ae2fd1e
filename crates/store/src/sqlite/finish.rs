//! The second durable point: outcome, receipt, answer and leaf; and what a person says of an unknown run.

use execgate_model::Stage;
use rusqlite::{Connection, Row};

use super::fault::backend;
use super::{holds, own_keys, parking, payers, rows};
use crate::{Finish, Finished, LeafKind, Resolution, SettlementWord, StoreError};

const UPDATE_RUN: &str = "UPDATE run SET stage = ?1, settlement = CASE WHEN ?4 AND settlement = 'held' THEN 'capturing' ELSE settlement END \
    WHERE run = ?2 AND stage = 'execute' AND instance = ?3 RETURNING id, parked, payment, settlement";

const INSERT_ENDING: &str = "INSERT INTO ending (run, outcome, content, finished, status, content_type, receipt, body, kept) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, length(?8))";

/// Records an outcome, if the run is still in `execute` of that instance; else only a `late` leaf.
pub(super) fn finish(conn: &Connection, finish: &Finish) -> Result<Finished, StoreError> {
    let doing = "record an outcome";
    match finish.stage {
        Stage::Witness | Stage::Settled | Stage::Unknown => {}
        Stage::Parked | Stage::Execute => {
            return Err(backend(doing, format!("no run ends in `{}`", finish.stage.as_str())));
        }
    }
    let params = (finish.stage.as_str(), finish.run.as_bytes(), finish.instance.as_bytes(), finish.charged);
    let ended = |row: &Row<'_>| {
        let (id, parked) = (rows::value(row, 0, "id")?, rows::value::<Option<i64>>(row, 1, "parked")?);
        let word = rows::word(row, 3, "settlement", SettlementWord::from_word)?;
        Ok((id, parked, rows::value::<Option<i64>>(row, 2, "payment")?, word))
    };
    let Some((row, parked, payment, word)) = rows::first(conn, UPDATE_RUN, doing, params, ended)? else {
        if is_recorded(conn, finish)? {
            return Ok(Finished::Recorded);
        }
        rows::append_leaf(conn, finish.run, LeafKind::Late, &finish.leaf, Some(finish.at))?;
        return Ok(Finished::Late);
    };
    if parked.is_some() {
        parking::forget(conn, row)?;
    }
    if let (Some(payment), Some(metered)) = (payment, &finish.metered) {
        let (sql, doing) = (
            "UPDATE payment SET most = amount, amount = ?2, state = ?3 WHERE id = ?1 AND most IS NULL",
            "record how much is taken",
        );
        rows::change(
            conn,
            sql,
            doing,
            (payment, rows::stored(metered.amount.micros(), doing)?, &metered.state),
        )?;
    }
    if let (Some(payment), SettlementWord::Captured, false) = (payment, word, finish.charged) {
        holds::credit(conn, payment, finish.at)?;
    }
    if let (Some(payment), "timeout", false) = (payment, finish.outcome.as_str(), finish.charged) {
        payers::note_spared(conn, payment, finish.at)?;
    }
    ending(conn, row, finish)?;
    Ok(Finished::Recorded)
}

/// Whether this very end is there already: of a write that was told to have failed, and is tried again.
fn is_recorded(conn: &Connection, finish: &Finish) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM run r INDEXED BY run_by_run JOIN ending e ON e.run = r.id WHERE r.run = ?1 \
        AND r.instance = ?2 AND e.outcome = ?3 AND e.content = ?4 AND e.receipt = ?5 AND e.finished = ?6";
    let params = (
        finish.run.as_bytes(),
        finish.instance.as_bytes(),
        &finish.outcome,
        finish.content.as_bytes(),
        &finish.receipt,
        rows::stored(finish.at.0, "store a time")?,
    );
    let found = rows::first(conn, sql, "look for an outcome", params, |_| Ok(()))?;
    Ok(found.is_some())
}

/// Records how a run has ended: outcome, receipt, answer and leaf.
pub(super) fn ending(conn: &Connection, row: i64, finish: &Finish) -> Result<(), StoreError> {
    own_keys::ask_standing(conn, &finish.signer)?;
    let params = (
        row,
        &finish.outcome,
        finish.content.as_bytes(),
        rows::stored(finish.at.0, "store a time")?,
        finish.answer.status,
        &finish.answer.content_type,
        &finish.receipt,
        &finish.answer.body,
    );
    rows::change(conn, INSERT_ENDING, "record an outcome", params)?;
    rows::append_leaf(conn, finish.run, finish.leaf.kind, &finish.leaf, Some(finish.at))
}

/// Says what became of an unknown run, once.
pub(super) fn resolve(conn: &Connection, resolution: &Resolution) -> Result<bool, StoreError> {
    let sql = "SELECT id FROM run WHERE run = ?1 AND stage = 'unknown'";
    let Some(row) = rows::row_of(conn, sql, resolution.run)? else { return Ok(false) };
    own_keys::ask_standing(conn, &resolution.signer)?;
    let sql =
        "INSERT INTO resolution (run, note, receipt, at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
    let at = rows::stored(resolution.at.0, "store a time")?;
    if rows::change(conn, sql, "resolve a run", (row, &resolution.note, &resolution.receipt, at))? == 0 {
        return Ok(false);
    }
    rows::append_leaf(conn, resolution.run, resolution.leaf.kind, &resolution.leaf, Some(resolution.at))?;
    Ok(true)
}
