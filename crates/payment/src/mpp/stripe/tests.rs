//! Against a double of Stripe, which takes each idempotency key once.

use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use execgate_model::{Amount, BoxFuture, UnixMs};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Kept, StripeAccount, StripeCharge};
use crate::mpp::{Answer, Ask, Challenge, Credential, Exchange, Method as _, NoAnswer, Question};
use crate::{CaptureError, Flow, Found, LookError};

/// Answers as it is told, and remembers what it was asked.
#[derive(Default)]
struct Double {
    asked: Mutex<Vec<Question>>,
    answers: Mutex<Vec<Result<Answer, NoAnswer>>>,
}

impl Exchange for Double {
    fn ask(&self, question: Question) -> BoxFuture<'_, Result<Answer, NoAnswer>> {
        self.asked.lock().unwrap().push(question);
        let answer = self.answers.lock().unwrap().pop().unwrap();
        Box::pin(async { answer })
    }
}

fn now<T>(mut future: BoxFuture<'_, T>) -> T {
    match Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("nothing here waits"),
    }
}

fn charge() -> (StripeCharge, Arc<Double>) {
    let account = StripeAccount {
        key: Zeroizing::new("sk_test_secret".to_owned()),
        profile: "profile_test".to_owned(),
        types: vec!["card".to_owned(), "link".to_owned()],
    };
    assert!(!format!("{account:?}").contains("secret"));
    let double = Arc::new(Double::default());
    (StripeCharge::new(account, Arc::clone(&double) as _), double)
}

fn credential(payload: Value) -> Credential {
    let challenge = Challenge {
        realm: "r".to_owned(),
        method: "stripe".to_owned(),
        intent: "charge".to_owned(),
        request: "e30".to_owned(),
        expires: None,
        digest: None,
        header: None,
        opaque: None,
        description: None,
    };
    Credential { id: "id".to_owned(), challenge, payload, source: None }
}

const ASK: Ask = Ask {
    amount: Amount::from_micros(500_000),
    now: UnixMs(0),
    flow: Flow::Authorization,
    lives_at_least_s: 0,
};

#[test]
fn a_price_below_what_a_card_takes_is_not_offered() {
    let (charge, _) = charge();
    for micros in [0, 20_000, 499_999, 500_001] {
        assert_eq!(charge.request(Amount::from_micros(micros)), None);
    }
    let request = URL_SAFE_NO_PAD.decode(charge.request(ASK.amount).unwrap()).unwrap();
    assert_eq!(
        String::from_utf8(request).unwrap(),
        r#"{"amount":"50","currency":"usd","methodDetails":{"networkId":"profile_test","paymentMethodTypes":["card","link"]}}"#
    );
}

#[test]
fn a_token_is_taken_before_the_work_and_is_the_same_whatever_it_answers() {
    let (charge, _) = charge();
    let pledge = charge.pledge(&credential(json!({"spt": "spt_123"})), &ASK).unwrap();
    assert_eq!((pledge.flow, pledge.unfit.as_ref()), (Flow::Upfront, None));
    let mut other = credential(json!({"spt": "spt_123", "externalId": "x"}));
    other.id = "other".to_owned();
    assert_eq!(charge.pledge(&other, &ASK).unwrap().claim, pledge.claim);
    assert!(charge.has_kept(&pledge.state) && !charge.has_kept(b"{}"));
    assert!(!format!("{pledge:?}").contains("spt_123"));
    for payload in [json!({}), json!({"spt": 1}), json!({"spt": "pm_1"}), json!({"spt": "spt_&amount=1"})] {
        assert!(charge.pledge(&credential(payload), &ASK).is_err());
    }
}

