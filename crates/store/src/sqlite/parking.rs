//! Runs that wait for people: parking, votes, and the two ways out of it.
//!
//! Must never let a run leave `parked` twice: each way out is one update of a row that still says so.

use execgate_model::{Digest, RunId, Stage, TenantId, UnixMs};
use rusqlite::{Connection, Row, params};

use super::fault::backend;
use super::rows::{self, select_record};
use super::{changes, claim, finish, limits};
use crate::parking::{
    PARKED_BYTES_MAX, PARKED_BYTES_OF_ONE_MAX, PARKED_BYTES_OF_TENANT_MAX, PARKED_MAX, PARKED_OF_ONE_MAX,
    PARKED_OF_TENANT_MAX, VOTES_OF_ONE_MAX,
};
use crate::{
    Change, Claim, Claimed, Due, Finish, Parked, ParkedPage, Parking, Refused, SettlementWord, StoreError,
    Undone, Untold, Vote, VoteWord, Voted,
};

const INSERT: &str =
    "INSERT INTO parked (run, owner, bytes, tenant, expires, tries, head) VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6)";

/// What `run.parked` says of a run whose parking has a leaf. Before the schema had one, it said 1.
pub(super) const WITH_LEAF: i64 = 2;

/// A page of runs that wait, of a tenant, of an owner, or of all.
pub(super) const PAGE: &str = "SELECT r.run FROM run r INDEXED BY run_open CROSS JOIN parked p ON p.run = r.id \
    WHERE r.stage <> 'settled' AND r.stage = 'parked' AND (r.created, r.id) < (?1, ?2) \
    AND (?3 IS NULL OR p.tenant = ?3) AND (?4 IS NULL OR r.owner = ?4) ORDER BY r.created DESC, r.id DESC LIMIT ?5";

/// Claims a run that is not to start yet, and says so in the log. The leaf of its intent is for whoever starts it.
pub(super) fn park(
    conn: &Connection,
    claim: &Claim,
    parking: &Parking,
    payload: &[u8],
    said: &Change,
) -> Result<Claimed, StoreError> {
    if let Some(obstacle) = claim::obstacle(conn, claim)? {
        return Ok(obstacle);
    }
    let place = claim.owner.filter(|_| parking.own_place);
    let bytes = parking.head.len().saturating_add(payload.len());
    forget_places(conn, claim.at)?;
    if is_full(conn, place, &parking.tenant, bytes)? {
        return Ok(Claimed::ParkedFull);
    }
    let reserved = match limits::reserve(conn, claim.run, &claim.limits)? {
        Err(reached) => return Ok(Claimed::LimitReached(reached)),
        Ok(reserved) => reserved,
    };
    let doing = "park a run";
    let (row, _) = claim::insert_run(conn, claim, reserved, Stage::Parked)?;
    let params = (
        row,
        place.as_ref().map(|owner| owner.as_bytes()),
        i64::try_from(bytes).map_err(|error| backend(doing, error))?,
        parking.tenant.as_str(),
        rows::stored(parking.expires.0, "store a time")?,
        &parking.head,
    );
    rows::change(conn, INSERT, doing, params)?;
    rows::change(conn, "INSERT INTO parked_payload (run, payload) VALUES (?1, ?2)", doing, (row, payload))?;
    changes::record(conn, claim.run.as_bytes(), said)?;
    Ok(Claimed::Fresh)
}

/// Whether there is no place for one more: of its owner, of its tenant, or at all.
fn is_full(
    conn: &Connection,
    owner: Option<Digest>,
    tenant: &TenantId,
    more: usize,
) -> Result<bool, StoreError> {
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
    let sql =
        "SELECT count(*), coalesce(sum(bytes), 0) FROM parked INDEXED BY parked_by_tenant WHERE tenant = ?1";
    let of_tenant = rows::first(conn, sql, doing, [tenant.as_str()], read)?;
    if beyond(of_tenant, PARKED_OF_TENANT_MAX, PARKED_BYTES_OF_TENANT_MAX) {
        return Ok(true);
    }
    let sql = "SELECT count(*), coalesce(sum(bytes), 0) FROM parked INDEXED BY parked_by_owner";
    Ok(beyond(rows::first(conn, sql, doing, [], read)?, PARKED_MAX, PARKED_BYTES_MAX))
}

