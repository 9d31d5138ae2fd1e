//! The port of a rail, and the evidence of what it did.

use execgate_model::{ActionName, Amount, BoxFuture, Credential, Digest};
use serde::{Deserialize, Serialize};

/// What is to be paid for.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The price.
    pub amount: Amount,
    /// The action that is priced.
    pub action: ActionName,
    /// What the payment will be bound to.
    pub fingerprint: Digest,
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paid {
    /// What makes the payment unique; none where nothing is paid.
    pub claim: Option<PaymentClaim>,
    /// What the rail needs to capture or release later, also after a restart. No secret.
    pub state: Vec<u8>,
}

/// Money that is verified and held, not taken. Only [`hold`] makes one.
#[derive(Debug, Clone)]
pub struct Hold {
    rail: &'static str,
    amount: Amount,
    paid: Paid,
}

impl Hold {
    /// The rail that holds it.
    #[must_use]
    pub fn rail(&self) -> &'static str {
        self.rail
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
}

impl Settlement {
    /// A capture that was not heard of in time: it may have happened.
    #[must_use]
    pub fn pending() -> Self {
        Self { state: SettlementState::Pending, reference: None }
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
    /// Nobody can tell whether it was taken.
    #[error("capture is pending")]
    Unknown,
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

    /// Takes what was held. Repeating it for the same `state` takes nothing more.
    ///
    /// # Errors
    /// [`CaptureError`] says whether the money was surely not taken.
    fn capture<'a>(&'a self, amount: Amount, state: &'a [u8]) -> BoxFuture<'a, Result<String, CaptureError>>;

    /// Lets go of what was held. A rail that holds nothing has nothing to do.
    fn release<'a>(&'a self, state: &'a [u8]) -> BoxFuture<'a, ()>;
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
    Ok(Hold { rail: rail.name(), amount: terms.amount, paid })
}

/// Takes held money: `amount` by the rail's own stored `state` (also after a restart, when no [`Hold`] is left).
pub async fn capture(rail: &dyn Rail, amount: Amount, state: &[u8]) -> Settlement {
    if amount.is_zero() {
        return Settlement { state: SettlementState::Free, reference: None };
    }
    match rail.capture(amount, state).await {
        Ok(reference) => Settlement { state: SettlementState::Captured, reference: Some(reference) },
        Err(CaptureError::Failed(_)) => Settlement { state: SettlementState::Unpaid, reference: None },
        Err(CaptureError::Unknown) => Settlement { state: SettlementState::Pending, reference: None },
    }
}

/// Gives held money back.
pub async fn release(rail: &dyn Rail, amount: Amount, state: &[u8]) -> Settlement {
    if amount.is_zero() {
        return Settlement { state: SettlementState::Free, reference: None };
    }
    rail.release(state).await;
    Settlement { state: SettlementState::Released, reference: None }
}
