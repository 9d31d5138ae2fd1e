//! What comes out of the corridor: a passage, or a refusal that names its room and rule.

use execgate_model::{Amount, ApproverName, Digest, IdError, RunId};
use execgate_payment::Flow;
use execgate_receipt::approval::{ApprovalError, ClawShieldError};
use execgate_store::{Answer, StoreError};
use execgate_tool::{BadCall, NotStarted};

use crate::approve::BLOCKED;
use crate::parking::Waiting;
use crate::pay::Bought;

/// A room, by the word that answers, logs and the console use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Room {
    /// Checks the request, names the price.
    Propose,
    /// Holds the money.
    Pay,
    /// Asks the rules.
    Authorise,
    /// Asks a person.
    Approve,
    /// Claims and runs.
    Execute,
    /// Writes the receipt.
    Witness,
    /// Moves the money.
    Settle,
}

impl Room {
    /// The one behind it; behind the last there is none but itself.
    #[must_use]
    pub(crate) const fn next(self) -> Self {
        match self {
            Self::Propose => Self::Pay,
            Self::Pay => Self::Authorise,
            Self::Authorise => Self::Approve,
            Self::Approve => Self::Execute,
            Self::Execute => Self::Witness,
            Self::Witness | Self::Settle => Self::Settle,
        }
    }

    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Propose => "propose",
            Self::Pay => "pay",
            Self::Authorise => "authorise",
            Self::Approve => "approve",
            Self::Execute => "execute",
            Self::Witness => "witness",
            Self::Settle => "settle",
        }
    }
}

/// A run that has an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// The run.
    pub run: RunId,
    /// Its content receipt.
    pub content: Digest,
    /// Its outcome in one word (`Outcome::word`).
    pub outcome: String,
    /// What is answered.
    pub answer: Answer,
    /// True if it was answered before and nothing happened now.
    pub replayed: bool,
    /// The rooms that were walked through now, with microseconds; none on a replay.
    pub laps: Vec<(Room, u64)>,
    /// How its payment has ended; none where nothing was to be paid.
    pub bought: Option<Box<Bought>>,
}

impl Passage {
    /// Whether money was taken for it.
    pub(crate) fn is_bought(&self) -> bool {
        self.bought.as_ref().is_some_and(|bought| bought.is_taken())
    }
}

