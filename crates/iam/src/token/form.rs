//! The form of a token: three parts, a header, claims. Sole boundary for the bytes of strangers' tokens. Every change
//! here needs a second reader.
//!
//! Nothing that is read here is believed before the signature holds; what the header says picks among what the operator
//! has configured, and never brings anything of its own.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use execgate_flow::authorise::TokenError;
use execgate_receipt::parse_strict;
use serde_json::{Map, Value};

use super::Algorithm;

/// The longest token, in bytes: those of servers with many groups in them have some 4 KiB.
pub(crate) const TOKEN_MAX: usize = 8 << 10;

/// The longest name of a key, in bytes.
pub(crate) const KEY_NAME_MAX: usize = 256;

/// Members of a header that would let a token bring its own key, or a rule of its own (RFC 7515, 4.1.2 to 4.1.5, 4.1.11;
/// RFC 7797).
const NEVER: [&str; 5] = ["crit", "b64", "jku", "jwk", "x5u"];

/// Types of access tokens (RFC 9068, 2.1; RFC 7519, 5.1). Their case says nothing.
const TYPES: [&str; 3] = ["at+jwt", "application/at+jwt", "jwt"];

/// A token that has been read, and is believed nothing.
#[derive(Debug)]
pub(crate) struct Compact<'a> {
    /// None where its word is of no algorithm that is known here.
    pub(crate) algorithm: Option<Algorithm>,
    /// The name of the key.
    pub(crate) key: Option<String>,
    pub(crate) claims: Value,
    /// What is signed.
    pub(crate) message: &'a [u8],
    pub(crate) signature: Vec<u8>,
}

impl<'a> Compact<'a> {
    /// Reads a token: `header.claims.signature`, each in base64url without padding, the first two JSON objects whose
    /// members are unique.
    ///
    /// # Errors
    /// [`TokenError`] says which rule of form it breaks.
    pub(crate) fn read(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > TOKEN_MAX {
            return Err(TokenError::Form);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Form)?;
        let (header, claims) = message.split_once('.').ok_or(TokenError::Form)?;
        let header = object(header)?;
        let signature = decoded(signature)?;
        let claims = Value::Object(object(claims)?);
        if NEVER.iter().any(|name| header.contains_key(*name)) {
            return Err(TokenError::Header);
        }
        let word =
            |name: &str| header.get(name).map(|value| value.as_str().ok_or(TokenError::Form)).transpose();
        let kind = word("typ")?.ok_or(TokenError::Kind)?;
        if !TYPES.iter().any(|known| kind.eq_ignore_ascii_case(known)) {
            return Err(TokenError::Kind);
        }
        let key = word("kid")?.map(str::to_owned);
        if key.as_ref().is_some_and(|key| key.len() > KEY_NAME_MAX) {
            return Err(TokenError::Form);
        }
        let algorithm = Algorithm::from_word(word("alg")?.ok_or(TokenError::Form)?);
        Ok(Self { algorithm, key, claims, message: message.as_bytes(), signature })
    }
}

fn object(part: &str) -> Result<Map<String, Value>, TokenError> {
    match parse_strict(&decoded(part)?) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) | Err(_) => Err(TokenError::Form),
    }
}

fn decoded(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Form)
}
