//! An authorization server in miniature: keys, what it publishes of them, and tokens. Also taken in by path, by the tests
//! of `iam`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

/// The issuer of every mint.
pub const ISSUER: &str = "https://login.example";

/// The audience of every good token.
pub const AUDIENCE: &str = "https://gate.example";

#[derive(Debug)]
enum Pair {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// One key of an authorization server.
#[derive(Debug)]
pub struct Mint {
    name: String,
    pair: Pair,
}

/// Bytes as a token has them.
#[must_use]
pub fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Mint {
    /// A fresh key on P-256.
    ///
    /// # Panics
    /// If the system has no randomness.
    #[must_use]
    pub fn p256(name: &str) -> Self {
        let (rng, how) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(how, &rng).expect("a key can be made");
        let pair = EcdsaKeyPair::from_pkcs8(how, pkcs8.as_ref(), &rng).expect("it reads back");
        Self { name: name.to_owned(), pair: Pair::P256(pair) }
    }

    /// A fresh Ed25519 key.
    ///
    /// # Panics
    /// If the system has no randomness.
    #[must_use]
    pub fn ed25519(name: &str) -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key can be made");
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).expect("it reads back");
        Self { name: name.to_owned(), pair: Pair::Ed25519(pair) }
    }

    /// By what it signs.
    #[must_use]
    pub const fn algorithm(&self) -> &'static str {
        match &self.pair {
            Pair::P256(_) => "ES256",
            Pair::Ed25519(_) => "EdDSA",
        }
    }

    /// The public half, as it is published.
    #[must_use]
    pub fn jwk(&self) -> Value {
        let public = self.public();
        match &self.pair {
            Pair::P256(_) => json!({
                "kty": "EC", "crv": "P-256", "use": "sig", "kid": self.name,
                "x": encoded(&public[1..33]), "y": encoded(&public[33..]),
            }),
            Pair::Ed25519(_) => {
                json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": self.name, "x": encoded(public)})
            }
        }
    }

    /// The public half, as bytes.
    #[must_use]
    pub fn public(&self) -> Vec<u8> {
        match &self.pair {
            Pair::P256(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    /// A header in order.
    #[must_use]
    pub fn header(&self) -> Value {
        json!({"alg": self.algorithm(), "typ": "at+jwt", "kid": self.name})
    }

    /// A token with these claims.
    #[must_use]
    pub fn token(&self, claims: &Value) -> String {
        self.with_header(&self.header(), claims)
    }

    /// A token with this header, rightly signed.
    #[must_use]
    pub fn with_header(&self, header: &Value, claims: &Value) -> String {
        self.sign(&format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string())))
    }

    /// A token of these two parts.
    ///
    /// # Panics
    /// If the system has no randomness.
    #[must_use]
    pub fn sign(&self, message: &str) -> String {
        let signature = match &self.pair {
            Pair::P256(pair) => {
                let signature = pair.sign(&SystemRandom::new(), message.as_bytes());
                signature.expect("a message can be signed").as_ref().to_vec()
            }
            Pair::Ed25519(pair) => pair.sign(message.as_bytes()).as_ref().to_vec(),
        };
        format!("{message}.{}", encoded(signature))
    }
}

/// What an issuer with these keys publishes.
#[must_use]
pub fn published(mints: &[&Mint]) -> Value {
    json!({"keys": mints.iter().map(|mint| mint.jwk()).collect::<Vec<_>>()})
}

/// The claims of a good token of a subject, for ten minutes from a time in seconds.
#[must_use]
pub fn claims(subject: &str, now_s: u64) -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": subject, "client_id": "agents", "jti": "t1",
        "iat": now_s, "exp": now_s + 600,
    })
}

/// The same claims with some that are others; null takes one away.
///
/// # Panics
/// If either is no object.
#[must_use]
pub fn but(mut claims: Value, others: &Value) -> Value {
    let members = claims.as_object_mut().expect("claims are an object");
    for (name, value) in others.as_object().expect("claims are an object") {
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.clone(), value.clone());
        }
    }
    claims
}
