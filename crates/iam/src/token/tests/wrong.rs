//! What is no good token.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use execgate_flow::authorise::TokenError;
use execgate_model::{Role, TenantId};
use proptest::prelude::{any, prop_assert_ne};
use proptest::test_runner::{Config, TestRunner};
use ring::hmac;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::{Issuer, START_S, good, parts, publishes};
use crate::ServiceUrl;
use crate::token::form::TOKEN_MAX;
use crate::token::keys::KeySet;
use crate::token::mint::{Mint, but, encoded};
use crate::token::{Algorithm, IssuerParts, KeysPlace, PartsError, RoleRule, TenantRule};

#[tokio::test]
async fn a_claim_that_is_wrong_refuses_the_token() {
    let mint = Mint::p256("k1");
    let issuer = Issuer::that(publishes(&[&mint])).await;
    for (others, expected) in [
        (json!({"iss": null}), TokenError::Issuer),
        (json!({"iss": "https://login.example/"}), TokenError::Issuer),
        (json!({"iss": ["https://login.example"]}), TokenError::Issuer),
        (json!({"aud": null}), TokenError::Audience),
        (json!({"aud": "https://gate.example/"}), TokenError::Audience),
        (json!({"aud": []}), TokenError::Audience),
        (json!({"aud": ["https://other.example"]}), TokenError::Audience),
        (json!({"aud": {"is": "https://gate.example"}}), TokenError::Claim),
        (json!({"aud": ["https://gate.example", 7]}), TokenError::Claim),
        (json!({"exp": null}), TokenError::Claim),
        (json!({"exp": START_S}), TokenError::Expired),
        (json!({"exp": (START_S + 600).to_string()}), TokenError::Claim),
        (json!({"exp": -1}), TokenError::Claim),
        (json!({"nbf": START_S + 1}), TokenError::NotYet),
        (json!({"nbf": (START_S + 1).to_string()}), TokenError::Claim),
        (json!({"iat": START_S + 1}), TokenError::NotYet),
        (json!({"iat": true}), TokenError::Claim),
        (json!({"sub": null}), TokenError::Claim),
        (json!({"sub": ""}), TokenError::Claim),
        (json!({"sub": 7}), TokenError::Claim),
        (json!({"sub": "u1\nu2"}), TokenError::Claim),
        (json!({"sub": "ü1"}), TokenError::Claim),
        (json!({"sub": "u".repeat(256)}), TokenError::Claim),
        (json!({"cnf": {"jkt": "x"}}), TokenError::Bound),
        (json!({"nonce": "n"}), TokenError::Kind),
        (json!({"at_hash": "h"}), TokenError::Kind),
        (json!({"events": {}}), TokenError::Kind),
        (json!({"token_use": "id"}), TokenError::Kind),
        (json!({"typ": "ID"}), TokenError::Kind),
        (json!({"typ": "Refresh"}), TokenError::Kind),
    ] {
        let token = mint.token(&but(good("u1"), &others));
        assert_eq!(issuer.refuses(&token).await, Some(expected), "{others}");
    }
    assert_eq!(issuer.server.asked(), 1);
}

#[tokio::test]
async fn a_header_that_is_wrong_refuses_the_token() {
    let mint = Mint::p256("k1");
    let issuer = Issuer::that(publishes(&[&mint])).await;
    for (others, expected) in [
        (json!({"typ": null}), TokenError::Kind),
        (json!({"typ": "id_token"}), TokenError::Kind),
        (json!({"typ": "dpop+jwt"}), TokenError::Kind),
        (json!({"typ": 7}), TokenError::Form),
        (json!({"alg": null}), TokenError::Form),
        (json!({"alg": 7}), TokenError::Form),
        (json!({"kid": 7}), TokenError::Form),
        (json!({"kid": "k".repeat(257)}), TokenError::Form),
        (json!({"crit": ["exp"]}), TokenError::Header),
        (json!({"crit": []}), TokenError::Header),
        (json!({"b64": false}), TokenError::Header),
        (json!({"jwk": mint.jwk()}), TokenError::Header),
        (json!({"jku": "https://evil.example/jwks.json"}), TokenError::Header),
        (json!({"x5u": "https://evil.example/cert"}), TokenError::Header),
    ] {
        let token = mint.with_header(&but(mint.header(), &others), &good("u1"));
        assert_eq!(issuer.refuses(&token).await, Some(expected), "{others}");
    }
}

