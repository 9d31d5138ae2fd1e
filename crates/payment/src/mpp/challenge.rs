//! A challenge: what a 402 asks for, and the `id` that binds every word of it but the description.
//! Every change here needs a second reader.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use execgate_model::Digest;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::auth_params::{self, ParamsError};
use super::{Secret, Secrets};

/// The longest challenge that is written or read, in bytes (draft-httpauth-payment: under 8 KB).
pub const MAX_CHALLENGE_BYTES: usize = 8 * 1024;

/// The name of the scheme.
pub(super) const SCHEME: &str = "Payment";

/// In which header the credential comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialHeader {
    /// `Authorization`, which goes without saying.
    Authorization,
    /// `Payment-Authorization`, so that `Authorization` stays free for what says who asks.
    PaymentAuthorization,
}

impl CredentialHeader {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Authorization => "Authorization",
            Self::PaymentAuthorization => "Payment-Authorization",
        }
    }

    /// The parameter `header`, where one is written.
    #[must_use]
    pub fn parameter(self) -> Option<String> {
        (self == Self::PaymentAuthorization).then(|| self.as_str().to_owned())
    }
}

/// Why a text is no challenge, or a challenge cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChallengeError {
    /// The parameters are not of the form of RFC 9110.
    #[error("the challenge cannot be read")]
    Params(#[source] ParamsError),
    /// One of the parameters that it must have is missing or empty.
    #[error("a challenge has the parameter `{0}`")]
    Missing(&'static str),
    /// The bar is what parts the fields that are bound; within one it would make two challenges one.
    #[error("the field `{0}` of a challenge holds a `|`")]
    Bar(&'static str),
    /// A method is a lowercase name.
    #[error("the method of a challenge is a lowercase name")]
    Method,
    /// Too long to be sent.
    #[error("a challenge is shorter than {MAX_CHALLENGE_BYTES} bytes")]
    Long,
}

/// What is asked for. Its fields are those of the header; the texts are as they travel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// The protection space: the name of the host.
    pub realm: String,
    /// How it is paid: `evm`.
    pub method: String,
    /// What for: `charge`.
    pub intent: String,
    /// The request, as base64url of canonical JSON (RFC 8785).
    pub request: String,
    /// Until when it may be paid (RFC 3339).
    pub expires: Option<String>,
    /// The digest of the body that it is for (RFC 9530).
    pub digest: Option<String>,
    /// In which header the credential comes, where that is not `Authorization`.
    pub header: Option<String>,
    /// What only the server understands, as base64url of a flat canonical JSON object.
    pub opaque: Option<String>,
    /// Words for a person. They are not bound.
    pub description: Option<String>,
}

impl Challenge {
    /// The `id` that a secret gives it.
    ///
    /// # Errors
    /// [`ChallengeError::Bar`] where a field cannot be bound.
    pub fn id(&self, secret: &Secret) -> Result<String, ChallengeError> {
        Ok(URL_SAFE_NO_PAD.encode(secret.tag(&self.bound()?)))
    }

    /// Whether one of the secrets has given it that `id`.
    #[must_use]
    pub fn is_known_as(&self, id: &str, secrets: &Secrets) -> bool {
        let (Ok(bound), Ok(tag)) = (self.bound(), URL_SAFE_NO_PAD.decode(id)) else { return false };
        // Each is asked, so that the time says nothing of which it was.
        secrets.iter().fold(false, |known, secret| secret.is_tag(&bound, &tag) | known)
    }

    /// The value of its `WWW-Authenticate` line.
    ///
    /// # Errors
    /// [`ChallengeError`] where a field cannot be bound, or all of it is too long.
    pub fn header_value(&self, secret: &Secret) -> Result<String, ChallengeError> {
        let id = self.id(secret)?;
        let mut value = format!("{SCHEME} ");
        for (name, text) in [("id", Some(&id))].into_iter().chain(self.params()) {
            if let Some(text) = text {
                auth_params::write(&mut value, name, text);
            }
        }
        if value.len() < MAX_CHALLENGE_BYTES { Ok(value) } else { Err(ChallengeError::Long) }
    }

    /// The challenges of this scheme in a `WWW-Authenticate` value, each with its `id`. Other schemes are passed over.
    ///
    /// # Errors
    /// [`ChallengeError`] where one is not of the form.
    pub fn read_all(value: &str) -> Result<Vec<(String, Self)>, ChallengeError> {
        let of_scheme = |params: &auth_params::Params<'_>| params.scheme.eq_ignore_ascii_case(SCHEME);
        let schemes = auth_params::read(value).map_err(ChallengeError::Params)?;
        schemes.into_iter().filter(of_scheme).map(Self::of_params).collect()
    }

    fn of_params(mut params: auth_params::Params<'_>) -> Result<(String, Self), ChallengeError> {
        let mut take = |name: &'static str| params.take(name);
        let mut needed = |name: &'static str| {
            take(name).filter(|text| !text.is_empty()).ok_or(ChallengeError::Missing(name))
        };
        let id = needed("id")?;
        let (realm, method, intent) = (needed("realm")?, needed("method")?, needed("intent")?);
        let request = needed("request")?;
        if !is_method(&method) {
            return Err(ChallengeError::Method);
        }
        let challenge = Self {
            realm,
            method,
            intent,
            request,
            expires: take("expires"),
            digest: take("digest"),
            header: take("header"),
            opaque: take("opaque"),
            description: take("description"),
        };
        Ok((id, challenge))
    }

    fn params(&self) -> [(&'static str, Option<&String>); 9] {
        [
            ("realm", Some(&self.realm)),
            ("method", Some(&self.method)),
            ("intent", Some(&self.intent)),
            ("request", Some(&self.request)),
            ("expires", self.expires.as_ref()),
            ("digest", self.digest.as_ref()),
            ("description", self.description.as_ref()),
            ("header", self.header.as_ref()),
            ("opaque", self.opaque.as_ref()),
        ]
    }

    /// What the `id` is over: seven fields, and an eighth before the last where the credential has a header of its own.
    fn bound(&self) -> Result<String, ChallengeError> {
        let empty = String::new();
        let header = self.header.as_ref().filter(|header| !header.eq_ignore_ascii_case("authorization"));
        let fields = [
            ("realm", Some(&self.realm)),
            ("method", Some(&self.method)),
            ("intent", Some(&self.intent)),
            ("request", Some(&self.request)),
            ("expires", self.expires.as_ref().or(Some(&empty))),
            ("digest", self.digest.as_ref().or(Some(&empty))),
            ("header", header),
            ("opaque", self.opaque.as_ref().or(Some(&empty))),
        ];
        let mut bound = String::new();
        for (index, (name, text)) in fields.into_iter().enumerate() {
            let Some(text) = text else { continue };
            if text.contains('|') {
                return Err(ChallengeError::Bar(name));
            }
            if index > 0 {
                bound.push('|');
            }
            bound.push_str(text);
        }
        Ok(bound)
    }
}

/// Whether a text can name a method: a lowercase letter, then lowercase letters, digits, `:`, `_` and `-`.
pub(super) fn is_method(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, ':' | '_' | '-'))
}

