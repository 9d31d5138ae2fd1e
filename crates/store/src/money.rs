//! The shapes in which money is moved and listed.

use execgate_model::{ActionName, Amount, Digest, RunId, Stage, UnixMs};

use crate::{Change, SettlementWord};

/// For how long a payer whose payment failed when the work was done pays before the work: a week.
pub const FAILED_FOR_MS: u64 = 604_800_000;

/// So many payments that were taken before the work end that sooner.
pub const REDEEMED_BY: u32 = 3;

/// In which window timeouts that are not charged are counted, of each payer: an hour.
pub const SPARED_WINDOW_MS: u64 = 3_600_000;

/// So many of them in it, and the payer pays before the work until it is over.
pub const SPARED_MAX: u32 = 8;

/// So many of them of all payers together of whom nothing was ever taken, and those pay before the work until it is over: such a
/// payer costs nothing, so that one who wants work for nothing is many. Two hours of a processor, at thirty seconds for each.
pub const SPARED_ALL_MAX: u32 = 256;

/// So many of them of all others together, and those do.
pub const SPARED_PAID_MAX: u32 = 1_024;

/// So many of them one payer may have who has paid, where so many were had by all of those together: the less is left for all, the
/// less each may take of it, so that few cannot take it from the others. To have them all wait takes 349 payers who have paid;
/// 128 leave three to each other one.
#[must_use]
pub(crate) const fn spared_each(all: u32) -> u32 {
    SPARED_PAID_MAX.saturating_sub(all).div_ceil(SPARED_PAID_MAX / SPARED_MAX)
}

impl SettlementWord {
    /// Whether nothing moves any more behind it.
    #[must_use]
    pub const fn is_end(self) -> bool {
        match self {
            Self::Free | Self::Captured | Self::Released | Self::Reversed => true,
            Self::Held | Self::Capturing | Self::Unpaid | Self::Pending => false,
        }
    }

    /// Whether money may go from here to there. What a chain takes back for good goes otherwise ([`Revised`]).
    #[must_use]
    pub const fn may_become(self, to: Self) -> bool {
        match (self, to) {
            (Self::Held, Self::Released)
            | (Self::Capturing, Self::Captured | Self::Released | Self::Unpaid | Self::Pending)
            // Pending again: where nobody was asked for it before, and somebody is now.
            | (Self::Pending, Self::Captured | Self::Released | Self::Unpaid | Self::Pending) => true,
            (_, _) => false,
        }
    }
}

/// One movement of the money of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settling {
    /// The run.
    pub run: RunId,
    /// The payment, by its key.
    pub payment: Digest,
    /// Where its money stands, as far as is known: it moves from nowhere else.
    pub from: SettlementWord,
    /// Where it goes.
    pub to: SettlementWord,
    /// The rail's own name for the movement.
    pub reference: Option<String>,
    /// What is said of it in the log.
    pub said: Option<Change>,
    /// Until when it may move all the same, where it failed and nobody has seen that it is over: it is looked for until then.
    pub watch_until: Option<UnixMs>,
    /// Whether its chain may take it back, where it was taken: it is looked at until that is final.
    pub may_go_back: bool,
    /// Whether it failed by no fault of its payer's: that is not held to anything for it. Of one that is pending: whether
    /// nobody was asked for it yet.
    pub blameless: bool,
    /// When.
    pub at: UnixMs,
}

/// A payment that was taken, and is not final yet.
#[derive(Clone, PartialEq, Eq)]
pub struct Unfinal {
    /// What makes it unique.
    pub key: Digest,
    /// The run that it has bought.
    pub run: RunId,
    /// Which rail.
    pub rail: String,
    /// How much.
    pub amount: Amount,
    /// What the rail needs to look for it. It may be money.
    pub state: Vec<u8>,
    /// The rail's own name for the movement.
    pub reference: Option<String>,
    /// When it was taken.
    pub since: UnixMs,
}

impl core::fmt::Debug for Unfinal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Unfinal").field("key", &self.key).field("run", &self.run).finish_non_exhaustive()
    }
}

/// What its chain has made of a payment that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revision {
    /// Another movement than the one that was known has moved it, and is final.
    MovedBy(String),
    /// It was taken back for good.
    Reversed,
}

/// That a chain has taken back the movement of a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revised {
    /// The run that it has bought.
    pub run: RunId,
    /// The payment, by its key.
    pub payment: Digest,
    /// What has become of it.
    pub revision: Revision,
    /// What is said of it in the log.
    pub said: Change,
    /// When that was found.
    pub at: UnixMs,
}

/// A payment that was asked for before the work, and whose run was taken back: the same call takes it up again.
#[derive(Clone, PartialEq, Eq)]
pub struct LeftPayment {
    /// Which rail.
    pub rail: String,
    /// How much.
    pub amount: Amount,
    /// What the rail needs to move it. It may be money.
    pub state: Vec<u8>,
    /// Whether it was taken, as far as is known.
    pub is_captured: bool,
}

impl core::fmt::Debug for LeftPayment {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut shown = f.debug_struct("LeftPayment");
        shown.field("rail", &self.rail).field("is_captured", &self.is_captured).finish_non_exhaustive()
    }
}

