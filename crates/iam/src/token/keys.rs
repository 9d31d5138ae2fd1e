//! The keys that an issuer publishes (RFC 7517), and what they verify. Every change here needs a second reader.
//!
//! A key is of one type, and verifies by the algorithms of that type alone, whatever a token says. Keys that are for
//! something else, too weak, unknown, or that should be a secret, are passed over; a set that cannot be read is no set.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use execgate_receipt::{StrictError, parse_strict};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    UnparsedPublicKey, VerificationAlgorithm,
};
use serde_json::{Map, Value};

use super::Algorithm;
use super::form::KEY_NAME_MAX;

/// Keys of one set. Issuers publish two to ten.
const KEYS_MAX: usize = 64;

/// The smallest modulus, in bytes: 2048 bits.
const RSA_MIN: usize = 256;

/// The largest, in bytes: 4096 bits. A larger one costs more time for each token than it is worth.
const RSA_MAX: usize = 512;

/// How an uncompressed point begins (SEC 1, 2.3.3).
const UNCOMPRESSED: u8 = 4;

/// Why a text is no set of keys.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetError {
    #[error("it is not JSON of one meaning")]
    Json(#[source] StrictError),
    #[error("it has no list `keys`")]
    NoList,
    #[error("it has more than {KEYS_MAX} keys")]
    Many,
}

#[derive(Debug)]
enum Material {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// One key.
#[derive(Debug)]
pub(crate) struct Key {
    name: Option<String>,
    /// The only algorithm that it is for, where its issuer says so.
    only: Option<Algorithm>,
    material: Material,
}

/// What an issuer published at a time.
#[derive(Debug)]
pub(crate) struct KeySet {
    keys: Vec<Key>,
    /// How many more there were.
    pub(crate) passed_over: usize,
}

impl KeySet {
    /// Reads a set.
    ///
    /// # Errors
    /// [`SetError`] where it is none.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, SetError> {
        let set = parse_strict(bytes).map_err(SetError::Json)?;
        let list = set.get("keys").and_then(Value::as_array).ok_or(SetError::NoList)?;
        if list.len() > KEYS_MAX {
            return Err(SetError::Many);
        }
        let keys: Vec<Key> = list.iter().filter_map(|key| Key::read(key.as_object()?)).collect();
        let passed_over = list.len().saturating_sub(keys.len());
        Ok(Self { keys, passed_over })
    }

    /// The number of usable keys.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The key that a token names, or the only one that could have signed it. Where several could, none is.
    pub(crate) fn find(&self, name: Option<&str>, algorithm: Algorithm) -> Option<&Key> {
        let fits = |key: &&Key| key.is_for(algorithm) && (name.is_none() || key.name.as_deref() == name);
        let mut found = self.keys.iter().filter(fits);
        found.next().filter(|_| found.next().is_none())
    }
}

impl Key {
    fn read(members: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| members.get(name).map(|value| value.as_str().ok_or(())).transpose().ok();
        let is_for_signatures = text("use")?.is_none_or(|word| word == "sig");
        let verifies = match members.get("key_ops") {
            None => true,
            Some(list) => list.as_array()?.iter().any(|word| word == "verify"),
        };
        // Published, a private key is everybody's.
        if !is_for_signatures || !verifies || members.contains_key("d") || members.contains_key("k") {
            return None;
        }
        let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)??).ok();
        let material = match (text("kty")??, text("crv")?) {
            ("RSA", _) => {
                let modulus = without_zeros(bytes("n")?);
                let fits =
                    (RSA_MIN..=RSA_MAX).contains(&modulus.len()) && modulus.first()?.leading_zeros() == 0;
                Material::Rsa { modulus, exponent: without_zeros(bytes("e")?) }.only_where(fits)?
            }
            ("EC", Some("P-256")) => Material::P256(point(&bytes("x")?, &bytes("y")?, 32)?),
            ("EC", Some("P-384")) => Material::P384(point(&bytes("x")?, &bytes("y")?, 48)?),
            ("OKP", Some("Ed25519")) => Material::Ed25519(bytes("x")?),
            _ => return None,
        };
        let name = text("kid")?.map(str::to_owned);
        let only = match text("alg")? {
            None => None,
            Some(word) => Some(Algorithm::from_word(word)?),
        };
        let key = Self { name, only, material };
        let is_sound = key.only.is_none_or(|only| key.is_for(only))
            && key.name.as_ref().is_none_or(|name| name.len() <= KEY_NAME_MAX);
        is_sound.then_some(key)
    }

    /// Whether it can have signed by this algorithm.
    fn is_for(&self, algorithm: Algorithm) -> bool {
        let of_its_type = match algorithm {
            Algorithm::Es256 => matches!(self.material, Material::P256(_)),
            Algorithm::Es384 => matches!(self.material, Material::P384(_)),
            Algorithm::EdDsa => matches!(self.material, Material::Ed25519(_)),
            Algorithm::Rs256
            | Algorithm::Rs384
            | Algorithm::Rs512
            | Algorithm::Ps256
            | Algorithm::Ps384
            | Algorithm::Ps512 => matches!(self.material, Material::Rsa { .. }),
        };
        of_its_type && self.only.is_none_or(|only| only == algorithm)
    }

    /// Whether a signature is of this key.
    pub(crate) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let plain = |how: &'static dyn VerificationAlgorithm, key: &Vec<u8>| {
            UnparsedPublicKey::new(how, key).verify(message, signature).is_ok()
        };
        self.is_for(algorithm)
            && match &self.material {
                Material::P256(key) => plain(&ECDSA_P256_SHA256_FIXED, key),
                Material::P384(key) => plain(&ECDSA_P384_SHA384_FIXED, key),
                Material::Ed25519(key) => plain(&ED25519, key),
                Material::Rsa { modulus, exponent } => parameters(algorithm).is_some_and(|parameters| {
                    let key = RsaPublicKeyComponents { n: modulus, e: exponent };
                    key.verify(parameters, message, signature).is_ok()
                }),
            }
    }
}

impl Material {
    fn only_where(self, fits: bool) -> Option<Self> {
        fits.then_some(self)
    }
}

const fn parameters(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    match algorithm {
        Algorithm::Rs256 => Some(&RSA_PKCS1_2048_8192_SHA256),
        Algorithm::Rs384 => Some(&RSA_PKCS1_2048_8192_SHA384),
        Algorithm::Rs512 => Some(&RSA_PKCS1_2048_8192_SHA512),
        Algorithm::Ps256 => Some(&RSA_PSS_2048_8192_SHA256),
        Algorithm::Ps384 => Some(&RSA_PSS_2048_8192_SHA384),
        Algorithm::Ps512 => Some(&RSA_PSS_2048_8192_SHA512),
        Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa => None,
    }
}

/// Some publish a number with a leading zero, which says nothing.
fn without_zeros(bytes: Vec<u8>) -> Vec<u8> {
    bytes.into_iter().skip_while(|byte| *byte == 0).collect()
}

/// A point; whether it is on its curve is found out where it verifies.
fn point(x: &[u8], y: &[u8], size: usize) -> Option<Vec<u8>> {
    (x.len() == size && y.len() == size).then(|| [&[UNCOMPRESSED][..], x, y].concat())
}
