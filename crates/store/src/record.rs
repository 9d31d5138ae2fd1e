//! The shapes that go into the record and come out of it.

use core::fmt;

use execgate_model::{ActionName, Amount, Digest, Effect, InstanceId, RunId, Stage, UnixMs};

use crate::Change;

/// What kind of event a leaf of the log stands for (CONTRACTS 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LeafKind {
    /// A run was claimed.
    Intent,
    /// A run ended, and its receipt is durable.
    Final,
    /// An outcome came after the run had been declared unknown.
    Late,
    /// Money was captured or released.
    Settlement,
    /// A person said what became of an unknown run.
    Resolve,
    /// Something was administered: a grant, a key, the kill switch.
    Change,
    /// An approval was used up by a run.
    Approval,
    /// Somebody who is known was refused by a rule, or for want of an approval.
    Refusal,
    /// A person has said yes or no to a run that waits.
    Vote,
    /// A run was claimed, and waits for people.
    Parked,
}

impl LeafKind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Intent,
        Self::Final,
        Self::Late,
        Self::Settlement,
        Self::Resolve,
        Self::Change,
        Self::Approval,
        Self::Refusal,
        Self::Vote,
        Self::Parked,
    ];

    /// Reads back what [`Self::as_str`] gave.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// The word that is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Intent => "intent",
            Self::Final => "final",
            Self::Late => "late",
            Self::Settlement => "settlement",
            Self::Resolve => "resolve",
            Self::Change => "change",
            Self::Approval => "approval",
            Self::Refusal => "refusal",
            Self::Vote => "vote",
            Self::Parked => "parked",
        }
    }

    /// Reads back the word of a leaf that has a statement of its own behind it.
    #[must_use]
    pub fn said_by(word: &str) -> Option<Self> {
        [Self::Change, Self::Approval, Self::Refusal, Self::Vote, Self::Parked, Self::Settlement]
            .into_iter()
            .find(|kind| kind.as_str() == word)
    }
}

/// One leaf: a salted digest, so that the log says nothing by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaf {
    /// What it stands for.
    pub kind: LeafKind,
    /// SHA-256(salt ‖ statement).
    pub digest: Digest,
}

/// A payment that is claimed together with a run.
#[derive(Clone, PartialEq, Eq)]
pub struct NewPayment {
    /// What makes the payment unique on every rail.
    pub key: Digest,
    /// Who pays.
    pub payer: String,
    /// What the rail needs to capture or release after a restart. It may be money.
    pub state: Vec<u8>,
    /// Which rail.
    pub rail: String,
    /// How much is held.
    pub amount: Amount,
    /// How much was signed for, where usage has said already how much is taken: of work that is done.
    pub most: Option<Amount>,
    /// Whether it is taken before the work starts.
    pub upfront: bool,
    /// How much the payer was seen to have, where that can be seen: open holds of one payer are never more.
    pub funds: Option<Amount>,
    /// How many holds of one payer may be open, this one included.
    pub holds_max: u32,
    /// When it is held.
    pub at: UnixMs,
    /// Whether it pays for a whole batch.
    pub batch: bool,
}

impl fmt::Debug for NewPayment {
    /// Without its state.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewPayment")
            .field("key", &self.key)
            .field("payer", &self.payer)
            .field("rail", &self.rail)
            .field("amount", &self.amount)
            .field("upfront", &self.upfront)
            .field("funds", &self.funds)
            .field("batch", &self.batch)
            .finish_non_exhaustive()
    }
}

/// An approval that is used up together with a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalClaim {
    /// What makes the approval unique, none of them twice: if one is used up, the approval is.
    pub keys: Vec<Digest>,
    /// What is said of it.
    pub change: Change,
}

/// What a claim uses up of a limit, within a fixed window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitClaim {
    /// The rule, to be named where it refuses.
    pub rule: String,
    /// What names the counter.
    pub key: Digest,
    /// When the window starts.
    pub starts: UnixMs,
    /// When it ends; a counter may be forgotten from then on.
    pub ends: UnixMs,
    /// How much of it this claim uses up.
    pub amount: u64,
    /// How much there is in one window; what a store can hold is `i64::MAX`.
    pub max: u64,
    /// False: counted, and the operator is told where it would have refused.
    pub enforced: bool,
}

