//! The claim transaction, and its undoing (CONTRACTS 1).
//!
//! The order of the checks is a promise: a replay finds its run even while claims are paused.

use execgate_model::{InstanceId, RunId, Stage, UnixMs};
use rusqlite::{Connection, Row, params};

use super::{changes, holds, limits, parking, rows};
use crate::{ApprovalClaim, Claim, Claimed, SettlementWord, StoreError, Undone};

const INSERT_RUN: &str = "INSERT INTO run (run, instance, nonce_key, payment, fingerprint, owner, \
    action, effect, caller, stage, settlement, rail, price, salt, created, intent, reserved, agent, iam_approved, \
    alias, parked, session_nonce) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22)";

/// Claims a run, or says what stands in its way. Whatever is not `Fresh` has inserted nothing.
pub(super) fn claim(conn: &Connection, claim: &Claim) -> Result<Claimed, StoreError> {
    if let Some(obstacle) = obstacle(conn, claim)? {
        return Ok(obstacle);
    }
    // Last, since it writes: whatever else stands in the way has been found.
    match limits::reserve(conn, claim.run, &claim.limits)? {
        Err(reached) => Ok(Claimed::LimitReached(reached)),
        Ok(reserved) => {
            let (_, claimed) = insert_run(conn, claim, reserved, Stage::Execute)?;
            start(conn, claim, &claimed).map(|()| claimed)
        }
    }
}

/// What stands in the way of a claim, beside limits.
pub(super) fn obstacle(conn: &Connection, claim: &Claim) -> Result<Option<Claimed>, StoreError> {
    if let Some(nonce) = claim.nonce_key
        && let Some(record) = rows::by_nonce(conn, nonce)?
    {
        return Ok(Some(Claimed::Taken(Box::new(record))));
    }
    // In a session a nonce is unique whoever pays.
    if let Some(session) = claim.session_nonce
        && let Some(record) = rows::by_session_nonce(conn, session, claim.fingerprint)?
    {
        return Ok(Some(Claimed::Taken(Box::new(record))));
    }
    obstacle_but_nonce(conn, claim)
}

/// The same of a run that has its nonce already.
pub(super) fn obstacle_but_nonce(conn: &Connection, claim: &Claim) -> Result<Option<Claimed>, StoreError> {
    if rows::paused(conn)? {
        return Ok(Some(Claimed::Paused));
    }
    if let Some(payment) = &claim.payment
        && let Some(obstacle) = holds::obstacle(conn, claim.run, payment, claim.at)?
    {
        return Ok(Some(obstacle));
    }
    for key in claim.approval.iter().flat_map(|approval| &approval.keys) {
        if let Some(run) = rows::by_approval(conn, *key)? {
            return Ok(Some(Claimed::ApprovalSpent(run)));
        }
    }
    Ok(None)
}

/// Inserts the row of a run, and gives its key, and what its claim is answered.
pub(super) fn insert_run(
    conn: &Connection,
    claim: &Claim,
    reserved: Option<Vec<u8>>,
    stage: Stage,
) -> Result<(i64, Claimed), StoreError> {
    let (payment, settlement, claimed) = hold(conn, claim)?;
    let call = claim.tool_call.as_ref();
    let params = params![
        claim.run.as_bytes(),
        claim.instance.as_bytes(),
        claim.nonce_key.as_ref().map(|key| key.as_bytes()),
        payment,
        claim.fingerprint.as_bytes(),
        claim.owner.as_ref().map(|owner| owner.as_bytes()),
        claim.action.as_str(),
        rows::effect_word(claim.effect),
        &claim.caller,
        stage.as_str(),
        settlement.as_str(),
        &claim.rail,
        rows::stored(claim.price.micros(), "store a price")?,
        claim.salt,
        rows::stored(claim.at.0, "store a time")?,
        &claim.intent,
        reserved,
        call.map(|call| &call.agent),
        call.map(|call| call.iam_approved),
        call.map(|call| &call.alias),
        (stage == Stage::Parked).then_some(parking::WITH_LEAF),
        claim.session_nonce.as_ref().map(|key| key.as_bytes()),
    ];
    rows::change(conn, INSERT_RUN, "store a claim", params)?;
    Ok((conn.last_insert_rowid(), claimed))
}

