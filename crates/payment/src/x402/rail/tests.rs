//! What the rail takes, and every way in which it does not.

use core::pin::pin;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::{Context, Poll, Waker};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use execgate_model::{ActionName, Amount, BoxFuture, Clock, Credential, Digest, Resource, UnixMs};
use k256::ecdsa::SigningKey;
use proptest::prelude::{any, proptest};
use serde_json::{Value, from_slice, json};

use super::{Account, Transfer, X402};
use crate::evm::{Address, Authorization, ChainId, KnownToken, Means, Signature, Token, U256, to_hex};
use crate::{
    Asked, Facilitator, Flow, HoldError, LookError, Paid, Rail, SettleError, Settled, SettlementState, Terms,
    TxHash, Unreachable, Whereabouts,
};

mod permit2;
mod upto;

const NOW_S: u64 = 1_800_000_000;
const LIVES_S: u64 = 90;
const PAY_TO: &str = "0x90F79bf6EB2c4f870365E785982E1f101E93b906";

struct Still(AtomicU64);

impl Clock for Still {
    fn now(&self) -> UnixMs {
        UnixMs(self.0.load(Ordering::Relaxed) * 1000)
    }

    fn monotonic_us(&self) -> u64 {
        0
    }
}

struct Nobody;

impl Facilitator for Nobody {
    fn name(&self) -> &'static str {
        "nobody"
    }

    fn settle<'a>(&'a self, _: &'a Authorization) -> BoxFuture<'a, Result<TxHash, SettleError>> {
        Box::pin(async { Err(SettleError::Refused("nobody".to_owned())) })
    }

    fn whereabouts<'a>(&'a self, _: &'a Authorization) -> BoxFuture<'a, Result<Whereabouts, Unreachable>> {
        Box::pin(async { Ok(Whereabouts::Unused) })
    }

    fn verify<'a>(&'a self, _: &'a Authorization) -> BoxFuture<'a, Result<Option<U256>, LookError>> {
        Box::pin(async { Ok(None) })
    }

    fn balance<'a>(&'a self, _: &'a Token, _: Address) -> BoxFuture<'a, Result<U256, Unreachable>> {
        Box::pin(async { Ok(U256::ZERO) })
    }
}

fn usdc() -> Token {
    KnownToken::find("USDC", ChainId::BASE_SEPOLIA).unwrap()
}

fn rail() -> X402 {
    let account = Account { token: usdc(), transfer: Transfer::Eip3009, pay_to: PAY_TO.parse().unwrap() };
    X402::new(vec![account], Arc::new(Nobody), Arc::new(Still(AtomicU64::new(NOW_S))))
}

fn terms(flow: Flow) -> Terms {
    Terms {
        amount: Amount::from_micros(20_000),
        action: ActionName::new("python").unwrap(),
        fingerprint: Digest::from_bytes([0; 32]),
        flow,
        lives_at_least_s: LIVES_S,
    }
}

fn asked(flow: Flow) -> Asked {
    Asked {
        amount: Amount::from_micros(20_000),
        flow,
        lives_at_least_s: LIVES_S,
        refused: None,
        accepts: None,
    }
}

fn resource() -> Resource {
    Resource {
        url: "http://gate.example/api/code-run".to_owned(),
        description: "Runs code".to_owned(),
        mime: "application/json".to_owned(),
        method: "POST".to_owned(),
        body_digest: None,
        example: json!({"code": "1"}),
    }
}

fn header(rail: &X402, flow: Flow) -> Value {
    let offer = rail.offer(&asked(flow), &resource());
    assert_eq!(offer.headers[0].name, "payment-required");
    from_slice(&STANDARD.decode(&offer.headers[0].value).unwrap()).unwrap()
}

