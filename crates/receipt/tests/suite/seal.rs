//! What is signed, whole.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use execgate_receipt::{SealError, Statement, canonical, salted, salted_digest, seal, sha256};
use serde_json::{Value, json};

use super::fixture::{Run, key};

#[test]
fn the_payload_is_the_statement_of_the_contract() {
    let run = Run::default();
    let sealed = run.seal();
    let hidden = |digest| salted_digest(&run.salt, digest).to_hex();
    let plain = |value: &Value| sha256(&canonical(value).unwrap());
    let exec_id = sealed.exec_id().to_string();
    let expected = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{
            "name": format!("execgate:run:{exec_id}"),
            "digest": {"sha256": hidden(run.file().receipt)},
        }],
        "predicateType": "https://execgate.dev/execution-receipt/v1",
        "predicate": {
            "v": 1, "kind": "final", "exec_id": exec_id, "action": "python",
            "args_digest": hidden(plain(&run.args)),
            "result_digest": hidden(plain(&run.result.clone().unwrap())),
            "nonce_digest": salted(&run.salt, b"order-42").to_hex(),
            "outcome": "value",
            "charged": {"amount": "0.02", "currency": "USD", "rail": "x402"},
            "payment_claim": salted(&run.salt, b"eip155:8453/0xabc/0x01").to_hex(),
            "caller": {"kind": "grant", "tenant": "acme", "id": salted(&run.salt, b"ci").to_hex()},
            "policy": {"digest": sha256(b"policy").to_hex(), "rule": "tools.python.allow"},
            "iam": "none",
            "approval": {"rule": "approval.not-required"},
            "effect": "live",
            "context_digest": null,
            "enforced": run.enforced,
            "instance": "06060606-0606-8606-8606-060606060606",
            "started_at": "2026-11-20T10:00:00.123Z",
            "finished_at": "2026-11-20T10:00:00.456Z",
            "gateway": {"name": "execgate", "version": "0.1.0"},
        },
    });
    assert_eq!(sealed.payload(), canonical(&expected).unwrap());
    assert_eq!(sealed.digest(), sha256(sealed.payload()));
    assert_eq!(sealed.leaf(), salted(&run.salt, sealed.payload()));
    assert_eq!(sealed.envelope().payload_type, "application/vnd.in-toto+json");
    assert_eq!(STANDARD.decode(&sealed.envelope().payload).unwrap(), sealed.payload());
    assert_eq!(sealed.envelope().signatures.len(), 1);
    assert_eq!(sealed.envelope().signatures[0].keyid, key().key_id());
}

#[test]
fn equal_statements_have_equal_seals_and_another_salt_another_leaf() {
    let sealed = Run::default().seal();
    assert_eq!(sealed, Run::default().seal());
    assert_ne!(sealed.leaf(), Run { salt: [1; 32], ..Run::default() }.seal().leaf());
}

#[test]
fn nothing_that_a_caller_sent_stands_in_the_payload() {
    let sealed = Run::default().seal();
    let payload = core::str::from_utf8(sealed.payload()).unwrap();
    for secret in ["caf", "order-42", "\"ci\"", "0xabc"] {
        assert!(!payload.contains(secret), "{secret}");
    }
}

#[test]
fn a_statement_with_a_fraction_or_a_huge_integer_is_not_signed() {
    let refusal = |enforced: Value| {
        let statement = Run { enforced, ..Run::default() }.statement();
        seal(&key(), &statement, &[0; 32]).unwrap_err()
    };
    let fraction = refusal(json!({"limits": [{"cpus": 1.5}]}));
    assert_eq!(fraction.to_string(), "the statement holds the number 1.5, which is not an integer");
    assert!(matches!(refusal(json!({"limits": {"memory": u64::MAX}})), SealError::Canonical(_)));
}

#[test]
fn a_reader_passes_over_fields_of_a_later_version() {
    let sealed = Run::default().seal();
    let mut value: Value = serde_json::from_slice(sealed.payload()).unwrap();
    value["predicate"]["later"] = json!({"more": [1]});
    value["predicate"]["gateway"]["build"] = json!("x");
    let read: Statement = serde_json::from_value(value).unwrap();
    assert_eq!(read, Run::default().statement());
}
