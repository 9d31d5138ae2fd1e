//! What is signed, by whom, and what is no signature.

use k256::ecdsa::SigningKey;
use proptest::prelude::{any, proptest};

use super::{Authorization, Signature, SignatureError};
use crate::evm::{Address, ChainId, KnownToken, Means, Token, U256, to_hex};

/// The third of the accounts that every development chain has.
const AGENT: &str = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC";

/// Its key, which everybody knows.
const AGENT_KEY: [u8; 32] = [
    0x5d, 0xe4, 0x11, 0x1a, 0xfa, 0x1a, 0x4b, 0x94, 0x90, 0x8f, 0x83, 0x10, 0x3e, 0xb1, 0xf1, 0x70, 0x63,
    0x67, 0xc2, 0xe6, 0x8c, 0xa8, 0x70, 0xfc, 0x3f, 0xb9, 0xa8, 0x04, 0xcd, 0xab, 0x36, 0x5a,
];

/// The order of the group: `s` and the order less `s` both sign.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xba,
    0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
];

/// What `@x402/fetch` 2.27.0 sent to a server of its own family, for a token of a development chain.
pub(crate) fn sent() -> Authorization {
    Authorization {
        token: Token {
            network: ChainId::BASE_SEPOLIA,
            contract: "0x5fbdb2315678afecb367f032d93f642f64180aa3".parse().unwrap(),
            name: "USD Coin".to_owned(),
            version: "2".to_owned(),
            decimals: 6,
        },
        from: AGENT.parse().unwrap(),
        to: "0x90F79bf6EB2c4f870365E785982E1f101E93b906".parse().unwrap(),
        value: U256::from(10_000),
        valid_after: U256::ZERO,
        valid_before: U256::from(1_795_218_015),
        nonce: super::array_from_hex("0x720443d1082a5e17ce24e87eaef146591320e2a2aa5b68d1ad10893943ec7caf").unwrap(),
        by: Means::Token,
        signature: Signature::parse(
            "0x73ed8bf17e3168bdc2f555e3e41b669de0929a9990a02425f530166d6929242561e4bcb41401c9d3487f52c7280ce4eef60c358d94a8af916ba34657a4a0904d1b",
        )
        .unwrap(),
    }
}

fn signed(authorization: Authorization) -> Authorization {
    let key = SigningKey::from_slice(&AGENT_KEY).unwrap();
    let (numbers, parity) = key.sign_prehash_recoverable(&authorization.digest());
    let mut bytes = numbers.to_bytes().to_vec();
    bytes.push(parity.to_byte());
    Authorization { signature: Signature::parse(&to_hex(&bytes)).unwrap(), ..authorization }
}

#[test]
fn what_another_client_has_signed_is_its_payers() {
    let sent = sent();
    assert_eq!(sent.recover(), Ok(AGENT.parse().unwrap()));
    assert_eq!(sent.verify(), Ok(()));
}

#[test]
fn whatever_is_changed_it_is_nobodys_any_more() {
    let sent = sent();
    let other: Address = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8".parse().unwrap();
    let usdc = KnownToken::find("USDC", ChainId::BASE_SEPOLIA).unwrap();
    let changed = [
        Authorization { from: other, ..sent.clone() },
        Authorization { to: other, ..sent.clone() },
        Authorization { value: U256::from(10_001), ..sent.clone() },
        Authorization { valid_after: U256::from(1), ..sent.clone() },
        Authorization { valid_before: U256::from(1_795_218_016), ..sent.clone() },
        Authorization { nonce: [1; 32], ..sent.clone() },
        Authorization { token: usdc, ..sent.clone() },
        Authorization { token: Token { network: ChainId::BASE, ..sent.token.clone() }, ..sent.clone() },
        Authorization { token: Token { name: "USDC".to_owned(), ..sent.token.clone() }, ..sent.clone() },
        Authorization { token: Token { version: "1".to_owned(), ..sent.token.clone() }, ..sent.clone() },
    ];
    for changed in changed {
        assert_ne!(changed.verify(), Ok(()), "{changed:?}");
    }
}