/// The parameter `digest` of a body with that SHA-256 (RFC 9530).
#[must_use]
pub fn body_digest(digest: &Digest) -> String {
    format!("sha-256=:{}:", STANDARD.encode(digest.as_bytes()))
}

/// The parameter `opaque` of a challenge for one method and address and no other.
#[must_use]
pub fn opaque(http_method: &str, url: &str) -> String {
    let resource = resource(http_method, url);
    URL_SAFE_NO_PAD.encode(format!("{{\"resource\":\"{resource}\"}}"))
}

/// The same with something that was drawn, so that two who ask for the same in the same second are given two challenges:
/// what answers a challenge is one payment.
#[must_use]
pub(super) fn drawn_opaque(drawn: [u8; 16], http_method: &str, url: &str) -> String {
    let (drawn, resource) = (URL_SAFE_NO_PAD.encode(drawn), resource(http_method, url));
    URL_SAFE_NO_PAD.encode(format!("{{\"drawn\":\"{drawn}\",\"resource\":\"{resource}\"}}"))
}

/// Whether an `opaque` is of a challenge for that method and address. That it is one of ours, the `id` says.
pub(super) fn is_opaque_of(opaque: &str, http_method: &str, url: &str) -> bool {
    #[derive(Deserialize)]
    struct Named {
        resource: String,
    }
    let json = URL_SAFE_NO_PAD.decode(opaque).ok();
    let named = json.and_then(|json| serde_json::from_slice::<Named>(&json).ok());
    named.is_some_and(|named| named.resource == resource(http_method, url))
}

