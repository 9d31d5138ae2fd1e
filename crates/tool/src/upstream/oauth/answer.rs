//! What a token endpoint answers (RFC 6749, 5).

use core::time::Duration;

use hyper::StatusCode;
use serde_json::{Value, from_slice};
use zeroize::Zeroizing;

use super::super::connect::ConnectError;
use crate::action::Secret;

/// What a token is called where it would be told.
pub(super) const ACCESS: &str = "access-token";
pub(super) const REFRESH: &str = "refresh-token";

/// The longest life of a token that is believed: a year.
const LIFE_S_MAX: u64 = 365 * 24 * 3600;

/// A token.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) access: Secret,
    /// How long it counts; none where the issuer does not say.
    pub(super) life: Option<Duration>,
    /// What takes the place of the refresh token.
    pub(super) refresh: Option<Secret>,
}

/// Reads an answer. What is told of one that is none has no byte of it but the name of its error.
pub(super) fn granted(status: StatusCode, body: &[u8]) -> Result<Granted, ConnectError> {
    let fault = |why: &str| ConnectError(format!("no token is to be had: {why}"));
    let said: Option<Value> = from_slice(body).ok();
    let said = said.unwrap_or_default();
    if status != StatusCode::OK {
        let fits =
            |code: &&str| code.len() <= 64 && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        let code = said.get("error").and_then(Value::as_str).filter(fits).unwrap_or("no reason");
        return Err(fault(&format!("the issuer answers with status {} ({code})", status.as_u16())));
    }
    let kind = said.get("token_type").and_then(Value::as_str).unwrap_or_default();
    if !kind.eq_ignore_ascii_case("bearer") {
        return Err(fault("the issuer gives tokens of another kind than `Bearer`"));
    }
    let secret = |name: &str, member: &str| {
        let text = said.get(member).and_then(Value::as_str)?;
        Some(Secret::new(name, Zeroizing::new(text.to_owned())))
    };
    let access = secret(ACCESS, "access_token").ok_or_else(|| fault("the issuer's answer holds none"))?;
    let access = access.map_err(|rule| fault(&rule.to_string()))?;
    let refresh = secret(REFRESH, "refresh_token").transpose().map_err(|rule| fault(&rule.to_string()))?;
    let life = said.get("expires_in").and_then(Value::as_u64);
    let life = life.map(|seconds| Duration::from_secs(seconds.min(LIFE_S_MAX)));
    Ok(Granted { access, life, refresh })
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;

    use super::granted;

    #[test]
    fn an_answer_that_is_none_is_told_without_its_bytes() {
        let told = |status: u16, body: &str| {
            let status = StatusCode::from_u16(status).unwrap();
            granted(status, body.as_bytes()).map(|granted| granted.life).map_err(|error| error.to_string())
        };
        assert!(told(200, "{\"access_token\":\"abcdefgh\",\"token_type\":\"bearer\"}").is_ok());
        for (status, body, why) in [
            (400, "{\"error\":\"invalid_grant\",\"error_description\":\"s3cr3t\"}", "invalid_grant"),
            (401, "{\"error\":\"s3cr3t of another kind\"}", "no reason"),
            (500, "s3cr3t", "status 500"),
            (200, "s3cr3t", "another kind"),
            (200, "{\"access_token\":\"s3cr3t\",\"token_type\":\"DPoP\"}", "another kind"),
            (200, "{\"token_type\":\"Bearer\"}", "holds none"),
            (200, "{\"access_token\":\"s3cr3t\",\"token_type\":\"Bearer\"}", "8 to 4096"),
            (302, "{\"access_token\":\"s3cr3t-s3cr3t\",\"token_type\":\"Bearer\"}", "status 302"),
        ] {
            let told = told(status, body).unwrap_err();
            assert!(told.contains(why) && !told.contains("s3cr3t"), "{told}");
        }
    }
}
