//! What is metered: offered as `upto`, held for the most that it may come to, and taken as far as its usage comes.

use base64::Engine as _;
use serde_json::{Value, json};

use super::permit2::{permitted, taking};
use super::{NOW_S, Transfer, X402, asked, code, header, payment, resource, verified};
use crate::evm::{Address, Authorization, Means, U256, UPTO_PROXY};
use crate::{Flow, Rail, Settled, SettlementState};
use execgate_model::{Amount, UnixMs};

const SETTLES: &str = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";

fn settles() -> Address {
    SETTLES.parse().unwrap()
}

fn metering(transfers: &[Transfer]) -> X402 {
    taking(transfers).metered_by(Some(settles()))
}

/// A payment for what is metered, after a change to what is signed.
fn metered(rail: &X402, change: impl FnOnce(&mut Authorization)) -> Value {
    let mut named = settles();
    let mut payment = permitted(rail, Flow::Metered, |signed| {
        signed.by = Means::UpTo { facilitator: settles(), taken: None };
        change(signed);
        if let Means::UpTo { facilitator, .. } = signed.by {
            named = facilitator;
        }
    });
    let permit = &mut payment["payload"]["permit2Authorization"];
    permit["spender"] = json!(UPTO_PROXY);
    permit["witness"]["facilitator"] = json!(named);
    payment
}

#[test]
fn it_is_offered_alone_and_in_version_2_where_permit2_is_taken() {
    let rail = metering(&[Transfer::Eip3009, Transfer::Permit2]);
    let offers = header(&rail, Flow::Metered)["accepts"].clone();
    let extra = json!({
        "name": "USDC", "version": "2", "assetTransferMethod": "permit2", "facilitatorAddress": SETTLES
    });
    assert_eq!((&offers[0]["scheme"], &offers[0]["extra"]), (&json!("upto"), &extra));
    assert_eq!((&offers[0]["amount"], &offers[1]), (&json!("20000"), &Value::Null));
    let told = |rail: &X402| rail.offer(&asked(Flow::Metered), &resource());
    assert!(!told(&rail).members.contains_key("accepts"), "version 1 knows nothing of it");
    for other in [metering(&[Transfer::Eip3009]), taking(&[Transfer::Permit2])] {
        assert!(told(&other).headers.is_empty());
    }
}

#[test]
fn as_much_is_taken_as_is_said_once_and_never_more_than_was_signed() {
    let rail = metering(&[Transfer::Permit2]);
    let paid = verified(&rail, Flow::Metered, &metered(&rail, |_| ())).unwrap();
    assert_eq!((&paid.lapsed, paid.flow), (&None, Flow::Metered));
    let of = |micros| rail.taking(Amount::from_micros(micros), &paid.state);
    assert_eq!((of(20_001), of(20_000).is_some()), (None, true));
    let state = of(7).unwrap();
    let (held, kept) = (Authorization::from_bytes(&paid.state), Authorization::from_bytes(&state).unwrap());
    assert_eq!((held.unwrap().moved(), kept.moved()), (U256::from(20_000), U256::from(7)));
    assert_eq!((kept.verify(), kept.claim_key()), (Ok(()), paid.claim.unwrap().key));
    assert_eq!(rail.taking(Amount::from_micros(6), &state), None, "it has been said");
    let told = |state, kept: &[u8]| {
        let amount = Amount::from_micros(7);
        let settled = Settled { amount, state, reference: Some("0xab"), kept, at: UnixMs(0) };
        let headers = rail.tell(&settled);
        let told = headers.first().map(|header| super::STANDARD.decode(&header.value).unwrap());
        told.map(|told| super::from_slice::<Value>(&told).unwrap()["amount"].clone())
    };
    assert_eq!(told(SettlementState::Captured, &state), Some(json!("7")));
    assert_eq!(told(SettlementState::Released, &paid.state), Some(json!("0")), "nothing was moved");
    // What is all taken has no part.
    let exact = verified(&rail, Flow::Authorization, &permitted(&rail, Flow::Authorization, |_| ()));
    assert_eq!(rail.taking(Amount::from_micros(7), &exact.unwrap().state), None);
}

#[test]
fn what_is_signed_otherwise_or_for_another_scheme_buys_nothing() {
    let rail = metering(&[Transfer::Eip3009, Transfer::Permit2]);
    let other = Means::UpTo { facilitator: Address::ZERO, taken: None };
    type Change = Box<dyn FnOnce(&mut Authorization)>;
    let cases: [(&str, Change); 5] = [
        ("upto_facilitator_mismatch", Box::new(move |signed| signed.by = other)),
        ("permit2_amount_mismatch", Box::new(|signed| signed.value = U256::from(19_999_u64))),
        ("permit2_amount_mismatch", Box::new(|signed| signed.value = U256::from(20_001_u64))),
        ("permit2_deadline_expired", Box::new(|signed| signed.valid_before = U256::from(NOW_S - 1))),
        ("invalid_permit2_recipient_mismatch", Box::new(|signed| signed.to = Address::ZERO)),
    ];
    for (wanted, change) in cases {
        assert_eq!(code(verified(&rail, Flow::Metered, &metered(&rail, change))), wanted);
    }
    let good = metered(&rail, |_| ());
    assert_eq!(code(verified(&rail, Flow::Authorization, &good)), "unsupported_scheme");
    for exact in [payment(&rail, Flow::Authorization, |_| ()), permitted(&rail, Flow::Authorization, |_| ())]
    {
        assert_eq!(code(verified(&rail, Flow::Metered, &exact)), "unsupported_scheme");
    }
    let permit = "/payload/permit2Authorization";
    for (pointer, value, wanted) in [
        ("/accepted/scheme", json!("exact"), "invalid_permit2_spender"),
        ("/accepted/scheme", json!("batch-settlement"), "unsupported_scheme"),
        ("/accepted/extra/facilitatorAddress", json!(UPTO_PROXY), "invalid_payment_requirements"),
        (&format!("{permit}/witness/facilitator"), json!(UPTO_PROXY), "invalid_permit2_signature"),
        (&format!("{permit}/witness/facilitator"), json!(null), "invalid_payload"),
        (&format!("{permit}/permitted/amount"), json!("7"), "invalid_permit2_signature"),
    ] {
        let mut changed = good.clone();
        *changed.pointer_mut(pointer).unwrap() = value.clone();
        assert_eq!(code(verified(&rail, Flow::Metered, &changed)), wanted, "{pointer} {value}");
    }
    // All of its price before the work is what anybody may pay.
    let whole = permitted(&rail, Flow::Upfront, |_| ());
    assert_eq!(
        verified(&rail, Flow::Metered, &whole).map(|paid| (paid.flow, paid.lapsed)),
        Ok((Flow::Upfront, None))
    );
}
