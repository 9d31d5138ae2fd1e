//! Runs that wait for people: parking, votes, and the two ways out of it.
//!
//! Must never let a run leave `parked` twice: each way out is one update of a row that still says so.

use execgate_model::{Digest, RunId, Stage, TenantId, UnixMs};
use rusqlite::{Connection, Row, params};

use super::fault::backend;
use super::rows::{self, select_record};
use super::{changes, claim, finish, limits};
use crate::parking::{
    PARKED_BYTES_MAX, PARKED_BYTES_OF_ONE_MAX, PARKED_MAX, PARKED_OF_ONE_MAX, VOTES_OF_ONE_MAX,
};
use crate::{
    Change, Claim, Claimed, Finish, Parked, ParkedPage, Parking, SettlementWord, StoreError, Undone, Vote,
    VoteWord, Voted,
};

const INSERT: &str =
    "INSERT INTO parked (run, owner, bytes, tenant, expires, request) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

/// A page of runs that wait, of a tenant, of an owner, or of all.
pub(super) const PAGE: &str = "SELECT r.run FROM run r INDEXED BY run_open CROSS JOIN parked p ON p.run = r.id \
    WHERE r.stage <> 'settled' AND r.stage = 'parked' AND (r.created, r.id) < (?1, ?2) \
    AND (?3 IS NULL OR p.tenant = ?3) AND (?4 IS NULL OR r.owner = ?4) ORDER BY r.created DESC, r.id DESC LIMIT ?5";

/// Claims a run that is not to start yet. No leaf is written: that is for whoever starts it.
pub(super) fn park(conn: &Connection, claim: &Claim, parking: &Parking) -> Result<Claimed, StoreError> {
    if let Some(obstacle) = claim::obstacle(conn, claim)? {
        return Ok(obstacle);
    }
    let place = claim.owner.filter(|_| parking.own_place);
    if is_full(conn, place, parking.request.len())? {
        return Ok(Claimed::ParkedFull);
    }
    let reserved = match limits::reserve(conn, claim.run, &claim.limits)? {
        Err(reached) => return Ok(Claimed::LimitReached(reached)),
        Ok(reserved) => reserved,
    };
    let row = claim::insert_run(conn, claim, reserved, Stage::Parked)?;
    let params = (
        row,
        place.as_ref().map(|owner| owner.as_bytes()),
        bytes(parking.request.len())?,
        parking.tenant.as_str(),
        rows::stored(parking.expires.0, "store a time")?,
        &parking.request,
    );
    rows::change(conn, INSERT, "park a run", params)?;
    Ok(Claimed::Fresh)
}

/// Whether there is no place for one more.
fn is_full(conn: &Connection, owner: Option<Digest>, more: usize) -> Result<bool, StoreError> {
    let doing = "count parked runs";
    let read = |row: &Row<'_>| Ok((rows::unsigned(row, 0, "count")?, rows::unsigned(row, 1, "bytes")?));
    let more = u64::try_from(more).map_err(|error| backend(doing, error))?;
    let beyond = |found: Option<(u64, u64)>, runs: u32, most: u64| {
        let (count, bytes) = found.unwrap_or_default();
        count >= u64::from(runs) || bytes.saturating_add(more) > most
    };
    let sql =
        "SELECT count(*), coalesce(sum(bytes), 0) FROM parked INDEXED BY parked_by_owner WHERE owner IS ?1";
    let own = rows::first(conn, sql, doing, [owner.as_ref().map(|owner| owner.as_bytes())], read)?;
    if beyond(own, PARKED_OF_ONE_MAX, PARKED_BYTES_OF_ONE_MAX) {
        return Ok(true);
    }
    let sql = "SELECT count(*), coalesce(sum(bytes), 0) FROM parked INDEXED BY parked_by_owner";
    Ok(beyond(rows::first(conn, sql, doing, [], read)?, PARKED_MAX, PARKED_BYTES_MAX))
}

fn bytes(length: usize) -> Result<i64, StoreError> {
    i64::try_from(length).map_err(|error| backend("park a run", error))
}

/// A parked run's row, and what it has reserved.
type Waiting = (i64, Option<Vec<u8>>);

/// The row of a run that waits.
fn waiting(conn: &Connection, run: RunId) -> Result<Option<Waiting>, StoreError> {
    let sql = "SELECT id, reserved FROM run WHERE run = ?1 AND stage = 'parked'";
    let read = |row: &Row<'_>| Ok((rows::value(row, 0, "id")?, rows::value(row, 1, "reserved")?));
    rows::first(conn, sql, "find a parked run", [run.as_bytes()], read)
}

