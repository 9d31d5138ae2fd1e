//! Why a transfer is refused, by the codes that facilitators of x402 have for it. Permit2 has its own.

use execgate_payment::evm::{Address, Authorization, Means, U256};
pub(crate) use execgate_payment::x402::ALLOWANCE_REQUIRED as NOT_LET;

/// Its payer has less than it says.
pub(crate) const NO_FUNDS: &str = "insufficient_funds";

/// A transaction of it failed, by whatever it is moved.
pub(crate) const FAILED: &str = "invalid_exact_evm_transaction_failed";

/// Whoever moves it was not reached, and has nothing of it to move.
pub(crate) const UNREACHED: &str = "facilitator_unreachable";

/// Another is named to move it, or more is to be moved than is permitted, or nothing.
const NOT_OURS: &str = "upto_facilitator_mismatch";
const TOO_MUCH: &str = "invalid_upto_evm_payload_settlement_exceeds_amount";
const NOTHING: &str = "permit2_invalid_amount";

/// Why an account cannot have this moved whatever its chain says, where it cannot.
pub(crate) fn unmovable(authorization: &Authorization, account: Address) -> Option<&'static str> {
    if authorization.verify().is_err() {
        return Some(signature(authorization));
    }
    match authorization.by {
        Means::UpTo { facilitator, .. } if facilitator != account => Some(NOT_OURS),
        Means::UpTo { .. } if authorization.moved() > authorization.value => Some(TOO_MUCH),
        Means::UpTo { .. } if authorization.moved() == U256::ZERO => Some(NOTHING),
        Means::UpTo { .. } | Means::Token | Means::Permit2 => None,
    }
}

/// The code of what is moved by its token, or by Permit2.
fn of(authorization: &Authorization, by_token: &'static str, by_permit2: &'static str) -> &'static str {
    if authorization.by.is_token() { by_token } else { by_permit2 }
}

/// Its nonce is used.
pub(crate) fn nonce_used(authorization: &Authorization) -> &'static str {
    of(authorization, "invalid_exact_evm_nonce_already_used", "permit2_invalid_nonce")
}

/// It is over.
pub(crate) fn too_late(authorization: &Authorization) -> &'static str {
    of(authorization, "invalid_exact_evm_payload_authorization_valid_before", "permit2_deadline_expired")
}

/// Its signature is not its payer's.
fn signature(authorization: &Authorization) -> &'static str {
    of(authorization, "invalid_exact_evm_payload_signature", "invalid_permit2_signature")
}

/// Whoever moves it would not.
pub(crate) fn would_fail(authorization: &Authorization) -> &'static str {
    of(authorization, "invalid_exact_evm_transaction_simulation_failed", "permit2_simulation_failed")
}
