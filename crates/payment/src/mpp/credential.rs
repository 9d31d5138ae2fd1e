//! A credential: the challenge that it answers, echoed, and what pays. It is money: nothing here shows it.
//! Every change here needs a second reader.

use core::fmt;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde_json::Value;

use super::Challenge;
use super::challenge::{SCHEME, is_method};

/// The longest credential that is read, in bytes of its text. The draft asks for at least 4 KB; a credential echoes its
/// challenge, and ours stay below 1 KB.
pub const MAX_CREDENTIAL_BYTES: usize = 16 * 1024;

/// base64url, with or without the padding that it should not have.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a text is no credential. Nothing of the text is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// Longer than any of ours.
    #[error("a credential is at most {MAX_CREDENTIAL_BYTES} bytes long")]
    Long,
    /// No base64url.
    #[error("a credential is written in base64url")]
    Base64,
    /// No JSON, or not of the form.
    #[error("a credential is a JSON object with `challenge` and `payload`")]
    Json,
    /// The method of its challenge is no name.
    #[error("the method of a challenge is a lowercase name")]
    Method,
}

/// More than one credential came with one request, and which should count cannot be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a request has at most one `Payment` credential")]
pub struct Several;

/// The text of the one `Payment` credential in the values of the headers that may hold one, if there is one.
///
/// # Errors
/// [`Several`] where there are more.
pub fn find<'a>(values: impl IntoIterator<Item = &'a str>) -> Result<Option<&'a str>, Several> {
    let mut found = values.into_iter().flat_map(|value| value.split(',')).filter_map(token);
    match (found.next(), found.next()) {
        (first, None) => Ok(first),
        (_, Some(_)) => Err(Several),
    }
}

/// The token behind the name of the scheme. No credential of this scheme has a comma in it.
fn token(credentials: &str) -> Option<&str> {
    let credentials = credentials.trim_matches([' ', '\t']);
    let (scheme, token) = credentials.split_once([' ', '\t']).unwrap_or((credentials, ""));
    scheme.eq_ignore_ascii_case(SCHEME).then(|| token.trim_start_matches([' ', '\t']))
}

/// What came back.
#[derive(Clone, PartialEq)]
pub struct Credential {
    /// The `id` of the challenge.
    pub id: String,
    /// The challenge, as the client says that it was.
    pub challenge: Challenge,
    /// What pays, in the form of the method.
    pub payload: Value,
    /// Who pays, as the client says (a DID).
    pub source: Option<String>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("method", &self.challenge.method).finish_non_exhaustive()
    }
}

impl Credential {
    /// Reads the text behind the name of the scheme.
    ///
    /// # Errors
    /// [`CredentialError`] says what it is not.
    pub fn read(text: &str) -> Result<Self, CredentialError> {
        if text.len() > MAX_CREDENTIAL_BYTES {
            return Err(CredentialError::Long);
        }
        let json = BASE64URL.decode(text).map_err(|_| CredentialError::Base64)?;
        let wire: Wire = serde_json::from_slice(&json).map_err(|_| CredentialError::Json)?;
        let Echo { id, realm, method, intent, request, expires, digest, header, opaque, description } =
            wire.challenge;
        if !is_method(&method) {
            return Err(CredentialError::Method);
        }
        let challenge =
            Challenge { realm, method, intent, request, expires, digest, header, opaque, description };
        Ok(Self { id, challenge, payload: wire.payload, source: wire.source })
    }
}

#[derive(Deserialize)]
struct Wire {
    challenge: Echo,
    payload: Value,
    source: Option<String>,
}

#[derive(Deserialize)]
struct Echo {
    id: String,
    realm: String,
    method: String,
    intent: String,
    request: String,
    expires: Option<String>,
    digest: Option<String>,
    header: Option<String>,
    opaque: Option<String>,
    description: Option<String>,
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
    use proptest::prelude::{any, prop_assert, proptest};
    use serde_json::{Value, json};

