//! Keys that change, do not come, or come too late.

use std::fs;
use std::sync::Arc;

use execgate_flow::authorise::{TokenError, Tokens as _};
use serde_json::json;
use tempfile::NamedTempFile;
use tokio::time::Instant;

use super::{Does, Hands, Issuer, good, parts, publishes, says};
use crate::exchange::ANSWER_MAX;
use crate::token::mint::{Mint, but, published};
use crate::token::source::{EVERY_US, GAP_US, MAX_AGE_US, READ_TIME, RETRY_US};
use crate::token::tokens::KNOWN_US;
use crate::token::{IssuerParts, KeysPlace, OpenError, TokenIssuers};

/// A token that holds for two days.
fn long_lived(mint: &Mint, subject: &str) -> String {
    mint.token(&but(good(subject), &json!({"exp": super::START_S + 2 * 86_400})))
}

#[tokio::test]
async fn a_new_key_is_found_at_once_and_a_withdrawn_one_is_refused_when_the_keys_are_read_anew() {
    let (old, new) = (Mint::p256("k1"), Mint::p256("k2"));
    let issuer = Issuer::that(publishes(&[&old])).await;
    issuer.tokens.tend().await;
    let by_old = long_lived(&old, "u1");
    assert!(issuer.shown(&by_old).await.is_ok());
    issuer.server.does.send_replace(publishes(&[&old, &new]));
    issuer.turn_us(GAP_US);
    assert!(issuer.shown(&long_lived(&new, "u1")).await.is_ok());
    assert_eq!(issuer.server.asked(), 2);
    issuer.server.does.send_replace(publishes(&[&new]));
    issuer.turn_us(EVERY_US - 1);
    issuer.tokens.tend().await;
    assert!(issuer.shown(&by_old).await.is_ok(), "the keys are not due");
    issuer.turn_us(1);
    issuer.tokens.tend().await;
    assert_eq!(issuer.refuses(&by_old).await, Some(TokenError::Key), "though it was known a moment ago");
    assert!(issuer.shown(&long_lived(&new, "u1")).await.is_ok());
}

#[tokio::test]
async fn a_set_without_keys_withdraws_all_and_one_that_cannot_be_read_withdraws_none() {
    let mint = Mint::p256("k1");
    let issuer = Issuer::that(publishes(&[&mint])).await;
    let token = long_lived(&mint, "u1");
    assert!(issuer.shown(&token).await.is_ok());
    issuer.server.does.send_replace(says("200 OK", "", "{\"keys\":"));
    issuer.turn_us(EVERY_US);
    issuer.tokens.tend().await;
    assert!(issuer.shown(&token).await.is_ok());
    issuer.server.does.send_replace(publishes(&[]));
    issuer.turn_us(RETRY_US);
    issuer.tokens.tend().await;
    assert_eq!(issuer.refuses(&token).await, Some(TokenError::Key));
    assert_eq!(issuer.server.asked(), 3);
}

#[tokio::test]
async fn invented_names_of_keys_ask_the_issuer_once_in_a_while() {
    let mint = Mint::p256("k1");
    let issuer = Issuer::that(publishes(&[&mint])).await;
    let invented = |number: u32| {
        let header = but(mint.header(), &json!({"kid": format!("x{number}")}));
        mint.with_header(&header, &good("u1"))
    };
    for number in 0..100 {
        assert_eq!(issuer.refuses(&invented(number)).await, Some(TokenError::Key));
    }
    assert_eq!(issuer.server.asked(), 1);
    issuer.turn_us(GAP_US);
    let many = (100..200).map(|number| {
        let (tokens, token) = (Arc::clone(&issuer.tokens), invented(number));
        tokio::spawn(async move { tokens.recognise(&token).await.err() })
    });
    for refused in many.collect::<Vec<_>>() {
        assert_eq!(refused.await.unwrap(), Some(TokenError::Key));
    }
    assert_eq!(issuer.server.asked(), 2);
}

#[tokio::test]
async fn keys_that_never_came_refuse_every_token_until_they_come() {
    let mint = Mint::p256("k1");
    let issuer = Issuer::that(Does::Closes).await;
    issuer.tokens.tend().await;
    let token = long_lived(&mint, "u1");
    assert_eq!(issuer.refuses(&token).await, Some(TokenError::Unreachable));
    issuer.server.does.send_replace(publishes(&[&mint]));
    assert_eq!(issuer.refuses(&token).await, Some(TokenError::Unreachable), "not asked again so soon");
    assert_eq!(issuer.server.asked(), 1);
    issuer.turn_us(RETRY_US);
    issuer.tokens.tend().await;
    assert!(issuer.shown(&token).await.is_ok());
}

#[tokio::test]
async fn keys_that_cannot_be_read_anew_hold_for_a_day_and_no_longer() {
    let mint = Mint::p256("k1");
    let issuer = Issuer::that(publishes(&[&mint])).await;
    let token = long_lived(&mint, "u1");
    assert!(issuer.shown(&token).await.is_ok());
    issuer.server.does.send_replace(Does::Closes);
    issuer.turn_us(MAX_AGE_US - 1);
    issuer.tokens.tend().await;
    assert!(issuer.shown(&token).await.is_ok());
    let stranger = Mint::p256("k2").token(&good("u1"));
    issuer.turn_us(1);
    // The token is known, its issuer's keys are not any more.
    assert_eq!(issuer.refuses(&token).await, Some(TokenError::Unreachable));
    assert_eq!(issuer.refuses(&stranger).await, Some(TokenError::Unreachable), "it may have become a key");
}

