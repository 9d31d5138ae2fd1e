//! The audit trail: what was decided, by which rule, for whom. It holds no value of an argument and no code.

use core::fmt;
use core::str::FromStr;

use execgate_model::{Digest, Effect, RunId, UnixMs};

/// Lines on one page at most.
pub const AUDIT_PAGE_MAX: u32 = 1_000;

/// How a request was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuditDecision {
    /// It was claimed and run, however it ended.
    Allowed,
    /// A rule said no.
    Refused,
    /// A rule wants a person's approval, and none came that counts.
    ApprovalRequired,
    /// It was answered from the record of an earlier run.
    Replayed,
    /// A fault of ours ended it.
    Failed,
    /// No decision: this line stands for others that are not in the trail.
    Omitted,
}

impl AuditDecision {
    /// Every decision.
    pub const ALL: [Self; 6] =
        [Self::Allowed, Self::Refused, Self::ApprovalRequired, Self::Replayed, Self::Failed, Self::Omitted];

    /// The word that is stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Refused => "refused",
            Self::ApprovalRequired => "approval-required",
            Self::Replayed => "replayed",
            Self::Failed => "failed",
            Self::Omitted => "omitted",
        }
    }

    /// Reads back what [`Self::as_str`] gave.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|decision| decision.as_str() == word)
    }
}

/// One line of the trail. Its words are bounded where they are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditLine {
    /// When it was decided.
    pub at: UnixMs,
    /// The caller's tenant.
    pub tenant: String,
    /// The caller in one word.
    pub caller: String,
    /// The contract under which it came in.
    pub surface: String,
    /// What was asked for.
    pub action: String,
    /// For real, or simulated.
    pub effect: Effect,
    /// The run, where there is one.
    pub run: Option<RunId>,
    /// Whether the caller gave it a name of its own.
    pub has_nonce: bool,
    /// What was decided.
    pub decision: AuditDecision,
    /// The room that decided.
    pub room: String,
    /// The rule that decided, by its stable name.
    pub rule: String,
    /// What became of the run, in one word.
    pub outcome: Option<String>,
    /// How the identity service was asked; none where it was not.
    pub iam: Option<String>,
    /// The names of the arguments, without their values.
    pub argument_keys: Vec<String>,
    /// The salted digest of the arguments, as the run's receipt has it.
    pub args_digest: Option<Digest>,
    /// The rules in force.
    pub policy: Option<Digest>,
    /// The rooms that were walked through, each with its microseconds.
    pub rooms: Vec<(String, u64)>,
    /// Microseconds in all.
    pub total_us: u64,
    /// How many lines this one stands for that are not in the trail; 0 for a decision.
    pub omitted: u64,
}

/// Where a line stands in the trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuditPlace {
    /// Its time.
    pub at: UnixMs,
    /// Its number, in the order in which lines were written.
    pub seq: u64,
}

impl fmt::Display for AuditPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.at.0, self.seq)
    }
}

impl FromStr for AuditPlace {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let number = |text: &str| {
            let plain = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| plain).ok_or(NoPlace)
        };
        let (at, seq) = text.split_once('-').ok_or(NoPlace)?;
        Ok(Self { at: UnixMs(number(at)?), seq: number(seq)? })
    }
}

/// A text is no place of the trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a place in the trail is the `place` of a line, such as 1767225600000-42")]
pub struct NoPlace;

/// A line, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Where.
    pub place: AuditPlace,
    /// What it says.
    pub line: AuditLine,
}

/// In which order lines are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AuditOrder {
    /// By time, the newest first.
    #[default]
    Newest,
    /// By time, the oldest first.
    Oldest,
    /// As they were written, so that whoever follows the trail misses none that came late.
    Written,
}

impl AuditOrder {
    /// Every order.
    pub const ALL: [Self; 3] = [Self::Newest, Self::Oldest, Self::Written];

    /// The word by which it is asked for.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::Oldest => "oldest",
            Self::Written => "written",
        }
    }

    /// Reads back what [`Self::as_str`] gave.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|order| order.as_str() == word)
    }
}

/// Which lines of the trail are read. What is none selects all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditQuery {
    /// Not before then.
    pub since: Option<UnixMs>,
    /// Before then.
    pub until: Option<UnixMs>,
    /// Of this tenant.
    pub tenant: Option<String>,
    /// Of this caller.
    pub caller: Option<String>,
    /// About this action.
    pub action: Option<String>,
    /// By this rule.
    pub rule: Option<String>,
    /// Decided so.
    pub decision: Option<AuditDecision>,
    /// The order.
    pub order: AuditOrder,
    /// Behind this place in that order: the last of the page before.
    pub after: Option<AuditPlace>,
    /// At most so many; [`AUDIT_PAGE_MAX`] at the most.
    pub limit: u32,
}