/// Why a request got no answer of a run. Every one is an answer to the caller; only the last three are faults.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The action does not exist.
    #[error("unknown action: {action}")]
    UnknownAction {
        /// As the caller wrote it.
        action: String,
    },
    /// The payload breaks a rule of the action.
    #[error(transparent)]
    BadCall(#[from] BadCall),
    /// The payload cannot be digested exactly, so no receipt could be made of it.
    #[error("{0}")]
    Undigestible(String),
    /// A name in the request breaks its rule.
    #[error(transparent)]
    BadId(#[from] IdError),
    /// A price, and nothing came to pay it.
    #[error("payment is required")]
    PaymentRequired {
        /// The price.
        price: Amount,
        /// When it is taken.
        flow: Flow,
    },
    /// Output would be given away before the money is taken (CONTRACTS 3).
    #[error("a priced action is not streamed, since it is paid when it has ended; ask for application/json")]
    WatchedUnpaid,
    /// What came does not pay for this.
    #[error("payment is refused: {reason}")]
    PaymentRefused {
        /// The price.
        price: Amount,
        /// When it is taken.
        flow: Flow,
        /// Why, for the caller.
        reason: String,
    },
    /// What came as a payment is none.
    #[error("the payment cannot be read: {reason}")]
    PaymentUnreadable {
        /// Why, for the caller.
        reason: String,
    },
    /// The rules for payers stand in the way of this one; it may pay otherwise, or later. Nothing was claimed.
    #[error("{reason}")]
    PayerLimited {
        /// The price.
        price: Amount,
        /// When it is taken, if it is paid so.
        flow: Flow,
        /// The stable word: `holds-full`, `holds-exceed-balance`, `upfront-only`.
        rule: &'static str,
        /// One sentence.
        reason: &'static str,
    },
    /// The rail cannot tell now.
    #[error("the payment rail `{rail}` is unavailable")]
    RailUnavailable {
        /// Which.
        rail: String,
    },
    /// The payment has bought another run.
    #[error("this payment has bought another run")]
    PaymentReused,
    /// The rules say no.
    #[error("{reason}")]
    Denied {
        /// The rule's stable name.
        rule: String,
        /// One sentence.
        reason: String,
    },
    /// A limit of the rules has no room in this window. Nothing was claimed.
    #[error("a limit is reached; it has room again in {retry_after_s} s")]
    LimitReached {
        /// The rule's stable name.
        rule: String,
        /// Until the next window, in seconds.
        retry_after_s: u64,
    },
    /// The rules cannot be asked, so nothing may pass.
    #[error("the identity service cannot be reached, and live actions are refused without it")]
    IamUnreachable,
    /// A person has to approve first, and no valid approval came.
    #[error("{reason}")]
    ApprovalMissing {
        /// The rule that asks for it.
        rule: String,
        /// One sentence.
        reason: String,
    },
    /// What came as an approval is none.
    #[error("{detail}")]
    ArtifactUnreadable {
        /// Why, for the caller.
        detail: String,
    },
    /// A `ClawShield` artifact does not approve this.
    #[error("the approval artifact is not good for this request")]
    ClawShield(#[source] ClawShieldError),
    /// What an approver has signed does not approve this.
    #[error("the approval is not good for this request")]
    ApprovalInvalid(#[source] Box<ApprovalError>),
    /// Somebody approves what they ask for themselves.
    #[error("`{approver}` asks for this, and nobody approves their own request")]
    OwnApproval {
        /// Who.
        approver: ApproverName,
    },
    /// It waits for people, and may run when they have said yes. It is claimed: the same nonce finds it again.
    #[error("this waits for an approval")]
    Parked(Box<Waiting>),
    /// The approval was used for another run.
    #[error("this approval was used for another run")]
    ApprovalReused,
    /// The nonce is taken by a request with other content.
    #[error("the nonce was used for a request with other content")]
    NonceReused {
        /// The run that holds it.
        run: RunId,
    },
    /// The run's answer is past its retention.
    #[error("the answer of this run is no longer kept")]
    AnswerExpired {
        /// The run.
        run: RunId,
        /// Its content receipt.
        content: Option<Digest>,
    },
    /// The work is done, the capture failed, the result is withheld until a payment is captured.
    #[error("the work is done and its payment could not be captured; repeat the call with a new payment")]
    Unpaid {
        /// The run.
        run: RunId,
        /// The price.
        price: Amount,
        /// When it is taken: at once.
        flow: Flow,
    },
    /// Nobody can tell yet whether the payment was captured.
    #[error("the capture of the payment is pending; repeat the call later")]
    SettlementPending {
        /// The run.
        run: RunId,
    },
    /// The run still goes on, and too many wait for it or it took too long.
    #[error("the first run of this nonce still goes on")]
    StillRunning {
        /// The run.
        run: RunId,
    },
    /// Every slot is taken, the operator has paused, or the gateway shuts down. Nothing was claimed.
    #[error("{reason}")]
    Busy {
        /// The stable word: `full`, `paused`, `draining`, `log`.
        rule: &'static str,
        /// One sentence.
        reason: &'static str,
    },
    /// We failed to start it; the claim was taken back.
    #[error("the run could not be started; nothing is charged, try again")]
    NotStarted(#[source] NotStarted),
    /// The same, and the payment was taken already: the same call with the same payment is served when it can start.
    #[error("the run could not be started; its payment stands for the same call again")]
    NotStartedPaid(#[source] NotStarted),
    /// The record failed.
    #[error("the record failed")]
    Store(#[from] StoreError),
    /// The action cannot start now. Nothing was claimed.
    #[error("{0}")]
    NoSlot(#[from] NotStarted),
    /// A fault of ours in making the receipt. The run is claimed, and recovery will call it unknown.
    #[error("the receipt could not be made")]
    Receipt {
        /// For the operator.
        detail: String,
    },
}

/// The check of a `ClawShield` artifact that fails, by its stable name.
const fn clawshield_rule(error: &ClawShieldError) -> &'static str {
    match error {
        ClawShieldError::HashMismatch | ClawShieldError::Payload(_) => "approval-other-request",
        ClawShieldError::NoExpiry | ClawShieldError::BadExpiry => "approval-expiry",
        ClawShieldError::Expired => "approval-expired",
        ClawShieldError::NoKey => "approval-no-key",
        ClawShieldError::Signature => "approval-signature",
        ClawShieldError::Tenant { .. } => "approval-tenant",
    }
}

/// The check of an approver's statement that fails, by its stable name.
const fn approval_rule(error: &ApprovalError) -> &'static str {
    match error {
        ApprovalError::Envelope(_) | ApprovalError::Signatures => "approval-signature",
        ApprovalError::TooLong { .. }
        | ApprovalError::Json(_)
        | ApprovalError::Fields(_)
        | ApprovalError::Type
        | ApprovalError::NotCanonical
        | ApprovalError::Write(_)
        | ApprovalError::Canonical(_) => "approval-form",
        ApprovalError::ForeignKey { .. } => "approval-foreign-key",
        ApprovalError::ApproverTenant { .. } => "approval-approver-tenant",
        ApprovalError::Tenant { .. } => "approval-tenant",
        ApprovalError::Scope => "approval-scope",
        ApprovalError::Action { .. } => "approval-action",
        ApprovalError::ActionDigest { .. } => "approval-other-request",
        ApprovalError::Policy => "approval-policy",
        ApprovalError::Price { .. } => "approval-price",
        ApprovalError::NotYet { .. } => "approval-not-yet",
        ApprovalError::Expired { .. } => "approval-expired",
        ApprovalError::Lifetime | ApprovalError::Outlives { .. } => "approval-expiry",
        ApprovalError::Denied { .. } => "approval-denied",
    }
}

impl Refusal {
    /// A blocked tool that no approval can unlock here.
    pub(crate) fn no_handler(name: &str) -> Self {
        let reason = format!("`{name}` is blocked and has no handler here: no approval unlocks it");
        Self::ApprovalMissing { rule: BLOCKED.to_owned(), reason }
    }

    /// The earlier run that the refusal is about.
    #[must_use]
    pub const fn run(&self) -> Option<RunId> {
        match self {
            Self::NonceReused { run }
            | Self::AnswerExpired { run, .. }
            | Self::Unpaid { run, .. }
            | Self::SettlementPending { run }
            | Self::StillRunning { run } => Some(*run),
            Self::Parked(waiting) => Some(waiting.run),
            Self::UnknownAction { .. }
            | Self::BadCall(_)
            | Self::Undigestible(_)
            | Self::BadId(_)
            | Self::PaymentRequired { .. }
            | Self::PaymentRefused { .. }
            | Self::PayerLimited { .. }
            | Self::PaymentUnreadable { .. }
            | Self::WatchedUnpaid
            | Self::RailUnavailable { .. }
            | Self::PaymentReused
            | Self::Denied { .. }
            | Self::LimitReached { .. }
            | Self::IamUnreachable
            | Self::ApprovalMissing { .. }
            | Self::ArtifactUnreadable { .. }
            | Self::ClawShield(_)
            | Self::ApprovalInvalid(_)
            | Self::OwnApproval { .. }
            | Self::ApprovalReused
            | Self::Busy { .. }
            | Self::NoSlot(_)
            | Self::NotStarted(_)
            | Self::NotStartedPaid(_)
            | Self::Store(_)
            | Self::Receipt { .. } => None,
        }
    }

    /// The room that refused.
    #[must_use]
    pub const fn room(&self) -> Room {
        match self {
            Self::UnknownAction { .. }
            | Self::BadCall(_)
            | Self::Undigestible(_)
            | Self::BadId(_)
            | Self::NonceReused { .. }
            | Self::AnswerExpired { .. } => Room::Propose,
            Self::PaymentRequired { .. }
            | Self::PaymentRefused { .. }
            | Self::PayerLimited { .. }
            | Self::PaymentUnreadable { .. }
            | Self::WatchedUnpaid
            | Self::RailUnavailable { .. }
            | Self::PaymentReused => Room::Pay,
            Self::Denied { .. } | Self::LimitReached { .. } | Self::IamUnreachable => Room::Authorise,
            Self::ApprovalMissing { .. }
            | Self::ArtifactUnreadable { .. }
            | Self::ClawShield(_)
            | Self::ApprovalInvalid(_)
            | Self::OwnApproval { .. }
            | Self::Parked(_)
            | Self::ApprovalReused => Room::Approve,
            Self::StillRunning { .. }
            | Self::Busy { .. }
            | Self::NoSlot(_)
            | Self::NotStarted(_)
            | Self::NotStartedPaid(_)
            | Self::Store(_) => Room::Execute,
            Self::Receipt { .. } => Room::Witness,
            Self::Unpaid { .. } | Self::SettlementPending { .. } => Room::Settle,
        }
    }

    /// The rule that refused, by its stable name.
    #[must_use]
    pub fn rule(&self) -> &str {
        match self {
            Self::UnknownAction { .. } => "unknown-action",
            Self::BadCall(_) => "bad-payload",
            Self::Undigestible(_) => "inexact-number",
            Self::BadId(_) => "bad-name",
            Self::PaymentRequired { .. } => "payment-required",
            Self::PaymentRefused { .. } => "payment-refused",
            Self::PayerLimited { rule, .. } => rule,
            Self::PaymentUnreadable { .. } => "payment-form",
            Self::WatchedUnpaid => "stream-needs-upfront",
            Self::RailUnavailable { .. } => "rail-unavailable",
            Self::PaymentReused => "payment-reused",
            Self::Denied { rule, .. }
            | Self::LimitReached { rule, .. }
            | Self::ApprovalMissing { rule, .. } => rule,
            Self::Parked(waiting) => waiting.rule(),
            Self::IamUnreachable => "iam-unreachable",
            Self::ArtifactUnreadable { .. } => "approval-unreadable",
            Self::ClawShield(error) => clawshield_rule(error),
            Self::ApprovalInvalid(error) => approval_rule(error),
            Self::OwnApproval { .. } => "approval-own-request",
            Self::ApprovalReused => "approval-reused",
            Self::NonceReused { .. } => "nonce-reused",
            Self::AnswerExpired { .. } => "answer-expired",
            Self::Unpaid { .. } => "done-unpaid",
            Self::SettlementPending { .. } => "settlement-pending",
            Self::StillRunning { .. } => "still-running",
            Self::Busy { rule, .. } => rule,
            Self::NoSlot(NotStarted::Full) | Self::NotStarted(NotStarted::Full) => "full",
            Self::NoSlot(_) => "unavailable",
            Self::NotStarted(_) => "not-started",
            Self::NotStartedPaid(_) => "not-started-paid",
            Self::Store(_) => "record-failed",
            Self::Receipt { .. } => "receipt-failed",
        }
    }
}