/// A payment for the offer, as a client makes it, after a change to what it signs.
fn payment(rail: &X402, flow: Flow, change: impl FnOnce(&mut Authorization)) -> Value {
    let required = header(rail, flow);
    let accepted = required["accepts"][0].clone();
    let key = SigningKey::from_slice(&[0x11; 32]).unwrap();
    let mut authorization = Authorization {
        token: usdc(),
        from: Address::ZERO,
        to: accepted["payTo"].as_str().unwrap().parse().unwrap(),
        value: accepted["amount"].as_str().unwrap().parse().unwrap(),
        valid_after: U256::ZERO,
        valid_before: U256::from(NOW_S + accepted["maxTimeoutSeconds"].as_u64().unwrap()),
        nonce: [7; 32],
        by: Means::Token,
        signature: Signature::parse(&to_hex(&[&[1; 64][..], &[27]].concat())).unwrap(),
    };
    let sign = |authorization: &Authorization| {
        let (numbers, parity) = key.sign_prehash_recoverable(&authorization.digest());
        Signature::parse(&to_hex(&[&numbers.to_bytes()[..], &[parity.to_byte()]].concat())).unwrap()
    };
    authorization.signature = sign(&authorization);
    authorization.from = authorization.recover().unwrap();
    change(&mut authorization);
    authorization.signature = sign(&authorization);
    json!({
        "x402Version": 2,
        "payload": {
            "authorization": {
                "from": authorization.from, "to": authorization.to, "value": authorization.value,
                "validAfter": authorization.valid_after, "validBefore": authorization.valid_before,
                "nonce": to_hex(&authorization.nonce),
            },
            "signature": to_hex(authorization.signature.as_bytes()),
        },
        "resource": required["resource"],
        "accepted": accepted,
        "extensions": null,
    })
}

fn shown(payment: &Value) -> Credential {
    let bytes = STANDARD.encode(payment.to_string()).into_bytes();
    Credential { rail: X402::NAME.to_owned(), bytes, resource: resource() }
}

/// The rail's futures never wait.
fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a rail that waits"),
    }
}

fn verified(rail: &X402, flow: Flow, payment: &Value) -> Result<Paid, HoldError> {
    let (terms, credential) = (terms(flow), shown(payment));
    now(rail.verify(&terms, Some(&credential)))
}

/// The code by which a payment buys nothing.
fn code(verified: Result<Paid, HoldError>) -> String {
    let reason = match verified {
        Ok(paid) => paid.lapsed.unwrap_or_default(),
        Err(HoldError::Refused(reason) | HoldError::Malformed(reason)) => reason,
        Err(other) => panic!("{other}"),
    };
    reason.split(':').next().unwrap().to_owned()
}

#[test]
fn what_was_offered_is_taken_and_kept_for_its_capture() {
    let rail = rail();
    for flow in [Flow::Authorization, Flow::Upfront] {
        let paid = verified(&rail, flow, &payment(&rail, flow, |_| ())).unwrap();
        assert_eq!((paid.lapsed, paid.flow), (None, flow));
        let kept = Authorization::from_bytes(&paid.state).unwrap();
        let claim = paid.claim.unwrap();
        assert_eq!((kept.verify(), kept.claim_key(), kept.payer()), (Ok(()), claim.key, claim.payer));
    }
}

#[test]
fn an_offer_says_it_in_both_versions() {
    let rail = rail();
    let two = header(&rail, Flow::Authorization);
    let requirement = json!({
        "scheme": "exact", "network": "eip155:84532", "amount": "20000",
        "asset": "0x036CbD53842c5426634e7929541eC2318f3dCF7e", "payTo": PAY_TO,
        "maxTimeoutSeconds": LIVES_S + 60, "extra": {"name": "USDC", "version": "2"},
    });
    assert_eq!((&two["x402Version"], &two["accepts"]), (&json!(2), &json!([requirement])));
    assert_eq!(two["resource"]["url"], "http://gate.example/api/code-run");
    assert_eq!(two["extensions"]["bazaar"]["info"]["input"]["body"], json!({"code": "1"}));
    let one = rail.offer(&asked(Flow::Authorization), &resource()).members;
    assert_eq!((&one["x402Version"], &one["accepts"][0]["network"]), (&json!(1), &json!("base-sepolia")));
    assert_eq!(one["accepts"][0]["maxAmountRequired"], "20000");
    let upfront = header(&rail, Flow::Upfront);
    assert_eq!(upfront["accepts"][0]["extra"]["paymentFlow"], "upfront");
    assert!(!rail.offer(&asked(Flow::Upfront), &resource()).members.contains_key("accepts"));
}

