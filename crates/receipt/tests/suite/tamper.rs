//! Any change of a receipt file breaks it, unless the changed text is another spelling of the same JSON.
//!
//! Bytes without meaning are exactly those: white space between tokens, the case of the digits in a `\u` escape, and
//! the case of an exponent's `e`. A changed file may pass only if it is JSON with the same canonical form.

use execgate_receipt::{ReceiptFile, VerifyingKey, canonical, parse_strict, verify};
use proptest::prelude::{any, prop_assert, proptest};
use proptest::sample::Index;

use super::fixture::{Run, key};

fn passes(bytes: &[u8], trusted: &[VerifyingKey]) -> bool {
    ReceiptFile::from_json(bytes).is_ok_and(|file| verify(&file, trusted).is_ok())
}

fn same_json(a: &[u8], b: &[u8]) -> bool {
    match (parse_strict(a), parse_strict(b)) {
        (Ok(a), Ok(b)) => canonical(&a) == canonical(&b),
        _ => false,
    }
}

/// Flips each bit of each byte; gives the changes that pass, as (position, new byte).
fn survivors(text: &str, trusted: &[VerifyingKey]) -> Vec<(usize, u8)> {
    let mut bytes = text.as_bytes().to_vec();
    let mut passed = Vec::new();
    for at in 0..bytes.len() {
        let good = bytes[at];
        for bit in 0..8 {
            bytes[at] = good ^ (1 << bit);
            if passes(&bytes, trusted) {
                assert!(same_json(&bytes, text.as_bytes()), "byte {at} of {text}");
                passed.push((at, bytes[at]));
            }
        }
        bytes[at] = good;
    }
    passed
}

#[test]
fn any_flipped_bit_breaks_a_receipt_file() {
    let trusted = [key().verifying_key()];
    let text = Run::default().file().to_json().unwrap();
    assert!(passes(text.as_bytes(), &trusted));
    // The two bytes of the file whose case says nothing: `1e30` in the arguments, and `\u001f` beside it.
    let expected = [(text.find("\\u001f").unwrap() + 5, b'F'), (text.find("1e+30").unwrap() + 1, b'E')];
    let mut passed = survivors(&text, &trusted);
    passed.sort_unstable();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(passed, expected);
}

#[test]
fn any_flipped_bit_breaks_a_file_that_holds_only_what_it_must() {
    let bare =
        ReceiptFile { args: None, result: None, nonce: None, public_key: None, ..Run::default().file() };
    assert_eq!(survivors(&bare.to_json().unwrap(), &[key().verifying_key()]), []);
}

#[test]
fn parts_of_two_receipts_cannot_be_swapped() {
    let a = Run::default().file();
    let b = Run {
        nonce: Some("order-43"),
        salt: [7; 32],
        result: Some(serde_json::json!(1)),
        args: serde_json::json!({"code": "1"}),
        ..Run::default()
    }
    .file();
    let trusted = [key().verifying_key()];
    let swaps: [fn(&mut ReceiptFile, &ReceiptFile); 7] = [
        |file, other| file.exec_id = other.exec_id,
        |file, other| file.receipt = other.receipt,
        |file, other| file.salt = other.salt,
        |file, other| file.envelope = other.envelope.clone(),
        |file, other| file.args.clone_from(&other.args),
        |file, other| file.result.clone_from(&other.result),
        |file, other| file.nonce.clone_from(&other.nonce),
    ];
    assert!(verify(&a, &trusted).is_ok() && verify(&b, &trusted).is_ok());
    // Every mixture, and not only one part at a time: all parts of `b` together are `b` again.
    for mixture in 1..(1_u32 << swaps.len()) - 1 {
        let mut file = a.clone();
        for (part, swap) in swaps.iter().enumerate() {
            if mixture & (1 << part) != 0 {
                swap(&mut file, &b);
            }
        }
        assert!(verify(&file, &trusted).is_err(), "mixture {mixture:07b}");
    }
}

proptest! {
    #[test]
    fn any_replaced_inserted_or_removed_byte_breaks_it(at in any::<Index>(), byte in any::<u8>(), how in 0..3) {
        let trusted = [key().verifying_key()];
        let text = Run::default().file().to_json().unwrap();
        let mut bytes = text.clone().into_bytes();
        let at = at.index(bytes.len());
        match how {
            0 => bytes[at] = byte,
            1 => bytes.insert(at, byte),
            _ => drop(bytes.remove(at)),
        }
        prop_assert!(!passes(&bytes, &trusted) || same_json(&bytes, text.as_bytes()));
    }
}