/// A limit has no room for a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitReached {
    /// The rule.
    pub rule: String,
    /// When there is room again.
    pub ends: UnixMs,
}

/// What the log of tool calls says beside the run itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// The name that the caller gives itself; nobody has checked it.
    pub agent: Option<String>,
    /// The same name, where the operator has said that callers of this kind may go by it.
    pub alias: Option<String>,
    /// Whether an identity service or a grant said yes.
    pub iam_approved: bool,
}

/// Everything that one claim transaction inserts, or nothing of it (CONTRACTS 1).
#[derive(Debug, Clone)]
pub struct Claim {
    /// The run.
    pub run: RunId,
    /// The instance that will run it.
    pub instance: InstanceId,
    /// SHA-256 over scope and nonce; none for a run that has no nonce.
    pub nonce_key: Option<Digest>,
    /// SHA-256 over session and nonce, where the payer was known by no more than a session: the session is answered again, and
    /// nothing more follows from it. None for every other run.
    pub session_nonce: Option<Digest>,
    /// SHA-256 over action, payload, effect and options.
    pub fingerprint: Digest,
    /// SHA-256 over the scope of whoever may read the run; none where nobody but the operator may.
    pub owner: Option<Digest>,
    /// What is run.
    pub action: ActionName,
    /// For real, or simulated.
    pub effect: Effect,
    /// The caller in one word, for the operator's listings.
    pub caller: String,
    /// The rail that pays, `free` included.
    pub rail: String,
    /// The price.
    pub price: Amount,
    /// The payment, where one is claimed.
    pub payment: Option<NewPayment>,
    /// The approval, where one is used up.
    pub approval: Option<ApprovalClaim>,
    /// What is used up of limits; no key twice.
    pub limits: Vec<LimitClaim>,
    /// The salt of this run's digests.
    pub salt: [u8; 32],
    /// What recovery needs to write the receipt of a run whose process died: opaque to the store.
    pub intent: Vec<u8>,
    /// The leaf of the intent.
    pub leaf: Leaf,
    /// When.
    pub at: UnixMs,
    /// For a call of a tool of `/exec/*`.
    pub tool_call: Option<ToolCall>,
}

/// The answer to a claim.
#[derive(Debug, Clone, PartialEq)]
pub enum Claimed {
    /// The intent is durable; the handler may start.
    Fresh,
    /// The intent is durable, and its payment is one that an earlier try of the same call has left: it is taken before the
    /// work, whatever was agreed, and where it was not taken already it is looked for before it is asked for again.
    TakenUp {
        /// `Captured`, `Released` where it was refused, or `Pending` where its end is not known.
        word: SettlementWord,
        /// The rail's own name for the movement, where it was taken.
        reference: Option<String>,
    },
    /// The nonce is taken by this run, which may have another fingerprint.
    Taken(Box<Record>),
    /// The payment has bought another run.
    PaymentSpent(RunId),
    /// The approval was used for another run.
    ApprovalSpent(RunId),
    /// The operator has paused the gateway.
    Paused,
    /// A limit has no room for it.
    LimitReached(LimitReached),
    /// Too many runs wait for people, of this caller or in all.
    ParkedFull,
    /// Too many holds of this payer are open.
    HoldsFull,
    /// The payer has not as much as is held of it already and is to be held now.
    Overdrawn {
        /// What is held already.
        held: Amount,
    },
    /// A payment of this payer has failed when the work was done: it pays before the work, or not at all.
    UpfrontOnly,
    /// Too much work of this payer ran into timeouts that are not charged: the same, until their window is over.
    SparedEnough,
    /// Too much work of all payers together ran into timeouts that are not charged: it is paid before for a while.
    SparedEnoughInAll,
}