#[test]
fn what_is_signed_otherwise_buys_nothing_and_still_says_whose_it_is() {
    let rail = rail();
    let other: Address = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8".parse().unwrap();
    type Change = Box<dyn FnOnce(&mut Authorization)>;
    let cases: [(&str, Change); 6] = [
        ("invalid_exact_evm_payload_recipient_mismatch", Box::new(move |a| a.to = other)),
        (
            "invalid_exact_evm_payload_authorization_value_mismatch",
            Box::new(|a| a.value = U256::from(19_999_u64)),
        ),
        (
            "invalid_exact_evm_payload_authorization_value_mismatch",
            Box::new(|a| a.value = U256::from(20_001_u64)),
        ),
        (
            "invalid_exact_evm_payload_authorization_valid_after",
            Box::new(|a| a.valid_after = U256::from(NOW_S + 1)),
        ),
        (
            "invalid_exact_evm_payload_authorization_valid_before",
            Box::new(|a| a.valid_before = U256::from(NOW_S + LIVES_S - 1)),
        ),
        (
            "invalid_exact_evm_payload_authorization_valid_before",
            Box::new(|a| a.valid_before = U256::from(NOW_S - 1)),
        ),
    ];
    for (wanted, change) in cases {
        let paid =
            verified(&rail, Flow::Authorization, &payment(&rail, Flow::Authorization, change)).unwrap();
        assert!(paid.claim.is_some());
        assert_eq!(code(Ok(paid)), wanted);
    }
}

#[test]
fn what_is_not_the_offer_is_refused_by_the_codes_of_facilitators() {
    let rail = rail();
    let good = payment(&rail, Flow::Authorization, |_| ());
    let cases = [
        ("/x402Version", json!(3), "invalid_x402_version"),
        ("/x402Version", json!("2"), "invalid_payload"),
        ("/accepted/scheme", json!("upto"), "invalid_payload"),
        ("/accepted/scheme", json!("batch-settlement"), "unsupported_scheme"),
        ("/accepted/network", json!("eip155:1"), "invalid_network"),
        ("/accepted/network", json!("base"), "invalid_network"),
        ("/accepted/asset", json!(PAY_TO), "invalid_payment_requirements"),
        ("/accepted/amount", json!("1"), "invalid_payment_requirements"),
        (
            "/accepted/payTo",
            json!("0x70997970C51812dc3A010C7d01b50e0d17dc79C8"),
            "invalid_payment_requirements",
        ),
        ("/accepted/maxTimeoutSeconds", json!(9), "invalid_payment_requirements"),
        ("/accepted/extra", json!(null), "invalid_payment_requirements"),
        (
            "/accepted/extra",
            json!({"name": "USDC", "version": "2", "paymentFlow": "escrow"}),
            "invalid_payment_requirements",
        ),
        ("/resource/url", json!("http://gate.example/api/code-run-pro"), "resource_mismatch"),
        ("/resource/url", json!("https://other.example/api/code-run"), "resource_mismatch"),
        ("/payload/authorization/nonce", json!("0x12"), "invalid_payload"),
        ("/payload/authorization/value", json!("-1"), "invalid_payload"),
        ("/payload/authorization/value", json!("20001"), "invalid_exact_evm_payload_signature"),
        ("/payload/signature", json!("0x"), "invalid_exact_evm_payload_signature"),
        ("/payload", json!({"permit2Authorization": {}, "signature": "0x"}), "invalid_payload"),
        ("/payload", json!({"delegationManager": "0x"}), "unsupported_scheme"),
        ("/payload", json!({}), "invalid_payload"),
        ("/extensions", json!({"payment-identifier": {"info": {"id": "short"}}}), "invalid_payload"),
        (
            "/extensions",
            json!({"payment-identifier": {"info": {"required": true}}}),
            "extension_echo_mismatch",
        ),
    ];
    for (pointer, value, wanted) in cases {
        let mut changed = good.clone();
        *changed.pointer_mut(pointer).unwrap() = value.clone();
        assert_eq!(code(verified(&rail, Flow::Authorization, &changed)), wanted, "{pointer} {value}");
    }
}

#[test]
fn what_a_client_adds_or_leaves_out_does_no_harm() {
    let rail = rail();
    let mut payment = payment(&rail, Flow::Authorization, |_| ());
    payment["accepted"]["extra"]["mine"] = json!(1);
    payment["accepted"]["asset"] = json!("0x036cbd53842c5426634e7929541ec2318f3dcf7e");
    payment["resource"] = json!(null);
    payment["extensions"] =
        json!({"payment-identifier": {"info": {"required": false, "id": "pay_0123456789abcdef"}}});
    assert_eq!(code(verified(&rail, Flow::Authorization, &payment)), "");
    assert_eq!(rail.name_of(&shown(&payment)).unwrap().as_str(), "x402:pay_0123456789abcdef");
    let mut eager = payment.clone();
    eager["accepted"]["extra"]["paymentFlow"] = json!("upfront");
    assert_eq!(verified(&rail, Flow::Authorization, &eager).unwrap().flow, Flow::Upfront);
    payment["extensions"] = json!({"payment-identifier": {"info": {"required": null, "id": null}}});
    payment["payload"]["permit2Authorization"] = json!(null);
    assert_eq!(code(verified(&rail, Flow::Authorization, &payment)), "", "null is as good as absent");
    payment["extensions"] = json!(null);
    assert_eq!(
        (code(verified(&rail, Flow::Authorization, &payment)), rail.name_of(&shown(&payment))),
        (String::new(), None)
    );
}

