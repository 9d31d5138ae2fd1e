//! The port of a rail, and the evidence of what it did.

use core::fmt;

use execgate_model::{ActionName, Amount, BoxFuture, Credential, Digest, Nonce, Resource, UnixMs};
use serde::{Deserialize, Serialize};

use crate::{Asked, Header, Offer, Settled};

/// When the money is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flow {
    /// When the work is done.
    #[default]
    Authorization,
    /// Before it starts: work that is not charged then is credited.
    Upfront,
    /// When the work is done, as much as it has come to; the price is the most.
    Metered,
}

impl Flow {
    /// The word that is offered and stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Authorization => "authorization",
            Self::Upfront => "upfront",
            Self::Metered => "metered",
        }
    }
}

/// What is to be paid for.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The price.
    pub amount: Amount,
    /// The action that is priced.
    pub action: ActionName,
    /// What the payment will be bound to.
    pub fingerprint: Digest,
    /// When the money is taken.
    pub flow: Flow,
    /// For how long an authorization has to live when it comes, in seconds.
    pub lives_at_least_s: u64,
}

/// What makes a payment unique, for the claims table: one payment buys at most one execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentClaim {
    /// A digest over (chain, token contract, payer, nonce), the same for every rail.
    pub key: Digest,
    /// The payer's account in the normal form of its chain.
    pub payer: String,
}

/// What a rail found when it verified a credential.
#[derive(Clone, PartialEq, Eq)]
pub struct Paid {
    /// What makes the payment unique; none where nothing is paid.
    pub claim: Option<PaymentClaim>,
    /// What the rail needs to capture or release later, also after a restart. It may be money itself: never shown.
    pub state: Vec<u8>,
    /// When it may be taken.
    pub flow: Flow,
    /// Why it buys no new run, though it is proven whose it is: it is too late, or the price is another now. What it
    /// has bought before is answered all the same.
    pub lapsed: Option<String>,
}

impl fmt::Debug for Paid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = (&self.claim, self.flow, &self.lapsed);
        f.debug_tuple("Paid").field(&fields.0).field(&fields.1).field(&fields.2).finish_non_exhaustive()
    }
}

impl Paid {
    /// Where nothing is to be paid.
    #[must_use]
    pub const fn nothing() -> Self {
        Self { claim: None, state: Vec::new(), flow: Flow::Authorization, lapsed: None }
    }

    /// A payment that is good now, to be taken when the work is done.
    #[must_use]
    pub const fn by(claim: PaymentClaim, state: Vec<u8>) -> Self {
        Self { claim: Some(claim), state, flow: Flow::Authorization, lapsed: None }
    }
}

/// Money that is verified and held, not taken. Only [`hold`] makes one.
#[derive(Debug, Clone)]
pub struct Hold {
    rail: &'static str,
    amount: Amount,
    paid: Paid,
    funds: Option<Amount>,
}

impl Hold {
    /// The rail that holds it.
    #[must_use]
    pub fn rail(&self) -> &'static str {
        self.rail
    }

    /// A hold of nothing more, by the same rail: for what is paid for by this one.
    #[must_use]
    pub fn covering(&self) -> Self {
        Self { rail: self.rail, amount: Amount::ZERO, paid: Paid::nothing(), funds: None }
    }

    /// How much is held.
    #[must_use]
    pub fn amount(&self) -> Amount {
        self.amount
    }

    /// What the rail found.
    #[must_use]
    pub fn paid(&self) -> &Paid {
        &self.paid
    }

    /// The same payment as it was held the first time, and asked for: by that rail, for that amount, and by that `state`. What
    /// has changed since is nothing to it, and neither is the form in which it is shown now.
    #[must_use]
    pub fn as_first_held(self, rail: &dyn Rail, amount: Amount, state: Vec<u8>) -> Self {
        Self { rail: rail.name(), amount, paid: Paid { state, lapsed: None, ..self.paid }, funds: None }
    }

    /// The same payment, of which only so much is taken, and by that `state`.
    #[must_use]
    pub fn taking(self, amount: Amount, state: Vec<u8>) -> Self {
        Self { amount, paid: Paid { state, ..self.paid }, ..self }
    }

    /// How much its payer was seen to have, where somebody has looked and could see it.
    #[must_use]
    pub fn funds(&self) -> Option<Amount> {
        self.funds
    }
}

