//! Against a double of a node, with memos as mppx makes them.

use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use execgate_model::{Amount, BoxFuture, UnixMs};
use serde_json::{Value, json};

use super::{TRANSFER_WITH_MEMO, TempoCharge, TempoToken, is_memo_of};
use crate::evm::{from_hex, keccak256, to_hex};
use crate::mpp::{Answer, Ask, Challenge, Credential, Exchange, Method as _, NoAnswer, Question};
use crate::{CaptureError, Flow, Found, LookError};

/// What `Attribution.encode` of mppx 0.11.0 gives for this challenge and realm, without and with a client's name.
const MEMOS: [&str; 2] = [
    "0xef1ed71201b28af91648a30d0dd1de000000000000000000005398d881502214",
    "0xef1ed71201b28af91648a30d0dd1de0b42b6393c1f53060fe35398d881502214",
];
const CHALLENGE: &str = "OwnH6GCuBc936mjVl-5K5VmjKeU9jrBAaivpiAienqA";
const REALM: &str = "gw.example";
const TOKEN: &str = "0x20c0000000000000000000000000000000000000";
const SELLER: &str = "0x90f79bf6eb2c4f870365e785982e1f101e93b906";

#[derive(Default)]
struct Double(Mutex<Option<Result<Value, NoAnswer>>>);

impl Exchange for Double {
    fn ask(&self, question: Question) -> BoxFuture<'_, Result<Answer, NoAnswer>> {
        let body: Value = serde_json::from_slice(&question.body.unwrap()).unwrap();
        assert_eq!(body["method"], "eth_getTransactionReceipt");
        let answer = self.0.lock().unwrap().clone().unwrap();
        let body =
            |result: Value| json!({"jsonrpc": "2.0", "id": 1, "result": result}).to_string().into_bytes();
        Box::pin(async move { answer.map(|result| Answer { status: 200, body: body(result) }) })
    }
}

fn now<T>(mut future: BoxFuture<'_, T>) -> T {
    match Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("nothing here waits"),
    }
}

fn charge() -> (TempoCharge, Arc<Double>) {
    let token =
        TempoToken { chain: 42_431, contract: TOKEN.parse().unwrap(), pay_to: SELLER.parse().unwrap() };
    let double = Arc::new(Double::default());
    (TempoCharge::new(token, Arc::clone(&double) as _), double)
}

fn credential(payload: Value) -> Credential {
    let challenge = Challenge {
        realm: REALM.to_owned(),
        method: "tempo".to_owned(),
        intent: "charge".to_owned(),
        request: "e30".to_owned(),
        expires: None,
        digest: None,
        header: None,
        opaque: None,
        description: None,
    };
    Credential { id: CHALLENGE.to_owned(), challenge, payload, source: None }
}

const ASK: Ask = Ask {
    amount: Amount::from_micros(20_000),
    now: UnixMs(0),
    flow: Flow::Authorization,
    lives_at_least_s: 0,
};

fn paid() -> Credential {
    credential(json!({"type": "hash", "hash": format!("0x{}", "ab".repeat(32))}))
}

fn mined(change: impl Fn(&mut Value)) -> Value {
    let account = |address: &str| format!("0x{}{}", "0".repeat(24), &address[2..]);
    let mut receipt = json!({"status": "0x1", "logs": [
        {"address": SELLER, "topics": [], "data": "0x"},
        {"address": TOKEN, "data": format!("0x{:064x}", 20_000),
         "topics": [to_hex(&keccak256(TRANSFER_WITH_MEMO)), account(TOKEN), account(SELLER), MEMOS[1]]},
    ]});
    change(&mut receipt);
    receipt
}

#[test]
fn the_memos_of_mppx_name_their_challenge() {
    for memo in MEMOS {
        let memo = from_hex(memo, 32).unwrap();
        assert!(is_memo_of(&memo, CHALLENGE, REALM));
        assert!(!is_memo_of(&memo, "another", REALM) && !is_memo_of(&memo, CHALLENGE, "another"));
        assert!(!is_memo_of(&memo[..31], CHALLENGE, REALM) && !is_memo_of(&[0; 32], CHALLENGE, REALM));
    }
}

