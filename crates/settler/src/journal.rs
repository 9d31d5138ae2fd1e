//! What the desk has promised to send: kept before it is sent, so that a process that dies sends the same again, and nothing
//! else.
//!
//! A job is an authorization; it has the number of one of the account's transactions, and each of the transactions that were
//! signed for it since it has that number has it, too: one of them at most can get into a block. Those of a number that it had
//! before are kept: should the chain take back what has used that up, they are what fills it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use execgate_payment::TxHash;
use execgate_payment::evm::Authorization;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::reason::nonce_used;
use crate::transaction::{Fees, Signed};

/// The tables. A later version of them is a later number.
const SCHEMA: &str = "
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS job (
    claim         TEXT    NOT NULL PRIMARY KEY,
    authorization BLOB    NOT NULL,
    nonce         INTEGER NOT NULL,
    word          TEXT    NOT NULL,
    hash          TEXT,
    reason        TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS job_by_nonce ON job (nonce);
CREATE INDEX IF NOT EXISTS job_open ON job (nonce) WHERE word = 'open';
CREATE TABLE IF NOT EXISTS sent (
    hash  TEXT    NOT NULL PRIMARY KEY,
    claim TEXT    NOT NULL,
    raw   BLOB    NOT NULL,
    most  TEXT    NOT NULL,
    tip   TEXT    NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS sent_by_claim ON sent (claim);
";

/// Why the journal could not be read or written. Nothing is sent then.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// SQLite failed.
    #[error("the journal of the settler failed")]
    Sql(#[from] rusqlite::Error),
    /// What is written there is not what this version writes.
    #[error("the journal of the settler holds something unreadable")]
    Unreadable,
}

/// How a job stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Job {
    /// One of its transactions may still get into a block.
    Open(Box<Open>),
    /// It moved what it should.
    Done(TxHash),
    /// It surely did not, and never will.
    Refused(String),
}

/// A job that is not over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) authorization: Authorization,
    pub(crate) nonce: u64,
    /// In the order in which they were signed.
    pub(crate) sent: Vec<(Signed, Fees)>,
}

impl Open {
    /// The newest transaction that was signed with a number.
    pub(crate) fn newest(&self, nonce: u64) -> Option<&(Signed, Fees)> {
        self.sent.iter().rev().find(|(signed, _)| signed.nonce == nonce)
    }

    /// The numbers that it had before, and that are free though somebody else had used them up: the chain, which counts so many,
    /// has taken that back. Nothing behind them gets into a block before them.
    pub(crate) fn freed(&self, used_by_chain: u128) -> BTreeSet<u64> {
        let numbers = self.sent.iter().map(|(signed, _)| signed.nonce);
        numbers.filter(|nonce| *nonce < self.nonce && u128::from(*nonce) >= used_by_chain).collect()
    }
}

/// The journal of one key.
pub(crate) struct Journal(Mutex<Connection>);

impl Journal {
    pub(crate) fn open(file: &Path) -> Result<Self, JournalError> {
        let conn = Connection::open(file)?;
        conn.execute_batch(SCHEMA)?;
        Ok(Self(Mutex::new(conn)))
    }