/// A payment that failed, and may still move.
#[derive(Clone, PartialEq, Eq)]
pub struct Watched {
    /// What makes it unique.
    pub key: Digest,
    /// The run that it was to buy.
    pub run: RunId,
    /// Which rail.
    pub rail: String,
    /// How much.
    pub amount: Amount,
    /// What the rail needs to look for it. It may be money.
    pub state: Vec<u8>,
    /// When it failed.
    pub since: UnixMs,
    /// When its authorization is over.
    pub until: UnixMs,
}

impl core::fmt::Debug for Watched {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Watched").field("key", &self.key).field("run", &self.run).finish_non_exhaustive()
    }
}

/// That a payment which failed has moved after all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Late {
    /// The run that it was to buy.
    pub run: RunId,
    /// The payment, by its key.
    pub payment: Digest,
    /// The rail's own name for the movement.
    pub reference: Option<String>,
    /// What is said of it in the log.
    pub said: Change,
    /// Whether its chain may take it back.
    pub may_go_back: bool,
    /// When it was found.
    pub at: UnixMs,
}

/// What came of a payment that moved late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MovedLate {
    /// It pays for its run, whose result waited for a payment.
    Paid,
    /// It is its payer's credit.
    Credited,
    /// It is not one that failed. Nothing is recorded.
    Stands,
}

/// The answer to a movement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It is recorded.
    Moved,
    /// The money had moved already, and stands there. Nothing is recorded.
    Stands(SettlementWord),
}

/// A place in the order of open payments: behind one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenPlace {
    pub(crate) payer: String,
    pub(crate) amount: Amount,
    pub(crate) row: u64,
}

/// A payment whose capture nobody has heard the end of.
#[derive(Clone, PartialEq, Eq)]
pub struct OpenPayment {
    /// What makes it unique.
    pub key: Digest,
    /// The run that it was to buy.
    pub run: RunId,
    /// Who pays.
    pub payer: String,
    /// Which rail.
    pub rail: String,
    /// How much.
    pub amount: Amount,
    /// What the rail needs to move it. It may be money.
    pub state: Vec<u8>,
    /// Where its run stands; none for one that was taken back.
    pub stage: Option<Stage>,
    /// The rail's own name for the movement that may have happened.
    pub reference: Option<String>,
    /// The salt of the run.
    pub salt: Option<[u8; 32]>,
    /// Whether nobody was asked for it yet, as far as is known.
    pub is_unasked: bool,
    /// When the run was claimed, or, where it was taken back, when the payment was last held.
    pub since: Option<UnixMs>,
    /// Its own number.
    pub(crate) row: u64,
}

impl OpenPayment {
    /// The place behind it.
    #[must_use]
    pub fn place(&self) -> OpenPlace {
        OpenPlace { payer: self.payer.clone(), amount: self.amount, row: self.row }
    }
}

impl core::fmt::Debug for OpenPayment {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut shown = f.debug_struct("OpenPayment");
        shown
            .field("key", &self.key)
            .field("run", &self.run)
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}

/// Money that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Earned {
    /// Its place in the order of payments.
    pub place: u64,
    /// The run.
    pub run: RunId,
    /// What was run, the first of a batch; none where the run was taken back.
    pub action: Option<ActionName>,
    /// Whether it has paid for a whole batch.
    pub is_batch: bool,
    /// Which rail.
    pub rail: String,
    /// Who paid.
    pub payer: String,
    /// How much.
    pub amount: Amount,
    /// The rail's own name for the movement.
    pub reference: Option<String>,
    /// When it was recorded; none where an earlier release recorded it.
    pub at: Option<UnixMs>,
    /// Whether it is owed to its payer: it was taken for work that is not charged.
    pub is_credit: bool,
}

impl Earned {
    /// Where it was paid: the account of a payer without what stands for the payer (CAIP-10): `eip155:8453`, `stripe`.
    #[must_use]
    pub fn network(&self) -> &str {
        self.payer.rsplit_once(':').map_or(self.payer.as_str(), |(network, _)| network)
    }
}

/// Money, summed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sums {
    /// Payments that were taken.
    pub captured: u64,
    /// Together.
    pub captured_micros: u64,
    /// Of these, the ones that are owed to payers.
    pub credited: u64,
    /// Together.
    pub credited_micros: u64,
    /// Payments that may still be taken, those of runs that go on included.
    pub open: u64,
    /// Together.
    pub open_micros: u64,
    /// Payments whose capture nobody has heard the end of.
    pub pending: u64,
    /// Together.
    pub pending_micros: u64,
    /// Runs whose result is withheld until they are paid.
    pub unpaid: u64,
    /// What they cost together.
    pub unpaid_micros: u64,
    /// Payments that were taken, and that their chain may still take back: part of the first.
    pub unfinal: u64,
    /// Together.
    pub unfinal_micros: u64,
    /// Payments that were taken, and that their chain has taken back for good: no part of any other.
    pub reversed: u64,
    /// Together.
    pub reversed_micros: u64,
}
