//! What an answer tells of its payment, in the headers of both versions.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::code;
use crate::evm::{Authorization, Means};
use crate::{Header, Settled, SettlementState};

/// The headers; none for what was let go of, and for what cannot be read.
pub(super) fn headers(settled: &Settled<'_>) -> Vec<Header> {
    let Ok(authorization) = Authorization::from_bytes(settled.kept) else { return Vec::new() };
    let network = authorization.token.network;
    let header = |name, network: &str| {
        let told = response(settled, &authorization, network)?;
        Some(Header { name, value: STANDARD.encode(told.to_string()) })
    };
    let two = header("payment-response", &network.to_string());
    let short = network.short_name().filter(|_| authorization.by.is_token());
    let one = short.and_then(|network| header("x-payment-response", network));
    two.into_iter().chain(one).collect()
}

fn response(settled: &Settled<'_>, authorization: &Authorization, network: &str) -> Option<Value> {
    let (success, reason) = match settled.state {
        SettlementState::Captured => (true, None),
        SettlementState::Pending => (false, Some(code::PENDING)),
        SettlementState::Unpaid => (false, Some(code::FAILED)),
        // The work came to nothing, and nothing is moved.
        SettlementState::Released if matches!(authorization.by, Means::UpTo { .. }) => (true, None),
        SettlementState::Free | SettlementState::Released => return None,
    };
    let mut told = json!({
        "success": success,
        "payer": authorization.from,
        "transaction": settled.reference.unwrap_or_default(),
        "network": network,
    });
    if let Means::UpTo { .. } = authorization.by {
        told["amount"] = authorization.moved().to_string().into();
        if settled.state == SettlementState::Released {
            (told["amount"], told["transaction"]) = ("0".into(), "".into());
        }
    }
    if let Some(reason) = reason {
        told["errorReason"] = reason.into();
    }
    Some(told)
}