    use super::{Credential, CredentialError, MAX_CREDENTIAL_BYTES, Several, find};
    use crate::mpp::{Challenge, Secret, Secrets};

    #[test]
    fn the_credentials_of_mppx_and_pympp_echo_their_challenges() {
        let mut seen = 0;
        for vectors in
            [include_str!("../../tests/vectors/mppx.json"), include_str!("../../tests/vectors/pympp.json")]
        {
            let vectors: Value = serde_json::from_str(vectors).unwrap();
            for case in vectors["challenges"].as_array().unwrap() {
                let Some(text) = case["credential"].as_str() else { continue };
                let credential = Credential::read(find([text]).unwrap().unwrap()).unwrap();
                let sent = Challenge::read_all(case["header"].as_str().unwrap()).unwrap();
                assert_eq!((credential.id.clone(), credential.challenge.clone()), sent[0]);
                let secrets =
                    Secrets::new(vec![Secret::new(case["secret"].as_str().unwrap()).unwrap()]).unwrap();
                assert!(credential.challenge.is_known_as(&credential.id, &secrets));
                assert_eq!(credential.payload["type"], "authorization");
                seen += 1;
            }
        }
        assert_eq!(seen, 7);
    }

    #[test]
    fn the_one_credential_is_found_among_other_schemes() {
        assert_eq!(find(["Bearer x, pAyMeNt  abc", "Basic y"]), Ok(Some("abc")));
        assert_eq!(find(["Payments abc", "Bearer Payment"]), Ok(None));
        assert_eq!(find(["Payment"]), Ok(Some("")));
        assert_eq!(find(["Payment a", "payment a"]), Err(Several));
        assert_eq!(find(["Payment a, Payment b"]), Err(Several));
    }

    fn wire() -> Value {
        let challenge = json!({"id": "i", "realm": "r", "method": "evm", "intent": "charge", "request": "e30",
            "expires": null, "opaque": null, "unknown": [1]});
        json!({"challenge": challenge, "payload": {"signature": "0xsecret"}, "source": null, "more": 1})
    }

    #[test]
    fn null_counts_as_absent_and_what_is_unknown_is_passed_over() {
        for text in [URL_SAFE_NO_PAD.encode(wire().to_string()), URL_SAFE.encode(wire().to_string())] {
            let credential = Credential::read(&text).unwrap();
            assert_eq!((credential.challenge.expires.as_ref(), credential.source.as_ref()), (None, None));
            assert!(!format!("{credential:?}").contains("secret"));
        }
    }

    #[test]
    fn what_is_no_credential_says_why_and_shows_nothing() {
        let told = |value: &Value| Credential::read(&URL_SAFE_NO_PAD.encode(value.to_string())).map(drop);
        let mut shouting = wire();
        shouting["challenge"]["method"] = json!("EVM");
        assert_eq!(told(&shouting), Err(CredentialError::Method));
        let mut nameless = wire();
        nameless["challenge"]["id"] = json!(7);
        for value in [nameless, json!([]), json!({"challenge": {}}), json!("x")] {
            assert_eq!(told(&value), Err(CredentialError::Json));
        }
        assert_eq!(Credential::read("a b").map(drop), Err(CredentialError::Base64));
        assert_eq!(
            Credential::read(&"a".repeat(MAX_CREDENTIAL_BYTES + 1)).map(drop),
            Err(CredentialError::Long)
        );
        let deep = format!("{{\"payload\":{}", "[".repeat(10_000));
        assert_eq!(Credential::read(&URL_SAFE_NO_PAD.encode(deep)).map(drop), Err(CredentialError::Json));
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reader(bytes in any::<Vec<u8>>(), text in any::<String>()) {
            prop_assert!(Credential::read(&URL_SAFE_NO_PAD.encode(&bytes)).is_err());
            drop(Credential::read(&text));
            prop_assert!(find([text.as_str()]).is_ok_and(|found| found.is_none_or(|found| text.contains(found))) || text.contains(","));
        }
    }
}