#[test]
fn every_form_of_a_signature_becomes_the_same_one() {
    let signature = sent().signature;
    let mut bytes = signature.as_bytes().to_vec();
    for last in [signature.v(), signature.v() - 27] {
        bytes[64] = last;
        assert_eq!(Signature::parse(&to_hex(&bytes)), Ok(signature));
    }
    bytes[64] = 29;
    assert_eq!(Signature::parse(&to_hex(&bytes)), Err(SignatureError::Parity));
    bytes.truncate(64);
    bytes[32] |= (signature.v() - 27) << 7;
    assert_eq!(Signature::parse(&to_hex(&bytes)), Ok(signature));
}

#[test]
fn a_high_s_and_numbers_out_of_range_are_refused() {
    let mut bytes = sent().signature.as_bytes().to_vec();
    let mut borrow = 0_i16;
    for i in (0..32).rev() {
        let difference = i16::from(ORDER[i]) - i16::from(bytes[32 + i]) - borrow;
        borrow = i16::from(difference < 0);
        bytes[32 + i] = u8::try_from(difference + 256 * borrow).unwrap();
    }
    bytes[64] = if bytes[64] == 27 { 28 } else { 27 };
    assert_eq!(Signature::parse(&to_hex(&bytes)), Err(SignatureError::Range));
    for (r, s) in [([0; 32], [1; 32]), ([1; 32], [0; 32]), (ORDER, [1; 32])] {
        let text = to_hex(&[&r[..], &s[..], &[27]].concat());
        assert_eq!(Signature::parse(&text), Err(SignatureError::Range), "{text}");
    }
}

#[test]
fn wallets_that_are_contracts_are_named_and_garbage_is_refused() {
    let ending = "6492".repeat(16);
    assert_eq!(Signature::parse(&format!("0x{}{ending}", "00".repeat(96))), Err(SignatureError::Contract));
    assert_eq!(Signature::parse(&format!("0x{}", "00".repeat(130))), Err(SignatureError::Contract));
    assert_eq!(Signature::parse("0x"), Err(SignatureError::Length(0)));
    for text in ["", "1234", "0xzz", &format!("0x{}", "00".repeat(8193))] {
        assert!(matches!(Signature::parse(text), Err(SignatureError::Hex(_))));
    }
}

#[test]
fn the_claim_key_is_that_of_the_contract_and_not_of_what_may_change() {
    let sent = sent();
    let canonical = r#"{"chain":"eip155:84532","nonce":"0x720443d1082a5e17ce24e87eaef146591320e2a2aa5b68d1ad10893943ec7caf","payer":"0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc","token":"0x5fbdb2315678afecb367f032d93f642f64180aa3"}"#;
    let digest: [u8; 32] = <sha2::Sha256 as sha2::Digest>::digest(canonical).into();
    assert_eq!(sent.claim_key().as_bytes(), &digest);
    let other_value = Authorization { value: U256::from(1), ..sent.clone() };
    assert_eq!(other_value.claim_key(), sent.claim_key());
    assert_ne!(Authorization { nonce: [0; 32], ..sent.clone() }.claim_key(), sent.claim_key());
}

#[test]
fn the_signature_is_in_no_debug_output() {
    let sent = sent();
    let shown = format!("{sent:?} {:?}", sent.signature);
    let secret = to_hex(sent.signature.as_bytes());
    assert!(!shown.contains(&secret[2..20]), "{shown}");
}

proptest! {
    #[test]
    fn what_is_kept_reads_back_and_is_still_signed(value in any::<u64>(), nonce in any::<[u8; 32]>(), before in any::<u64>()) {
        let drawn = Authorization { value: U256::from(value), nonce, valid_before: U256::from(before), ..sent() };
        let drawn = signed(drawn);
        let kept = Authorization::from_bytes(&drawn.to_bytes().unwrap()).unwrap();
        assert_eq!(kept, drawn);
        assert_eq!(kept.verify(), Ok(()));
    }

    #[test]
    fn no_text_makes_the_reader_of_signatures_fall(text in ".{0,200}", bytes in any::<[u8; 32]>()) {
        if let Ok(signature) = Signature::parse(&text) {
            assert!(signature.signer(&bytes).is_ok_and(|who| who != Address::ZERO) || signature.signer(&bytes) == Err(SignatureError::NoKey));
        }
        let whole = to_hex(&[&bytes[..], &bytes[..], &[27]].concat());
        if let Ok(signature) = Signature::parse(&whole) {
            assert!(signature.signer(&bytes).is_ok_and(|who| who != Address::ZERO) || signature.signer(&bytes) == Err(SignatureError::NoKey));
        }
    }
}