#[tokio::test]
async fn no_token_chooses_how_it_is_verified() {
    let (mint, other) = (Mint::p256("k1"), Mint::ed25519("k2"));
    let issuer = Issuer::with(publishes(&[&mint, &other]), |parts| IssuerParts {
        algorithms: BTreeSet::from([Algorithm::Es256, Algorithm::Rs256]),
        ..parts
    })
    .await;
    let of = |header: Value| format!("{}.{}", encoded(header.to_string()), encoded(good("u1").to_string()));
    let unsigned = |alg: &str| format!("{}.", of(json!({"alg": alg, "typ": "JWT"})));
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        assert_eq!(issuer.refuses(&unsigned(alg)).await, Some(TokenError::Algorithm), "{alg}");
    }
    // The public key, taken for a shared secret.
    let message = of(json!({"alg": "HS256", "typ": "JWT", "kid": "k1"}));
    for secret in [mint.public(), mint.jwk().to_string().into_bytes()] {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), message.as_bytes());
        let token = format!("{message}.{}", encoded(tag.as_ref()));
        assert_eq!(issuer.refuses(&token).await, Some(TokenError::Algorithm));
    }
    assert_eq!(
        issuer.refuses(&other.token(&good("u1"))).await,
        Some(TokenError::Algorithm),
        "not in the list"
    );
    for alg in ["ES256", "RS256"] {
        let header = but(other.header(), &json!({ "alg": alg }));
        let token = other.with_header(&header, &good("u1"));
        assert_eq!(issuer.refuses(&token).await, Some(TokenError::Key), "a key of another type");
    }
    let header = but(other.header(), &json!({"alg": "ES256", "kid": "k1"}));
    assert_eq!(issuer.refuses(&other.with_header(&header, &good("u1"))).await, Some(TokenError::Signature));
    let stranger = Mint::p256("k1");
    assert_eq!(issuer.refuses(&stranger.token(&good("u1"))).await, Some(TokenError::Signature));
    assert!(issuer.shown(&mint.token(&good("u1"))).await.is_ok());
}

