//! Why a payment is refused, by the codes that facilitators have for it. The set is open: clients take any.

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
/// The signature is not the payer's.
pub(super) const SIGNATURE: &str = "invalid_exact_evm_payload_signature";
/// It pays somebody else.
pub(super) const RECIPIENT: &str = "invalid_exact_evm_payload_recipient_mismatch";
/// It pays another amount.
pub(super) const VALUE: &str = "invalid_exact_evm_payload_authorization_value_mismatch";
/// It is not good yet.
pub(super) const VALID_AFTER: &str = "invalid_exact_evm_payload_authorization_valid_after";
/// It is not good any more, or not for long enough.
pub(super) const VALID_BEFORE: &str = "invalid_exact_evm_payload_authorization_valid_before";
/// It was signed for something else that is sold here.
pub(super) const RESOURCE: &str = "resource_mismatch";
/// What the offer said in an extension came back changed.
pub(super) const ECHO: &str = "extension_echo_mismatch";
/// The transfer may have happened, and nobody can tell yet.
pub(super) const PENDING: &str = "settlement_pending";
/// The transfer has not happened.
pub(super) const FAILED: &str = "settlement_failed";
