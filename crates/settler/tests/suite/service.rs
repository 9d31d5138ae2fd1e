//! Methods of the scheme `Payment` over HTTP, against doubles of what they ask: charged once, unknown where nobody can tell,
//! refused where it was declined, and no error tells a secret.

use std::sync::Arc;

use execgate_model::{Amount, UnixMs};
use execgate_payment::mpp::{
    Ask, Challenge, Credential, Method, StripeAccount, StripeCharge, TempoCharge, TempoToken,
};
use execgate_payment::{CaptureError, Flow, Found};
use execgate_settler::Service;
use execgate_testkit::Upstream;
use serde_json::{Value, json};
use zeroize::Zeroizing;

const PRICE: Amount = Amount::from_micros(500_000);
const SELLER: &str = "0x90F79bf6EB2c4f870365E785982E1f101E93b906";
const TOKEN: &str = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";
const HASH: &str = "0xabababababababababababababababababababababababababababababababab";

fn credential(method: &str, payload: Value) -> Credential {
    let challenge = Challenge {
        realm: "r".to_owned(),
        method: method.to_owned(),
        intent: "charge".to_owned(),
        request: "e30".to_owned(),
        expires: None,
        digest: None,
        header: None,
        opaque: None,
        description: None,
    };
    Credential { id: "challenge-1".to_owned(), challenge, payload, source: None }
}

/// What a method keeps of a payload that it pledges.
fn kept(method: &dyn Method, payload: Value) -> Vec<u8> {
    let ask = Ask { amount: PRICE, now: UnixMs(0), flow: Flow::Authorization, lives_at_least_s: 0 };
    let pledge = method.pledge(&credential(method.name(), payload), &ask).unwrap();
    assert_eq!(pledge.flow, Flow::Upfront, "nobody can verify it beforehand");
    pledge.state
}

fn cards(url: &str) -> StripeCharge {
    let account = StripeAccount {
        key: Zeroizing::new("sk_test_canary".to_owned()),
        profile: "profile_test".to_owned(),
        types: vec!["card".to_owned()],
    };
    StripeCharge::new(account, Arc::new(Service::new(url).unwrap()))
}