#[test]
fn what_stripe_says_is_what_became_of_the_money() {
    let (charge, double) = charge();
    let state = charge.pledge(&credential(json!({"spt": "spt_123"})), &ASK).unwrap().state;
    let answer = |status, body: &str| Ok(Answer { status, body: body.as_bytes().to_vec() });
    let failed = |why: &str| Err(CaptureError::Failed(why.to_owned()));
    let unknown =
        |reference: Option<&str>| Err(CaptureError::Unknown { reference: reference.map(str::to_owned) });
    let cases = [
        (answer(200, r#"{"id":"pi_1","status":"succeeded"}"#), Ok("pi_1".to_owned())),
        (answer(200, r#"{"id":"pi_1","status":"processing"}"#), unknown(Some("pi_1"))),
        (
            answer(200, r#"{"id":"pi_1","status":"requires_action"}"#),
            failed("the card needs its owner, or is refused"),
        ),
        (answer(200, "<html>"), unknown(None)),
        (answer(402, r#"{"error":{"code":"card_declined","message":"m"}}"#), failed("card_declined")),
        (answer(400, r#"{"error":{"code":"<b>"}}"#), failed("stripe_400")),
        (answer(401, "{}"), Err(CaptureError::Unasked("stripe_401".to_owned()))),
        (
            answer(403, r#"{"error":{"code":"more_permissions_required"}}"#),
            Err(CaptureError::Unasked("stripe_403".to_owned())),
        ),
        (answer(409, "{}"), unknown(None)),
        (answer(500, "{}"), unknown(None)),
        (Err(NoAnswer("slow".to_owned())), unknown(None)),
    ];
    for (answer, wanted) in cases {
        double.answers.lock().unwrap().push(answer);
        assert_eq!(now(charge.capture(ASK.amount, &state)), wanted);
    }
    let asked = double.asked.lock().unwrap();
    let header = |name| asked[0].headers.iter().find(|(known, _)| *known == name).unwrap().1.as_str();
    assert_eq!(header("idempotency-key"), "mpp_id_spt_123");
    assert_eq!(header("authorization"), "Basic c2tfdGVzdF9zZWNyZXQ6");
    let body = String::from_utf8(asked[0].body.clone().unwrap()).unwrap();
    assert!(
        body.starts_with("amount=50&") && body.ends_with("&shared_payment_granted_token=spt_123"),
        "{body}"
    );
    assert!(asked.iter().all(|question| *question == asked[0]), "the same question each time");
    drop(asked);
    assert!(matches!(now(charge.capture(Amount::from_micros(1), &state)), Err(CaptureError::Failed(_))));
}

#[test]
fn whether_stripe_has_it_is_looked_up_without_moving_anything() {
    let (charge, double) = charge();
    let state = charge.pledge(&credential(json!({"spt": "spt_123"})), &ASK).unwrap().state;
    let key = Kept::read(&state).unwrap().key();
    let cases = [
        (r#"{"data":[]}"#, Ok(Found::Open)),
        (
            r#"{"data":[{"id":"a","status":"canceled"},{"id":"b","status":"succeeded"}]}"#,
            Ok(Found::Taken { reference: Some("b".to_owned()) }),
        ),
        ("[]", Err(())),
    ];
    for (body, wanted) in cases {
        double.answers.lock().unwrap().push(Ok(Answer { status: 200, body: body.as_bytes().to_vec() }));
        assert_eq!(now(charge.whereabouts(&state)).map_err(drop), wanted);
    }
    let asked = double.asked.lock().unwrap();
    assert!(asked.iter().all(|question| question.body.is_none() && question.path.contains(&key.to_hex())));
}

#[test]
fn a_token_that_stripe_does_not_know_or_takes_no_more_is_refused_before_anything_is_claimed() {
    let (charge, double) = charge();
    let state = charge.pledge(&credential(json!({"spt": "spt_123"})), &ASK).unwrap().state;
    let refused = |why: &str| Err(Some(why.to_owned()));
    let cases = [
        (
            200,
            r#"{"deactivated_at":null,"usage_limits":{"currency":"usd","max_amount":75}}"#,
            Ok(Some(750_000)),
        ),
        (
            200,
            r#"{"deactivated_at":1,"usage_limits":{"currency":"usd","max_amount":75}}"#,
            refused("the token was used, or taken back"),
        ),
        (
            200,
            r#"{"deactivated_at":null,"usage_limits":{"currency":"eur","max_amount":75}}"#,
            refused("the token is for another currency"),
        ),
        (404, r#"{"error":{"code":"resource_missing"}}"#, refused("resource_missing")),
        (401, "{}", Err(None)),
        (429, "{}", Err(None)),
        (200, "[]", Err(None)),
    ];
    for (status, body, wanted) in cases {
        double.answers.lock().unwrap().push(Ok(Answer { status, body: body.as_bytes().to_vec() }));
        let told = now(charge.funds(&state)).map(|funds| funds.map(Amount::micros));
        let told = told.map_err(|error| match error {
            LookError::Refused(why) => Some(why),
            LookError::Unreachable(_) => None,
        });
        assert_eq!(told, wanted, "{status} {body}");
    }
    let asked = double.asked.lock().unwrap();
    let is_look = |question: &Question| {
        question.body.is_none() && question.path == "/v1/shared_payment/granted_tokens/spt_123"
    };
    assert!(asked.iter().all(is_look), "nothing is moved by looking");
}