    fn conn(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the job of an authorization stands, where there is one. One that uses the same nonce for something else has been
    /// refused: its token, or Permit2, takes a nonce once, and it is taken for the other.
    pub(crate) fn find(&self, authorization: &Authorization) -> Result<Option<Job>, JournalError> {
        found(&self.conn(), authorization)
    }

    /// Every job that is not over, in the order of their numbers.
    pub(crate) fn all_open(&self) -> Result<Vec<Open>, JournalError> {
        let conn = self.conn();
        let sql = "SELECT claim, authorization, nonce FROM job INDEXED BY job_open WHERE word = 'open' ORDER BY nonce";
        let mut statement = conn.prepare(sql)?;
        let rows = statement.query_map([], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, i64>(2)?))
        })?;
        rows.map(|row| {
            let (claim, bytes, nonce) = row?;
            opened(&conn, &claim, &bytes, nonce)
        })
        .collect()
    }

    /// Takes up again every job whose number its chain has not used up, though it was over: the chain has taken back the block
    /// that had it, and nothing behind that number gets into another before it. Durable when this returns.
    pub(crate) fn reopen(&self, used_by_chain: u64) -> Result<Vec<Authorization>, JournalError> {
        let conn = self.conn();
        let sql = "UPDATE job SET word = 'open' WHERE nonce >= ?1 AND word <> 'open' RETURNING authorization";
        let number = i64::try_from(used_by_chain).map_err(|_| JournalError::Unreadable)?;
        let mut statement = conn.prepare(sql)?;
        let rows = statement.query_map([number], |row| row.get::<_, Vec<u8>>(0))?;
        rows.map(|row| Authorization::from_bytes(&row?).map_err(|_| JournalError::Unreadable)).collect()
    }

    /// Gives an authorization its number, the least that neither the chain nor this journal has used, and keeps what is
    /// signed with it. Durable when this returns. A job that is there already is given as it stands, and nothing is signed.
    pub(crate) fn begin(
        &self,
        authorization: &Authorization,
        used_by_chain: u64,
        fees: Fees,
        sign: impl FnOnce(u64) -> Signed,
    ) -> Result<Job, JournalError> {
        let mut conn = self.conn();
        let transaction = conn.transaction()?;
        if let Some(job) = found(&transaction, authorization)? {
            return Ok(job);
        }
        let nonce = next(&transaction, used_by_chain)?;
        let signed = sign(nonce);
        let claim = authorization.claim_key().to_hex();
        let bytes = authorization.to_bytes().map_err(|_| JournalError::Unreadable)?;
        let number = i64::try_from(nonce).map_err(|_| JournalError::Unreadable)?;
        let sql = "INSERT INTO job (claim, authorization, nonce, word) VALUES (?1, ?2, ?3, 'open')";
        transaction.execute(sql, params![claim, bytes, number])?;
        sent(&transaction, &claim, &signed, fees)?;
        transaction.commit()?;
        Ok(Job::Open(Box::new(Open {
            authorization: authorization.clone(),
            nonce,
            sent: vec![(signed, fees)],
        })))
    }

    /// Gives a job the next number in the place of one that somebody else has used up, and keeps what is signed with it. Durable
    /// when this returns. Nothing happens where the job stands otherwise by now.
    pub(crate) fn renumber(
        &self,
        job: &Open,
        used_by_chain: u64,
        fees: Fees,
        sign: impl FnOnce(u64) -> Signed,
    ) -> Result<(), JournalError> {
        let mut conn = self.conn();
        let transaction = conn.transaction()?;
        let nonce = next(&transaction, used_by_chain)?;
        let claim = job.authorization.claim_key().to_hex();
        let number = |nonce: u64| i64::try_from(nonce).map_err(|_| JournalError::Unreadable);
        let sql = "UPDATE job SET nonce = ?2 WHERE claim = ?1 AND nonce = ?3 AND word = 'open'";
        if transaction.execute(sql, params![claim, number(nonce)?, number(job.nonce)?])? > 0 {
            sent(&transaction, &claim, &sign(nonce), fees)?;
            transaction.commit()?;
        }
        Ok(())
    }

    /// Keeps another transaction of a job, before it is sent. Durable when this returns.
    pub(crate) fn keep(
        &self,
        authorization: &Authorization,
        signed: &Signed,
        fees: Fees,
    ) -> Result<(), JournalError> {
        sent(&self.conn(), &authorization.claim_key().to_hex(), signed, fees)
    }

    /// Notes that a job moved what it should, by this transaction.
    pub(crate) fn done(&self, authorization: &Authorization, hash: TxHash) -> Result<(), JournalError> {
        let sql = "UPDATE job SET word = 'done', hash = ?2 WHERE claim = ?1";
        self.conn().execute(sql, params![authorization.claim_key().to_hex(), hash.to_string()])?;
        Ok(())
    }

    /// Notes that a job never will.
    pub(crate) fn refused(&self, authorization: &Authorization, reason: &str) -> Result<(), JournalError> {
        let sql = "UPDATE job SET word = 'refused', reason = ?2 WHERE claim = ?1";
        self.conn().execute(sql, params![authorization.claim_key().to_hex(), reason])?;
        Ok(())
    }
}