/// The body that was answered, to be answered again byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// A status code in the numbers of HTTP.
    pub status: u16,
    /// The media type.
    pub content_type: String,
    /// The bytes.
    pub body: Vec<u8>,
}

/// The second durable point: outcome, receipt, answer and leaf.
#[derive(Debug, Clone)]
pub struct Finish {
    /// The run.
    pub run: RunId,
    /// The instance that claimed it.
    pub instance: InstanceId,
    /// The stage that it takes: `Witness` while money is open, else `Settled`; `Unknown` for an orphan.
    pub stage: Stage,
    /// The outcome in one word.
    pub outcome: String,
    /// The content receipt.
    pub content: Digest,
    /// The receipt file, JSON.
    pub receipt: Vec<u8>,
    /// The 32 bytes of the public key that signed it.
    pub signer: [u8; 32],
    /// What is answered, now and on every replay.
    pub answer: Answer,
    /// The leaf of the receipt.
    pub leaf: Leaf,
    /// Whether it is paid work: what is held is to be captured from here on, and else released. What was captured before
    /// the work is its payer's credit where this is false.
    pub charged: bool,
    /// How much is taken of what is held, where usage says so.
    pub metered: Option<Metered>,
    /// When.
    pub at: UnixMs,
}

/// What is taken of what was held for a run.
#[derive(Clone, PartialEq, Eq)]
pub struct Metered {
    /// How much.
    pub amount: Amount,
    /// What the rail needs to take so much. It may be money.
    pub state: Vec<u8>,
}

impl fmt::Debug for Metered {
    /// Without its state.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metered").field("amount", &self.amount).finish_non_exhaustive()
    }
}

/// The answer to a finish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    /// The outcome is durable.
    Recorded,
    /// The run had been declared unknown meanwhile: the outcome is only a `late` leaf.
    Late,
}

/// The answer to an undo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undone {
    /// The claim is gone; nonce, payment and approval are free again, and limits have back what it used up. One that
    /// had waited for people waits again.
    Undone,
    /// The same, and its payment had been taken: that is kept as a credit, until the same call comes again with it.
    Credited,
    /// The run is no longer this instance's to undo.
    TooLate,
}

/// Where the money of a recorded run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SettlementWord {
    /// Nothing was to be paid.
    Free,
    /// Held; nothing was asked of its rail.
    Held,
    /// Its capture is asked for.
    Capturing,
    /// Taken.
    Captured,
    /// Given back.
    Released,
    /// The work is done, the capture failed, the result is withheld.
    Unpaid,
    /// Nobody can tell yet whether it was taken.
    Pending,
    /// It was taken, and its chain has taken it back for good. What was answered for it stays.
    Reversed,
}

impl SettlementWord {
    /// Every word.
    pub const ALL: [Self; 8] = [
        Self::Free,
        Self::Held,
        Self::Capturing,
        Self::Captured,
        Self::Released,
        Self::Unpaid,
        Self::Pending,
        Self::Reversed,
    ];

    /// The word that is stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Held => "held",
            Self::Capturing => "capturing",
            Self::Captured => "captured",
            Self::Released => "released",
            Self::Unpaid => "unpaid",
            Self::Pending => "pending",
            Self::Reversed => "reversed",
        }
    }

    /// Reads back what [`Self::as_str`] gave.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// The answer to a new payment for a run whose first one could not be captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repaid {
    /// The new payment is claimed for the run, and its capture is asked for.
    Held,
    /// The payment has bought another run.
    PaymentSpent(RunId),
    /// The run is not waiting for a payment.
    NotDue,
}

/// What a person says of an unknown run.
#[derive(Debug, Clone)]
pub struct Resolution {
    /// The run.
    pub run: RunId,
    /// What became of it, in the person's words.
    pub note: String,
    /// The signed statement, as a receipt file.
    pub receipt: Vec<u8>,
    /// The 32 bytes of the public key that signed it.
    pub signer: [u8; 32],
    /// Its leaf.
    pub leaf: Leaf,
    /// When.
    pub at: UnixMs,
}