/// Where the money ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SettlementState {
    /// Nothing was to be paid.
    Free,
    /// Taken.
    Captured,
    /// Given back, never taken.
    Released,
    /// The work is done and the capture failed: the result is withheld until a new payment is captured.
    Unpaid,
    /// The capture may or may not have happened; it is reconciled, never repeated blindly.
    Pending,
}

/// Proof that the money of a run is settled, or is known not to be. Only this module makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    state: SettlementState,
    reference: Option<String>,
    /// Whether it failed by no fault of its payer's, or nobody was asked for it yet.
    blameless: bool,
    /// Whether it failed by its time alone.
    lapsed: bool,
}

impl Settlement {
    const fn at(state: SettlementState, reference: Option<String>) -> Self {
        Self { state, reference, blameless: false, lapsed: false }
    }

    /// A capture that was not heard of in time: it may have happened.
    #[must_use]
    pub fn pending() -> Self {
        Self::at(SettlementState::Pending, None)
    }

    /// A capture that the record knows of already, under the rail's own name for the movement.
    #[must_use]
    pub fn recorded(reference: Option<String>) -> Self {
        Self::at(SettlementState::Captured, reference)
    }

    /// Where the money ended.
    #[must_use]
    pub fn state(&self) -> SettlementState {
        self.state
    }

    /// The rail's own name for the movement (a transaction hash).
    #[must_use]
    pub fn reference(&self) -> Option<&str> {
        self.reference.as_deref()
    }

    /// The same of a payment for which nobody is known to have been asked: that its time ran out meanwhile is no fault of its
    /// payer's.
    #[must_use]
    pub fn excused(self) -> Self {
        Self { blameless: self.blameless || self.lapsed, ..self }
    }

    /// Whether it is [`SettlementState::Unpaid`] by no fault of its payer's: nothing is held against it. Or, where it is
    /// [`SettlementState::Pending`], whether nobody was asked for it.
    #[must_use]
    pub const fn is_blameless(&self) -> bool {
        self.blameless
    }
}

/// Why no money is held.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HoldError {
    /// A price, and no credential came with the request. This is an answer, not a fault.
    #[error("payment is required")]
    Required,
    /// The credential does not pay for this. The text is for the caller.
    #[error("payment is refused: {0}")]
    Refused(String),
    /// The credential cannot be read. The text is for the caller.
    #[error("the payment cannot be read: {0}")]
    Malformed(String),
    /// The rail cannot tell now.
    #[error("the rail `{rail}` is unavailable")]
    Unavailable {
        /// Which rail.
        rail: &'static str,
    },
}

/// Why a capture did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaptureError {
    /// The money was surely not taken.
    #[error("capture failed: {0}")]
    Failed(String),
    /// Whoever moves it was never asked: it was surely not taken, and its payer has no part in that.
    #[error("capture was asked of nobody: {0}")]
    Unasked(String),
    /// The same, and it is asked for again: somebody can tell meanwhile where it is.
    #[error("capture was asked of nobody yet: {0}")]
    Postponed(String),
    /// Nobody can tell whether it was taken.
    #[error("capture is pending")]
    Unknown {
        /// The rail's own name for the movement that may have happened.
        reference: Option<String>,
    },
}

/// What a rail finds out about money whose capture nobody has heard the end of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// It was not taken, and may still be.
    Open,
    /// We have it.
    Taken {
        /// The rail's own name for the movement, where it was found.
        reference: Option<String>,
    },
    /// We do not have it, and never shall: its payer has taken it back, or paid somebody else by it.
    Gone,
    /// We do not have it, and never shall: its time is over.
    Lapsed,
}