/// Moves a run from `parked` to `execute`, once. What it uses up of limits is counted anew, as of today.
pub(super) fn unpark(conn: &Connection, claim: &Claim) -> Result<Claimed, StoreError> {
    let doing = "start a parked run";
    let Some((row, reserved)) = waiting(conn, claim.run)? else {
        let record = rows::run(conn, claim.run)?;
        return record
            .map(|record| Claimed::Taken(Box::new(record)))
            .ok_or_else(|| backend(doing, format!("no run is called {}", claim.run)));
    };
    if let Some(obstacle) = claim::obstacle_but_nonce(conn, claim)? {
        return Ok(obstacle);
    }
    reserved.map_or(Ok(()), |reserved| limits::give_back(conn, &reserved))?;
    let reserved = match limits::reserve(conn, claim.run, &claim.limits)? {
        Ok(reserved) => reserved,
        Err(reached) => {
            // It goes on waiting, with nothing reserved.
            rows::change(conn, "UPDATE run SET reserved = NULL WHERE id = ?1", doing, [row])?;
            return Ok(Claimed::LimitReached(reached));
        }
    };
    let (payment, settlement) = claim::hold(conn, claim)?;
    let sql = "UPDATE run SET stage = 'execute', instance = ?2, payment = ?3, settlement = ?4, rail = ?5, \
        price = ?6, intent = ?7, reserved = ?8, iam_approved = ?9 WHERE id = ?1";
    let params = params![
        row,
        claim.instance.as_bytes(),
        payment,
        settlement.as_str(),
        &claim.rail,
        rows::stored(claim.price.micros(), "store a price")?,
        &claim.intent,
        reserved,
        claim.tool_call.as_ref().map(|call| call.iam_approved),
    ];
    rows::change(conn, sql, doing, params)?;
    claim::start(conn, claim).map(|()| Claimed::Fresh)
}

/// Puts a run that was parked back to where it was; none for one that was not, or is no longer this instance's.
pub(super) fn park_again(
    conn: &Connection,
    run: RunId,
    instance: &[u8],
) -> Result<Option<Undone>, StoreError> {
    let doing = "park a run again";
    let sql = "SELECT id, payment, settlement, created FROM run WHERE run = ?1 AND stage = 'execute' AND instance = ?2 AND parked = 1";
    let read = |row: &Row<'_>| {
        let (id, payment) =
            (rows::value::<i64>(row, 0, "id")?, rows::value::<Option<i64>>(row, 1, "payment")?);
        let word = rows::word(row, 2, "settlement", SettlementWord::from_word)?;
        Ok((id, payment, word, UnixMs(rows::unsigned(row, 3, "created")?)))
    };
    let Some((row, payment, word, at)) = rows::first(conn, sql, doing, (run.as_bytes(), instance), read)?
    else {
        return Ok(None);
    };
    let sql = "UPDATE run SET stage = 'parked', settlement = 'free', payment = NULL \
        WHERE id = ?1";
    rows::change(conn, sql, doing, [row])?;
    let undone = claim::let_go(conn, payment, word, at)?;
    claim::free_approvals(conn, run)?;
    Ok(Some(undone))
}

/// Records what a person says of a run that still waits, and what is said of that.
pub(super) fn vote(conn: &Connection, run: RunId, vote: &Vote, change: &Change) -> Result<Voted, StoreError> {
    if waiting(conn, run)?.is_none() {
        return Ok(Voted::NotParked);
    }
    let said = votes(conn, run)?;
    if said.iter().any(|said| said.artifact == vote.artifact) {
        return Ok(Voted::Repeated);
    }
    if said.iter().filter(|said| said.person == vote.person).count() >= VOTES_OF_ONE_MAX {
        return Ok(Voted::TooMany);
    }
    changes::record(conn, run.as_bytes(), change)?;
    let sql = "INSERT INTO vote (leaf, run, person, approver, word, at, artifact) \
        SELECT max(seq), ?1, ?2, ?3, ?4, ?5, ?6 FROM leaf";
    let at = rows::stored(vote.at.0, "store a time")?;
    let params = (run.as_bytes(), &vote.person, &vote.approver, vote.word.as_str(), at, &vote.artifact);
    rows::change(conn, sql, "record a vote", params)?;
    Ok(Voted::Recorded)
}

/// Ends a run that never starts, once, and gives back what it has reserved. False where it does not wait any more.
pub(super) fn refuse(
    conn: &Connection,
    finish: &Finish,
    spent: Digest,
    denial: Option<&(Vote, Change)>,
) -> Result<bool, StoreError> {
    let doing = "refuse a parked run";
    let Some((row, reserved)) = waiting(conn, finish.run)? else { return Ok(false) };
    if let Some((denial, change)) = denial {
        vote(conn, finish.run, denial, change)?;
    }
    reserved.map_or(Ok(()), |reserved| limits::give_back(conn, &reserved))?;
    let sql = "UPDATE run SET stage = 'settled', reserved = NULL WHERE id = ?1";
    rows::change(conn, sql, doing, [row])?;
    forget(conn, row)?;
    let sql = "INSERT INTO approval_use (key, run) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
    rows::change(conn, sql, doing, (spent.as_bytes(), finish.run.as_bytes()))?;
    finish::ending(conn, row, finish)?;
    Ok(true)
}