/// A recorded run.
#[derive(Clone, PartialEq)]
pub struct Record {
    /// The run.
    pub run: RunId,
    /// The instance that claimed it.
    pub instance: InstanceId,
    /// SHA-256 over action, payload, effect and options.
    pub fingerprint: Digest,
    /// SHA-256 over the scope of whoever may read it.
    pub owner: Option<Digest>,
    /// What was run.
    pub action: ActionName,
    /// For real, or simulated.
    pub effect: Effect,
    /// The caller in one word.
    pub caller: String,
    /// Where it stands.
    pub stage: Stage,
    /// The outcome in one word, once there is one.
    pub outcome: Option<String>,
    /// The content receipt, once there is one.
    pub content: Option<Digest>,
    /// The receipt file, once there is one.
    pub receipt: Option<Vec<u8>>,
    /// The stored answer; none before the end, and none after its retention.
    pub answer: Option<Answer>,
    /// Where the money stands.
    pub settlement: SettlementWord,
    /// The rail's own name for the movement.
    pub settlement_reference: Option<String>,
    /// The rail.
    pub rail: String,
    /// The price.
    pub price: Amount,
    /// What the rail needs to settle (of the newest payment). It may be money.
    pub payment_state: Option<Vec<u8>>,
    /// What makes that payment unique.
    pub payment_key: Option<Digest>,
    /// How much it is: the price of the day on which it was signed.
    pub payment_amount: Option<Amount>,
    /// How much was held of it, where usage has said how much is taken.
    pub payment_most: Option<Amount>,
    /// Who pays it.
    pub payer: Option<String>,
    /// The salt of its digests.
    pub salt: [u8; 32],
    /// What recovery needs.
    pub intent: Vec<u8>,
    /// What a person said of it.
    pub resolution: Option<String>,
    /// When it was claimed.
    pub created: UnixMs,
    /// When its outcome was recorded.
    pub finished: Option<UnixMs>,
}

impl fmt::Debug for Record {
    /// Without what moves money, what a guest has said, and the salt that keeps digests from being guessed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("run", &self.run)
            .field("instance", &self.instance)
            .field("fingerprint", &self.fingerprint)
            .field("owner", &self.owner)
            .field("action", &self.action)
            .field("effect", &self.effect)
            .field("caller", &self.caller)
            .field("stage", &self.stage)
            .field("outcome", &self.outcome)
            .field("content", &self.content)
            .field("answer", &self.answer.as_ref().map(|answer| answer.status))
            .field("settlement", &self.settlement)
            .field("settlement_reference", &self.settlement_reference)
            .field("rail", &self.rail)
            .field("price", &self.price)
            .field("payment_key", &self.payment_key)
            .field("payment_amount", &self.payment_amount)
            .field("payment_most", &self.payment_most)
            .field("payer", &self.payer)
            .field("resolution", &self.resolution)
            .field("created", &self.created)
            .field("finished", &self.finished)
            .finish_non_exhaustive()
    }
}

/// A page of a listing, newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Only runs claimed before this one (the last of the page before).
    pub before: Option<RunId>,
    /// At most so many; a back end caps it at 1,000.
    pub limit: u32,
    /// Only runs of this stage.
    pub stage: Option<Stage>,
}

#[cfg(test)]
mod tests {
    use execgate_model::{Amount, Digest, UnixMs};

    use super::NewPayment;

    #[test]
    fn what_moves_money_is_in_no_debug_text() {
        let payment = NewPayment {
            key: Digest::from_bytes([1; 32]),
            payer: "a payer".to_owned(),
            state: b"canary".to_vec(),
            rail: "x402".to_owned(),
            amount: Amount::from_micros(1),
            upfront: false,
            most: None,
            funds: None,
            holds_max: 1,
            at: UnixMs(1),
            batch: false,
        };
        for shown in [format!("{payment:?}"), format!("{:?}", Some(Box::new(payment)))] {
            assert!(shown.contains("a payer") && !shown.contains(&format!("{:?}", b"canary")), "{shown}");
        }
    }
}