#[test]
fn version_1_is_taken_for_what_is_paid_when_it_is_done() {
    let rail = rail();
    let two = payment(&rail, Flow::Authorization, |_| ());
    let mut one = json!({
        "x402Version": 1, "scheme": "exact", "network": "base-sepolia", "payload": two["payload"]
    });
    assert_eq!(code(verified(&rail, Flow::Authorization, &one)), "");
    assert_eq!(code(verified(&rail, Flow::Upfront, &one)), "invalid_payment_requirements");
    one["network"] = json!("eip155:84532");
    assert_eq!(code(verified(&rail, Flow::Authorization, &one)), "invalid_network");
}

#[test]
fn version_1_pays_in_any_of_the_tokens_that_it_is_offered() {
    let second = Token { contract: "0x5FbDB2315678afecb367f032d93F642f64180aa3".parse().unwrap(), ..usdc() };
    let accounts = [usdc(), second.clone()].map(|token| Account {
        token,
        transfer: Transfer::Eip3009,
        pay_to: PAY_TO.parse().unwrap(),
    });
    let rail = X402::new(accounts.to_vec(), Arc::new(Nobody), Arc::new(Still(AtomicU64::new(NOW_S))));
    let offered = rail.offer(&asked(Flow::Authorization), &resource()).members["accepts"].clone();
    assert_eq!(offered.as_array().unwrap().len(), 2);
    for token in [usdc(), second.clone()] {
        let two = payment(&rail, Flow::Authorization, |authorization| authorization.token = token.clone());
        let one = json!({
            "x402Version": 1, "scheme": "exact", "network": "base-sepolia", "payload": two["payload"]
        });
        let paid = verified(&rail, Flow::Authorization, &one).unwrap();
        assert_eq!(paid.lapsed, None);
        assert_eq!(Authorization::from_bytes(&paid.state).unwrap().token, token);
    }
    // What version 2 says of its token is what counts.
    let other = payment(&rail, Flow::Authorization, |authorization| authorization.token = second);
    let wrong = "invalid_exact_evm_payload_signature";
    assert_eq!(code(verified(&rail, Flow::Authorization, &other)), wrong);
}

#[test]
fn an_answer_tells_of_its_payment_without_its_signature() {
    let rail = rail();
    let paid = verified(&rail, Flow::Authorization, &payment(&rail, Flow::Authorization, |_| ())).unwrap();
    let told = |state, reference| {
        let amount = Amount::from_micros(20_000);
        let headers = rail.tell(&Settled { amount, state, reference, kept: &paid.state, at: UnixMs(0) });
        let read = |at: usize| from_slice::<Value>(&STANDARD.decode(&headers[at].value).unwrap()).unwrap();
        (headers.len() == 2).then(|| (read(0), read(1)))
    };
    let (two, one) = told(SettlementState::Captured, Some("0xab")).unwrap();
    let payer = Authorization::from_bytes(&paid.state).unwrap().from;
    assert_eq!(
        two,
        json!({"success": true, "payer": payer, "transaction": "0xab", "network": "eip155:84532"})
    );
    assert_eq!((&one["network"], &one["success"]), (&json!("base-sepolia"), &json!(true)));
    let (pending, _) = told(SettlementState::Pending, None).unwrap();
    assert_eq!((&pending["success"], &pending["errorReason"]), (&json!(false), &json!("settlement_pending")));
    assert_eq!(told(SettlementState::Released, None), None);
}

proptest! {
    #[test]
    fn whatever_comes_is_refused_and_none_of_its_bytes_are_said(bytes in any::<Vec<u8>>(), text in ".{0,64}") {
        let rail = rail();
        let terms = terms(Flow::Authorization);
        for bytes in [bytes.clone(), STANDARD.encode(&bytes).into_bytes(), STANDARD.encode(json!({"x402Version": 2, "payload": text}).to_string()).into_bytes()] {
            let credential = Credential { rail: X402::NAME.to_owned(), bytes, resource: resource() };
            let refused = now(rail.verify(&terms, Some(&credential))).unwrap_err();
            assert!(matches!(refused, HoldError::Malformed(_) | HoldError::Refused(_)));
            assert!(rail.name_of(&credential).is_none());
        }
    }
}