/// The least number that neither the chain nor this journal has used.
fn next(conn: &Connection, used_by_chain: u64) -> Result<u64, JournalError> {
    let next: i64 = conn.query_row("SELECT coalesce(max(nonce) + 1, 0) FROM job", [], |row| row.get(0))?;
    Ok(u64::try_from(next).map_err(|_| JournalError::Unreadable)?.max(used_by_chain))
}

fn sent(conn: &Connection, claim: &str, signed: &Signed, fees: Fees) -> Result<(), JournalError> {
    let sql =
        "INSERT INTO sent (hash, claim, raw, most, tip) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING";
    let (most, tip) = (fees.most.to_string(), fees.tip.to_string());
    conn.execute(sql, params![signed.hash.to_string(), claim, signed.raw, most, tip])?;
    Ok(())
}

fn found(conn: &Connection, authorization: &Authorization) -> Result<Option<Job>, JournalError> {
    let claim = authorization.claim_key().to_hex();
    let sql = "SELECT authorization, nonce, word, hash, reason FROM job WHERE claim = ?1";
    let read = |row: &Row<'_>| {
        let (bytes, nonce, word): (Vec<u8>, i64, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok((bytes, nonce, word, row.get::<_, Option<String>>(3)?, row.get::<_, Option<String>>(4)?))
    };
    let Some((bytes, nonce, word, hash, reason)) = conn.query_row(sql, [&claim], read).optional()? else {
        return Ok(None);
    };
    let kept = Authorization::from_bytes(&bytes).map_err(|_| JournalError::Unreadable)?;
    if !is_same(&kept, authorization) {
        return Ok(Some(Job::Refused(nonce_used(authorization).to_owned())));
    }
    match (word.as_str(), hash, reason) {
        ("done", Some(hash), _) => Ok(Some(Job::Done(hash.parse().map_err(|_| JournalError::Unreadable)?))),
        ("refused", _, Some(reason)) => Ok(Some(Job::Refused(reason))),
        ("open", ..) => Ok(Some(Job::Open(Box::new(opened(conn, &claim, &bytes, nonce)?)))),
        _ => Err(JournalError::Unreadable),
    }
}

/// Whether two authorizations of one nonce move the same.
fn is_same(one: &Authorization, other: &Authorization) -> bool {
    let moved =
        |it: &Authorization| (it.token.contract, it.by, it.to, it.value, it.valid_after, it.valid_before);
    moved(one) == moved(other)
}

fn opened(conn: &Connection, claim: &str, bytes: &[u8], nonce: i64) -> Result<Open, JournalError> {
    let authorization = Authorization::from_bytes(bytes).map_err(|_| JournalError::Unreadable)?;
    let nonce = u64::try_from(nonce).map_err(|_| JournalError::Unreadable)?;
    let mut statement =
        conn.prepare("SELECT hash, raw, most, tip FROM sent WHERE claim = ?1 ORDER BY rowid")?;
    let rows = statement.query_map([claim], |row| {
        let (hash, raw): (String, Vec<u8>) = (row.get(0)?, row.get(1)?);
        Ok((hash, raw, row.get::<_, String>(2)?, row.get::<_, String>(3)?))
    })?;
    let mut sent = Vec::new();
    for row in rows {
        let (hash, raw, most, tip) = row?;
        let hash = hash.parse().map_err(|_| JournalError::Unreadable)?;
        let number = |text: String| text.parse::<u128>().map_err(|_| JournalError::Unreadable);
        let signed = Signed::kept(hash, raw).ok_or(JournalError::Unreadable)?;
        sent.push((signed, Fees { most: number(most)?, tip: number(tip)? }));
    }
    Ok(Open { authorization, nonce, sent })
}
