//! What good tokens make of a caller.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use execgate_flow::authorise::{Bearer, Opens, TokenError};
use execgate_model::{Caller, Identity, Labels, Role, TenantId};
use serde_json::{Value, json};

use super::{Issuer, good, publishes};
use crate::token::mint::{AUDIENCE, ISSUER, Mint, but};
use crate::token::{IssuerParts, RoleRule, TenantRule};

fn bearer(tenant: &str, subject: &str, labels: Labels, roles: &[Role]) -> Bearer {
    let identity = Identity::Subject {
        issuer: ISSUER.to_owned(),
        subject: subject.to_owned(),
        labels: Arc::new(labels),
    };
    let caller = Caller { tenant: TenantId::new(tenant).unwrap(), identity };
    Bearer { caller, roles: roles.iter().copied().collect(), opens: Opens::Gateway }
}

#[tokio::test]
async fn a_good_token_says_who_shows_it_whatever_its_key_and_type() {
    for mint in [Mint::p256("k1"), Mint::ed25519("k1")] {
        let issuer = Issuer::that(publishes(&[&mint])).await;
        let expected = bearer("acme", "u1", Labels::new(), &[Role::Caller]);
        assert_eq!(issuer.shown(&mint.token(&good("u1"))).await, Ok(expected.clone()));
        for (name, word) in [("typ", "JWT"), ("typ", "application/AT+JWT"), ("x5t", "abc"), ("cty", "x")] {
            let header = but(mint.header(), &json!({ name: word }));
            assert_eq!(issuer.shown(&mint.with_header(&header, &good("u1"))).await, Ok(expected.clone()));
        }
        let nameless = but(mint.header(), &json!({"kid": null}));
        assert_eq!(issuer.shown(&mint.with_header(&nameless, &good("u1"))).await, Ok(expected));
        assert_eq!(issuer.server.asked(), 1);
    }
    let mint = Mint::ed25519("k1");
    let issuer = Issuer::that(publishes(&[&mint])).await;
    let header = but(mint.header(), &json!({"alg": "Ed25519"}));
    assert!(issuer.shown(&mint.with_header(&header, &good("u1"))).await.is_ok());
}

#[tokio::test]
async fn a_refreshed_token_is_the_same_caller_and_another_subject_is_not() {
    let mint = Mint::p256("k1");
    let issuer = Issuer::that(publishes(&[&mint])).await;
    let scope =
        async |claims: Value| issuer.shown(&mint.token(&claims)).await.unwrap().caller.scope().unwrap();
    let first = scope(good("u1")).await;
    assert_eq!(first.as_str(), format!("acme\nsubject\n{ISSUER}\nu1"));
    assert_eq!(scope(but(good("u1"), &json!({"jti": "t2", "exp": super::START_S + 60}))).await, first);
    assert_ne!(scope(good("u2")).await, first);
}

#[tokio::test]
async fn one_audience_of_several_is_enough_and_clocks_may_differ_a_little() {
    let mint = Mint::p256("k1");
    let issuer = Issuer::with(publishes(&[&mint]), |parts| IssuerParts { leeway_s: 60, ..parts }).await;
    for others in [
        json!({"aud": ["https://other.example", AUDIENCE]}),
        json!({"exp": super::START_S - 59}),
        json!({"nbf": super::START_S + 60, "iat": super::START_S + 60}),
    ] {
        assert!(issuer.shown(&mint.token(&but(good("u1"), &others))).await.is_ok(), "{others}");
    }
    for (others, expected) in [
        (json!({"exp": super::START_S - 60}), TokenError::Expired),
        (json!({"nbf": super::START_S + 61}), TokenError::NotYet),
    ] {
        assert_eq!(issuer.refuses(&mint.token(&but(good("u1"), &others))).await, Some(expected));
    }
}

#[tokio::test]
async fn a_claim_names_the_tenant_among_those_that_it_may() {
    let mint = Mint::p256("k1");
    let among = BTreeSet::from(["red", "blue"].map(|name| TenantId::new(name).unwrap()));
    let tenant = TenantRule::Claim { claim: "/org/name".to_owned(), among };
    let issuer = Issuer::with(publishes(&[&mint]), |parts| IssuerParts { tenant, ..parts }).await;
    let shown = async |others: Value| issuer.shown(&mint.token(&but(good("u1"), &others))).await;
    assert_eq!(
        shown(json!({"org": {"name": "red"}})).await,
        Ok(bearer("red", "u1", Labels::new(), &[Role::Caller]))
    );
    assert_eq!(shown(json!({"org": {"name": "green"}})).await, Err(TokenError::Tenant));
    for none in [json!({}), json!({"org": "red"}), json!({"org": {"name": ["red"]}})] {
        assert_eq!(shown(none).await, Err(TokenError::Claim));
    }
}

#[tokio::test]
async fn words_of_a_token_are_the_roles_that_the_operator_says_and_no_others() {
    let mint = Mint::p256("k1");
    let words = [("exec.run", Role::Caller), ("exec.audit", Role::Auditor)];
    let words = words.map(|(word, role)| (word.to_owned(), role));
    let roles = Some(RoleRule { claim: "scope".to_owned(), words: BTreeMap::from(words) });
    let issuer = Issuer::with(publishes(&[&mint]), |parts| IssuerParts { roles, ..parts }).await;
    for (others, expected) in [
        (json!({"scope": "exec.run openid"}), Some(vec![Role::Caller])),
        (json!({"scope": ["exec.audit", "exec.run"]}), Some(vec![Role::Caller, Role::Auditor])),
        (json!({"scope": "EXEC.RUN admin internal"}), Some(vec![])),
        (json!({}), Some(vec![])),
        (json!({"scope": 7}), None),
        (json!({"scope": ["exec.run", 7]}), None),
        (json!({"scope": vec!["x"; 65]}), None),
    ] {
        let shown = issuer.shown(&mint.token(&but(good("u1"), &others))).await;
        match expected {
            Some(roles) => assert_eq!(shown, Ok(bearer("acme", "u1", Labels::new(), &roles)), "{others}"),
            None => assert_eq!(shown, Err(TokenError::Claim), "{others}"),
        }
    }
}

#[tokio::test]
async fn labels_are_short_texts_and_one_that_is_none_refuses_the_token() {
    let mint = Mint::p256("k1");
    let labels = [("team", "department"), ("env", "/custom/env")];
    let labels = BTreeMap::from(labels.map(|(label, claim)| (label.to_owned(), claim.to_owned())));
    let issuer = Issuer::with(publishes(&[&mint]), |parts| IssuerParts { labels, ..parts }).await;
    let shown = async |others: Value| issuer.shown(&mint.token(&but(good("u1"), &others))).await;
    let expected = |pairs: &[(&str, &str)]| {
        let labels = pairs.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned()));
        Ok(bearer("acme", "u1", labels.collect(), &[Role::Caller]))
    };
    assert_eq!(shown(json!({})).await, expected(&[]));
    let both = json!({"department": "red", "custom": {"env": "prod"}});
    assert_eq!(shown(both).await, expected(&[("team", "red"), ("env", "prod")]));
    for bad in [json!(""), json!(7), json!(["red"]), json!("a\nb"), json!("x".repeat(129))] {
        assert_eq!(shown(json!({ "department": bad })).await, Err(TokenError::Claim));
    }
}
