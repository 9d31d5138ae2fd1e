//! The shapes in which money is moved and listed.

use execgate_model::{ActionName, Amount, Digest, RunId, Stage, UnixMs};

use crate::{Change, SettlementWord};

impl SettlementWord {
    /// Whether nothing moves any more behind it.
    #[must_use]
    pub const fn is_end(self) -> bool {
        match self {
            Self::Free | Self::Captured | Self::Released => true,
            Self::Held | Self::Capturing | Self::Unpaid | Self::Pending => false,
        }
    }

    /// Whether money may go from here to there.
    #[must_use]
    pub const fn may_become(self, to: Self) -> bool {
        match (self, to) {
            (Self::Held, Self::Released)
            | (Self::Capturing, Self::Captured | Self::Released | Self::Unpaid | Self::Pending)
            | (Self::Pending, Self::Captured | Self::Released | Self::Unpaid) => true,
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
    /// When.
    pub at: UnixMs,
}

/// The answer to a movement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It is recorded.
    Moved,
    /// The money had moved already, and stands there. Nothing is recorded.
    Stands(SettlementWord),
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
    /// When the run was claimed.
    pub since: Option<UnixMs>,
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
    /// What was run; none where the run was taken back.
    pub action: Option<ActionName>,
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
}
