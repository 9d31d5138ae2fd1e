//! Each check of an offline verification: that it is made, that it is named, and that it is not claimed in vain.

use execgate_receipt::{
    Check, Envelope, Finding, PAYLOAD_TYPE, ReceiptFile, SigningKey, VerifyError, canonical, verify,
};
use serde_json::{Value, json};

use super::fixture::{Run, key, resealed};

fn refusal(file: &ReceiptFile) -> String {
    verify(file, &[key().verifying_key()]).unwrap_err().to_string()
}

#[test]
fn a_whole_file_passes_every_check() {
    let run = Run::default();
    let verified = verify(&run.file(), &[key().verifying_key()]).unwrap();
    let all = [
        Check::Signature,
        Check::EmbeddedKey,
        Check::CanonicalPayload,
        Check::StatementType,
        Check::ExecId,
        Check::Receipt,
        Check::Args,
        Check::Result,
        Check::Nonce,
        Check::ContentReceipt,
    ];
    assert_eq!(verified.findings(), all.map(|check| (check, Finding::Holds)));
    assert!(verified.is_complete());
    assert_eq!(verified.statement(), &run.statement());
    let sealed = run.seal();
    assert_eq!((verified.payload(), verified.leaf()), (sealed.payload(), sealed.leaf()));
    assert_eq!((verified.digest(), verified.receipt()), (sealed.digest(), run.file().receipt));
}

#[test]
fn what_the_file_leaves_out_is_listed_as_not_supplied() {
    let file = ReceiptFile { result: None, nonce: None, public_key: None, ..Run::default().file() };
    let verified = verify(&file, &[key().verifying_key()]).unwrap();
    let expected = "signature: holds\nembedded public key: not supplied\ncanonical payload: holds\n\
        statement type: holds\nexec_id: holds\nreceipt: holds\nargs: holds\nresult: not supplied\n\
        nonce: not supplied\nreceipt made again: not supplied\n";
    assert_eq!(verified.to_string(), expected);
    assert!(!verified.is_complete());
}

#[test]
fn one_missing_part_is_enough_that_the_receipt_is_not_made_again() {
    let whole = Run::default().file();
    let without = [
        ReceiptFile { args: None, ..whole.clone() },
        ReceiptFile { result: None, ..whole.clone() },
        ReceiptFile { nonce: None, ..whole },
    ];
    for file in without {
        assert!(!verify(&file, &[key().verifying_key()]).unwrap().is_complete());
    }
}

#[test]
fn a_run_without_nonce_and_result_is_complete_without_them() {
    let run = Run { nonce: None, result: None, outcome: "unknown", ..Run::default() };
    let verified = verify(&run.file(), &[key().verifying_key()]).unwrap();
    assert_eq!(verified.finding(Check::Nonce), Some(Finding::NoneCommitted));
    assert_eq!(verified.finding(Check::Result), Some(Finding::NoneCommitted));
    assert!(verified.is_complete());

    let invented = ReceiptFile { nonce: Some("n".to_owned()), ..run.file() };
    assert_eq!(refusal(&invented), "the nonce does not match the nonce digest");
    let invented = ReceiptFile { result: Some(Value::Null), ..run.file() };
    assert_eq!(refusal(&invented), "the result does not match the result digest");
}

#[test]
fn a_key_inside_the_file_is_never_trusted() {
    let file = Run::default().file();
    let stranger = SigningKey::from_seed(&[7; 32]).verifying_key();
    for trusted in [vec![], vec![stranger.clone()]] {
        assert!(matches!(
            verify(&file, &trusted),
            Err(VerifyError::OnlyEmbeddedKey { key_id }) if key_id == key().key_id()
        ));
    }
    let bare = ReceiptFile { public_key: None, ..file.clone() };
    let said = verify(&bare, &[]).unwrap_err().to_string();
    let id = key().key_id();
    assert_eq!(said, format!("the signature names the key {id}, which is not among the trusted keys"));

    let swapped = ReceiptFile { public_key: Some(stranger.to_spki_pem().unwrap()), ..file };
    assert_eq!(refusal(&swapped), "the public key inside the file is not the trusted key that signed");
}

