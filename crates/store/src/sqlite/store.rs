//! The port over the writer and the readers.

use std::path::PathBuf;
use std::sync::Arc;

use execgate_model::{BoxFuture, Digest, GrantId, InstanceId, KeyPurpose, RunId, Stage, UnixMs};
use rusqlite::Connection;

use super::batch::Entry;
use super::examine::SqliteExaminer;
use super::instances::Instances;
use super::readers::Readers;
use super::rows;
use super::writer::Writer;
use super::{
    audit, changes, claim, copy, cosigned, finality, finish, forget, grants, holds, limits, list, log, money,
    own_keys, parking, settle, watch,
};
use crate::port::Reply;
use crate::{
    AuditEntry, AuditLine, AuditQuery, Change, Changed, Claim, Claimed, Due, Earned, Examiner, Finish,
    Finished, Grant, Granted, KeyAdded, KeyRetired, Late, LeftPayment, LogCheckpoint, LogCosigned, LogEpoch,
    LogHead, LogLeaf, LogNode, LogStanding, LogStep, LogStore, MovedLate, NewKey, NewPayment, OpenPayment,
    OpenPlace, OwnKey, Page, Parked, ParkedPage, Parking, Record, Recorded, Refused, Repaid, Resolution,
    Revised, Settled, Settling, Standing, Store, Sums, Undone, Unfinal, Untold, Vote, Voted, Watched,
};

/// Hashes that are read like one: a proof has fewer, a tile more.
const HASHES_AT_A_POINT: usize = 128;

/// The record in one SQLite file.
#[derive(Debug)]
pub(super) struct SqliteStore {
    writer: Writer,
    readers: Arc<Readers>,
    instances: Arc<Instances>,
}

impl SqliteStore {
    pub(super) fn new(writer: Writer, readers: Readers, instances: Arc<Instances>) -> Self {
        Self { writer, readers: Arc::new(readers), instances }
    }
}

impl LogStore for SqliteStore {
    fn log_standing(&self) -> Reply<'_, LogStanding> {
        Box::pin(self.readers.point(log::standing))
    }

    fn log_leaves(&self, from: u64, limit: u32) -> Reply<'_, Vec<LogLeaf>> {
        Box::pin(self.readers.long(move |conn| log::leaves(conn, from, limit)))
    }

    fn log_hashes(&self, nodes: Vec<LogNode>) -> Reply<'_, Vec<Digest>> {
        if nodes.len() > HASHES_AT_A_POINT {
            return Box::pin(self.readers.long(move |conn| log::hashes(conn, &nodes)));
        }
        Box::pin(self.readers.point(move |conn| log::hashes(conn, &nodes)))
    }

    fn log_extend(&self, step: LogStep) -> Reply<'_, bool> {
        Box::pin(self.writer.write(Entry::Start, move |conn| log::extend(conn, &step)))
    }

    fn log_sign(&self, head: LogHead, note: String) -> Reply<'_, bool> {
        // The same signature is made again over the same head.
        Box::pin(self.writer.write(Entry::Derived, move |conn| log::sign(conn, &head, &note)))
    }

    fn log_checkpoint(&self) -> Reply<'_, Option<LogCheckpoint>> {
        Box::pin(self.readers.point(log::checkpoint))
    }

    fn log_epochs(&self) -> Reply<'_, Vec<LogEpoch>> {
        Box::pin(self.readers.long(log::epochs))
    }

    fn log_begin(&self, after: u64, origin: String, at: UnixMs, change: Option<Change>) -> Reply<'_, bool> {
        let work = move |conn: &Connection| {
            let begun = log::begin(conn, after, &origin, at)?;
            change.iter().try_for_each(|change| changes::record_if(conn, begun, change))?;
            Ok(begun)
        };
        Box::pin(self.writer.write(Entry::End, work))
    }

    fn log_place(&self, run: RunId) -> Reply<'_, Option<u64>> {
        Box::pin(self.readers.point(move |conn| log::place(conn, run)))
    }

    fn log_keep_cosigned(&self, cosigned: Vec<LogCosigned>) -> Reply<'_, bool> {
        Box::pin(self.writer.write(Entry::End, move |conn| cosigned::keep_all(conn, &cosigned)))
    }

    fn log_cosigned(&self, epoch: u64) -> Reply<'_, Vec<LogCosigned>> {
        Box::pin(self.readers.point(move |conn| cosigned::all(conn, epoch)))
    }

    fn log_places(&self) -> Reply<'_, Vec<String>> {
        Box::pin(self.readers.long(log::places))
    }

    fn log_note_place(&self, place: String, at: UnixMs) -> Reply<'_, ()> {
        Box::pin(self.writer.write(Entry::End, move |conn| log::note_place(conn, &place, at)))
    }

    fn log_stirred(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.writer.stirred())
    }
}