/// Forgets what a run needed to be started: its end is there.
pub(super) fn forget(conn: &Connection, row: i64) -> Result<(), StoreError> {
    rows::change(conn, "DELETE FROM parked WHERE run = ?1", "forget a request", [row]).map(|_| ())
}

/// What a run waits with, as [`parking`] reads it.
const WITH_REQUEST: &str = "SELECT p.tenant, p.expires, p.request, p.owner IS NOT NULL FROM run r INDEXED BY run_by_run \
    JOIN parked p ON p.run = r.id WHERE r.run = ?1";

/// The same where what it asks for is not looked at, so that a listing never reads its pages.
const WITHOUT_REQUEST: &str = "SELECT p.tenant, p.expires, x'', p.owner IS NOT NULL FROM run r INDEXED BY run_by_run \
    JOIN parked p ON p.run = r.id WHERE r.run = ?1";

/// A run that waits, with all that is known of it.
pub(super) fn parked(conn: &Connection, run: RunId) -> Result<Option<Parked>, StoreError> {
    read_parked(conn, run, WITH_REQUEST)
}

fn read_parked(conn: &Connection, run: RunId, parking_of: &str) -> Result<Option<Parked>, StoreError> {
    let sql = select_record!("run_by_run", "WHERE r.run = ?1 AND r.stage = 'parked'");
    let doing = "read a parked run";
    let Some(record) = rows::first(conn, sql, doing, [run.as_bytes()], rows::record)? else {
        return Ok(None);
    };
    // Gone where the run has left `parked` between the two reads.
    let Some(parking) = rows::first(conn, parking_of, doing, [run.as_bytes()], parking)? else {
        return Ok(None);
    };
    Ok(Some(Parked { record, parking, votes: votes(conn, run)? }))
}

fn parking(row: &Row<'_>) -> Result<Parking, StoreError> {
    let tenant = rows::word(row, 0, "tenant", |text| TenantId::new(text).ok())?;
    let expires = UnixMs(rows::unsigned(row, 1, "expires")?);
    let (request, own_place) = (rows::value(row, 2, "request")?, rows::value(row, 3, "owner")?);
    Ok(Parking { tenant, own_place, request, expires })
}

/// What people have said of a run, in the order of the log.
pub(super) fn votes(conn: &Connection, run: RunId) -> Result<Vec<Vote>, StoreError> {
    let sql = "SELECT person, approver, word, at, artifact FROM vote INDEXED BY vote_by_run WHERE run = ?1 \
        ORDER BY leaf";
    let read = |row: &Row<'_>| {
        Ok(Vote {
            person: rows::value(row, 0, "person")?,
            approver: rows::value(row, 1, "approver")?,
            word: rows::word(row, 2, "word", VoteWord::from_word)?,
            at: UnixMs(rows::unsigned(row, 3, "at")?),
            artifact: rows::value(row, 4, "artifact")?,
        })
    };
    rows::all(conn, sql, "read votes", [run.as_bytes()], read)
}

/// A page of parked runs, newest first, without what they ask for.
pub(super) fn page(conn: &Connection, page: &ParkedPage) -> Result<Vec<Parked>, StoreError> {
    let doing = "list parked runs";
    let start = match page.before {
        None => Some((i64::MAX, i64::MAX)),
        Some(run) => super::list::place(conn, run)?,
    };
    let Some((created, row)) = start else { return Ok(Vec::new()) };
    let params = (
        created,
        row,
        page.tenant.as_ref().map(TenantId::as_str),
        page.owner.as_ref().map(|owner| owner.as_bytes()),
        page.limit.min(PARKED_MAX),
    );
    let found =
        rows::all(conn, PAGE, doing, params, |row| Ok(RunId::from_stored(rows::value(row, 0, "run")?)))?;
    let mut runs = Vec::with_capacity(found.len());
    for run in found {
        runs.extend(read_parked(conn, run, WITHOUT_REQUEST)?);
    }
    Ok(runs)
}

/// Parked runs that a sweep has to look at: their time is over, or somebody has said yes. Oldest first.
pub(super) fn due(conn: &Connection, now: UnixMs) -> Result<Vec<RunId>, StoreError> {
    // Parked runs are few, so looking at all of them is cheap; what they ask for is not read.
    let sql = "SELECT r.run FROM parked p CROSS JOIN run r ON r.id = p.run WHERE r.stage = 'parked' \
        AND (p.expires <= ?1 OR EXISTS (SELECT 1 FROM vote v INDEXED BY vote_by_run WHERE v.run = r.run)) ORDER BY p.run";
    let now = i64::try_from(now.0).unwrap_or(i64::MAX);
    let read = |row: &Row<'_>| Ok(RunId::from_stored(rows::value(row, 0, "run")?));
    rows::all(conn, sql, "look for parked runs that are due", [now], read)
}
