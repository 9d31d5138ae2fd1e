//! Why a payment is refused, by the codes that facilitators have for it. The set is open: clients take any.

use crate::evm::Means;

/// What is wrong with what was signed: facilitators have other codes where Permit2 moves it.
pub(super) struct Signed {
    /// The signature is not the payer's.
    pub(super) signature: &'static str,
    /// It pays somebody else.
    pub(super) recipient: &'static str,
    /// It pays another amount.
    pub(super) value: &'static str,
    /// It is not good yet.
    pub(super) valid_after: &'static str,
    /// It is not good any more, or not for long enough.
    pub(super) valid_before: &'static str,
}

const BY_TOKEN: Signed = Signed {
    signature: "invalid_exact_evm_payload_signature",
    recipient: "invalid_exact_evm_payload_recipient_mismatch",
    value: "invalid_exact_evm_payload_authorization_value_mismatch",
    valid_after: "invalid_exact_evm_payload_authorization_valid_after",
    valid_before: "invalid_exact_evm_payload_authorization_valid_before",
};

const BY_PERMIT2: Signed = Signed {
    signature: "invalid_permit2_signature",
    recipient: "invalid_permit2_recipient_mismatch",
    value: "permit2_amount_mismatch",
    valid_after: "permit2_not_yet_valid",
    valid_before: "permit2_deadline_expired",
};

/// The codes of what is moved so.
pub(super) const fn signed(by: &Means) -> &'static Signed {
    if by.is_token() { &BY_TOKEN } else { &BY_PERMIT2 }
}

/// The version of the protocol is another.
pub(super) const VERSION: &str = "invalid_x402_version";
/// What came has not the form of its version.
pub(super) const PAYLOAD: &str = "invalid_payload";
/// The scheme is not taken here.
pub(super) const SCHEME: &str = "unsupported_scheme";
/// The network is not taken here.
pub(super) const NETWORK: &str = "invalid_network";
/// What was accepted is not what is asked for.
pub(super) const REQUIREMENTS: &str = "invalid_payment_requirements";
/// Permit2 is permitted to another contract than the proxy of the scheme.
pub(super) const SPENDER: &str = "invalid_permit2_spender";
/// Permit2 is permitted another token than what was accepted.
pub(super) const TOKEN: &str = "permit2_token_mismatch";
/// It was signed for something else that is sold here.
pub(super) const RESOURCE: &str = "resource_mismatch";
/// Another is named to settle it than the offer does.
pub(super) const FACILITATOR: &str = "upto_facilitator_mismatch";
/// What the offer said in an extension came back changed.
pub(super) const ECHO: &str = "extension_echo_mismatch";
/// The transfer may have happened, and nobody can tell yet.
pub(super) const PENDING: &str = "settlement_pending";
/// The transfer has not happened.
pub(super) const FAILED: &str = "settlement_failed";
/// Its payer does not let Permit2 move as much. Signing again is of no use: it has to let it first.
pub const ALLOWANCE_REQUIRED: &str = "permit2_allowance_required";