#[test]
fn a_signature_by_another_key_fails_even_under_the_trusted_name() {
    let mut file = Run::default().file();
    let payload = Run::default().seal().payload().to_vec();
    let forged = Envelope::sign(&SigningKey::from_seed(&[7; 32]), PAYLOAD_TYPE, &payload);
    file.envelope.signatures[0].sig.clone_from(&forged.signatures[0].sig);
    assert_eq!(refusal(&file), "the signature does not match the payload");
    file.envelope = forged;
    assert!(refusal(&file).contains("not among the trusted keys"));
}

#[test]
fn each_part_that_does_not_fit_is_named() {
    let file = Run::default().file();
    let other = Run { nonce: Some("order-43"), ..Run::default() }.file();
    let table = [
        (ReceiptFile { exec_id: other.exec_id, ..file.clone() }, "the exec_id does not match the statement"),
        (
            ReceiptFile { receipt: other.receipt, ..file.clone() },
            "the receipt and the salt do not match the subject digest",
        ),
        (
            ReceiptFile { salt: [0; 32], ..file.clone() },
            "the receipt and the salt do not match the subject digest",
        ),
        (ReceiptFile { args: Some(json!({})), ..file.clone() }, "the args do not match the args digest"),
        (
            ReceiptFile { result: Some(json!({})), ..file.clone() },
            "the result does not match the result digest",
        ),
        (ReceiptFile { nonce: other.nonce, ..file.clone() }, "the nonce does not match the nonce digest"),
        (ReceiptFile { args: Some(json!(u64::MAX)), ..file }, "`args` has no canonical form"),
    ];
    for (file, said) in table {
        assert_eq!(refusal(&file), said);
    }
}

#[test]
fn a_statement_that_the_right_key_signed_is_still_judged() {
    let file = Run::default().file();
    let changed = |pointer: &'static str, value: Value| {
        let bad = resealed(&file, |map| {
            let mut whole = Value::Object(map.clone());
            *whole.pointer_mut(pointer).unwrap() = value;
            let Value::Object(changed) = whole else { panic!("still an object") };
            *map = changed;
        });
        refusal(&bad)
    };
    let table = [
        ("/_type", json!("x"), "the payload is not a statement of type https://in-toto.io/Statement/v1"),
        (
            "/predicateType",
            json!("x"),
            "the statement is not an execution receipt of type https://execgate.dev/execution-receipt/v1",
        ),
        ("/predicate/v", json!(2), "the statement is not of version 1"),
        ("/predicate/kind", json!("x"), "the statement is not of the form of an execution receipt"),
        ("/predicate/exec_id", json!(uuid()), "the exec_id does not match the statement"),
        ("/subject", json!([]), "the subject of the statement is not the run"),
        ("/subject/0/name", json!("x"), "the subject of the statement is not the run"),
        (
            "/predicate/outcome",
            json!("exception"),
            "the receipt is not that of the args, the result, the nonce and the outcome",
        ),
    ];
    for (pointer, value, said) in table {
        assert_eq!(changed(pointer, value), said, "{pointer}");
    }
}

fn uuid() -> &'static str {
    "00000000-0000-8000-8000-000000000000"
}

#[test]
fn a_payload_that_is_signed_and_not_canonical_is_refused() {
    let file = Run::default().file();
    let value: Value = serde_json::from_slice(Run::default().seal().payload()).unwrap();
    let sign = |payload: &[u8]| ReceiptFile {
        envelope: Envelope::sign(&key(), PAYLOAD_TYPE, payload),
        ..file.clone()
    };
    let pretty = serde_json::to_vec_pretty(&value).unwrap();
    assert_eq!(refusal(&sign(&pretty)), "the payload is not canonical JSON");
    let mut twice = canonical(&value).unwrap();
    twice.splice(1..1, *b"\"_type\":1,");
    assert_eq!(refusal(&sign(&twice)), "the payload is not strict JSON");
    assert_eq!(refusal(&sign(b"hello")), "the payload is not strict JSON");
}

#[test]
fn an_envelope_of_another_payload_type_is_refused() {
    let file = Run::default().file();
    let envelope = Envelope::sign(&key(), "application/json", Run::default().seal().payload());
    let said = refusal(&ReceiptFile { envelope, ..file });
    assert_eq!(said, "the payload type is not application/vnd.in-toto+json");
}