/// A parked run's row, and what it has reserved.
type Waiting = (i64, Option<Vec<u8>>);

/// The row of a run that waits.
fn waiting(conn: &Connection, run: RunId) -> Result<Option<Waiting>, StoreError> {
    let sql = "SELECT id, reserved FROM run WHERE run = ?1 AND stage = 'parked'";
    let read = |row: &Row<'_>| Ok((rows::value(row, 0, "id")?, rows::value(row, 1, "reserved")?));
    rows::first(conn, sql, "find a parked run", [run.as_bytes()], read)
}

/// Whether somebody has said no to a run, while it was being started.
fn is_denied(conn: &Connection, run: RunId) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM vote INDEXED BY vote_by_run WHERE run = ?1 AND word = 'deny')";
    let found = rows::first(conn, sql, "look for a no", [run.as_bytes()], |row| rows::value(row, 0, "vote"))?;
    Ok(found.unwrap_or_default())
}

/// Moves a run from `parked` to `execute`, once. What it uses up of limits is counted anew, as of today. One that somebody
/// has denied is only to be ended.
pub(super) fn unpark(conn: &Connection, claim: &Claim) -> Result<Claimed, StoreError> {
    let doing = "start a parked run";
    let denied = is_denied(conn, claim.run)?;
    let Some((row, reserved)) = waiting(conn, claim.run)?.filter(|_| !denied) else {
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
    let (payment, settlement, claimed) = claim::hold(conn, claim)?;
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
    claim::start(conn, claim, &claimed).map(|()| claimed)
}

/// Puts a run that was parked back to where it was; none for one that was not, or is no longer this instance's.
pub(super) fn park_again(
    conn: &Connection,
    run: RunId,
    instance: &[u8],
) -> Result<Option<Undone>, StoreError> {
    let doing = "park a run again";
    let sql = "SELECT id, payment, settlement, created FROM run WHERE run = ?1 AND stage = 'execute' AND instance = ?2 AND parked IS NOT NULL";
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
    rows::change(conn, "UPDATE parked SET tries = tries + 1 WHERE run = ?1", doing, [row])?;
    let undone = claim::let_go(conn, payment, word, at)?;
    claim::free_approvals(conn, run)?;
    Ok(Some(undone))
}

/// Records what a person says of a run that still waits, and what is said of that.
/// A no is kept while it is being started, too: that start may be taken back.
pub(super) fn vote(conn: &Connection, run: RunId, vote: &Vote, change: &Change) -> Result<Voted, StoreError> {
    let starts = waiting(conn, run)?.is_none();
    if starts && (vote.word != VoteWord::Deny || parked(conn, run, Stage::Execute)?.is_none()) {
        return Ok(Voted::NotParked);
    }
    if starts && is_denied(conn, run)? {
        return Ok(Voted::Kept);
    }
    let said = votes(conn, run)?;
    if said.iter().any(|said| said.artifact == vote.artifact) {
        return Ok(Voted::Repeated);
    }
    // A no is the last word: there is always room for it.
    let is_no = vote.word == VoteWord::Deny;
    if !is_no && said.iter().filter(|said| said.person == vote.person).count() >= VOTES_OF_ONE_MAX {
        return Ok(Voted::TooMany);
    }
    changes::record(conn, run.as_bytes(), change)?;
    let sql = "INSERT INTO vote (leaf, run, person, approver, word, at, artifact) \
        SELECT max(seq), ?1, ?2, ?3, ?4, ?5, ?6 FROM leaf";
    let at = rows::stored(vote.at.0, "store a time")?;
    let params = (run.as_bytes(), &vote.person, &vote.approver, vote.word.as_str(), at, &vote.artifact);
    rows::change(conn, sql, "record a vote", params)?;
    Ok(if starts { Voted::Kept } else { Voted::Recorded })
}

/// Ends a run that never starts, once, and gives back what it has reserved, or `keeps` that, and until then its place. `tries`: those that were seen when its end was
/// signed, since each start replaces the intent that is signed.
pub(super) fn refuse(
    conn: &Connection,
    finish: &Finish,
    tries: u32,
    spent: Digest,
    denial: Option<&(Vote, Change)>,
    keeps: Option<UnixMs>,
) -> Result<Refused, StoreError> {
    let doing = "refuse a parked run";
    let Some((row, reserved)) = waiting(conn, finish.run)? else { return Ok(Refused::NotParked) };
    let sql = "SELECT tries FROM parked WHERE run = ?1";
    if rows::first(conn, sql, doing, [row], |row| rows::value::<u32>(row, 0, "tries"))? != Some(tries) {
        return Ok(Refused::Started);
    }
    if let Some((denial, change)) = denial {
        vote(conn, finish.run, denial, change)?;
    }
    let sql = "UPDATE run SET stage = 'settled', reserved = ?2 WHERE id = ?1";
    match keeps {
        None => {
            reserved.map_or(Ok(()), |reserved| limits::give_back(conn, &reserved))?;
            rows::change(conn, sql, doing, (row, None::<Vec<u8>>))?;
            forget(conn, row)?;
        }
        Some(until) => {
            rows::change(conn, sql, doing, (row, reserved))?;
            keep_place(conn, row, until)?;
        }
    }
    let sql = "INSERT INTO approval_use (key, run) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
    rows::change(conn, sql, doing, (spent.as_bytes(), finish.run.as_bytes()))?;
    finish::ending(conn, row, finish)?;
    Ok(Refused::Ended)
}

/// Forgets what a run needed to be started, but for the place that it took up.
fn keep_place(conn: &Connection, row: i64, until: UnixMs) -> Result<(), StoreError> {
    let doing = "keep a place";
    let sql = "UPDATE parked SET bytes = 0, head = x'', expires = min(expires, ?2) WHERE run = ?1";
    rows::change(conn, sql, doing, (row, rows::stored(until.0, "store a time")?))?;
    rows::change(conn, "DELETE FROM parked_payload WHERE run = ?1", doing, [row]).map(|_| ())
}

/// Gives up the places whose time is over of runs that have ended.
fn forget_places(conn: &Connection, now: UnixMs) -> Result<(), StoreError> {
    let sql = "DELETE FROM parked WHERE bytes = 0 AND expires <= ?1";
    rows::change(conn, sql, "forget places", [rows::stored(now.0, "store a time")?]).map(|_| ())
}

/// Forgets what a run needed to be started: its end is there.
pub(super) fn forget(conn: &Connection, row: i64) -> Result<(), StoreError> {
    let doing = "forget a request";
    rows::change(conn, "DELETE FROM parked WHERE run = ?1", doing, [row])?;
    rows::change(conn, "DELETE FROM parked_payload WHERE run = ?1", doing, [row]).map(|_| ())
}

/// A run that waits, or that waited and is being started, with all that is known of it but its payload.
pub(super) fn parked(conn: &Connection, run: RunId, stage: Stage) -> Result<Option<Parked>, StoreError> {
    let sql = select_record!("run_by_run", "WHERE r.run = ?1 AND r.stage = ?2");
    let doing = "read a parked run";
    let Some(record) = rows::first(conn, sql, doing, (run.as_bytes(), stage.as_str()), rows::record)? else {
        return Ok(None);
    };
    let sql = "SELECT p.tenant, p.expires, p.head, p.owner IS NOT NULL, p.bytes, p.tries \
        FROM run r INDEXED BY run_by_run JOIN parked p ON p.run = r.id WHERE r.run = ?1";
    // Gone where the run has left `parked` between the two reads.
    let Some((parking, bytes, tries)) = rows::first(conn, sql, doing, [run.as_bytes()], parking)? else {
        return Ok(None);
    };
    Ok(Some(Parked { record, parking, bytes, tries, votes: votes(conn, run)? }))
}

fn parking(row: &Row<'_>) -> Result<(Parking, u64, u32), StoreError> {
    let tenant = rows::word(row, 0, "tenant", |text| TenantId::new(text).ok())?;
    let expires = UnixMs(rows::unsigned(row, 1, "expires")?);
    let (head, own_place) = (rows::value(row, 2, "head")?, rows::value(row, 3, "owner")?);
    let parking = Parking { tenant, own_place, head, expires };
    Ok((parking, rows::unsigned(row, 4, "bytes")?, rows::value(row, 5, "tries")?))
}

/// What a run that waits is to be given; kept until it has ended.
pub(super) fn payload(conn: &Connection, run: RunId) -> Result<Option<Vec<u8>>, StoreError> {
    let sql = "SELECT p.payload FROM run r INDEXED BY run_by_run JOIN parked_payload p ON p.run = r.id \
        WHERE r.run = ?1 AND r.stage IN ('parked', 'execute')";
    let read = |row: &Row<'_>| rows::value(row, 0, "payload");
    rows::first(conn, sql, "read what a parked run asks for", [run.as_bytes()], read)
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

/// A page of parked runs, newest first.
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
        runs.extend(parked(conn, run, Stage::Parked)?);
    }
    Ok(runs)
}

