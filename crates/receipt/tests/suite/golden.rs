//! A receipt file of version 1 that is kept for ever. Whoever changes the format finds out here, before owners do.

use execgate_receipt::{ReceiptFile, VerifyingKey, parse_strict, verify};

use super::fixture::Run;

const FILE: &str = include_str!("../data/receipt-v1.json");
const KEY: &str = include_str!("../data/receipt-v1.pub.pem");

#[test]
fn a_receipt_of_version_1_still_verifies_whole() {
    let file = ReceiptFile::from_json(FILE.as_bytes()).unwrap();
    let key = VerifyingKey::from_spki_pem(KEY).unwrap();
    assert!(verify(&file, &[key]).unwrap().is_complete());
}

#[test]
fn the_same_run_still_gives_the_same_file() {
    let written = Run::default().file().to_json().unwrap();
    assert_eq!(parse_strict(written.as_bytes()), parse_strict(FILE.as_bytes()));
}