#[tokio::test]
async fn what_has_not_the_form_of_a_token_is_none() {
    let mint = Mint::p256("k1");
    let issuer = Issuer::that(publishes(&[&mint])).await;
    let token = mint.token(&good("u1"));
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (header, body) = message.split_once('.').unwrap();
    let raw = |header: &str, body: &str| mint.sign(&format!("{}.{}", encoded(header), encoded(body)));
    let twice = good("u1").to_string().replacen('{', r#"{"sub":"u0","#, 1);
    let padded = (0..3).map(|spaces| URL_SAFE.encode(mint.header().to_string() + &" ".repeat(spaces)));
    let padded = padded.into_iter().find(|text| text.ends_with('=')).unwrap();
    for bad in [
        String::new(),
        "..".to_owned(),
        "a.b".to_owned(),
        message.to_owned(),
        format!("{token}."),
        format!("{token}.x"),
        format!(" {token}"),
        format!("{token}="),
        format!("{header}.{body}\n.{signature}"),
        token.replacen('.', "..", 1),
        mint.sign(&format!("{padded}.{body}")),
        raw(&mint.header().to_string(), &twice),
        raw(r#"{"alg":"ES256","alg":"ES256","typ":"at+jwt","kid":"k1"}"#, &good("u1").to_string()),
        raw("[]", &good("u1").to_string()),
        raw(&mint.header().to_string(), "\"u1\""),
        raw(&mint.header().to_string(), ""),
        mint.token(&but(good("u1"), &json!({"pad": "x".repeat(TOKEN_MAX)}))),
        "e".repeat(TOKEN_MAX + 1),
    ] {
        assert_eq!(issuer.refuses(&bad).await, Some(TokenError::Form), "{bad}");
    }
}

/// The last character of a part holds bits that are of no byte: those that are not zero make it another text.
#[tokio::test(flavor = "multi_thread")]
async fn no_token_that_differs_by_one_byte_is_taken() {
    let mints = [Mint::p256("k1"), Mint::ed25519("k2")];
    let issuer = Issuer::that(publishes(&[&mints[0], &mints[1]])).await;
    let tokens: Vec<String> = mints.iter().map(|mint| mint.token(&good("u1"))).collect();
    for token in &tokens {
        assert!(issuer.shown(token).await.is_ok());
    }
    let handle = Handle::current();
    let held = tokio::task::spawn_blocking(move || {
        let config = Config { failure_persistence: None, cases: 1_024, ..Config::default() };
        TestRunner::new(config).run(
            &(0..2_usize, any::<proptest::sample::Index>(), any::<u8>()),
            |(which, at, byte)| {
                let mut bytes = tokens[which].clone().into_bytes();
                let at = at.index(bytes.len());
                if bytes[at] != byte {
                    bytes[at] = byte;
                    if let Ok(changed) = String::from_utf8(bytes) {
                        prop_assert_ne!(handle.block_on(issuer.refuses(&changed)), None);
                    }
                }
                Ok(())
            },
        )
    });
    held.await.unwrap().unwrap();
}

#[test]
fn keys_that_are_for_something_else_or_weak_or_no_secret_any_more_are_passed_over() {
    let (p256, ed25519) = (Mint::p256("k1"), Mint::ed25519("k2"));
    let rsa = |bytes: usize| {
        let mut modulus = vec![0x5a; bytes];
        modulus[0] = 0x80;
        json!({"kty": "RSA", "kid": "k3", "n": encoded(modulus), "e": "AQAB"})
    };
    let usable = |key: Value| KeySet::read(json!({"keys": [key]}).to_string().as_bytes()).unwrap().len();
    for good in [
        p256.jwk(),
        ed25519.jwk(),
        rsa(256),
        rsa(512),
        but(p256.jwk(), &json!({"use": null, "kid": null, "key_ops": ["verify"], "alg": "ES256"})),
    ] {
        assert_eq!(usable(good.clone()), 1, "{good}");
    }
    for bad in [
        json!(7),
        json!({}),
        json!({"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}),
        json!({"kty": "oct", "alg": "ES256"}),
        rsa(255),
        rsa(513),
        but(rsa(256), &json!({"n": encoded([1; 256])})),
        but(rsa(256), &json!({"e": null})),
        but(p256.jwk(), &json!({"use": "enc"})),
        but(p256.jwk(), &json!({"use": 7})),
        but(p256.jwk(), &json!({"key_ops": ["sign"]})),
        but(p256.jwk(), &json!({"key_ops": "verify"})),
        but(p256.jwk(), &json!({"d": "AA"})),
        but(p256.jwk(), &json!({"alg": "RS256"})),
        but(p256.jwk(), &json!({"alg": "HS256"})),
        but(p256.jwk(), &json!({"crv": "P-521"})),
        but(p256.jwk(), &json!({"crv": "secp256k1"})),
        but(p256.jwk(), &json!({"x": "AA"})),
        but(p256.jwk(), &json!({"kid": "k".repeat(257)})),
        but(ed25519.jwk(), &json!({"crv": "X25519"})),
    ] {
        assert_eq!(usable(bad.clone()), 0, "{bad}");
    }
    let same = json!({"keys": [p256.jwk(), Mint::p256("k1").jwk(), Mint::p256("k9").jwk()]});
    let set = KeySet::read(same.to_string().as_bytes()).unwrap();
    assert!(set.find(Some("k1"), Algorithm::Es256).is_none() && set.find(None, Algorithm::Es256).is_none());
    assert!(
        set.find(Some("k9"), Algorithm::Es256).is_some() && set.find(Some("k9"), Algorithm::Rs256).is_none()
    );
    for none in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#] {
        assert!(KeySet::read(none.as_bytes()).is_err(), "{none}");
    }
    assert!(KeySet::read(json!({"keys": vec![p256.jwk(); 65]}).to_string().as_bytes()).is_err());
}

#[test]
fn an_issuer_that_cannot_be_honoured_is_told() {
    let parts = || parts(KeysPlace::Url(ServiceUrl::new("http://127.0.0.1:9/").unwrap()));
    let rule = |word: &str, role| {
        Some(RoleRule { claim: "scope".to_owned(), words: [(word.to_owned(), role)].into() })
    };
    assert_eq!(parts().check(), Ok(()));
    for issuer in ["", "login.example", "http://login.example", "https://a b", "https://a?b", "https://a#b"] {
        let wrong = IssuerParts { issuer: issuer.to_owned(), ..parts() };
        assert!(matches!(wrong.check(), Err(PartsError::Issuer(_))), "{issuer}");
    }
    for role in [Role::Approver, Role::PolicyManager, Role::Admin] {
        assert_eq!(IssuerParts { roles: rule("x", role), ..parts() }.check(), Err(PartsError::Role(role)));
    }
    let tenant = |claim: &str, among: &[&str]| TenantRule::Claim {
        claim: claim.to_owned(),
        among: among.iter().map(|name| TenantId::new(*name).unwrap()).collect(),
    };
    let labels = |count: usize| (0..count).map(|n| (format!("l{n}"), "c".to_owned())).collect();
    for (wrong, expected) in [
        (IssuerParts { audience: String::new(), ..parts() }, PartsError::Audience),
        (IssuerParts { algorithms: BTreeSet::new(), ..parts() }, PartsError::Algorithms),
        (IssuerParts { leeway_s: 61, ..parts() }, PartsError::Leeway),
        (IssuerParts { tenant: tenant("org", &[]), ..parts() }, PartsError::Tenants),
        (IssuerParts { tenant: tenant("", &["a"]), ..parts() }, PartsError::Word),
        (IssuerParts { roles: rule("a b", Role::Caller), ..parts() }, PartsError::Word),
        (IssuerParts { labels: labels(17), ..parts() }, PartsError::Many),
    ] {
        assert_eq!(wrong.check(), Err(expected));
    }
}