#[tokio::test]
async fn what_is_no_set_of_keys_is_not_taken_and_no_redirect_is_followed() {
    let mint = Mint::p256("k1");
    let other = Issuer::that(publishes(&[&mint])).await;
    let set = published(&[&mint]).to_string();
    let elsewhere = format!("Location: http://{}/jwks.json\r\n", other.server.url.authority);
    let huge = format!("{}{set}", " ".repeat(ANSWER_MAX));
    let half = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{set}", set.len() + 1);
    for (name, does) in [
        ("garbage", says("200 OK", "", "what?")),
        ("no HTTP", Does::Says(b"SSH-2.0-x\r\n".to_vec())),
        ("half", Does::Says(half.into_bytes())),
        ("closes", Does::Closes),
        ("huge", says("200 OK", "", &huge)),
        (
            "an endless head",
            Does::Says(format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(1 << 20)).into_bytes()),
        ),
        ("a redirect", says("302 Found", &elsewhere, &set)),
        ("an error", says("500 Internal Server Error", "", &set)),
        ("another answer", says("201 Created", "", &set)),
    ] {
        let issuer = Issuer::that(does).await;
        assert_eq!(issuer.refuses(&mint.token(&good("u1"))).await, Some(TokenError::Unreachable), "{name}");
        assert_eq!(issuer.server.asked(), 1, "{name}");
    }
    assert_eq!(other.server.asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_hangs_is_waited_for_three_seconds() {
    let issuer = Issuer::that(Does::Hangs).await;
    let start = Instant::now();
    issuer.tokens.tend().await;
    assert_eq!(start.elapsed().as_secs(), READ_TIME.as_secs());
    assert_eq!(issuer.refuses(&Mint::p256("k1").token(&good("u1"))).await, Some(TokenError::Unreachable));
    assert_eq!(start.elapsed().as_secs(), READ_TIME.as_secs(), "nobody waits again so soon");
}

#[tokio::test]
async fn who_hangs_up_does_not_keep_the_keys_from_coming() {
    let mint = Mint::p256("k1");
    let issuer = Issuer::that(publishes(&[&mint])).await;
    let token = mint.token(&good("u1"));
    // It is dropped after its first step, which began to ask.
    tokio::select! {
        biased;
        _ = issuer.tokens.recognise(&token) => unreachable!("the keys are not there yet"),
        () = core::future::ready(()) => {}
    }
    assert!(issuer.shown(&token).await.is_ok());
    assert_eq!(issuer.server.asked(), 1);
}

#[tokio::test]
async fn a_known_token_ends_at_its_time_and_is_looked_at_again_after_a_minute() {
    let mint = Mint::p256("k1");
    let issuer = Issuer::that(publishes(&[&mint])).await;
    let short = mint.token(&but(good("u1"), &json!({"exp": super::START_S + 30})));
    let long = long_lived(&mint, "u1");
    for token in [&short, &long] {
        assert!(issuer.shown(token).await.is_ok());
    }
    issuer.turn_us(29_999_000);
    assert!(issuer.shown(&short).await.is_ok());
    issuer.turn_us(1_000);
    assert_eq!(issuer.refuses(&short).await, Some(TokenError::Expired));
    issuer.turn_us(KNOWN_US);
    assert!(issuer.shown(&long).await.is_ok());
}

#[tokio::test]
async fn keys_of_a_file_are_read_at_once_and_one_that_is_wrong_is_an_error() {
    let (mint, next) = (Mint::ed25519("k1"), Mint::ed25519("k2"));
    let file = NamedTempFile::new().unwrap();
    let open = |clock: &Arc<Hands>| {
        let parts = parts(KeysPlace::File(file.path().to_owned()));
        TokenIssuers::open(vec![parts], clock.clone())
    };
    let clock = Arc::new(Hands::default());
    assert!(matches!(open(&clock), Err(OpenError::Keys(..))), "an empty file");
    fs::write(&file, published(&[&mint]).to_string()).unwrap();
    let issuer = Issuer { tokens: Arc::new(open(&clock).unwrap()), clock, ..Issuer::that(Does::Hangs).await };
    assert!(issuer.shown(&long_lived(&mint, "u1")).await.is_ok());
    fs::write(&file, published(&[&next]).to_string()).unwrap();
    issuer.turn_us(GAP_US);
    assert!(issuer.shown(&long_lived(&next, "u1")).await.is_ok());
    assert_eq!(issuer.refuses(&long_lived(&mint, "u1")).await, Some(TokenError::Key));
    for place in ["/nowhere/jwks.json", "/"] {
        let parts = parts(KeysPlace::File(place.into()));
        let opened = TokenIssuers::open(vec![parts], Arc::new(Hands::default()));
        assert!(matches!(opened, Err(OpenError::Keys(..))), "{place}");
    }
}

#[test]
fn two_issuers_of_one_name_are_one_too_many() {
    let file = NamedTempFile::new().unwrap();
    fs::write(&file, published(&[]).to_string()).unwrap();
    let parts = |issuer: &str| IssuerParts {
        issuer: issuer.to_owned(),
        ..parts(KeysPlace::File(file.path().to_owned()))
    };
    let open = |parts| TokenIssuers::open(parts, Arc::new(Hands::default()));
    let twice = vec![parts("https://a.example"), parts("https://a.example")];
    assert!(matches!(open(twice), Err(OpenError::Twice(_))));
    let many = (0..9).map(|n| parts(&format!("https://a{n}.example"))).collect();
    assert!(matches!(open(many), Err(OpenError::Many)));
}
