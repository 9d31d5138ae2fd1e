//! The parsers of tokens, one by one, for those that try them with any bytes.

use execgate_flow::authorise::{Bearer, TokenError};
use execgate_model::UnixMs;
use serde_json::Value;

use super::claims::judge;
use super::form::{Compact, KEY_NAME_MAX, TOKEN_MAX};
use super::keys::KeySet;
use super::{Algorithm, IssuerParts};

/// A token that has been read is what was signed, and bounded.
pub(crate) fn form(text: &str) {
    let Ok(token) = Compact::read(text) else { return };
    assert!(
        text.len() <= TOKEN_MAX && text.as_bytes().starts_with(token.message) && token.claims.is_object()
    );
    assert!(token.key.is_none_or(|key| key.len() <= KEY_NAME_MAX));
}

/// A set that has been read holds no key that verifies by what is not its own.
pub(crate) fn keys(bytes: &[u8]) {
    let Ok(set) = KeySet::read(bytes) else { return };
    for algorithm in Algorithm::ALL {
        if let Some(key) = set.find(None, algorithm) {
            assert!(!key.verifies(algorithm, b"", &[]));
        }
    }
}

/// Judges claims.
pub(crate) fn claims(
    issuer: &IssuerParts,
    claims: &Value,
    now: UnixMs,
) -> Result<(Bearer, UnixMs), TokenError> {
    judge(issuer, claims, now).map(|judged| (judged.bearer, judged.until))
}
