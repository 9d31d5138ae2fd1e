//! What the record shows to whoever checks it: all of it, page by page, in the order in which it came to be.
//!
//! Nothing here judges. Two pages are two looks: what changes between them is for the one who reads to bear in mind. What
//! this version cannot read is shown as that, so that one damaged row hides no other.

use execgate_model::{Amount, Digest, RunId, Stage, UnixMs};

use crate::port::Reply;
use crate::{LeafKind, Record};

/// A run, with what a listing does not show.
#[derive(Debug, Clone, PartialEq)]
pub struct ExaminedRun {
    /// Its place in the order of claims, from 1. That of an undone claim may be given again.
    pub place: u64,
    /// Its name.
    pub run: RunId,
    /// The run itself, or the column that cannot be read.
    pub record: Result<Record, &'static str>,
    /// SHA-256 over scope and nonce.
    pub nonce_key: Option<Digest>,
    /// Its newest payment, by its place.
    pub payment: Option<u64>,
    /// Whether that is taken before the work.
    pub upfront: bool,
    /// The receipt file of its resolution.
    pub resolution: Option<Vec<u8>>,
    /// Whether it waits for people, or has.
    pub has_waited: bool,
    /// Whether that has left a leaf: since the time that it does.
    pub parked_with_leaf: bool,
}

/// A leaf, and what it should be the digest of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExaminedLeaf {
    /// Its place in the log, from 1.
    pub seq: u64,
    /// The run that it names; none for a change, or where the name is no run's.
    pub run: Option<RunId>,
    /// What it stands for, or a word that is not known here.
    pub kind: Result<LeafKind, String>,
    /// The digest; none where it has another length.
    pub digest: Option<Digest>,
    /// The place of the run, where there is one.
    pub place: Option<u64>,
    /// The salt of the run, or of the change.
    pub salt: Option<[u8; 32]>,
    /// The intent, the receipt file or the statement that stands behind a leaf of its kind.
    pub behind: Option<Vec<u8>>,
}

/// A payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExaminedPayment {
    /// Its place in the order of payments.
    pub place: u64,
    /// The run that it has bought.
    pub run: RunId,
    /// Which rail.
    pub rail: String,
    /// How much.
    pub amount: Amount,
    /// How it ended: `captured`, `released`, `failed` or `reversed`; none while it is open.
    pub word: Option<String>,
    /// The rail's own name for the movement.
    pub reference: Option<String>,
    /// The same of its first movement, where its chain has taken that back and another has moved it.
    pub first_reference: Option<String>,
    /// How much was held, where usage has said how much of it is taken.
    pub most: Option<Amount>,
    /// When that was recorded; none where an earlier release recorded it.
    pub at: Option<UnixMs>,
    /// Whether it is owed to its payer.
    pub is_credit: bool,
    /// Whether it pays for work that was done already, at the price of its own day.
    pub again: bool,
    /// The price of that run; none where there is no such run.
    pub price: Option<Amount>,
    /// The payment that that run stands by, by its place.
    pub newest: Option<u64>,
    /// Where the money of that run stands, by its word; none where there is no such run.
    pub settlement: Option<String>,
    /// The rail of that run.
    pub run_rail: Option<String>,
    /// What that run has as the rail's own name for the movement.
    pub run_reference: Option<String>,
    /// Whether it is taken before the work: its claim may have been taken back, and it stays.
    pub upfront: bool,
}

/// What a run has been kept with that waits for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExaminedParked {
    /// The place of the run.
    pub place: u64,
    /// The run; none where there is none.
    pub run: Option<RunId>,
    /// Where it stands; none where that cannot be read.
    pub stage: Option<Stage>,
    /// SHA-256 over action, payload, effect and options.
    pub fingerprint: Option<Digest>,
    /// How many bytes both are said to have.
    pub bytes: u64,
    /// The request, but for its payload.
    pub head: Vec<u8>,
    /// Its payload; none where that is gone.
    pub payload: Option<Vec<u8>>,
}

/// What a person has said, and what stands behind its leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExaminedVote {
    /// The place of its leaf in the log, from 1.
    pub leaf: u64,
    /// The run.
    pub run: RunId,
    /// Who.
    pub person: String,
    /// By which key, by the operator's name.
    pub approver: String,
    /// Yes or no.
    pub word: String,
    /// When.
    pub at: UnixMs,
    /// What was signed.
    pub artifact: Vec<u8>,
    /// The statement behind the leaf; none where there is no leaf of a vote about this run.
    pub statement: Option<Vec<u8>>,
}

/// A counter of a limit that is not the sum of what its runs have reserved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitDrift {
    /// What names the counter.
    pub key: Digest,
    /// What it says.
    pub used: u64,
    /// What runs have reserved in its window.
    pub reserved: u64,
}

/// How much there is to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extent {
    /// The place of the newest run.
    pub runs: u64,
    /// The place of the newest leaf.
    pub leaves: u64,
    /// The place of the newest payment.
    pub payments: u64,
}

/// The record, for whoever checks it.
pub trait Examiner: Send + Sync {
    /// How much there is.
    fn extent(&self) -> Reply<'_, Extent>;

    /// What is wrong with the file itself, in the back end's words; empty where nothing is. Reads all of it.
    fn file(&self) -> Reply<'_, Vec<String>>;

    /// Runs behind a place.
    fn runs(&self, after: u64) -> Reply<'_, Vec<ExaminedRun>>;

    /// The run at a place.
    fn run(&self, place: u64) -> Reply<'_, Option<ExaminedRun>>;

    /// Leaves behind a place.
    fn leaves(&self, after: u64) -> Reply<'_, Vec<ExaminedLeaf>>;

    /// The first changes, by their place in the log, that no leaf stands for.
    fn bare_changes(&self) -> Reply<'_, Vec<u64>>;

    /// What runs that wait are kept with, behind the place of a run.
    fn parked(&self, after: u64) -> Reply<'_, Vec<ExaminedParked>>;

    /// The first runs that wait and are kept with nothing to be started with.
    fn unprepared(&self) -> Reply<'_, Vec<RunId>>;

    /// What people have said, behind a place of the log.
    fn votes(&self, after: u64) -> Reply<'_, Vec<ExaminedVote>>;

    /// The first leaves of votes, by their places, for which no vote stands.
    fn bare_votes(&self) -> Reply<'_, Vec<u64>>;

    /// One payment, by its key.
    fn payment(&self, key: Digest) -> Reply<'_, Option<ExaminedPayment>>;

    /// Payments behind a place.
    fn payments(&self, after: u64) -> Reply<'_, Vec<ExaminedPayment>>;

    /// Counters of limits that are not what their runs have reserved, as of one moment.
    fn limits(&self) -> Reply<'_, Vec<LimitDrift>>;
}
