//! What Permit2 moves: how it is offered, what is taken of it, and every way in which it is not.

use k256::ecdsa::SigningKey;
use serde_json::{Value, json};

use super::{
    Account, Arc, AtomicU64, LIVES_S, NOW_S, Nobody, PAY_TO, Still, Transfer, X402, asked, code, header,
    payment, resource, shown, terms, usdc, verified,
};
use crate::evm::{Address, Authorization, EXACT_PROXY, Means, Signature, U256, UPTO_PROXY, to_hex};
use crate::{Flow, Rail, Settled, SettlementState};
use execgate_model::{Amount, UnixMs};

const ELSEWHERE: &str = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";

pub(super) fn taking(transfers: &[Transfer]) -> X402 {
    let account =
        |transfer: &Transfer| Account { token: usdc(), transfer: *transfer, pay_to: PAY_TO.parse().unwrap() };
    let accounts = transfers.iter().map(account).collect();
    X402::new(accounts, Arc::new(Nobody), Arc::new(Still(AtomicU64::new(NOW_S))))
}

/// A payment by Permit2 for what is offered so, after a change to what is signed.
pub(super) fn permitted(rail: &X402, flow: Flow, change: impl FnOnce(&mut Authorization)) -> Value {
    let required = header(rail, flow);
    let offers = required["accepts"].as_array().unwrap();
    let wanted = |offer: &&Value| offer["extra"]["assetTransferMethod"] == "permit2";
    let accepted = offers.iter().find(wanted).unwrap_or(&offers[0]).clone();
    let key = SigningKey::from_slice(&[0x11; 32]).unwrap();
    let sign = |signed: &Authorization| {
        let (numbers, parity) = key.sign_prehash_recoverable(&signed.digest());
        Signature::parse(&to_hex(&[&numbers.to_bytes()[..], &[parity.to_byte()]].concat())).unwrap()
    };
    let mut signed = Authorization {
        token: usdc(),
        from: Address::ZERO,
        to: PAY_TO.parse().unwrap(),
        value: accepted["amount"].as_str().unwrap().parse().unwrap(),
        valid_after: U256::ZERO,
        valid_before: U256::from(NOW_S + accepted["maxTimeoutSeconds"].as_u64().unwrap()),
        nonce: [7; 32],
        by: Means::Permit2,
        signature: Signature::parse(&to_hex(&[&[1; 64][..], &[27]].concat())).unwrap(),
    };
    signed.signature = sign(&signed);
    signed.from = signed.recover().unwrap();
    change(&mut signed);
    signed.signature = sign(&signed);
    json!({
        "x402Version": 2,
        "payload": {
            "permit2Authorization": {
                "from": signed.from, "permitted": {"token": signed.token.contract, "amount": signed.value},
                "spender": EXACT_PROXY, "nonce": U256::from_bytes(signed.nonce), "deadline": signed.valid_before,
                "witness": {"to": signed.to, "validAfter": signed.valid_after},
            },
            "signature": to_hex(signed.signature.as_bytes()),
        },
        "resource": required["resource"],
        "accepted": accepted,
    })
}

#[test]
fn it_is_offered_in_version_2_beside_what_its_token_moves() {
    let rail = taking(&[Transfer::Eip3009, Transfer::Permit2]);
    let offers = header(&rail, Flow::Authorization)["accepts"].clone();
    let extra = json!({"name": "USDC", "version": "2"});
    let by_permit2 = json!({"name": "USDC", "version": "2", "assetTransferMethod": "permit2"});
    assert_eq!((&offers[0]["extra"], &offers[1]["extra"], &offers[2]), (&extra, &by_permit2, &Value::Null));
    let one = rail.offer(&asked(Flow::Authorization), &resource()).members;
    assert_eq!(one["accepts"].as_array().unwrap().len(), 1, "version 1 knows nothing of it");
    let alone = taking(&[Transfer::Permit2]).offer(&asked(Flow::Authorization), &resource()).members;
    assert!(!alone.contains_key("accepts") && alone["asset"] == json!(usdc().contract));
}

#[test]
fn what_was_offered_is_taken_and_kept_for_its_capture() {
    let rail = taking(&[Transfer::Eip3009, Transfer::Permit2]);
    for flow in [Flow::Authorization, Flow::Upfront] {
        let paid = verified(&rail, flow, &permitted(&rail, flow, |_| ())).unwrap();
        assert_eq!((&paid.lapsed, paid.flow), (&None, flow));
        let kept = Authorization::from_bytes(&paid.state).unwrap();
        let claim = paid.claim.unwrap();
        assert_eq!((kept.verify(), kept.claim_key(), kept.by), (Ok(()), claim.key, Means::Permit2));
        assert_eq!(rail.ends(&paid.state), Some(UnixMs((NOW_S + LIVES_S + 61) * 1000)));
        let settled = Settled {
            amount: Amount::from_micros(20_000),
            state: SettlementState::Captured,
            reference: Some("0xab"),
            kept: &paid.state,
            at: UnixMs(0),
        };
        let told: Vec<_> = rail.tell(&settled).iter().map(|header| header.name).collect();
        assert_eq!(told, ["payment-response"]);
    }
    let by_token = verified(&rail, Flow::Authorization, &payment(&rail, Flow::Authorization, |_| ()));
    assert_eq!(code(by_token), "", "and so is what its token moves");
}

