//! The "Payment" HTTP authentication scheme (draft-httpauth-payment, MPP): a challenge in the 402, a credential that
//! echoes it, a receipt. Nothing is remembered between the two: a challenge is known again by its `id`.
//!
//! What clients of others do with it is in `tests/vectors`, made by them.

mod accept;
mod auth_params;
mod challenge;
pub mod charge;
mod credential;
mod discovery;
mod evm;
mod exchange;
mod instant;
mod kept;
mod method;
mod problem;
mod rail;
mod receipt;
mod ring;
mod secret;
mod stripe;
mod tempo;

pub use accept::Preferences;
pub use auth_params::ParamsError;
pub use challenge::{Challenge, ChallengeError, CredentialHeader, MAX_CHALLENGE_BYTES, body_digest, opaque};
pub use credential::{Credential, CredentialError, MAX_CREDENTIAL_BYTES, Several, find};
pub use discovery::{Price, payment_info};
pub use evm::EvmCharge;
pub use exchange::{Answer, Exchange, NoAnswer, Question};
pub use instant::{InstantError, read, told};
pub(crate) use kept::kept_by_method;
pub use method::{Ask, Fault, Method, Pledge};
pub use problem::Problem;
pub use rail::{Mpp, PAY_WITHIN_S, is_realm};
pub use receipt::{Receipt, ReceiptError};
pub use ring::{AHEAD_MS, MAKES_MS, OVERLAP_MS, Ring, RingError};
pub use secret::{InForce, MIN_SECRET_BYTES, Secret, SecretError, Secrets};
pub(crate) use stripe::is_card;
pub use stripe::{StripeAccount, StripeCharge};
pub(crate) use tempo::tempo_transaction;
pub use tempo::{TempoCharge, TempoToken};