/// Money that was taken, and that its chain may still take back.
#[derive(Clone, Copy)]
pub struct Taken<'a> {
    /// What the rail has kept of it. It may be money itself: never shown.
    pub state: &'a [u8],
    /// The rail's own name for the movement, where it is known.
    pub reference: Option<&'a str>,
}

/// Whether money that was taken stays with us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endurance {
    /// It does: nothing takes it back any more.
    Final {
        /// The movement that is final: another than the one that was known where that was taken back.
        reference: String,
    },
    /// Nobody can tell yet.
    Undecided,
    /// It was taken back, and may be taken again.
    TakenBack,
    /// It was taken back, and never can be again.
    Gone,
}

/// Nobody can be asked now. The text is for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("nobody can be asked: {0}")]
pub struct Unreachable(pub String);

/// Why a payment was not found good when whoever moves the money was asked, before the work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookError {
    /// It would not be taken. The text is for the caller.
    #[error("the payment would not be taken: {0}")]
    Refused(String),
    /// Nobody can tell now.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
}

/// One way to pay.
pub trait Rail: Send + Sync {
    /// Its name, as answers and receipts write it.
    fn name(&self) -> &'static str;

    /// Verifies a credential against the terms; takes nothing.
    ///
    /// # Errors
    /// [`HoldError`] says whether to ask for payment, refuse it, or try later.
    fn verify<'a>(
        &'a self,
        terms: &'a Terms,
        credential: Option<&'a Credential>,
    ) -> BoxFuture<'a, Result<Paid, HoldError>>;

    /// How to pay by it; nothing where it is offered to nobody.
    fn offer(&self, _asked: &Asked, _resource: &Resource) -> Offer {
        Offer::default()
    }

    /// What the answer to a payment tells of how it ended.
    fn tell(&self, _settled: &Settled<'_>) -> Vec<Header> {
        Vec::new()
    }

    /// The payer's own name for its call, where a credential brings one. It has been verified.
    fn name_of(&self, _credential: &Credential) -> Option<Nonce> {
        None
    }

    /// The `state` of which only so much is taken; none where that cannot be, or is more than is held. What is
    /// [`Flow::Metered`] alone is taken so.
    fn taking(&self, _amount: Amount, _state: &[u8]) -> Option<Vec<u8>> {
        None
    }

    /// Takes what was held. Repeating it for the same `state` takes nothing more.
    ///
    /// # Errors
    /// [`CaptureError`] says whether the money was surely not taken.
    fn capture<'a>(&'a self, amount: Amount, state: &'a [u8]) -> BoxFuture<'a, Result<String, CaptureError>>;

    /// Lets go of what was held. A rail that holds nothing has nothing to do.
    fn release<'a>(&'a self, state: &'a [u8]) -> BoxFuture<'a, ()>;

    /// Where held money is whose capture was asked for. Moves nothing.
    ///
    /// # Errors
    /// [`Unreachable`], also from a rail that has nobody to ask.
    fn whereabouts<'a>(&'a self, state: &'a [u8]) -> BoxFuture<'a, Result<Found, Unreachable>> {
        Box::pin(async move {
            let _ = state;
            Err(Unreachable(format!("the rail `{}` keeps no books that could be asked", self.name())))
        })
    }

    /// When held money cannot be moved any more, by its own terms; none where the rail cannot tell.
    fn ends(&self, _state: &[u8]) -> Option<UnixMs> {
        None
    }

    /// Whether what was taken may be taken back, and somebody can be asked about it.
    fn may_go_back(&self, _state: &[u8]) -> bool {
        false
    }

    /// Whether money that was taken stays with us, in the order in which it is asked for: all of it is one look. Moves nothing
    /// anew.
    ///
    /// # Errors
    /// [`Unreachable`] where nobody can be asked.
    fn endurance<'a>(&'a self, taken: &'a [Taken<'a>]) -> BoxFuture<'a, Result<Vec<Endurance>, Unreachable>> {
        Box::pin(async move {
            let count = taken.len();
            Err(Unreachable(format!("the rail `{}` cannot tell of {count} whether they stay", self.name())))
        })
    }

    /// Asks whoever moves the money whether it would take what is held, before the work: how much its payer has, and none
    /// where the rail cannot see that. Moves nothing.
    ///
    /// # Errors
    /// [`LookError`] says whether it would not, or nobody answers.
    fn funds<'a>(&'a self, state: &'a [u8]) -> BoxFuture<'a, Result<Option<Amount>, LookError>> {
        Box::pin(async move {
            let _ = state;
            Ok(None)
        })
    }
}