impl Store for SqliteStore {
    fn claim(&self, claim: Claim) -> Reply<'_, Claimed> {
        Box::pin(self.writer.write(Entry::Start, move |conn| claim::claim(conn, &claim)))
    }

    fn claim_here(&self, claim: Claim) -> Reply<'_, Claimed> {
        Box::pin(self.writer.write_here(Entry::Start, move |conn| claim::claim(conn, &claim)))
    }

    fn park(&self, claim: Claim, parking: Parking, payload: Vec<u8>, said: Change) -> Reply<'_, Claimed> {
        let work = move |conn: &Connection| parking::park(conn, &claim, &parking, &payload, &said);
        Box::pin(self.writer.write(Entry::Start, work))
    }

    fn unpark(&self, claim: Claim) -> Reply<'_, Claimed> {
        Box::pin(self.writer.write(Entry::Start, move |conn| parking::unpark(conn, &claim)))
    }

    fn vote(&self, run: RunId, vote: Vote, change: Change) -> Reply<'_, Voted> {
        Box::pin(self.writer.write(Entry::Start, move |conn| parking::vote(conn, run, &vote, &change)))
    }

    fn refuse(
        &self,
        finish: Finish,
        tries: u32,
        spent: Digest,
        denial: Option<(Vote, Change)>,
        keeps: Option<UnixMs>,
    ) -> Reply<'_, Refused> {
        let work =
            move |conn: &Connection| parking::refuse(conn, &finish, tries, spent, denial.as_ref(), keeps);
        Box::pin(self.writer.write(Entry::End, work))
    }

    fn parked(&self, run: RunId) -> Reply<'_, Option<Parked>> {
        Box::pin(self.readers.point(move |conn| parking::parked(conn, run, Stage::Parked)))
    }

    fn starting(&self, run: RunId) -> Reply<'_, Option<Parked>> {
        Box::pin(self.readers.point(move |conn| parking::parked(conn, run, Stage::Execute)))
    }

    fn parked_payload(&self, run: RunId) -> Reply<'_, Option<Vec<u8>>> {
        Box::pin(self.readers.long(move |conn| parking::payload(conn, run)))
    }

    fn votes(&self, run: RunId) -> Reply<'_, Vec<Vote>> {
        Box::pin(self.readers.point(move |conn| parking::votes(conn, run)))
    }

    fn parked_page(&self, page: ParkedPage) -> Reply<'_, Vec<Parked>> {
        Box::pin(self.readers.long(move |conn| parking::page(conn, &page)))
    }

    fn parked_due(&self, now: UnixMs) -> Reply<'_, Vec<Due>> {
        Box::pin(self.readers.long(move |conn| parking::due(conn, now)))
    }

    fn parked_untold(&self, now: UnixMs) -> Reply<'_, Vec<Untold>> {
        Box::pin(self.readers.long(move |conn| parking::untold(conn, now)))
    }

    fn note_told(&self, run: RunId) -> Reply<'_, ()> {
        Box::pin(self.writer.write(Entry::Start, move |conn| parking::told(conn, run)))
    }

    fn undo(&self, run: RunId, instance: InstanceId) -> Reply<'_, Undone> {
        Box::pin(self.writer.write(Entry::End, move |conn| claim::undo(conn, run, instance)))
    }

    fn finish(&self, finish: Finish) -> Reply<'_, Finished> {
        Box::pin(self.writer.write(Entry::End, move |conn| finish::finish(conn, &finish)))
    }

    fn finish_here(&self, finish: Finish) -> Reply<'_, Finished> {
        Box::pin(self.writer.write_here(Entry::End, move |conn| finish::finish(conn, &finish)))
    }

    fn settle(&self, settling: Settling) -> Reply<'_, Settled> {
        Box::pin(self.writer.write(Entry::End, move |conn| settle::settle(conn, &settling)))
    }

    fn open_payments(&self, after: Option<OpenPlace>) -> Reply<'_, Vec<OpenPayment>> {
        Box::pin(self.readers.long(move |conn| money::open(conn, after.as_ref())))
    }

    fn open_payments_of(&self, run: RunId) -> Reply<'_, Vec<OpenPayment>> {
        Box::pin(self.readers.long(move |conn| money::open_of(conn, run)))
    }

    fn left_payment(&self, run: RunId, key: Digest) -> Reply<'_, Option<LeftPayment>> {
        Box::pin(self.readers.point(move |conn| holds::left_payment(conn, run, key)))
    }

    fn watched(&self, now: UnixMs, limit: u32) -> Reply<'_, Vec<Watched>> {
        Box::pin(self.readers.long(move |conn| watch::due(conn, now, limit)))
    }

    fn watch_again(&self, key: Digest, due: Option<UnixMs>) -> Reply<'_, ()> {
        Box::pin(self.writer.write(Entry::End, move |conn| watch::again(conn, key, due)))
    }

    fn moved_late(&self, late: Late) -> Reply<'_, MovedLate> {
        Box::pin(self.writer.write(Entry::End, move |conn| watch::moved_late(conn, &late)))
    }

    fn unfinal(&self, now: UnixMs, limit: u32) -> Reply<'_, Vec<Unfinal>> {
        Box::pin(self.readers.long(move |conn| finality::due(conn, now, limit)))
    }

    fn look_again(&self, due: Vec<(Digest, Option<UnixMs>)>) -> Reply<'_, ()> {
        Box::pin(self.writer.write(Entry::End, move |conn| finality::again(conn, &due)))
    }

    fn revise(&self, revised: Revised) -> Reply<'_, bool> {
        Box::pin(self.writer.write(Entry::End, move |conn| finality::revise(conn, &revised)))
    }

    fn reversed(&self) -> Reply<'_, Vec<OpenPayment>> {
        Box::pin(self.readers.long(money::reversed))
    }

    fn earned(&self, after: u64) -> Reply<'_, Vec<Earned>> {
        Box::pin(self.readers.long(move |conn| money::earned(conn, after)))
    }

    fn sums(&self) -> Reply<'_, Sums> {
        Box::pin(self.readers.long(money::sums))
    }

    fn repay(&self, run: RunId, payment: NewPayment) -> Reply<'_, Repaid> {
        let mine = self.instances.mine();
        Box::pin(self.writer.write(Entry::Start, move |conn| settle::repay(conn, run, mine, &payment)))
    }

    fn by_nonce(&self, nonce_key: Digest) -> Reply<'_, Option<Record>> {
        Box::pin(self.readers.point(move |conn| rows::by_nonce(conn, nonce_key)))
    }

    fn by_session_nonce(&self, session_nonce: Digest, fingerprint: Digest) -> Reply<'_, Option<Record>> {
        Box::pin(self.readers.point(move |conn| rows::by_session_nonce(conn, session_nonce, fingerprint)))
    }

    fn by_payment(&self, payment_key: Digest) -> Reply<'_, Option<RunId>> {
        Box::pin(self.readers.point(move |conn| rows::by_payment(conn, payment_key)))
    }

    fn run(&self, run: RunId) -> Reply<'_, Option<Record>> {
        Box::pin(self.readers.point(move |conn| rows::run(conn, run)))
    }

    fn list(&self, page: Page) -> Reply<'_, Vec<Record>> {
        Box::pin(self.readers.long(move |conn| list::list(conn, page)))
    }

    fn orphans(&self) -> Reply<'_, Vec<Record>> {
        let instances = Arc::clone(&self.instances);
        Box::pin(self.readers.long(move |conn| list::orphans(conn, &instances)))
    }

    fn own_unended(&self, before: UnixMs) -> Reply<'_, Vec<Record>> {
        let mine = self.instances.mine();
        Box::pin(self.readers.long(move |conn| list::own_unended(conn, mine, before)))
    }

    fn resolve(&self, resolution: Resolution, change: Change) -> Reply<'_, bool> {
        let work = move |conn: &Connection| {
            let changed = finish::resolve(conn, &resolution)?;
            changes::record_if(conn, changed, &change)?;
            Ok(changed)
        };
        Box::pin(self.writer.write(Entry::End, work))
    }

    fn set_paused(&self, paused: bool, change: Change) -> Reply<'_, bool> {
        let sql = "UPDATE gateway SET paused = ?1 WHERE id = 1 AND paused <> ?1";
        let work = move |conn: &Connection| {
            let changed = rows::change(conn, sql, "set the kill switch", [paused])? > 0;
            changes::record_if(conn, changed, &change)?;
            Ok(changed)
        };
        Box::pin(self.writer.write(Entry::End, work))
    }

    fn paused(&self) -> Reply<'_, bool> {
        Box::pin(self.readers.point(rows::paused))
    }

    fn forget_answers(&self, before: UnixMs) -> Reply<'_, u64> {
        Box::pin(async move {
            let mut forgotten = 0;
            loop {
                let batch =
                    self.writer.write(Entry::Start, move |conn| forget::forget_batch(conn, before)).await?;
                forgotten += u64::from(batch);
                if batch < forget::ANSWERS_PER_BATCH {
                    return Ok(forgotten);
                }
            }
        })
    }

    fn forget_answers_beyond(&self, bytes: u64) -> Reply<'_, u64> {
        Box::pin(async move {
            let mut forgotten = 0;
            // Measured where it holds up no claim.
            let kept = self.readers.long(forget::kept_bytes).await?;
            let mut too_many = kept.saturating_sub(bytes);
            while too_many > 0 {
                let work = move |conn: &Connection| forget::trim_batch(conn, too_many);
                let gone = self.writer.write(Entry::Start, work).await?;
                forgotten += gone.answers;
                too_many = if gone.answers == 0 { 0 } else { too_many.saturating_sub(gone.bytes) };
            }
            Ok(forgotten)
        })
    }

    fn forget_limits(&self, before: UnixMs) -> Reply<'_, u64> {
        Box::pin(async move {
            let mut forgotten = 0;
            loop {
                let batch =
                    self.writer.write(Entry::Start, move |conn| limits::forget_batch(conn, before)).await?;
                forgotten += u64::from(batch);
                if batch < limits::COUNTERS_PER_BATCH {
                    return Ok(forgotten);
                }
            }
        })
    }

    fn add_grant(&self, grant: Grant, change: Change) -> Reply<'_, Granted> {
        let work = move |conn: &Connection| {
            let granted = grants::add(conn, &grant)?;
            changes::record_if(conn, granted == Granted::Made, &change)?;
            Ok(granted)
        };
        Box::pin(self.writer.write(Entry::End, work))
    }

    fn grant(&self, id: GrantId) -> Reply<'_, Option<Grant>> {
        Box::pin(self.readers.point(move |conn| grants::find(conn, &id)))
    }

    fn grants(&self) -> Reply<'_, Vec<Grant>> {
        Box::pin(self.readers.long(grants::all))
    }

    fn grant_changes(&self) -> Reply<'_, u64> {
        Box::pin(self.readers.point(grants::changes))
    }

    fn standing_grants(&self) -> Reply<'_, Standing> {
        Box::pin(self.readers.long(grants::standing))
    }

    fn rotate_grant(&self, id: GrantId, key: NewKey, change: Change) -> Reply<'_, Changed> {
        let work = move |conn: &Connection| {
            let changed = grants::rotate(conn, &id, &key)?;
            changes::record_if(conn, changed == Changed::Done, &change)?;
            Ok(changed)
        };
        Box::pin(self.writer.write(Entry::End, work))
    }

    fn set_grant_policy(&self, id: GrantId, policy: Option<String>, change: Change) -> Reply<'_, Changed> {
        let work = move |conn: &Connection| {
            let changed = grants::set_policy(conn, &id, policy.as_deref())?;
            changes::record_if(conn, changed == Changed::Done, &change)?;
            Ok(changed)
        };
        Box::pin(self.writer.write(Entry::End, work))
    }

    fn revoke_grant(&self, id: GrantId, at: UnixMs, change: Change) -> Reply<'_, Changed> {
        let work = move |conn: &Connection| {
            let changed = grants::revoke(conn, &id, at)?;
            changes::record_if(conn, changed == Changed::Done, &change)?;
            Ok(changed)
        };
        Box::pin(self.writer.write(Entry::End, work))
    }

    fn own_keys(&self) -> Reply<'_, Vec<OwnKey>> {
        Box::pin(self.readers.point(own_keys::all))
    }

    fn add_own_key(&self, key: OwnKey, change: Change) -> Reply<'_, KeyAdded> {
        Box::pin(self.writer.write(Entry::End, move |conn| own_keys::add(conn, &key, &change)))
    }

    fn retire_own_key(&self, purpose: KeyPurpose, public: [u8; 32], change: Change) -> Reply<'_, KeyRetired> {
        let work = move |conn: &Connection| own_keys::retire(conn, purpose, &public, &change);
        Box::pin(self.writer.write(Entry::End, work))
    }

    fn changes(&self, before: Option<u64>, limit: u32) -> Reply<'_, Vec<Recorded>> {
        Box::pin(self.readers.long(move |conn| changes::list(conn, before, limit)))
    }

    fn note_grant_uses(&self, uses: Vec<(GrantId, UnixMs)>) -> Reply<'_, ()> {
        Box::pin(self.writer.write(Entry::Start, move |conn| grants::note_uses(conn, &uses)))
    }

    fn note_audit(&self, lines: Vec<AuditLine>, said: Vec<Change>) -> Reply<'_, ()> {
        Box::pin(self.writer.write(Entry::Start, move |conn| {
            said.iter().try_for_each(|change| changes::record(conn, &[], change))?;
            audit::append(conn, &lines)
        }))
    }

    fn audit(&self, query: AuditQuery) -> Reply<'_, Vec<AuditEntry>> {
        Box::pin(self.readers.long(move |conn| audit::page(conn, &query)))
    }

    fn forget_audit(&self, before: UnixMs, keep: u64) -> Reply<'_, u64> {
        Box::pin(async move {
            let mut forgotten = 0;
            loop {
                let work = move |conn: &Connection| audit::forget_batch(conn, before);
                let batch = self.writer.write(Entry::Start, work).await?;
                forgotten += u64::from(batch);
                if batch < audit::LINES_PER_BATCH {
                    break;
                }
            }
            // Counted where it holds up no claim.
            let mut beyond = self.readers.long(move |conn| audit::beyond(conn, keep)).await?;
            while beyond > 0 {
                let work = move |conn: &Connection| audit::trim_batch(conn, beyond);
                let batch = u64::from(self.writer.write(Entry::Start, work).await?);
                forgotten += batch;
                beyond = if batch == 0 { 0 } else { beyond.saturating_sub(batch) };
            }
            Ok(forgotten)
        })
    }

    fn copy_to(&self, file: PathBuf) -> Reply<'_, ()> {
        Box::pin(self.readers.long(move |conn| copy::copy_to(conn, &file)))
    }

    fn examiner(&self) -> Arc<dyn Examiner> {
        Arc::new(SqliteExaminer(Arc::clone(&self.readers)))
    }

    fn waiting(&self) -> usize {
        self.writer.waiting()
    }

    fn instance(&self) -> InstanceId {
        self.instances.mine()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            // The writer last: the last connection leaves a file without a WAL, and it must be one that may write.
            self.readers.close().await;
            self.writer.close().await;
            self.instances.leave();
        })
    }
}