fn resource(http_method: &str, url: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(http_method);
    // No method has a space in it.
    hash.update(" ");
    hash.update(url);
    URL_SAFE_NO_PAD.encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use execgate_model::Digest;
    use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, proptest};
    use serde_json::Value;
    use sha2::{Digest as _, Sha256};

    use super::{Challenge, ChallengeError, CredentialHeader, body_digest, opaque};
    use crate::mpp::{Secret, Secrets};

    const MPPX: &str = include_str!("../../tests/vectors/mppx.json");
    const PYMPP: &str = include_str!("../../tests/vectors/pympp.json");

    fn secret(text: &str) -> Secret {
        Secret::new(text).unwrap()
    }

    #[test]
    fn the_ids_are_those_of_mppx_and_pympp() {
        let mut seen = 0;
        for vectors in [MPPX, PYMPP] {
            let vectors: Value = serde_json::from_str(vectors).unwrap();
            for case in vectors["challenges"].as_array().unwrap() {
                let header = case["header"].as_str().unwrap();
                let [(id, challenge)] = Challenge::read_all(header).unwrap().try_into().unwrap();
                let secret = secret(case["secret"].as_str().unwrap());
                assert_eq!(challenge.id(&secret).unwrap(), id, "{}", case["name"]);
                assert_eq!(id, case["id"].as_str().unwrap());
                assert_eq!(challenge.request, case["request"].as_str().unwrap());
                let secrets = Secrets::new(vec![Secret::new([1; 32]).unwrap(), secret]).unwrap();
                assert!(challenge.is_known_as(&id, &secrets));
                seen += 1;
            }
        }
        assert_eq!(seen, 8);
    }

    #[test]
    fn a_challenge_of_others_is_written_as_they_write_it() {
        let vectors: Value = serde_json::from_str(PYMPP).unwrap();
        let case =
            vectors["challenges"].as_array().unwrap().iter().find(|case| case["name"] == "plain").unwrap();
        let header = case["header"].as_str().unwrap();
        let (_, challenge) = Challenge::read_all(header).unwrap().remove(0);
        assert_eq!(challenge.header_value(&secret(case["secret"].as_str().unwrap())).unwrap(), header);
    }

    #[test]
    fn the_digest_of_a_body_is_that_of_others_between_colons() {
        let vectors: Value = serde_json::from_str(MPPX).unwrap();
        let digest = Digest::from_bytes(Sha256::digest(vectors["body"]["text"].as_str().unwrap()).into());
        let theirs = vectors["body"]["digest"].as_str().unwrap();
        let (name, base64) = theirs.split_once('=').unwrap();
        assert_eq!(body_digest(&digest), format!("{name}=:{base64}:"));
    }

    fn plain() -> Challenge {
        Challenge {
            realm: "gw.example".to_owned(),
            method: "evm".to_owned(),
            intent: "charge".to_owned(),
            request: "e30".to_owned(),
            expires: Some("2026-11-22T00:05:00Z".to_owned()),
            digest: None,
            header: None,
            opaque: Some(opaque("POST", "https://gw.example/api/code-run")),
            description: None,
        }
    }

    #[test]
    fn a_bar_in_a_field_is_never_bound() {
        let challenge = Challenge { realm: "a|b".to_owned(), ..plain() };
        let secrets = Secrets::new(vec![Secret::new([1; 32]).unwrap()]).unwrap();
        assert_eq!(challenge.id(secrets.newest()), Err(ChallengeError::Bar("realm")));
        assert!(!challenge.is_known_as("AAAA", &secrets));
    }

    #[test]
    fn every_bound_field_changes_the_id_and_the_description_does_not() {
        let secret = Secret::new([1; 32]).unwrap();
        let id = |challenge: &Challenge| challenge.id(&secret).unwrap();
        let text = || "x".to_owned();
        let others = [
            Challenge { realm: text(), ..plain() },
            Challenge { method: text(), ..plain() },
            Challenge { intent: text(), ..plain() },
            Challenge { request: text(), ..plain() },
            Challenge { expires: None, ..plain() },
            Challenge { digest: Some(text()), ..plain() },
            Challenge { header: CredentialHeader::PaymentAuthorization.parameter(), ..plain() },
            Challenge { opaque: Some(opaque("POST", "https://gw.example/api/code-run-pro")), ..plain() },
            Challenge { opaque: Some(opaque("GET", "https://gw.example/api/code-run")), ..plain() },
        ];
        for other in &others {
            assert_ne!(id(other), id(&plain()), "{other:?}");
        }
        assert_eq!(id(&Challenge { description: Some(text()), ..plain() }), id(&plain()));
        assert_eq!(CredentialHeader::Authorization.parameter(), None);
    }

    #[test]
    fn what_lacks_a_needed_parameter_is_no_challenge() {
        let missing = [
            ("Payment id=\"a\"", ChallengeError::Missing("realm")),
            ("Payment id=\"\", realm=\"r\"", ChallengeError::Missing("id")),
            ("Payment id=a, realm=r, method=Evm, intent=c, request=e30", ChallengeError::Method),
        ];
        for (value, error) in missing {
            assert_eq!(Challenge::read_all(value), Err(error), "{value}");
        }
        assert_eq!(Challenge::read_all("Bearer realm=\"x\""), Ok(Vec::new()));
    }

    fn words() -> impl Strategy<Value = String> {
        "[ -{}~ü—🦀]{1,40}"
    }

    proptest! {
        #[test]
        fn a_challenge_that_is_written_is_read_again(
            realm in words(), request in "[A-Za-z0-9_-]{1,80}", expires in prop::option::of(words()),
            digest in prop::option::of(words()), opaque in prop::option::of(words()),
            description in prop::option::of(words()), apart in any::<bool>(),
        ) {
            let header =
                if apart { CredentialHeader::PaymentAuthorization } else { CredentialHeader::Authorization };
            let challenge = Challenge {
                realm, request, expires, digest, opaque, description, header: header.parameter(), ..plain()
            };
            let secret = Secret::new([1; 32]).unwrap();
            let value = challenge.header_value(&secret).unwrap();
            prop_assert!(value.is_ascii());
            let two = format!("Bearer realm=\"a, Payment b\", {value}, {value}");
            let read = Challenge::read_all(&two).unwrap();
            let id = challenge.id(&secret).unwrap();
            prop_assert_eq!(read, vec![(id.clone(), challenge.clone()), (id, challenge)]);
        }

        #[test]
        fn a_changed_id_is_unknown(byte in 0_usize..32, bit in 0_u8..8) {
            use base64::Engine as _;
            use base64::engine::general_purpose::URL_SAFE_NO_PAD;
            let secrets = Secrets::new(vec![Secret::new([1; 32]).unwrap()]).unwrap();
            let id = plain().id(secrets.newest()).unwrap();
            let mut tag = URL_SAFE_NO_PAD.decode(&id).unwrap();
            tag[byte] ^= 1 << bit;
            prop_assert!(plain().is_known_as(&id, &secrets));
            prop_assert!(!plain().is_known_as(&URL_SAFE_NO_PAD.encode(&tag), &secrets));
            prop_assert!(!plain().is_known_as(&URL_SAFE_NO_PAD.encode(&tag[..31]), &secrets));
        }

        #[test]
        fn no_text_breaks_the_reader(text in any::<String>()) {
            drop(Challenge::read_all(&text));
            drop(Challenge::read_all(&format!("Payment {text}")));
        }
    }
}