/// What a claim leaves that lets its run start: by which movement it is paid already, what it uses up of approvals, and its
/// intent in the log.
pub(super) fn start(conn: &Connection, claim: &Claim, claimed: &Claimed) -> Result<(), StoreError> {
    if let Claimed::TakenUp { reference: Some(reference), .. } = claimed {
        let sql = "UPDATE run SET reference = ?2 WHERE run = ?1";
        rows::change(conn, sql, "take up a payment", (claim.run.as_bytes(), reference))?;
    }
    claim.approval.as_ref().map_or(Ok(()), |approval| use_up(conn, claim.run, approval))?;
    rows::append_leaf(conn, claim.run, claim.leaf.kind, &claim.leaf, Some(claim.at))
}

/// Gives back what a run has used up of approvals.
pub(super) fn free_approvals(conn: &Connection, run: RunId) -> Result<(), StoreError> {
    let sql = "DELETE FROM approval_use WHERE run = ?1";
    rows::change(conn, sql, "undo a claim", [run.as_bytes()]).map(|_| ())
}

/// Writes down what a run uses up, and says so in the log before its intent.
fn use_up(conn: &Connection, run: RunId, approval: &ApprovalClaim) -> Result<(), StoreError> {
    for key in &approval.keys {
        let sql = "INSERT INTO approval_use (key, run) VALUES (?1, ?2)";
        rows::change(conn, sql, "use up an approval", (key.as_bytes(), run.as_bytes()))?;
    }
    changes::record(conn, run.as_bytes(), &approval.change)
}

/// Holds the payment of a claim, where it has one: its row, where its money stands, and what the claim is answered.
pub(super) fn hold(
    conn: &Connection,
    claim: &Claim,
) -> Result<(Option<i64>, SettlementWord, Claimed), StoreError> {
    Ok(match &claim.payment {
        None => (None, SettlementWord::Free, Claimed::Fresh),
        Some(payment) => {
            let held = holds::hold(conn, claim.run, payment)?;
            (Some(held.row), held.word, held.claimed)
        }
    })
}

/// Takes a claim back: the row with its nonce, the payment, the approval, and what it used up of limits. Its leaves stay.
/// A run that was parked waits again, with what it had reserved.
pub(super) fn undo(conn: &Connection, run: RunId, instance: InstanceId) -> Result<Undone, StoreError> {
    if let Some(undone) = parking::park_again(conn, run, instance.as_bytes())? {
        return Ok(undone);
    }
    let doing = "undo a claim";
    let sql = "DELETE FROM run WHERE run = ?1 AND stage = 'execute' AND instance = ?2 \
        RETURNING payment, reserved, settlement, created";
    let params = (run.as_bytes(), instance.as_bytes());
    let taken = |row: &Row<'_>| {
        let payment: Option<i64> = rows::value(row, 0, "payment")?;
        let reserved: Option<Vec<u8>> = rows::value(row, 1, "reserved")?;
        let word = rows::word(row, 2, "settlement", SettlementWord::from_word)?;
        Ok((payment, reserved, word, UnixMs(rows::unsigned(row, 3, "created")?)))
    };
    let Some((payment, reserved, word, at)) = rows::first(conn, sql, doing, params, taken)? else {
        return Ok(Undone::TooLate);
    };
    let undone = let_go(conn, payment, word, at)?;
    free_approvals(conn, run)?;
    reserved.map_or(Ok(()), |reserved| limits::give_back(conn, &reserved))?;
    Ok(undone)
}

/// Lets go of the payment of a claim that is taken back.
pub(super) fn let_go(
    conn: &Connection,
    payment: Option<i64>,
    word: SettlementWord,
    at: UnixMs,
) -> Result<Undone, StoreError> {
    let credited = payment.map_or(Ok(false), |payment| holds::let_go(conn, payment, word, at))?;
    Ok(if credited { Undone::Credited } else { Undone::Undone })
}