/// Parked runs that a sweep has to look at: their time is over, or somebody has said something. Oldest first.
pub(super) fn due(conn: &Connection, now: UnixMs) -> Result<Vec<Due>, StoreError> {
    // Parked runs are few, so looking at all of them is cheap; what they ask for is not read.
    let sql = "SELECT r.run, p.expires <= ?1, count(v.leaf), coalesce(max(v.word = 'deny'), 0) FROM parked p \
        CROSS JOIN run r ON r.id = p.run LEFT JOIN vote v INDEXED BY vote_by_run ON v.run = r.run \
        WHERE r.stage = 'parked' GROUP BY p.run HAVING p.expires <= ?1 OR count(v.leaf) > 0 ORDER BY p.run";
    let now = i64::try_from(now.0).unwrap_or(i64::MAX);
    let read = |row: &Row<'_>| {
        let run = RunId::from_stored(rows::value(row, 0, "run")?);
        Ok(Due {
            run,
            is_over: rows::value(row, 1, "expires")?,
            votes: rows::value(row, 2, "vote")?,
            is_denied: rows::value(row, 3, "word")?,
        })
    };
    rows::all(conn, sql, "look for parked runs that are due", [now], read)
}

/// Runs that wait and of which the operator's own service has not been told, oldest first.
pub(super) fn untold(conn: &Connection, now: UnixMs) -> Result<Vec<Untold>, StoreError> {
    let sql = "SELECT r.run, r.fingerprint, p.expires FROM parked p CROSS JOIN run r ON r.id = p.run \
        WHERE r.stage = 'parked' AND p.told IS NULL AND p.expires > ?1 ORDER BY p.run";
    let now = i64::try_from(now.0).unwrap_or(i64::MAX);
    let read = |row: &Row<'_>| {
        Ok(Untold {
            run: RunId::from_stored(rows::value(row, 0, "run")?),
            fingerprint: Digest::from_bytes(rows::value(row, 1, "fingerprint")?),
            expires: UnixMs(rows::unsigned(row, 2, "expires")?),
        })
    };
    rows::all(conn, sql, "look for parked runs that nobody was told of", [now], read)
}

/// Notes that the operator's own service has been told of a run.
pub(super) fn told(conn: &Connection, run: RunId) -> Result<(), StoreError> {
    let sql = "UPDATE parked SET told = 1 WHERE run = (SELECT id FROM run WHERE run = ?1)";
    rows::change(conn, sql, "note who was told of a parked run", [run.as_bytes()]).map(|_| ())
}