/// Verifies a credential and holds the money.
///
/// # Errors
/// As [`Rail::verify`].
pub async fn hold(
    rail: &dyn Rail,
    terms: &Terms,
    credential: Option<&Credential>,
) -> Result<Hold, HoldError> {
    let paid = rail.verify(terms, credential).await?;
    Ok(Hold { rail: rail.name(), amount: terms.amount, paid, funds: None })
}

/// Takes held money: `amount` by the rail's own stored `state` (also after a restart, when no [`Hold`] is left).
pub async fn capture(rail: &dyn Rail, amount: Amount, state: &[u8]) -> Settlement {
    if amount.is_zero() {
        return Settlement::at(SettlementState::Free, None);
    }
    match rail.capture(amount, state).await {
        Ok(reference) => Settlement::at(SettlementState::Captured, Some(reference)),
        Err(CaptureError::Failed(_)) => Settlement::at(SettlementState::Unpaid, None),
        Err(CaptureError::Unasked(_)) => {
            Settlement { blameless: true, ..Settlement::at(SettlementState::Unpaid, None) }
        }
        Err(CaptureError::Postponed(_)) => Settlement { blameless: true, ..Settlement::pending() },
        Err(CaptureError::Unknown { reference }) => Settlement::at(SettlementState::Pending, reference),
    }
}

/// Where held money is whose capture was asked for: none where it was not taken and may still be. Moves nothing.
///
/// # Errors
/// As [`Rail::whereabouts`].
pub async fn look(rail: &dyn Rail, amount: Amount, state: &[u8]) -> Result<Option<Settlement>, Unreachable> {
    if amount.is_zero() {
        return Ok(Some(Settlement::at(SettlementState::Free, None)));
    }
    Ok(match rail.whereabouts(state).await? {
        Found::Open => None,
        Found::Taken { reference } => Some(Settlement::at(SettlementState::Captured, reference)),
        Found::Gone => Some(Settlement::at(SettlementState::Unpaid, None)),
        Found::Lapsed => Some(Settlement { lapsed: true, ..Settlement::at(SettlementState::Unpaid, None) }),
    })
}

/// Takes held money whose capture was asked for by somebody who is not heard of any more: looks first, and asks again only
/// where it may still be taken.
///
/// # Errors
/// As [`Rail::whereabouts`]. Nothing was asked for then.
pub async fn resume(rail: &dyn Rail, amount: Amount, state: &[u8]) -> Result<Settlement, Unreachable> {
    match look(rail, amount, state).await? {
        // Nobody has heard that it was asked for at all.
        Some(settlement) => Ok(settlement.excused()),
        None => Ok(capture(rail, amount, state).await),
    }
}

/// Looks whether a hold would be taken, and how much its payer has.
///
/// # Errors
/// As [`Rail::funds`].
pub async fn observe(rail: &dyn Rail, hold: Hold) -> Result<Hold, LookError> {
    if hold.amount.is_zero() {
        return Ok(hold);
    }
    let funds = rail.funds(&hold.paid.state).await?;
    Ok(Hold { funds, ..hold })
}

/// Gives held money back.
pub async fn release(rail: &dyn Rail, amount: Amount, state: &[u8]) -> Settlement {
    if amount.is_zero() {
        return Settlement::at(SettlementState::Free, None);
    }
    rail.release(state).await;
    Settlement::at(SettlementState::Released, None)
}