#[test]
fn what_is_signed_otherwise_buys_nothing() {
    let rail = taking(&[Transfer::Permit2]);
    type Change = Box<dyn FnOnce(&mut Authorization)>;
    let cases: [(&str, Change); 6] = [
        ("invalid_permit2_recipient_mismatch", Box::new(|a| a.to = ELSEWHERE.parse().unwrap())),
        ("permit2_amount_mismatch", Box::new(|a| a.value = U256::from(19_999_u64))),
        ("permit2_amount_mismatch", Box::new(|a| a.value = U256::from(20_001_u64))),
        ("permit2_not_yet_valid", Box::new(|a| a.valid_after = U256::from(NOW_S + 1))),
        ("permit2_deadline_expired", Box::new(|a| a.valid_before = U256::from(NOW_S + LIVES_S - 1))),
        ("permit2_deadline_expired", Box::new(|a| a.valid_before = U256::from(NOW_S - 1))),
    ];
    for (wanted, change) in cases {
        let paid = verified(&rail, Flow::Authorization, &permitted(&rail, Flow::Authorization, change));
        assert!(paid.as_ref().is_ok_and(|paid| paid.claim.is_some()), "{wanted}");
        assert_eq!(code(paid), wanted);
    }
}

#[test]
fn what_is_not_the_offer_is_refused_by_the_codes_of_facilitators() {
    let rail = taking(&[Transfer::Permit2]);
    let good = permitted(&rail, Flow::Authorization, |_| ());
    let permit = "/payload/permit2Authorization";
    for (pointer, value, wanted) in [
        ("/accepted/scheme", json!("upto"), "invalid_payload"),
        ("/accepted/scheme", json!("batch-settlement"), "unsupported_scheme"),
        ("/accepted/amount", json!("1"), "invalid_payment_requirements"),
        ("/accepted/extra/assetTransferMethod", json!("eip3009"), "invalid_payment_requirements"),
        ("/accepted/extra/assetTransferMethod", json!(null), "invalid_payment_requirements"),
        ("/accepted/asset", json!(ELSEWHERE), "permit2_token_mismatch"),
        ("/resource/url", json!("http://gate.example/api/code-run-pro"), "resource_mismatch"),
        (&format!("{permit}/spender"), json!(UPTO_PROXY), "invalid_permit2_spender"),
        (&format!("{permit}/spender"), json!(ELSEWHERE), "invalid_permit2_spender"),
        (&format!("{permit}/permitted/token"), json!(ELSEWHERE), "permit2_token_mismatch"),
        (&format!("{permit}/permitted/amount"), json!("20001"), "invalid_permit2_signature"),
        (&format!("{permit}/witness/to"), json!(ELSEWHERE), "invalid_permit2_signature"),
        (&format!("{permit}/witness/validAfter"), json!("1"), "invalid_permit2_signature"),
        (&format!("{permit}/deadline"), json!("1900000000"), "invalid_permit2_signature"),
        (&format!("{permit}/nonce"), json!("8"), "invalid_permit2_signature"),
        (&format!("{permit}/nonce"), json!(8), "invalid_payload"),
        (&format!("{permit}/nonce"), json!("0x08"), "invalid_payload"),
        (&format!("{permit}/from"), json!(ELSEWHERE), "invalid_permit2_signature"),
        (permit, json!({}), "invalid_payload"),
        ("/payload/signature", json!("0x"), "invalid_permit2_signature"),
    ] {
        let mut changed = good.clone();
        *changed.pointer_mut(pointer).unwrap() = value.clone();
        assert_eq!(code(verified(&rail, Flow::Authorization, &changed)), wanted, "{pointer} {value}");
    }
    assert_eq!(code(verified(&rail, Flow::Authorization, &good)), "");
}

#[test]
fn it_is_taken_only_where_it_is_offered() {
    let by_token = taking(&[Transfer::Eip3009]);
    let by_permit2 = taking(&[Transfer::Permit2]);
    let permit = permitted(&by_permit2, Flow::Authorization, |_| ());
    assert_eq!(code(verified(&by_token, Flow::Authorization, &permit)), "unsupported_scheme");
    let plain = payment(&by_token, Flow::Authorization, |_| ());
    assert_eq!(code(verified(&by_permit2, Flow::Authorization, &plain)), "unsupported_scheme");
    let one = json!({
        "x402Version": 1, "scheme": "exact", "network": "base-sepolia", "payload": permit["payload"]
    });
    assert_eq!(code(verified(&by_permit2, Flow::Authorization, &one)), "unsupported_scheme");
    let (terms, credential) = (terms(Flow::Authorization), shown(&one));
    assert!(super::now(by_permit2.verify(&terms, Some(&credential))).is_err());
}
