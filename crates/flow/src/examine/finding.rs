//! What is told of a record that is checked.

use core::fmt;

use execgate_model::RunId;

/// What does not hold. The word is stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// The file itself is damaged.
    File,
    /// A column of a run cannot be read, or its row not be found by its name.
    Unreadable,
    /// What a run was claimed with is not what its row says.
    Claim,
    /// Its name or its nonce are not those of what it was claimed with.
    Name,
    /// It has an end where it must have none, or none where it must have one.
    Stage,
    /// A run that has ended has no receipt.
    ReceiptMissing,
    /// The receipt does not verify under the published keys.
    ReceiptInvalid,
    /// The receipt is signed by a key that was retired before its leaf came: it does not count.
    ReceiptKey,
    /// The receipt is good, and says something other than the record.
    ReceiptDiffers,
    /// The answer that is kept does not make the receipt.
    Answer,
    /// What was said of an unknown run is not what was signed.
    Resolution,
    /// The money does not stand as the end of the run says.
    Money,
    /// A run has no leaf that it must have.
    LeafMissing,
    /// A leaf is not the digest of what stands behind it.
    LeafDiffers,
    /// A run has two leaves where it must have one.
    LeafTwice,
    /// A leaf stands for nothing that is there.
    LeafStray,
    /// A place in the log is empty.
    LeafGap,
    /// A change has no leaf.
    Change,
    /// What a run waits with is not what it was parked with, or is gone.
    Parked,
    /// What is kept of what a person has said is not what stands in the log.
    Vote,
    /// A counter is not the sum of what runs have reserved.
    Limit,
    /// The tree is not that of the leaves, or its newest head not that of the tree.
    Log,
}

impl Rule {
    /// The word that is told.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Unreadable => "unreadable",
            Self::Claim => "claim",
            Self::Name => "name",
            Self::Stage => "stage",
            Self::ReceiptMissing => "receipt-missing",
            Self::ReceiptInvalid => "receipt-invalid",
            Self::ReceiptKey => "receipt-key",
            Self::ReceiptDiffers => "receipt-differs",
            Self::Answer => "answer",
            Self::Resolution => "resolution",
            Self::Money => "money",
            Self::LeafMissing => "leaf-missing",
            Self::LeafDiffers => "leaf-differs",
            Self::LeafTwice => "leaf-twice",
            Self::LeafStray => "leaf-stray",
            Self::LeafGap => "leaf-gap",
            Self::Change => "change",
            Self::Parked => "parked",
            Self::Vote => "vote",
            Self::Limit => "limit",
            Self::Log => "log",
        }
    }
}

/// One thing that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub rule: Rule,
    /// Of which run, where it is one's.
    pub run: Option<RunId>,
    /// At which place of the log, where it is a leaf's.
    pub leaf: Option<u64>,
    /// In words.
    pub what: String,
}

impl Finding {
    pub(super) fn of(rule: Rule, run: RunId, what: impl Into<String>) -> Self {
        Self { rule, run: Some(run), leaf: None, what: what.into() }
    }

    pub(super) fn at(rule: Rule, leaf: u64, run: Option<RunId>, what: impl Into<String>) -> Self {
        Self { rule, run, leaf: Some(leaf), what: what.into() }
    }

    pub(super) fn plain(rule: Rule, what: impl Into<String>) -> Self {
        Self { rule, run: None, leaf: None, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rule.as_str())?;
        if let Some(run) = self.run {
            write!(f, "  run {run}")?;
        }
        if let Some(leaf) = self.leaf {
            write!(f, "  leaf {leaf}")?;
        }
        write!(f, "  {}", self.what)
    }
}

/// What is being looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The file.
    File,
    /// Runs and their receipts.
    Runs,
    /// Leaves.
    Leaves,
    /// Changes.
    Changes,
    /// What waits for people.
    Parked,
    /// Payments.
    Payments,
    /// Limits.
    Limits,
    /// The tree over the leaves.
    Log,
}

impl Step {
    /// The word that is told.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Runs => "runs",
            Self::Leaves => "leaves",
            Self::Changes => "changes",
            Self::Parked => "parked",
            Self::Payments => "payments",
            Self::Limits => "limits",
            Self::Log => "log",
        }
    }
}

/// What is told meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// How far it is.
    At {
        /// With what.
        step: Step,
        /// How much of it is done.
        done: u64,
        /// Of how much, as far as it was known at the start.
        of: u64,
    },
    /// Something does not hold.
    Found(Finding),
}

/// What there was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Runs.
    pub runs: u64,
    /// Of these, those that have no end yet.
    pub open: u64,
    /// Of these, those whose end is unknown.
    pub unknown: u64,
    /// Receipts that verify and say what the record says.
    pub receipts: u64,
    /// Answers that are kept.
    pub answers: u64,
    /// Leaves.
    pub leaves: u64,
    /// Intents of claims that were taken back before anything started.
    pub undone: u64,
    /// Payments.
    pub payments: u64,
    /// Runs whose money was taken.
    pub captured: u64,
    /// Runs whose money was given back.
    pub released: u64,
    /// Runs whose money was taken, and taken back for good by its chain.
    pub reversed: u64,
    /// Runs whose money is neither yet.
    pub held: u64,
    /// Payments that a later one took the place of.
    pub replaced: u64,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// What there was.
    pub counts: Counts,
    /// How many things do not hold.
    pub findings: u64,
}