fn answers(status: &'static str, body: Value) -> impl Fn(&str) -> Vec<u8> + Send + Sync + 'static {
    move |_| Upstream::reply(status, "application/json", &body.to_string())
}

#[tokio::test]
async fn a_card_is_charged_under_one_idempotency_key_however_often_it_is_asked_for() {
    let stripe = Upstream::start(answers("200 OK", json!({"id": "pi_1", "status": "succeeded"}))).await;
    let cards = cards(&stripe.url(""));
    let state = kept(&cards, json!({"spt": "spt_1"}));
    for _ in 0..2 {
        assert_eq!(cards.capture(PRICE, &state).await, Ok("pi_1".to_owned()));
    }
    let asked = stripe.asked();
    let key = |request: &String| {
        let found = request.lines().find(|line| line.starts_with("idempotency-key: "));
        found.unwrap().to_owned()
    };
    assert_eq!((asked.len(), key(&asked[0])), (2, key(&asked[1])));
    assert_eq!(key(&asked[0]), "idempotency-key: mpp_challenge-1_spt_1");
    assert!(asked[0].starts_with("POST /v1/payment_intents HTTP/1.1\r\n"), "{}", asked[0]);
    assert!(
        asked[0].contains("content-type: application/x-www-form-urlencoded")
            && asked[0].contains("amount=50&")
    );
}

#[tokio::test]
async fn what_stripe_says_or_does_not_say_is_what_becomes_of_a_charge() {
    let unknown =
        |reference: Option<&str>| Err(CaptureError::Unknown { reference: reference.map(str::to_owned) });
    let failed = |why: &str| Err(CaptureError::Failed(why.to_owned()));
    for (status, body, expected) in [
        ("402 Payment Required", json!({"error": {"code": "card_declined"}}), failed("card_declined")),
        ("400 Bad Request", json!({"error": {"code": "a\nb"}}), failed("stripe_400")),
        ("409 Conflict", json!({"error": {"code": "idempotency_key_in_use"}}), unknown(None)),
        ("429 Too Many Requests", json!({}), unknown(None)),
        ("500 Internal Server Error", json!({}), unknown(None)),
        ("200 OK", json!({"id": "pi_1", "status": "processing"}), unknown(Some("pi_1"))),
        ("200 OK", json!("?"), unknown(None)),
        // It is not followed.
        ("302 Found\r\nLocation: http://127.0.0.1:1/", json!({}), unknown(None)),
    ] {
        let stripe = Upstream::start(answers(status, body)).await;
        let cards = cards(&stripe.url(""));
        let state = kept(&cards, json!({"spt": "spt_1"}));
        assert_eq!(cards.capture(PRICE, &state).await, expected, "{status}");
    }
}

#[tokio::test]
async fn a_service_that_hangs_up_may_have_charged_and_no_error_tells_a_secret() {
    let stripe = Upstream::start(|_| Vec::new()).await;
    let cards = cards(&stripe.url(""));
    let state = kept(&cards, json!({"spt": "spt_1"}));
    assert_eq!(cards.capture(PRICE, &state).await, Err(CaptureError::Unknown { reference: None }));
    let told = cards.whereabouts(&state).await.unwrap_err().to_string();
    assert!(!told.contains("canary") && !told.contains("spt_1"), "{told}");
    assert!(Service::new("http://stripe.example").is_err(), "a key never goes out in the clear");
}

#[tokio::test]
async fn a_charge_is_found_again_by_the_name_of_its_payment() {
    for (list, expected) in [
        (
            json!({"data": [{"id": "pi_1", "status": "succeeded"}]}),
            Found::Taken { reference: Some("pi_1".to_owned()) },
        ),
        (json!({"data": [{"id": "pi_1", "status": "requires_action"}]}), Found::Open),
        (json!({"data": []}), Found::Open),
    ] {
        let stripe = Upstream::start(answers("200 OK", list)).await;
        let cards = cards(&stripe.url(""));
        let state = kept(&cards, json!({"spt": "spt_1"}));
        assert_eq!(cards.whereabouts(&state).await, Ok(expected));
        assert!(stripe.asked()[0].starts_with("GET /v1/payment_intents/search?query=metadata%5B"));
    }
}

#[tokio::test]
async fn a_transfer_on_tempo_is_looked_up_and_never_sent() {
    let token =
        TempoToken { chain: 42_431, contract: TOKEN.parse().unwrap(), pay_to: SELLER.parse().unwrap() };
    let charge = |url: &str| TempoCharge::new(token.clone(), Arc::new(Service::new(url).unwrap()));
    let reference = || Some(HASH.to_owned());
    for (status, answer, expected) in [
        (
            "200 OK",
            json!({"jsonrpc": "2.0", "id": 1, "result": null}),
            CaptureError::Failed("transaction_not_found".to_owned()),
        ),
        (
            "200 OK",
            json!({"jsonrpc": "2.0", "id": 1, "result": {"status": "0x0", "logs": []}}),
            CaptureError::Failed("transaction_does_not_pay".to_owned()),
        ),
        ("200 OK", json!({"error": {"code": -32000}}), CaptureError::Unknown { reference: reference() }),
        ("503 Service Unavailable", json!({}), CaptureError::Unknown { reference: reference() }),
    ] {
        let node = Upstream::start(answers(status, answer)).await;
        let tempo = charge(&node.url("/rpc"));
        let state = kept(&tempo, json!({"type": "hash", "hash": HASH}));
        assert_eq!(tempo.capture(PRICE, &state).await, Err(expected));
        let asked = node.asked();
        assert!(
            asked[0].starts_with("POST /rpc HTTP/1.1\r\n") && asked[0].contains("eth_getTransactionReceipt"),
            "{}",
            asked[0]
        );
    }
}