#[test]
fn only_a_transfer_of_that_much_to_us_for_this_challenge_pays() {
    let (charge, double) = charge();
    let state = charge.pledge(&paid(), &ASK).unwrap().state;
    let capture = |answer| {
        *double.0.lock().unwrap() = Some(answer);
        let funds = now(charge.funds(&state));
        let (captured, found) = (now(charge.capture(ASK.amount, &state)), now(charge.whereabouts(&state)));
        // What would not be taken is refused before anything is claimed.
        match &captured {
            Ok(_) => assert_eq!(funds, Ok(None)),
            Err(CaptureError::Failed(why)) => assert_eq!(funds, Err(LookError::Refused(why.clone()))),
            Err(CaptureError::Unknown { .. }) => assert!(matches!(funds, Err(LookError::Unreachable(_)))),
            Err(CaptureError::Unasked(why) | CaptureError::Postponed(why)) => {
                panic!("the money has moved already: {why}")
            }
        }
        (captured, found)
    };
    let reference = format!("0x{}", "ab".repeat(32));
    let taken = Found::Taken { reference: Some(reference.clone()) };
    assert_eq!(capture(Ok(mined(|_| {}))), (Ok(reference.clone()), Ok(taken)));
    let failed = |why: &str| Err(CaptureError::Failed(why.to_owned()));
    assert_eq!(capture(Ok(Value::Null)), (failed("transaction_not_found"), Ok(Found::Open)));
    let (unknown, unreachable) = capture(Err(NoAnswer("slow".to_owned())));
    assert_eq!(unknown, Err(CaptureError::Unknown { reference: Some(reference) }));
    assert!(unreachable.is_err());
    let changes: [&dyn Fn(&mut Value); 7] = [
        &|receipt| receipt["status"] = json!("0x0"),
        &|receipt| receipt["logs"] = json!([]),
        &|receipt| receipt["logs"][1]["address"] = json!(SELLER),
        &|receipt| receipt["logs"][1]["data"] = json!(format!("0x{:064x}", 19_999)),
        &|receipt| receipt["logs"][1]["topics"][0] = json!(MEMOS[0]),
        &|receipt| receipt["logs"][1]["topics"][2] = receipt["logs"][1]["topics"][1].clone(),
        &|receipt| receipt["logs"][1]["topics"][3] = json!(format!("0x{}", "00".repeat(32))),
    ];
    for change in changes {
        assert_eq!(capture(Ok(mined(change))), (failed("transaction_does_not_pay"), Ok(Found::Gone)));
    }
}

#[test]
fn a_transaction_is_one_payment_and_is_looked_up_before_the_work() {
    let (charge, _) = charge();
    let pledge = charge.pledge(&paid(), &ASK).unwrap();
    let shouted = credential(json!({"type": "hash", "hash": format!("0x{}", "AB".repeat(32))}));
    assert_eq!(charge.pledge(&shouted, &ASK).unwrap().claim, pledge.claim);
    assert_eq!(pledge.flow, Flow::Upfront);
    // Who has read it on its chain and shows it for a challenge of its own has shown another payment, and is another payer.
    let mut strange = paid();
    strange.id = "another".to_owned();
    let strange = charge.pledge(&strange, &ASK).unwrap().claim;
    assert!(strange.key != pledge.claim.key && strange.payer != pledge.claim.payer);
    assert!(charge.has_kept(&pledge.state) && !charge.has_kept(b"{}"));
    for payload in
        [json!({}), json!({"type": "transaction", "signature": "0x"}), json!({"type": "hash", "hash": "0x"})]
    {
        assert!(charge.pledge(&credential(payload), &ASK).is_err());
    }
    let request = URL_SAFE_NO_PAD.decode(charge.request(ASK.amount).unwrap()).unwrap();
    let request: Value = serde_json::from_slice(&request).unwrap();
    assert_eq!(request["methodDetails"], json!({"chainId": 42_431, "supportedModes": ["push"]}));
}
